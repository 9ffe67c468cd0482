"""Pictures and captions: the drawn shapes, folders of features, tables of pictures, and what is refused."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import save_file

from hfseq.data.captions import CAPTIONS, IMAGE, CaptionSettings, load_captions
from hfseq.data.embedded import shapes
from hfseq.tasks.captioning.rivals import nearest


@pytest.fixture(scope="module")
def drawn():
    return shapes.load_shapes()


def test_held_out_things_are_seen_alone_and_in_relations_only_where_they_are_tested(drawn):
    held = {shapes.Thing(*each).name for each in shapes.HELD_OUT}
    assert len(held) == 6 and {name.split()[1] for name in held} == set(shapes.COLOURS)
    assert {name.split()[2] for name in held} == set(shapes.SHAPES)
    relations = {split: [row for row in rows[CAPTIONS][:] if len(row) == 2] for split, rows in drawn.items()}
    assert not [row for row in relations["train"] if any(name in row[0] for name in held)]
    # Validation chooses the checkpoint: what is unseen must not take part in it.
    assert not [row for row in relations["validation"] if any(name in row[0] for name in held)]
    assert all(any(name in row[0] for name in held) for row in relations["test"])
    assert len(relations["test"]) == drawn["test"].num_rows == 600
    alone = {row[0] for row in drawn["train"][CAPTIONS][:] if len(row) == 1}
    assert alone == {thing.name for thing in shapes.THINGS}


def test_every_caption_is_true_of_its_picture(drawn):
    """The places of the two colours, of pictures with two, lie as both captions say."""
    checked = Counter()
    for image, texts in zip(
        drawn["test"].with_format("numpy")[IMAGE][:120], drawn["test"][CAPTIONS][:120], strict=True
    ):
        for text in texts:
            first, relation, second = split_caption(text)
            if first == second:
                continue
            (x, y), (right, down) = place(image, first), place(image, second)
            told = {"left of": x < right, "right of": x > right, "above": y < down, "below": y > down}
            assert told[relation], text
            checked[relation] += 1
    assert min(checked.values()) > 10 and len(checked) == 4


def split_caption(text):
    relation = next(name for name in shapes.RELATIONS if f" {name} " in text)
    first, second = text.split(f" {relation} ")
    return first.split()[1], relation, second.split()[1]


def place(image, colour):
    """The middle of the pixels that are nearest to a colour."""
    palette = {"ground": (235, 235, 235), **shapes.COLOURS}
    names = list(palette)
    distance = np.stack([np.abs(image - np.array(value)).sum(-1) for value in palette.values()])
    rows, columns = np.nonzero(distance.argmin(0) == names.index(colour))
    return columns.mean(), rows.mean()


def test_a_seed_draws_the_same_pictures_and_another_one_others():
    rng = [np.random.default_rng(seed) for seed in (0, 0, 1)]
    pictures = [shapes.draw(list(shapes.THINGS[:2]), "above", each) for each in rng]
    assert np.array_equal(*pictures[:2]) and not np.array_equal(pictures[0], pictures[2])
    assert pictures[0].dtype == np.uint8 and pictures[0].shape == (32, 32, 3)


def features(folder, rows=6, name="captions.jsonl", captions=None, **tensors):
    folder.mkdir(exist_ok=True)
    values = {"features": torch.randn(rows, 4, 3, generator=torch.Generator().manual_seed(0)), **tensors}
    save_file(values, folder / "features.safetensors")
    captions = captions or [{"captions": [f"A dog {n}", f"a cat {n}"], "split": s} for n, s in enumerate(SPLITS)]
    (folder / name).write_text("\n".join(map(json.dumps, captions)), encoding="utf-8")
    return str(folder), values["features"]


SPLITS = ("train", "val", "train", "test", "train", "train")


def test_a_folder_of_features_gives_rows_and_vectors(tmp_path):
    mask = torch.ones(6, 4)
    mask[2, 3] = 0
    folder, values = features(tmp_path, mask=mask)
    task = load_captions(CaptionSettings(path=folder, lowercase=True))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == {"train": 4, "validation": 1, "test": 1}
    assert task.dataset["train"][1] == {IMAGE: 2, CAPTIONS: ["a dog 2", "a cat 2"]}
    inputs = task.images.inputs([2, 0])
    assert torch.equal(inputs["image_features"], values[[2, 0]]) and torch.equal(inputs["image_mask"], mask[[2, 0]])


def test_splits_are_cut_off_where_there_are_none(tmp_path):
    folder, _ = features(tmp_path, captions=[{"caption": f"a dog {n}"} for n in range(6)])
    task = load_captions(CaptionSettings(path=folder))
    numbers = [number for rows in task.dataset.values() for number in rows[IMAGE][:]]
    assert sorted(numbers) == list(range(6)) and set(task.dataset) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"features": torch.full((6, 4, 3), torch.nan)}, "picture 0 hold NaN"),
        ({"features": torch.ones(6, 4)}, r"shape \(pictures, regions, width\)"),
        ({"features": torch.ones(6, 4, 3, dtype=torch.int64)}, "numbers of shape"),
        ({"mask": torch.ones(6, 3)}, "'mask' of shape"),
        ({"mask": torch.full((6, 4), 0.5)}, "'mask' must hold 1 for real regions"),
        ({"mask": torch.full((6, 4), torch.nan)}, "'mask' must hold 1 for real regions"),
        ({"mask": torch.ones(6, 4).tril(-1)}, "picture 0 has no region"),
        ({"rows": 5}, "has 6 rows, and features.safetensors 5 pictures"),
        ({"captions": [{"captions": ["a"]}] * 5 + [{"captions": []}]}, "row 5: a picture needs a caption"),
        ({"captions": [{"captions": ["a", " "]}] * 6}, "no caption is empty"),
        ({"captions": [{"captions": ["a"], "split": "dev2"}] * 6}, "holds 'dev2'"),
        ({"captions": [{"captions": ["a"], "split": "test"}] * 6}, "no row of split 'train'"),
        ({"name": "texts.jsonl"}, "and no captions: add one of"),
    ],
)
def test_features_that_cannot_be_are_refused(tmp_path, given, message):
    folder, _ = features(tmp_path, **given)
    with pytest.raises(ValueError, match=message):
        load_captions(CaptionSettings(path=folder))


def test_a_torn_file_of_features_is_named(tmp_path):
    folder, _ = features(tmp_path)
    file = tmp_path / "features.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ValueError, match="features.safetensors is no file of safetensors, or a damaged one"):
        load_captions(CaptionSettings(path=folder))


def table(folder, rows, split="train"):
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(folder / f"{split}.jsonl")


def painted(folder, count):
    """Pictures of one colour each, 0.png to COUNT-1.png; their bytes."""
    for number in range(count):
        Image.new("RGB", (4, 4), (number, 2, 3)).save(folder / f"{number}.png")
    return [(folder / f"{number}.png").read_bytes() for number in range(count)]


def red_of(task, number):
    return np.asarray(task.images.shown(number))[0, 0, 0]


def test_pictures_come_from_files_beside_their_table_and_from_the_table(tmp_path):
    contents = painted(tmp_path, 6)
    table(tmp_path, [{"file_name": f"{n}.png", "text": f"a dog {n}"} for n in range(6)])
    task = load_captions(CaptionSettings(path=str(tmp_path)))
    numbers = [number for rows in task.dataset.values() for number in rows[IMAGE][:]]
    assert sorted(numbers) == list(range(6)) and [red_of(task, n) for n in range(6)] == list(range(6))
    packed = Dataset.from_dict(
        {"image": [{"bytes": each, "path": None} for each in contents], "caption": list("abcdef")}
    )
    packed.select(range(3)).to_parquet(tmp_path / "table.parquet")
    packed.select(range(3, 6)).to_parquet(tmp_path / "other.parquet")
    paths = {"train": str(tmp_path / "table.parquet"), "validation": str(tmp_path / "other.parquet")}
    task = load_captions(CaptionSettings(path=paths))
    assert task.dataset["validation"][2] == {IMAGE: 5, CAPTIONS: ["f"]} and red_of(task, 5) == 5
    both = load_captions(CaptionSettings(path=dict.fromkeys(paths, paths["train"])))  # as one split is measured alone
    assert [red_of(both, n) for n in range(6)] == [0, 1, 2, 0, 1, 2]
    assert both.dataset["train"][CAPTIONS][:] == both.dataset["validation"][CAPTIONS][:] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_one_picture_are_one_picture_with_all_their_captions(tmp_path, packed):
    """Else some captions of a picture would be learnt from, and others measured."""
    contents = painted(tmp_path, 10)
    rows = [(n, f"caption {turn} of {n}") for turn in range(5) for n in range(10)]
    if packed:
        columns = {
            "image": [{"bytes": contents[n], "path": None} for n, _ in rows],
            "caption": [text for _, text in rows],
        }
        Dataset.from_dict(columns).to_parquet(tmp_path / "train.parquet")
    else:
        table(tmp_path, [{"image": f"{'./' * (k % 2)}{n}.png", "caption": text} for k, (n, text) in enumerate(rows)])
    task = load_captions(CaptionSettings(path=str(tmp_path), validation_fraction=0.2))
    shown = {split: {red_of(task, number) for number in part[IMAGE][:]} for split, part in task.dataset.items()}
    assert {split: len(found) for split, found in shown.items()} == {"train": 6, "validation": 2, "test": 2}
    assert set.union(*shown.values()) == set(range(10))
    for part in task.dataset.values():
        for row in part:
            assert row[CAPTIONS] == [f"caption {turn} of {red_of(task, row[IMAGE])}" for turn in range(5)]


def test_a_picture_in_two_splits_is_refused(tmp_path):
    painted(tmp_path, 4)
    table(tmp_path, [{"image": f"{n}.png", "caption": "a"} for n in range(3)])
    table(tmp_path, [{"image": f"{n}.png", "caption": "b"} for n in (3, 1)], "test")
    with pytest.raises(ValueError, match="Split 'test', row 1: its picture is in split 'train' too"):
        load_captions(CaptionSettings(path=str(tmp_path)))


def test_pictures_that_are_not_there_are_named_before_anything_is_learnt(tmp_path):
    painted(tmp_path, 2)
    table(tmp_path, [{"image": f"{n}.png", "caption": "a"} for n in (0, 1, 2)])
    with pytest.raises(ValueError, match="split 'train', row 2: there is no picture '.*2.png'"):
        load_captions(CaptionSettings(path=str(tmp_path)))
    table(tmp_path, [{"image": n, "caption": "a"} for n in range(3)])
    for named in (None, "image"):
        with pytest.raises(ValueError, match=r"holds int64: give paths|Which column holds the pictures"):
            load_captions(CaptionSettings(path=str(tmp_path), image_column=named))


def test_a_damaged_picture_of_a_table_is_named(tmp_path):
    contents = painted(tmp_path, 5)
    paths = ["photos/17.png", None, None, None, None]
    images = [
        {"bytes": each[-40 - n :], "path": path} for n, (each, path) in enumerate(zip(contents, paths, strict=True))
    ]
    Dataset.from_dict({"image": images, "caption": list("abcde")}).to_parquet(tmp_path / "train.parquet")
    file = str(tmp_path / "train.parquet")
    task = load_captions(CaptionSettings(path={"train": file, "validation": file}))
    for number, message in ((0, "row 0: 'photos/17.png' is no picture"), (1, "row 1: The picture given as bytes is")):
        with pytest.raises(ValueError, match=f"split 'train', {message}"):
            task.images.shown(number)


def test_pictures_stay_in_their_table_until_they_are_asked_for(tmp_path):
    contents = painted(tmp_path, 4)
    columns = {"image": [{"bytes": each, "path": None} for each in contents], "caption": list("abcd")}
    Dataset.from_dict(columns).to_parquet(tmp_path / "train.parquet")
    task = load_captions(CaptionSettings(path=str(tmp_path)))
    read = []

    class Watched(Dataset):
        def __getitem__(self, key):
            read.append(key)
            return super().__getitem__(key)

    for rows, *_ in task.images.pictures._found:
        rows.__class__ = Watched
    assert red_of(task, 2) == 2 and read == [2]


def test_lower_case_hides_no_empty_caption(tmp_path):
    folder, _ = features(tmp_path, captions=[{"captions": ["a", ""]}] * 6)
    for lowercase in (False, True):
        with pytest.raises(ValueError, match="row 0: a picture needs a caption, and no caption is empty"):
            load_captions(CaptionSettings(path=folder, lowercase=lowercase))


def test_only_real_regions_must_hold_numbers(tmp_path):
    mask = torch.ones(6, 4)
    mask[2, 3] = 0
    values = torch.ones(6, 4, 3)
    values[2, 3] = torch.nan
    folder, _ = features(tmp_path, features=values, mask=mask)
    task = load_captions(CaptionSettings(path=folder))
    assert torch.equal(task.images.inputs([2])["image_mask"], mask[[2]])
    assert nearest(task, [0, 2], [2]) == [0]  # both means are ones


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="max_rows=0"):
        CaptionSettings(name="embedded", max_rows=0)
    with pytest.raises(ValueError, match="captions stand in caption_column"):
        CaptionSettings(name="embedded", text_column="text")
