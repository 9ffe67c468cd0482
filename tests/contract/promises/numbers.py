"""Models that read numbers: padding changes none, and wrong ones are named."""

import pytest
import torch
from transformers import AutoFeatureExtractor

from tests.closeness import assert_same
from tests.contract.cases import VOCABULARY, Case
from tests.contract.promises.padding import (
    padding_and_batch_size_change_no_answer,
    padding_and_batch_size_change_no_vector,
)


def padding_and_batch_size_change_no_number(case: Case) -> None:
    padding_and_batch_size_change_no_vector(case)
    if "several labels" in case.traits:
        padding_and_batch_size_change_no_answer(case)
        return
    # What stands behind a hole, and what is read in front of the padding of another row, changes nothing.
    model, (ids, mask) = case.model(), case.batch()
    together = case.answers(model(**case.given(ids, mask)))
    for row in range(len(ids)):
        real = mask[row].bool()
        if real.any():
            alone = case.answers(model(**case.given(ids[row : row + 1, real])))[0]
            assert_same(together[row, real], alone, what=row)


def what_stands_in_the_padding_is_not_read(case: Case) -> None:
    """Not even NaN, in answers and in gradients."""
    model, (ids, mask) = case.model(), case.batch()
    labels = case.wanted(case.targets(ids))
    if "tokens" in case.traits:
        labels = {name: values.masked_fill(_wide(mask == 0, values), -100) for name, values in labels.items()}
    given, gradients = case.given(ids, mask), []
    for filler in (0.0, torch.nan):
        values = given["input_values"].masked_fill(mask[..., None] == 0, filler)
        model.zero_grad()
        model(input_values=values, attention_mask=mask, **labels).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def _wide(marked: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return marked.view(*marked.shape, *[1] * (values.dim() - 2)).expand_as(values)


def wrong_numbers_are_named(case: Case) -> None:
    model, (ids, mask) = case.model(), case.batch()
    values = case.given(ids)["input_values"]
    width, broken = values.shape[-1], values.clone()
    broken[2, 3, 1] = torch.inf
    wrong = {
        "hold inf in series 2, step 3, feature 1": broken,
        f"{width - 1} numbers a step, and this model reads {width}": values[..., 1:],
        r"must be of shape \(series, steps, 3\), got \(7, 3\). One series is a batch of one": values[0],
        "must be floating-point numbers, got torch.int64": values.long(),
        "have no rows": values[:0],
    }
    for part in {model, model.base_model}:
        for message, given in wrong.items():
            with pytest.raises(ValueError, match=message):
                part(input_values=given)
        with pytest.raises(ValueError, match="input_values"):
            part()
        with pytest.raises(ValueError, match=r"attention_mask of shape \(5, 6\) does not fit 5"):
            part(input_values=values, attention_mask=mask[:, 1:])
    if "series" not in case.traits:
        with pytest.raises(ValueError, match="reads numbers: give it input_values, not input_ids"):
            model(input_ids=ids)
    with pytest.raises(ValueError, match="no step|holds no|token"):
        case.family.heads["text-classification"](case.family.config(vocab_size=len(VOCABULARY)))(input_values=values)


def the_feature_extractor_belongs_to_the_checkpoint(case: Case) -> None:
    """Both are loaded from one folder, and a model reads what the other returns."""
    folder = case.saved()
    extractor, model = AutoFeatureExtractor.from_pretrained(folder), case.auto_class.from_pretrained(folder)
    assert extractor.to_dict() == case.extractor().to_dict() and model.main_input_name == "input_values"
    ids, mask = (tensor.cpu() for tensor in case.batch())
    rows = case.given(ids)["input_values"]
    several = [row[real.bool()].numpy() * 2 + 1 for row, real in zip(rows[:3], mask[:3], strict=True)]
    batch = extractor(several, return_tensors="pt")
    for row, real in enumerate(mask[:3].bool()):
        assert_same(batch["input_values"][row, : real.sum()], rows[row, real])
    assert model(**batch).logits.shape[0] == 3
