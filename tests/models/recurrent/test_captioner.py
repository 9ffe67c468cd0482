"""The captioner: against the equations written as loops, with real image encoders, and through `generate`."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    ConvNextConfig,
    ConvNextModel,
    ResNetConfig,
    SwinConfig,
    ViTConfig,
    ViTModel,
)

from hfseq import CaptionerConfig, CaptionerForConditionalGeneration
from tests.closeness import assert_same
from tests.contract.promises import same_weights

SIZES = {
    **{"vocab_size": 14, "embedding_size": 6, "hidden_size": 8, "hidden_dropout": 0.0, "feature_size": 5},
    **{"bos_token_id": 2, "eos_token_id": None},  # a text that is generated has the length that was asked for
}
CAPTIONS = torch.randint(4, 14, (3, 5), generator=torch.Generator().manual_seed(2))
FEATURES = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 1]])
PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
ENCODERS = {
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic"),
    "convnext": ConvNextConfig(num_stages=2, hidden_sizes=[8, 12], depths=[1, 1], patch_size=4),
    "vit": ViTConfig(
        **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
        **{"image_size": 32, "patch_size": 8},
    ),
    "swin": SwinConfig(embed_dim=4, depths=[1, 1], num_heads=[1, 2], window_size=4, image_size=32, patch_size=4),
}


def small(**options):
    torch.manual_seed(0)
    model = CaptionerForConditionalGeneration(CaptionerConfig(**{**SIZES, **options})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "vision" not in name:
                parameter.uniform_(-0.9, 0.9)
    return model


def seeing(name, **options):
    return small(**{"vision_config": ENCODERS[name], "feature_size": None, **options})


def by_hand(model, features, real, tokens):
    """Show, Attend and Tell with an LSTM and the additive score, a word and a region at a time."""
    own = dict(model.named_parameters())
    decoder, encoder = "model.decoder.", "model.encoder."
    memory = [own[f"{encoder}projection.weight"] @ region + own[f"{encoder}projection.bias"] for region in features]
    memory = [vector for vector, is_real in zip(memory, real, strict=True) if is_real]
    mean = sum(memory) / len(memory)
    h, c = (
        torch.tanh(
            own[f"{decoder}bridge.projections.{k}.weight"] @ mean + own[f"{decoder}bridge.projections.{k}.bias"]
        )
        for k in range(2)
    )
    cell = nn.LSTMCell(6, 8).double()
    loop = model.model.decoder.layers[0]
    cell.load_state_dict(lstm_weights(loop))
    rows = []
    for token in tokens:
        h, c = (state[0] for state in cell(own[f"{decoder}embed_tokens.weight"][token][None], (h[None], c[None])))
        scores = []
        for vector in memory:
            inner = own[f"{decoder}attention.query.weight"] @ h + own[f"{decoder}attention.key.weight"] @ vector
            inner = torch.tanh(inner + own[f"{decoder}attention.key.bias"])
            scores.append(own[f"{decoder}attention.score.weight"][0] @ inner)
        alpha = torch.stack(scores).softmax(0)
        context = sum(weight * vector for weight, vector in zip(alpha, memory, strict=True))
        told = torch.tanh(own[f"{decoder}combine.weight"] @ torch.cat((context, h)))
        rows.append(own["lm_head.weight"] @ told + own["lm_head.bias"])
    return torch.stack(rows)


def lstm_weights(loop):
    from hfseq import LSTMConfig, LSTMModel, to_torch

    config = LSTMConfig(vocab_size=14, embedding_size=6, hidden_size=8)
    body = LSTMModel(config).double()
    body.layers[0].forward_loop.load_state_dict(loop.state_dict())
    theirs = to_torch(body.layers)
    return {name.removesuffix("_l0"): value for name, value in theirs.state_dict().items()}


def test_it_computes_the_equations_of_show_attend_and_tell():
    model = small(attention="additive").double()
    found = model(FEATURES.double(), MASK, decoder_input_ids=CAPTIONS).logits
    for row in range(3):
        assert_same(found[row], by_hand(model, FEATURES[row].double(), MASK[row], CAPTIONS[row]), 1e-9)


def test_without_attention_the_image_is_seen_through_its_mean_alone():
    model = small(attention="none")
    swapped = FEATURES.flip(1)
    assert_same(model(FEATURES, labels=CAPTIONS).logits, model(swapped, labels=CAPTIONS).logits)
    attending = small(attention="additive", coverage=True)
    order = attending(FEATURES, labels=CAPTIONS, output_attentions=True).cross_attentions[0]
    assert_same(attending(swapped, labels=CAPTIONS, output_attentions=True).cross_attentions[0].flip(-1), order)
    assert_same(order.sum(-1), torch.ones(3, 1, 5))


def test_places_tell_regions_apart_that_are_alike():
    model = small(attention="additive", num_regions=4)
    assert not torch.allclose(model(FEATURES, labels=CAPTIONS).logits, model(FEATURES.flip(1), labels=CAPTIONS).logits)
    with pytest.raises(ValueError, match="An image has 5 regions, and config.num_regions=4"):
        model(torch.randn(1, 5, 5), labels=CAPTIONS[:1])
    padded = nn.functional.pad(FEATURES, (0, 0, 3, 0)), nn.functional.pad(torch.ones(3, 4), (3, 0))
    assert_same(model(*padded, labels=CAPTIONS).logits, model(FEATURES, labels=CAPTIONS).logits)


@pytest.mark.parametrize("attention", ["none", "general", "additive", "multi_head"])
def test_writing_with_a_cache_in_beams_and_by_chance_is_writing_without(attention):
    model = small(attention=attention)
    options = {"image_features": FEATURES, "image_mask": MASK, "max_new_tokens": 6}
    for way in ({"do_sample": False}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}):
        written = []
        for use_cache in (True, False):
            torch.manual_seed(0)
            written.append(model.generate(**options, **way, use_cache=use_cache))
        assert torch.equal(*written)
    greedy = model.generate(**options, do_sample=False)
    assert torch.equal(model(FEATURES, MASK, labels=greedy[:, 1:]).logits.argmax(-1), greedy[:, 1:])


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("stage", [None, "stage1"])
def test_any_image_encoder_gives_the_regions(name, stage, tmp_path):
    if stage is not None and name == "vit":
        with pytest.raises(ValueError, match="vision_stage='stage1' is no stage of 'vit'"):
            seeing(name, vision_stage=stage)
        return
    model = seeing(name, attention="additive", vision_stage=stage)
    outputs = model(pixel_values=PIXELS, labels=CAPTIONS)
    regions = model.model.encoder.regions(PIXELS)
    assert regions.shape[-1] == model.config.feature_size
    assert_same(model(regions, labels=CAPTIONS).logits, outputs.logits)
    outputs.loss.backward()
    # Later stages, and a norm that ConvNext has for its own pooling, are nothing that the regions come from.
    assert all(each.grad is not None for name, each in model.named_parameters() if "vision" not in name)
    assert any(each.grad is not None and each.grad.any() for each in model.model.encoder.vision.parameters())
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert same_weights(model, loaded)
    written = [each.generate(pixel_values=PIXELS, max_new_tokens=4, num_beams=2) for each in (model, loaded)]
    assert torch.equal(*written)
    assert torch.equal(written[0], model.generate(pixel_values=PIXELS, max_new_tokens=4, num_beams=2, use_cache=False))


def test_regions_lie_row_by_row():
    model = seeing("resnet")
    grid = model.model.encoder.vision(PIXELS).last_hidden_state
    assert torch.equal(model.model.encoder.regions(PIXELS), grid.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(("vision", "name"), [(ConvNextModel, "convnext"), (ViTModel, "vit")])
def test_a_pretrained_encoder_keeps_its_weights_and_may_be_frozen(vision, name, tmp_path):
    torch.manual_seed(5)
    encoder = vision(ENCODERS[name]).eval()
    encoder.save_pretrained(tmp_path)
    model = CaptionerForConditionalGeneration.from_vision_pretrained(
        str(tmp_path), vocab_size=14, bos_token_id=2, hidden_size=8, freeze_vision=True
    ).train()
    assert not model.model.encoder.vision.training
    found = encoder(PIXELS).last_hidden_state
    found = found.flatten(2).transpose(1, 2) if found.dim() == 4 else found
    assert_same(model.model.encoder.regions(PIXELS), found)
    model(pixel_values=PIXELS, labels=CAPTIONS).loss.backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert "model.encoder.projection.weight" in trained and not [name for name in trained if "vision" in name]
    if name == "convnext":
        with pytest.raises(ValueError, match="no vision_stage"):
            CaptionerForConditionalGeneration.from_vision_pretrained(
                str(tmp_path), vocab_size=14, bos_token_id=2, hidden_size=8, vision_stage="stage1"
            )


def test_a_frozen_encoder_keeps_the_averages_of_its_batches():
    model = seeing("resnet", freeze_vision=True).train()
    before = {name: value.clone() for name, value in model.model.encoder.vision.state_dict().items()}
    model(pixel_values=PIXELS, labels=CAPTIONS)
    after = model.model.encoder.vision.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vision_config": {"model_type": "bert_of_nobody"}}, "has the model_type 'bert_of_nobody'"),
        ({"vision_config": {"model_type": "timm_wrapper"}}, "has the model_type 'timm_wrapper'"),
        ({"vision_config": {"model_type": "resnet", "layer_type": "soft"}}, "layer_type=soft is not one of"),
        ({"vision_config": {"model_type": "vit", "attn_implementation": "user/kernel"}}, "user/kernel"),
        ({"feature_size": None}, "say how wide the feature vectors"),
        ({"freeze_vision": True}, "freeze_vision=True is about an image encoder"),
        ({"coverage": True}, "coverage=True is a part of the additive score"),
        ({"cell": "lstm_blocks", "hidden_size": 7}, "cell='lstm_blocks' needs a width divisible by"),
        ({"tie_word_embeddings": True}, "make them equal"),
    ],
)
def test_configs_that_cannot_be_are_refused(options, message):
    with pytest.raises(Exception, match=message):
        CaptionerConfig(**{**SIZES, **options})


def test_pixels_that_are_none_are_named():
    model = seeing("resnet")
    with pytest.raises(ValueError, match=r"got \(3, 32, 32\). One image is a batch of one"):
        model(pixel_values=PIXELS[0], labels=CAPTIONS)
    with pytest.raises(ValueError, match="reads pixel_values, or image_features of its own regions"):
        model(labels=CAPTIONS)
    with pytest.raises(ValueError, match="There are 3 sources and 2 targets"):
        model(pixel_values=PIXELS, labels=CAPTIONS[:2])


def test_regions_that_are_none_count_for_nothing_and_no_image_is_without_one():
    """NaN where nothing is real changes neither answers nor gradients."""
    model, labels = small().train(False), torch.tensor([[4, 5, 3]])
    features = torch.randn(1, 3, FEATURES.shape[-1], dtype=FEATURES.dtype)
    mask = torch.tensor([[1, 1, 0]])
    found = []
    for hidden in (0.0, torch.nan):
        features[:, 2] = hidden
        model.zero_grad()
        loss = model(image_features=features, image_mask=mask, labels=labels).loss
        loss.backward()
        found.append([loss.detach(), *(each.grad for each in model.parameters() if each.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    features[:, 2] = 0
    for wrong, message in (
        (mask * 0, "says that image 0 has no real region"),
        (mask * 0.5, "must hold 1 for real regions"),
        (mask / 0, "must hold 1 for real regions"),
    ):
        with pytest.raises(ValueError, match=message):
            model(image_features=features, image_mask=wrong, labels=labels)


def test_the_vocabulary_grows():
    model = small(embedding_size=8, tie_word_embeddings=True)
    before = model(FEATURES, labels=CAPTIONS).logits
    model.resize_token_embeddings(16)
    assert model.config.vocab_size == 16 and model.lm_head.weight is model.get_input_embeddings().weight
    assert_same(model(FEATURES, labels=CAPTIONS).logits[..., :14], before)
