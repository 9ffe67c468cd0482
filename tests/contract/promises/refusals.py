"""Promise 4: what is wrong is refused when it is given, and the message names it."""

import pytest
import torch

from tests.contract.cases import Case


def wrong_config_values_are_refused(case: Case) -> None:
    labels = [{0: "a", 7: "b"}, {0: "a", 1: "a"}, {}]
    everywhere = {"eos_token_id": [case.vocab_size, -1], "id2label": labels, "dtype": ["int32", "save"]}
    for name, values in (case.wrong_values | everywhere).items():
        for value in values:
            with pytest.raises(Exception, match=name):
                case.config(**{name: value})


def keywords_that_are_no_field_are_refused(case: Case) -> None:
    """By code; with the field that was meant, where others call it so, or it is misspelt."""
    folder = case.saved()
    for keyword, meant in (case.typo, case.foreign_name):
        for make in (case.config, lambda **options: case.auto_class.from_pretrained(folder, **options)):
            with pytest.raises(ValueError, match=f"no field '{keyword}'. Did you mean '{meant}'"):
                make(**{keyword: 3})
    with pytest.raises(ValueError, match=r"no field 'no_such_thing'. It has \w+, "):
        case.config(no_such_thing=3)
    config = case.config()
    assert type(config)(**config.to_dict()).to_dict() == config.to_dict()  # what transformers adds is known


def keywords_that_nobody_reads_are_refused(case: Case) -> None:
    """What is swallowed in silence is how a renamed argument becomes wrong text."""
    model = case.model()
    ids, mask = case.batch()
    for part in {model, model.base_model}:
        with pytest.raises(TypeError, match=f"{type(part).__name__} does not read 'colour'"):
            part(**case.given(ids, mask), colour="red")
        with pytest.raises(TypeError, match=f"Did you mean '{case.mask_name}'"):
            part(**case.given(ids), **{f"{case.mask_name}s": mask})
    given = {"decoder_input_ids": case.beginnings(ids)} if {"encoder and decoder", "images"} & case.traits else {}
    more = {"colour": None, "token_type_ids": torch.zeros_like(ids), "output_attentions": False, "use_cache": False}
    assert torch.equal(case.answers(model(**case.given(ids, mask), **given, **more)), case.reply(model))


def foreign_ids_are_named(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    with pytest.raises(ValueError, match=f"input id {case.vocab_size} is outside 0 to"):
        model(ids.clamp(min=case.vocab_size), mask)
    with pytest.raises(ValueError, match="integers"):
        model(ids.float(), mask)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds|give it input_ids"):
        model()
    with pytest.raises(ValueError, match=r"attention_mask of shape \(5, 6\) does not fit 5 texts of 7 tokens"):
        model(**case.given(ids, mask[:, 1:]))
    with pytest.raises(ValueError, match="no rows"):
        model(**case.given(ids[:0], mask[:0]))


def inputs_that_are_no_batch_are_named(case: Case) -> None:
    model = case.model()
    ids, _ = case.batch()
    with pytest.raises(ValueError, match=r"shape \(texts, tokens\), got \(7,\). One text is a batch of one"):
        model(**case.given(ids[0]))
    with pytest.raises(ValueError, match=r"shape \(texts, tokens\), got \(1, 5, 7\)"):
        model(**case.given(ids[None]))
    if "embeddings" in case.traits:
        with pytest.raises(ValueError, match=r"inputs_embeds must be of shape \(texts, tokens, width\), got \(7, 6\)"):
            model(inputs_embeds=torch.zeros(7, 6))
    if "encoder and decoder" in case.traits:
        with pytest.raises(ValueError, match=r"decoder_input_ids must be of shape \(texts, tokens\), got \(7,\)"):
            model(**case.given(ids), decoder_input_ids=ids[0])


def images_that_are_none_are_named(case: Case) -> None:
    model = case.model()
    features, mask = case.batch()
    labels = case.targets(features)
    for wrong, message in (
        (features[0], r"\(images, regions, width\), got \(7, 9\). One image is a batch of one"),
        (features[:0], "hold no image, or no region"),
        (features[:, :, 1:], "are 8 wide, and config.feature_size=9"),
        (features.long(), "floating-point"),
        (features.clone().index_fill(0, torch.tensor([2], device=features.device), torch.inf), "image 2 hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            model(wrong, labels=labels)
    with pytest.raises(ValueError, match=r"image_mask of shape \(5, 6\) does not fit 5 images of 7 regions"):
        model(features, mask[:, 1:], labels=labels)
    for given in ({}, {"image_features": features, "pixel_values": features[:, None]}):
        with pytest.raises(ValueError, match="exactly one of image_features and pixel_values"):
            model(**given, labels=labels)
    with pytest.raises(ValueError, match="no image encoder"):
        model(pixel_values=features[:, None], labels=labels)


def foreign_labels_are_named(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    with pytest.raises(ValueError, match=case.foreign_label[1]):
        model(**case.given(ids, mask), **case.wanted(case.foreign_targets(ids)))


def labels_of_several_classes_are_checked(case: Case) -> None:
    model = case.model(problem_type="multi_label_classification")
    ids, mask = case.batch()
    with pytest.raises(ValueError, match="from 0 to 1, got -100"):
        model(**case.given(ids, mask), labels=torch.full((5, 3), -100.0))
