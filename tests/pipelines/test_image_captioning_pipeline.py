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


def test_pictures_of_several_sizes_need_a_processor_that_makes_one_or_no_batch(pipe, picture):
    keeps = pipeline(
        "image-captioning", model=pipe.model, tokenizer=WORDS, image_processor=ViTImageProcessor(do_resize=False)
    )
    pictures = [picture, picture.resize((16, 16))]
    assert len(keeps(pictures)) == 2
    with pytest.raises(ValueError, match="those of several sizes make no batch: use batch_size=1"):
        keeps(pictures, batch_size=2)


def test_a_model_in_memory_says_that_it_needs_an_image_processor(pipe):
    model = hfseq.CaptionerForConditionalGeneration(pipe.model.config)
    model.config._name_or_path = model.name_or_path = ""
    with pytest.raises(ValueError, match="give image_processor="):
        pipeline("image-captioning", model=model, tokenizer=WORDS)


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


def test_sixteen_bits_are_reduced_before_anything_else():
    """A grey that is not seen must not make the whole picture white, nor 8 bits in mode I black."""
    file = io.BytesIO()
    Image.fromarray(np.array([[256 * 99, 256 * 7]], dtype=np.uint16)).save(file, "PNG", transparency=256 * 7)
    assert colours(file.getvalue()) == [(99, 99, 99), (255, 255, 255)]
    assert colours(Image.fromarray(np.array([[99, 7]], dtype=np.int32))) == [(99, 99, 99), (7, 7, 7)]
    assert colours(Image.fromarray(np.array([[256 * 99, 7]], dtype=np.int32))) == [(99, 99, 99), (0, 0, 0)]
    assert colours(Image.fromarray(np.array([[99.4, 1.0]], dtype=np.float32))) == [(99, 99, 99), (1, 1, 1)]
    for dtype, values, message in (
        (np.float32, [np.nan, 1], "of mode 'F' holds numbers that are not 0 to 255"),
        (np.float32, [300, 1], "of mode 'F' holds numbers that are not 0 to 255"),
        (np.float32, [0.5, 1], "holds numbers 0 to 1, and would be black"),
        (np.int32, [-1, 1], "of mode 'I' holds numbers that are not 0 to 65535"),
    ):
        with pytest.raises(ValueError, match=message):
            open_picture(Image.fromarray(np.array([values], dtype=dtype)))


def test_modes_that_pillow_converts_on_a_way_round_and_pictures_that_are_none():
    half = Image.new("LA", (1, 1), (100, 128)).convert("La")
    assert colours(half) == colours(half.convert("LA"))
    with pytest.raises(ValueError, match="has no pixels: it is 0 wide and 5 high"):
        open_picture(Image.new("RGB", (0, 5)))
    closed = Image.new("RGB", (1, 1))
    closed.close()
    with pytest.raises(ValueError, match="is it closed"):
        open_picture(closed)


def test_a_picture_in_a_dictionary_is_named_by_its_path():
    with pytest.raises(ValueError, match="'photos/17.png' is no picture"):
        open_picture({"bytes": b"no picture", "path": "photos/17.png"})


def test_a_picture_that_was_taken_on_its_side_stands_upright(tmp_path):
    lying = Image.new("RGB", (3, 2), "white")
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "side.jpg", exif=exif)
    assert open_picture(tmp_path / "side.jpg").size == (2, 3)


def colours(picture):
    found = np.asarray(open_picture(picture))
    return [tuple(int(value) for value in pixel) for row in found for pixel in row]
