"""Promise 3: padding never changes an answer."""

from typing import Any

import torch
from torch import nn

from tests.closeness import assert_same
from tests.contract.cases import Case
from tests.devices import DEVICE


def padding_and_batch_size_change_no_vector(case: Case) -> None:
    body = case.model().base_model
    ids, mask = case.batch()
    hidden = body(**case.given(ids, mask)).last_hidden_state
    for row in range(len(ids)):
        real = mask[row].bool()
        own = body(**case.given(ids[row : row + 1, real])).last_hidden_state[0]
        vectors, rest = case.vectors(hidden[row], real)
        if real.any():
            assert_same(vectors, own, what=row)
        assert not rest.any(), row


def padding_and_batch_size_change_no_answer(case: Case) -> None:
    ids, mask = case.batch()
    wider = nn.functional.pad(ids, (3, 4)), nn.functional.pad(mask, (3, 4))
    for options in case.poolings:
        model = case.model(**options)
        rows = [ids[row : row + 1, mask[row].bool()] for row in range(len(ids))]
        alone = torch.cat([model(**case.given(row)).logits for row in rows])
        assert_same(model(**case.given(ids, mask)).logits, alone, what=options)
        assert_same(model(**case.given(*wider)).logits, alone, what=options)


def padding_and_batch_size_change_no_token(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    targets = case.targets(ids)
    for left, right in ((0, 0), (3, 4)):
        wider, wide_mask = (nn.functional.pad(tensor, (left, right)) for tensor in (ids, mask))
        wide_targets = nn.functional.pad(targets, (left, right))
        together = case.answers(model(**case.given(wider, wide_mask)))
        for row in (0, 1, 2):  # without holes: a hole ends what is told of the next token
            real = wide_mask[row].bool()
            alone = model(**case.given(wider[row : row + 1, real]), **case.wanted(wide_targets[row : row + 1, real]))
            assert_same(together[row, real], case.answers(alone)[0], what=row)
            labels = wide_targets[row : row + 1].masked_fill(~real, -100)
            padded = model(**case.given(wider[row : row + 1], wide_mask[row : row + 1]), **case.wanted(labels))
            assert_same(padded.loss, alone.loss, what=row)


def prompts_padded_on_the_right_go_on_as_on_the_left(case: Case) -> None:
    """Behind the padding stands what follows the last real token; no row continues `<pad>`."""
    model = case.model()
    ids = case.batch()[0][:3]
    left = torch.tensor([[1] * 7, [0, 0, 0, 0, 1, 1, 1], [0] * 6 + [1]], device=DEVICE)
    right = left.flip(1)
    behind = torch.stack([ids[row].roll(int(left[row].sum())) for row in range(3)])
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    ways: list[dict[str, Any]] = [{}, {"use_cache": False}, {"num_beams": 3}]
    if "state" in case.traits:
        ways.append({"cache_implementation": "static", "disable_compile": True})
    for way in ways:
        expected = model.generate(ids, attention_mask=left, **way, **options)[:, 7:]
        assert torch.equal(model.generate(behind, attention_mask=right, **way, **options)[:, 7:], expected), way


def padded_content_gets_no_gradient(case: Case) -> None:
    model = case.model()
    if getattr(model, "wide", None) is not None:
        model.wide = None  # it reads ids alone
    ids, mask = case.batch()
    embeds = model.get_input_embeddings()(ids).detach().requires_grad_()
    model(inputs_embeds=embeds, attention_mask=mask, **case.wanted(case.targets(ids))).loss.backward()
    assert not embeds.grad[~mask.bool()].any()
    assert embeds.grad[:4].any(-1).any(-1).all()


def padded_sources_change_no_target(case: Case) -> None:
    """Padding of sources on either side, and of targets on the right, beside a row of its own."""
    model = case.model()
    ids, mask = case.batch()
    targets = ids.flip(1)[:, :5]
    for left, right in ((0, 0), (3, 4)):
        wider, wide_mask = (nn.functional.pad(tensor, (left, right)) for tensor in (ids, mask))
        padded = nn.functional.pad(targets, (0, right), value=-100)
        together = model(**case.given(wider, wide_mask), labels=padded)
        options = {"max_new_tokens": 5, "num_beams": 3, "do_sample": False, "pad_token_id": 0, "min_new_tokens": 5}
        written = model.generate(wider, attention_mask=wide_mask, **options)
        losses = []
        for row in range(len(ids)):
            source = wider[row : row + 1, wide_mask[row].bool()]
            alone = model(**case.given(source), labels=targets[row : row + 1])
            assert_same(together.logits[row, :5], alone.logits[0], what=row)
            losses.append(alone.loss)
            if source.shape[1]:
                assert torch.equal(model.generate(source, use_cache=False, **options)[0], written[row]), row
        assert_same(together.loss, sum(losses) / len(losses))


def padding_and_batch_size_change_no_tree(case: Case) -> None:
    """Trees given as parents: alone and in a batch, with padding on either side."""
    model, trees = case.model(tree="given"), case.trees()
    for left, right in ((0, 0), (3, 4)):
        together = model(**{name: nn.functional.pad(values, (left, right)) for name, values in trees.items()})
        for row, real in enumerate(trees["attention_mask"].bool()):
            alone = model(**{name: values[row : row + 1, real] for name, values in trees.items()})
            nodes = together.node_mask[row].bool()
            assert_same(together.logits[row], alone.logits[0], what=row)
            assert_same(together.node_logits[row, nodes], alone.node_logits[0, alone.node_mask[0].bool()], what=row)
            assert torch.equal(together.parents[row, nodes], alone.parents[0, alone.node_mask[0].bool()]), row
