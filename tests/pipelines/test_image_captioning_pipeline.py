"""The pipeline of captions: pictures of every mode and place, feature vectors, batches, and what is no picture."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, ResNetConfig, ViTImageProcessor, pipeline

import hfseq
from hfseq.tokenization.pictures import open_picture

WORDS = hfseq.train_tokenizer(
    ["a red ring above a blue cross"], kind="whitespace", min_frequency=1, purpose="language-modeling"
)


def made(folder, **options):
    torch.manual_seed(0)
    config = hfseq.CaptionerConfig(
        **{"vocab_size": len(WORDS), "hidden_size": 8, "embedding_size": 6, "initializer_range": 2.0, **options},
        **{"bos_token_id": WORDS.bos_token_id, "eos_token_id": WORDS.eos_token_id},
    )
    model = hfseq.CaptionerForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.model.decoder.parameters():
            parameter.uniform_(-1, 1)
    model.generation_config.update(max_new_tokens=5, suppress_tokens=[0, 1, 2, 3])
    model.save_pretrained(folder)
    WORDS.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    vision = ResNetConfig(embedding_size=4, hidden_sizes=[8], depths=[1], layer_type="basic")
    folder = made(tmp_path_factory.mktemp("pictures"), vision_config=vision)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return pipeline("image-captioning", model=folder, device="cpu")


@pytest.fixture(scope="module")
def of_features(tmp_path_factory):
    return pipeline("image-captioning", model=made(tmp_path_factory.mktemp("features"), feature_size=5), device="cpu")


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_picture_is_described_wherever_it_lies(pipe, picture, tmp_path, monkeypatch):
    file = tmp_path / "picture.png"
    picture.save(file)
    inputs = pipe.image_processor(images=picture, return_tensors="pt")["pixel_values"]
    ids = AutoModelForImageTextToText.from_pretrained(pipe.model.name_or_path).generate(pixel_values=inputs)
    expected = [{"generated_text": WORDS.decode(ids[0], skip_special_tokens=True).strip()}]
    assert expected[0]["generated_text"]
    content = file.read_bytes()
    address = "https://example.org/picture.png"
    monkeypatch.setattr("hfseq.tokenization.pictures._fetched", lambda given, timeout: {address: content}[given])
    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    for given in (picture, str(file), np.asarray(picture), address, data):
        assert pipe(given) == expected
    assert pipe([str(file), picture], batch_size=2) == [expected, expected] and pipe([]) == []
    assert len(pipe(picture, num_beams=3, num_return_sequences=2)) == 2
    assert pipe(picture, generate_kwargs={"max_new_tokens": 1})[0]["generated_text"].count(" ") == 0
    with pytest.raises(ValueError, match="max_new_tokens stands in generate_kwargs and beside it"):
        pipe(picture, generate_kwargs={"max_new_tokens": 1}, max_new_tokens=2)


def test_features_of_any_number_of_regions_are_described_alone_and_in_batches(of_features):
    rows = [torch.randn(count, 5, generator=torch.Generator().manual_seed(count)) for count in (1, 4, 9)]
    alone = [of_features(row) for row in rows]
    assert of_features(rows, batch_size=3) == alone
    assert of_features([row.numpy() for row in rows], batch_size=2) == alone
    with pytest.raises(ValueError, match="are 4 wide, and config.feature_size=5"):
        of_features(rows[0][:, :4])
    with pytest.raises(ValueError, match="NaN or infinite"):
        of_features(rows[1] / 0)
    with pytest.raises(ValueError, match="no image encoder: give it feature vectors"):
        of_features(np.zeros((4, 4, 3), dtype=np.uint8))


def test_the_task_refuses_other_models_and_what_is_no_image(pipe, tmp_path):
    tokenizer = hfseq.train_tokenizer(["a"], kind="char", min_frequency=1, purpose="language-modeling")
    with pytest.raises(ValueError, match="needs a model that reads images"):
        pipeline("image-captioning", model=hfseq.LSTMForCausalLM(hfseq.LSTMConfig(hidden_size=4)), tokenizer=tokenizer)
    for given, message in (
        (torch.randn(4, 5), "reads pictures by an image encoder"),
        (np.zeros((4, 4, 3)), "neither a picture"),
        (np.zeros((4, 4, 3), dtype=np.int64), "is no picture: give whole numbers 0 to 255"),
        (b"no picture", "is no picture that Pillow can read"),
        ("data:image/png;base64,#", "is no base64 text"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(given)
    with pytest.raises(FileNotFoundError, match="There is no picture"):
        pipe(str(tmp_path / "nothing.png"))
    with pytest.raises(TypeError, match="float is no picture"):
        pipe(1.5)


def test_a_file_that_is_cut_off_is_named(tmp_path, picture):
    for suffix in ("png", "jpg"):
        whole = io.BytesIO()
        picture.save(whole, format={"jpg": "JPEG"}.get(suffix, suffix))
        file = tmp_path / f"torn.{suffix}"
        file.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
        with pytest.raises(ValueError, match=f"torn.{suffix}' is a damaged picture"):
            open_picture(file)


def test_what_is_transparent_is_white_in_every_mode():
    layer = Image.new("RGBA", (2, 1), (10, 200, 30, 0))  # a colour hides behind what is not seen
    layer.putpixel((1, 0), (10, 200, 30, 255))
    expected = [(255, 255, 255), (10, 200, 30)]
    assert colours(layer) == expected
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 200, 30, 10, 200, 30])
    palette.putdata([0, 1])
    assert colours(palette) == [(10, 200, 30)] * 2
    palette.info["transparency"] = 0
    assert colours(palette) == expected
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert colours(half) == [(127, 127, 127)]
    grey = Image.new("LA", (1, 1), (7, 0))
    assert colours(grey) == [(255, 255, 255)]


def test_greys_and_print_colours_keep_their_light():
    assert colours(Image.new("L", (1, 1), 99)) == [(99, 99, 99)]
    assert colours(Image.new("1", (1, 1), 1)) == [(255, 255, 255)]
    assert colours(Image.fromarray(np.full((1, 1), 256 * 99 + 5, dtype=np.uint16))) == [(99, 99, 99)]
    assert colours(Image.new("CMYK", (1, 1), (0, 0, 0, 0))) == [(255, 255, 255)]


def test_a_picture_that_was_taken_on_its_side_stands_upright(tmp_path):
    lying = Image.new("RGB", (3, 2), "white")
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "side.jpg", exif=exif)
    assert open_picture(tmp_path / "side.jpg").size == (2, 3)


def colours(picture):
    found = np.asarray(open_picture(picture))
    return [tuple(int(value) for value in pixel) for row in found for pixel in row]
