"""The recall probe: its rows, its training, its table and its command."""

import doctest
import json

import pytest
import torch

from hfseq import cli
from hfseq.data import recall
from hfseq.data.recall import DISTRACTORS, QUESTION, SYMBOLS, recall_task
from hfseq.insight.recall import PROBED, Recall, RecallTable, recall_flows, recall_probe


def test_a_row_shows_its_label_first_and_asks_for_it_last():
    rows = recall_task([3, 6], rows=60, seed=4)
    assert {row["distance"] for row in rows} == {3, 6} and {row["labels"] for row in rows} == set(range(SYMBOLS))
    for row in rows:
        real = [token for token, kept in zip(row["input_ids"], row["attention_mask"], strict=True) if kept]
        assert len(row["input_ids"]) == 8 and real == row["input_ids"][-len(real) :]
        first, *between, last = real
        assert first == 2 + row["labels"] and last == QUESTION and len(between) == row["distance"]
        assert {token - 2 - SYMBOLS for token in between} <= set(range(DISTRACTORS))
    assert recall_task([3], rows=9, seed=1).to_list() == recall_task([3], rows=9, seed=1).to_list()
    assert recall_task([3], rows=9, seed=1).to_list() != recall_task([3], rows=9, seed=2).to_list()


def test_the_example_of_the_module_runs():
    result = doctest.testmod(recall)
    assert result.attempted == 2 and result.failed == 0


@pytest.mark.parametrize("distances", [[], [0, 3]])
def test_distances_must_be_above_0(distances):
    with pytest.raises(ValueError, match="distances must be one or more numbers above 0"):
        recall_task(distances, rows=1, seed=0)


def test_a_model_that_can_keep_learns_the_task_and_the_same_seed_the_same():
    (found,) = recall_probe(["residual"], [2, 4], [0], 60)
    assert found.accuracy.keys() == {2, 4} and min(found.accuracy.values()) > 0.9
    assert list(recall_probe(["residual"], [2, 4], [0], 60)) == [found]


def test_the_table_shows_means_spreads_and_chance():
    table = RecallTable([Recall("gru", 0, {5: 0.5, 9: 1.0}), Recall("gru", 1, {5: 0.7, 9: 1.0})], steps=3)
    assert str(table).splitlines() == [
        "| model | 5 | 9 |",
        "|---|---:|---:|",
        "| gru | 60 (50 to 70) | 100 |",
        "| chance | 12.5 | 12.5 |",
    ]


def test_the_curves_of_the_lectures_come_out_in_their_order():
    """Vanilla cells lose the gradient first, then the LSTM without and with an open forget gate; a sum keeps it."""
    names = ["rnn", "lstm_bias_0", "lstm", "residual"]
    flows = recall_flows([*names, "transformer"], 60, seed=0)
    assert list(flows) == names
    left = [float(flows[name].layers[0].share[60]) for name in names]
    assert left == sorted(left) and left[0] < 1e-8 and left[-1] > 0.1
    assert [flows[name].kind for name in names] == ["vanishes", "vanishes", "vanishes", "flows"]


def test_every_model_of_the_probe_has_one_width_and_no_dropout():
    for name, entry in PROBED.items():
        torch.manual_seed(0)
        model = entry.model(entry.config())
        assert model.config.hidden_size == 32, name
        assert not [each for each in model.modules() if isinstance(each, torch.nn.Dropout) and each.p], name


def test_the_command_writes_a_table_and_a_picture(tmp_path, capsys):
    words = ["recall", "--models", "rnn,transformer", "--distances", "2,4", "--seeds", "0,1", "--steps", "3"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "| model | 2 | 4 |" in told and "| transformer |" in told and "| chance | 12.5 | 12.5 |" in told
    saved = json.loads((tmp_path / "out" / "recall.json").read_text(encoding="utf-8"))
    assert [(run["model"], run["seed"]) for run in saved["runs"]] == [
        *(("rnn", 0), ("transformer", 0)),
        *(("rnn", 1), ("transformer", 1)),
    ]
    assert (tmp_path / "out" / "recall.png").stat().st_size > 5000


def test_the_command_draws_the_gradients_of_untrained_models(tmp_path, capsys):
    words = ["recall", "--flow", "--models", "rnn,lstm,transformer", "--distances", "5,30", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    rnn = next(line for line in told.splitlines() if line.startswith("rnn "))
    assert rnn.split()[1] == "1.00" and "vanishes: after" in rnn and "transformer" not in told
    assert (tmp_path / "gradient_flow.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "lstmm"], "'lstmm' is no model of the probe: choose among rnn, residual"),
        (["--models", "transformer", "--flow"], "no recurrent model"),
    ],
)
def test_a_wrong_model_is_told(tmp_path, capsys, words, message):
    assert cli.main(["recall", *words, "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--distances", "0"], ["--distances", "a"], ["--seeds", "-1"], ["--steps", "0"]])
def test_a_wrong_number_is_told(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["recall", *words])
    assert stopped.value.code == cli.WRONG_WORDS and "must be a whole number above" in capsys.readouterr().err
