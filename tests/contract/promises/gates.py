"""`output_gates`: a recurrent model shows its gates and states at each token, and nothing else changes."""

import pytest
import torch

from tests.closeness import assert_same
from tests.contract.cases import Case


@torch.no_grad()
def gates_are_shown_on_request(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    shown, usual = model(**case.given(ids, mask), output_gates=True), model(**case.given(ids, mask))
    assert "gates" not in usual and usual.gates is None
    # All else is as it was.
    assert [name for name in shown if name != "gates"] == list(usual)
    assert_same(case.answers(shown), case.answers(usual))
    # A dict for each layer and direction, of all gates and states of the cell.
    directions, cell = 1 + model.config.bidirectional, model.config.make_cell()
    assert len(shown.gates) == model.config.num_hidden_layers * directions
    for number, values in enumerate(shown.gates):
        assert list(values) == [*cell.gates, *cell.states]
        width = model.config.hidden_size_of(number // directions)
        assert {tuple(value.shape) for value in values.values()} == {(*ids.shape, width)}
    # h is what a layer says.
    outputs = torch.cat([values["h"] for values in shown.gates[-directions:]], dim=-1)
    assert_same(outputs, case.states(model, ids, mask))
    # The config asks for them too, a call has the last word, and a checkpoint keeps it.
    loaded = case.model_class.from_pretrained(case.saved(case.model(output_gates=True)))
    loaded.to(ids.device)
    assert_same(loaded(**case.given(ids, mask)).gates, shown.gates)
    assert loaded(**case.given(ids, mask), output_gates=False).gates is None
    assert_same(model(**case.given(ids, mask), output_gates=True, return_dict=False)[-1], shown.gates)


@torch.no_grad()
def gates_are_those_of_each_text_alone(case: Case) -> None:
    """Padding is zero and changes nothing, and a text may be read in pieces."""
    model = case.model()
    ids, mask = case.batch()
    together = model(**case.given(ids, mask), output_gates=True).gates
    for row, real in enumerate(mask.bool()):
        own = [{name: value[row] for name, value in values.items()} for values in together]
        assert not any(value[~real].any() for values in own for value in values.values())
        if real.any():
            alone = model(**case.given(ids[row : row + 1, real]), output_gates=True).gates
            expected = [{name: value[0] for name, value in values.items()} for values in alone]
            assert_same([{name: value[real] for name, value in values.items()} for values in own], expected)
    if "reads on" not in case.traits or model.config.bidirectional:
        return
    first = model.model(**case.given(ids[:, :3], mask[:, :3]), use_cache=True, output_gates=True)
    second = model.model(**case.given(ids[:, 3:], mask), cache=first.cache, output_gates=True)
    pieces = [
        {name: torch.cat((value, rest[name]), dim=1) for name, value in values.items()}
        for values, rest in zip(first.gates, second.gates, strict=True)
    ]
    assert_same(pieces, model.model(**case.given(ids, mask), output_gates=True).gates)


def models_without_gates_refuse_to_show_them(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    for part in {model, model.base_model}:
        if "gates" in case.traits:
            assert part(**case.given(ids, mask), output_gates=True).gates
            continue
        with pytest.raises(TypeError, match=f"{type(part).__name__} does not read 'output_gates'"):
            part(**case.given(ids, mask), output_gates=True)
