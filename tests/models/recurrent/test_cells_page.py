"""The page about cells does what it says, and lists every cell."""

import re
from pathlib import Path

import hfseq

PAGE = (Path(__file__).parents[3] / "docs" / "cells.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hfseq.models.recurrent.cells.CELLS", dict(hfseq.CELLS))
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, scope)
    model, again, ids, mask = (scope[name] for name in ("model", "again", "ids", "mask"))
    assert (model.eval()(ids, mask).logits == again.eval()(ids, mask).logits).all()
    assert all(parameter.grad.any() for parameter in model.model.layers.parameters())
    for name in ("two_peepholes", "reset_only"):
        config = hfseq.CustomConfig(cell=name, vocab_size=100, hidden_size=8, pooling="mean")
        model = hfseq.CustomForSequenceClassification(config)
        model(ids, mask, labels=scope["torch"].tensor([0, 1])).loss.backward()
        assert all(parameter.grad.any() for parameter in model.model.layers.parameters())


def test_the_page_lists_every_cell():
    table = PAGE.split("## The cells that are there")[1]
    assert set(re.findall(r"`(\w+)`", table)) >= set(hfseq.CELLS)
