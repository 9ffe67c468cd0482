"""What the recipe of captions does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, ConvNextConfig, ConvNextModel, ViTImageProcessor, pipeline
from transformers.modeling_outputs import BaseModelOutput

import hfseq
from hfseq import cli, plots
from hfseq.cards.pictures import pictures_in
from hfseq.data.captions import CAPTIONS, IMAGE, CaptionSettings, load_captions
from hfseq.evaluation.translation import signature, translation_scores
from hfseq.insight.looks import _grid
from hfseq.tasks.captioning.card import MOST_FREQUENT, NEAREST
from hfseq.tasks.captioning.rivals import nearest
from hfseq.tasks.captioning.settings import VisionSettings
from tests.closeness import assert_same
from tests.tasks.base import RECIPES, facts, losses

RECIPE = RECIPES["captioning"]
SHORT = ("--training.max_steps=2", "--training.eval_strategy=no", "--training.save_strategy=no")


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("captioning")


@pytest.fixture
def task():
    return load_captions(CaptionSettings(name="embedded", max_rows=64))


def test_the_scores_are_those_of_what_the_saved_model_writes(plain, task):
    folder, printed = plain
    made, rows = facts(folder), task.dataset["test"]
    pipe = pipeline("image-captioning", model=str(folder))
    written = [each[0]["generated_text"] for each in pipe([task.images.shown(n) for n in rows[IMAGE][:]])]
    assert made.runs[0].metrics == pytest.approx(translation_scores(rows[CAPTIONS][:], written))
    assert losses(folder)[-1] < 0.9 * losses(folder)[0]
    assert made.signature == signature(rows[CAPTIONS][:]) and "nrefs:2" in made.signature
    assert {row.name for row in made.comparisons} == {MOST_FREQUENT, NEAREST}
    assert set(pictures_in(folder)) >= {"captions.png", "attention.png", "curves.png"}
    assert type(AutoImageProcessor.from_pretrained(folder)).__name__.startswith("ViTImageProcessor")
    written_right = [example.predicted for example in made.examples.right]
    assert all(text in sum(rows[CAPTIONS][:], []) for text in written_right)
    assert "pipeline_tag: image-to-text" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_commands_describe_and_measure_pictures(plain, tmp_path, capsys):
    folder, _ = plain
    file = tmp_path / "picture.png"
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(file)
    assert cli.main(["predict", str(folder), str(file)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.keys() == {"text", "caption"} and answer["text"] == str(file)
    assert cli.main(["info", str(folder)]) == 0
    assert "pipeline('image-captioning'" in capsys.readouterr().out
    said = answer["caption"] or "nothing"  # so short a training may teach silence
    (tmp_path / "test.jsonl").write_text(json.dumps({"image": "picture.png", "captions": [said]}) + "\n")
    assert cli.main(["evaluate", str(folder), str(tmp_path / "test.jsonl")]) == 0
    assert f"exact_match {float(said == answer['caption']):.4f}" in capsys.readouterr().out


def test_where_it_looks_is_told_and_drawn(plain, task, tmp_path):
    pipe = pipeline("image-captioning", model=str(plain[0]))
    picture = task.images.shown(3)
    found = hfseq.look_at(pipe, picture)
    assert " ".join(found.words[:-1]) == pipe(picture)[0]["generated_text"] and found.words[-1] == "</s>"
    assert found.weights.shape == (len(found.words), 8, 8)
    assert_same(found.weights.sum((1, 2)), torch.ones(len(found.words)))
    given = hfseq.look_at(pipe, picture, "a red ring")
    ids = pipe.tokenizer(text_target="a red ring", return_tensors="pt")["input_ids"]
    inputs = pipe.preprocess(picture)
    weights = pipe.model(**inputs, labels=ids, output_attentions=True).cross_attentions[0][0, 0]
    assert_same(given.weights.flatten(1), weights)
    for suffix in ("png", "svg"):
        plots.looks(found, given, path=tmp_path / f"looks.{suffix}", title="shapes")
        assert (tmp_path / f"looks.{suffix}").stat().st_size > 1_000
    with pytest.raises(ValueError, match="num_beams would change nothing"):
        hfseq.look_at(pipe, picture, "a red ring", num_beams=2)
    with pytest.raises(ValueError, match=r"grid=\(3, 3\) has 9 regions, and the model looks at 64"):
        hfseq.look_at(pipe, picture, grid=(3, 3))
    with pytest.raises(ValueError, match="must end in one of .png"):
        plots.looks(found, path="looks.gif")


class WideEncoder(torch.nn.Module):
    """Sees any picture as a grid of 4 x 16, as networks with strides of two kinds do."""

    def forward(self, pixel_values, **kwargs):
        grid = torch.nn.functional.adaptive_avg_pool2d(pixel_values, (4, 16))
        return BaseModelOutput(last_hidden_state=grid.repeat(1, 3, 1, 1)[:, :8])


def test_a_look_has_the_grid_of_the_encoder_and_shows_what_the_model_saw(plain, task):
    """A guess would take 4 x 16 regions for 8 x 8, and the middle of a picture for all of it."""
    pipe = pipeline("image-captioning", model=str(plain[0]))
    picture = task.images.shown(3)
    assert np.abs(hfseq.look_at(pipe, picture).picture.astype(int) - picture).max() <= 1
    wide = np.concatenate([np.zeros_like(picture), picture], axis=1)
    assert hfseq.look_at(pipe, wide).picture.shape == (32, 32, 3)
    encoder = pipe.model.get_encoder()
    encoder.vision = WideEncoder()
    encoder.vision.dtype = torch.float32
    assert hfseq.look_at(pipe, picture, "a red ring").weights.shape[1:] == (4, 16)


def test_regions_without_a_grid_are_squares_of_the_picture():
    assert _grid(PlainModel(), torch.zeros(1, 3, 64, 16), 64) == (16, 4)
    assert _grid(PlainModel(), torch.zeros(1, 3, 32, 32), 17) == (4, 4)
    with pytest.raises(ValueError, match="15 regions of 32 x 32 pixels are no squares"):
        _grid(PlainModel(), torch.zeros(1, 3, 32, 32), 15)
    with pytest.raises(ValueError, match="Feature vectors do not tell how their 49 regions lie"):
        _grid(PlainModel(), None, 49)


class PlainModel:
    """A model whose encoder tells no grid."""

    def get_encoder(self):
        return None


def test_a_checkpoint_describes_pictures_as_well(plain, task):
    checkpoint = next(plain[0].glob("checkpoint-*"))
    assert pipeline("image-captioning", model=str(checkpoint))(task.images.shown(3))[0].keys() == {"generated_text"}


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"image_size": 0, "config": {"model_type": "resnet"}}, "vision.image_size=0 must be at least 1"),
        ({"image_size": 16, "from_pretrained": "a/b"}, "image_size=16: vision.from_pretrained brings"),
    ],
)
def test_sizes_that_nobody_would_read_are_refused(vision, message):
    with pytest.raises(ValueError, match=message):
        VisionSettings(**vision)


def test_the_nearest_picture_is_the_picture_itself(task):
    task.images.processor = ViTImageProcessor(size={"height": 32, "width": 32})
    numbers = task.dataset["train"][IMAGE][:]
    assert nearest(task, numbers, numbers[5:9]) == [5, 6, 7, 8]


def test_features_are_learnt_from_and_described(monkeypatch, tmp_path):
    data = tmp_path / "features"
    data.mkdir()
    save_file({"features": torch.randn(12, 4, 6)}, data / "features.safetensors")
    rows = [{"captions": [f"a dog {n % 3}", "A cat"], "split": ("train", "val", "test")[n % 3]} for n in range(12)]
    (data / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    small = [word for word in RECIPE.small if "vision" not in word]
    words = (*SHORT, f"--data.path={data}", "--tokenizer.min_count=1", "--data.lowercase=true")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *words, config="lstm_flickr8k", small=small)
    assert made.architecture.vision is None and made.architecture.regions == 4 and made.data.lowercase
    assert made.data.captions == {"train": 8, "validation": 8, "test": 8}
    for unread in ("--vision.config={model_type: resnet}", "--vision.stage=stage1", "--vision.image_size=32"):
        with pytest.raises(ValueError, match="leave section vision out"):
            RECIPE.run(monkeypatch, tmp_path / "other", *words, unread, config="lstm_flickr8k", small=small)


def test_a_pretrained_encoder_is_started_from_and_left_alone(monkeypatch, tmp_path):
    torch.manual_seed(0)
    encoder = ConvNextModel(ConvNextConfig(num_stages=1, hidden_sizes=[8], depths=[1], patch_size=4))
    encoder.save_pretrained(tmp_path / "encoder")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "encoder")
    small = [word for word in RECIPE.small if "vision" not in word]
    words = ("--vision.config=null", "--vision.image_size=null", "--vision.freeze=true", *SHORT)
    words += (f"--vision.from_pretrained={tmp_path / 'encoder'}", "--data.max_rows=20")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *words, small=small)
    assert made.pretrained == "encoder" and made.architecture.regions == 16
    model = pipeline("image-captioning", model=str(tmp_path / "run")).model
    kept = encoder.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in model.model.encoder.vision.state_dict().items())


def test_pictures_need_an_encoder(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="give an image encoder with vision.from_pretrained=FOLDER"):
        RECIPE.run(monkeypatch, tmp_path, "--vision.config=null", small=[])
