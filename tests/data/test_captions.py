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


@pytest.fixture(scope="module")
def drawn():
    return shapes.load_shapes()


def test_held_out_things_are_seen_alone_and_in_relations_only_where_they_are_tested(drawn):
    held = {shapes.Thing(*each).name for each in shapes.HELD_OUT}
    assert len(held) == 6 and {name.split()[1] for name in held} == set(shapes.COLOURS)
    assert {name.split()[2] for name in held} == set(shapes.SHAPES)
    relations = {split: [row for row in rows[CAPTIONS][:] if len(row) == 2] for split, rows in drawn.items()}
    assert not [row for row in relations["train"] if any(name in row[0] for name in held)]
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


def test_pictures_come_from_files_beside_their_table_and_from_the_table(tmp_path):
    picture = Image.new("RGB", (4, 4), (1, 2, 3))
    picture.save(tmp_path / "one.png")
    rows = [{"file_name": "one.png", "text": f"a dog {n}"} for n in range(6)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = load_captions(CaptionSettings(path=str(tmp_path)))
    assert np.asarray(task.images.shown(0)).tolist() == np.asarray(picture).tolist()
    content = (tmp_path / "one.png").read_bytes()
    table = tmp_path / "table.parquet"
    Dataset.from_dict({"image": [{"bytes": content, "path": None}] * 3, "caption": ["a", "b", "c"]}).to_parquet(table)
    packed = load_captions(CaptionSettings(path={"train": str(table), "validation": str(table)}))
    assert np.asarray(packed.images.shown(5)).tolist() == np.asarray(picture).tolist()
    assert packed.dataset["validation"][2] == {IMAGE: 5, CAPTIONS: ["c"]}


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="max_rows=0"):
        CaptionSettings(name="embedded", max_rows=0)
    with pytest.raises(ValueError, match="captions stand in caption_column"):
        CaptionSettings(name="embedded", text_column="text")
