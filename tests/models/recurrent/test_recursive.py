"""Recursive networks as models: what a row may be, labels of texts and of nodes, and what people do to any module."""

import copy
import pickle

import pytest
import torch
from datasets import Dataset
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from hfseq import RecursiveConfig, RecursiveForSequenceClassification
from hfseq.models.recurrent import fused, levels
from hfseq.models.recurrent.compositions import COMPOSITIONS
from tests.closeness import assert_same
from tests.models.recurrent.random_trees import NODE, each_text, random_batch
from tests.rounds import for_each

SIZES = {"vocab_size": 20, "embedding_size": 6, "hidden_size": 8, "num_labels": 3, "node_token_id": NODE}
STILL = {"hidden_dropout": 0.0, "classifier_dropout": 0.0}
every_composition = for_each("name", COMPOSITIONS)


def make(name="tree_lstm", **options):
    """A small classifier, the same one every time."""
    torch.manual_seed(0)
    config = RecursiveConfig(composition=name, **{**SIZES, **STILL, "initializer_range": 1.0, **options})
    return RecursiveForSequenceClassification(config)


def labelled(seed=0):
    """A batch with a label for each node."""
    batch = random_batch(seed=seed)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    return {**batch, "labels": (ids % 3).where(mask.bool(), torch.tensor(-100))}


def step(model, batch, call=None):
    """Logits and gradients of one step."""
    model.zero_grad()
    outputs = (model if call is None else call)(**batch)
    outputs.loss.backward()
    return outputs.node_logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def test_the_loss_of_nodes_is_that_of_all_their_labels():
    model, batch = make(), labelled()
    outputs, labels = model(**batch), batch["labels"]
    count = (labels != -100).sum()
    assert count > 20
    total = cross_entropy(outputs.node_logits[:, : labels.shape[1]].flatten(0, 1), labels.flatten(), reduction="sum")
    assert_same(outputs.loss, total / count)
    assert_same(model(**batch, num_items_in_batch=7).loss, total / 7)


def test_the_loss_of_texts_is_that_of_their_roots():
    model, batch = make(), random_batch()
    labels = torch.tensor([0, 1, 2, 0, -100, 1])
    outputs = model(**batch, labels=labels)
    assert_same(outputs.loss, cross_entropy(outputs.logits, labels))
    assert_same(model(**batch, labels=labels, num_items_in_batch=10).loss, outputs.loss * 5 / 10)
    for row, text in each_text(batch):
        root = text["parents"][0].tolist().index(0)
        assert_same(outputs.logits[row], model(**text).node_logits[0, root])
    assert torch.equal(outputs.logits[0], model.classifier.bias)  # the text of no node


def test_labels_that_belong_to_no_node_are_refused():
    model, batch = make(), labelled()
    with pytest.raises(ValueError, match="tree='left' builds others: give one label a text"):
        model(**batch, tree="left")
    with pytest.raises(ValueError, match="tree='balanced' builds others"):
        make(tree="balanced")(**batch)
    with pytest.raises(ValueError, match=r"labels of shape \(6, 3\) do not fit 6 texts of \d+ nodes"):
        model(**{**batch, "labels": batch["labels"][:, :3]})
    with pytest.raises(ValueError, match=r"labels\[0, 0\]=2 is the label of padding: give -100"):
        model(**{**batch, "labels": batch["labels"].masked_fill(batch["labels"] == -100, 2)})
    with pytest.raises(ValueError, match="label 3 is outside 0 to 2"):
        model(**{**batch, "labels": batch["labels"].clamp(max=0) + 3 * (batch["labels"] >= 0)})


def test_plain_text_is_a_forest_of_words():
    """Without parents, with zeros, and built by hand: to the right."""
    model = make()
    words = torch.tensor([[5, 6, 7]])
    by_hand = torch.tensor([[5, 6, 7, NODE, NODE]]), torch.tensor([[5, 4, 4, 5, 0]])
    expected = model(by_hand[0], parents=by_hand[1])
    for outputs in (model(words), model(words, parents=torch.zeros_like(words)), model(words, tree="right")):
        assert_same(outputs.node_logits, expected.node_logits)
        assert_same(outputs.logits, expected.logits)
        assert torch.equal(outputs.parents, by_hand[1]) and outputs.node_mask.tolist() == [[1] * 5]


@for_each("tree", ["right", "left", "balanced"])
def test_the_call_chooses_the_shape_as_the_config_does(tree):
    batch = random_batch()
    model = make()
    found, expected = model(**batch, tree=tree), make(tree=tree)(**batch)
    assert_same(found.logits, expected.logits)
    assert (found.logits - model(**batch).logits).abs().max() > 1e-3
    words = [text["input_ids"][text["input_ids"] != NODE][None] for _, text in each_text(batch)]
    assert_same(found.logits[1:], torch.cat([model(row, tree=tree).logits for row in words]))
    assert torch.equal(make(tree=tree)(**batch, tree="given").logits, model(**batch).logits)


def test_vectors_are_read_as_the_words_that_they_are_of():
    model, batch = make(), random_batch()
    vectors = model.get_input_embeddings()(batch["input_ids"]).masked_fill((batch["input_ids"] == NODE)[..., None], 0)
    given = {**batch, "inputs_embeds": vectors}
    given.pop("input_ids")
    for tree in ("given", "left"):
        assert_same(model(**given, tree=tree).logits, model(**batch, tree=tree).logits, what=tree)


def test_dropout_changes_training_and_nothing_else():
    for options in ({"hidden_dropout": 0.5}, {"classifier_dropout": 0.5}, {"embedding_dropout": 0.5}):
        model, batch = make(**options), random_batch()
        assert torch.equal(model.eval()(**batch).logits, make().eval()(**batch).logits)
        model.train()
        assert (model(**batch).logits - model(**batch).logits).abs().max() > 1e-3, options


def test_words_are_multiplied_once_each():
    """However often they occur; and leaves of constituency trees by the gates that leaves have."""
    model, seen = make(), []
    original = torch.nn.functional.linear
    ids = torch.tensor([[5, 5, NODE, 5, NODE, 6, NODE]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels.nn.functional, "linear", lambda *given: seen.append(given) or original(*given))
        model(ids, parents=torch.tensor([[3, 3, 5, 5, 7, 7, 0]]))
    vectors, weight = seen[0][:2]
    assert vectors.shape == (1 + 3, 6)  # no word, <node>, two words
    assert weight.shape == (3 * 8, 6)  # without the forget gate


@every_composition
def test_new_weights_follow_the_papers(name):
    loop = make(name).model.tree_loop
    rows = loop.weight_hh.split(8)
    if COMPOSITIONS[name].averages:
        half = torch.cat((torch.eye(8), torch.eye(8)), 1) / 2
        assert 0 < (loop.weight_hh - half).abs().max() < 0.03
    else:
        for row in rows:
            assert_same(row @ row.T, torch.eye(8))
    bias = dict(zip(COMPOSITIONS[name].word_gates, loop.bias.split(8), strict=True))
    assert all(set(gate.tolist()) == {1.0 if gate_name == "f" else 0.0} for gate_name, gate in bias.items())


def test_a_width_that_is_too_much_is_refused():
    for name, widest in (("tensor", 256), ("matrix_vector", 64)):
        RecursiveConfig(composition=name, hidden_size=widest)
        with pytest.raises(Exception, match=f"hidden_size={widest + 1} is too wide for composition='{name}'"):
            RecursiveConfig(composition=name, hidden_size=widest + 1)
    with pytest.raises(Exception, match="node_token_id=0 is pad_token_id too"):
        RecursiveConfig(node_token_id=0)
    with pytest.raises(Exception, match="problem_type='regression': each node has one label"):
        RecursiveConfig(problem_type="regression")


def test_stock_trainer_learns_the_labels_of_nodes(tmp_path):
    def rows(seed):
        batch = labelled(seed)
        return [{name: values[row].tolist() for name, values in batch.items()} for row in range(6)]

    def collate(rows):
        return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}

    model = make()
    trainer = Trainer(
        model,
        TrainingArguments(
            tmp_path,
            **{"max_steps": 60, "per_device_train_batch_size": 6, "learning_rate": 0.03, "use_cpu": True},
            **{"save_strategy": "no", "disable_tqdm": True, "report_to": "none"},
        ),
        data_collator=collate,
        train_dataset=Dataset.from_list(rows(0)),
        eval_dataset=Dataset.from_list(rows(0)),
        compute_metrics=lambda found: {"width": found.predictions.shape[-1], "rank": found.predictions.ndim},
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < 0.3 * before
    assert (after["eval_width"], after["eval_rank"]) == (3, 2)  # the roots' logits alone
    trainer.save_model(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(again(**labelled()).node_logits, model.eval()(**labelled()).node_logits)


@every_composition
def test_copies_and_pickles_train_as_the_original_and_share_its_kernels(name):
    model, batch = make(name), labelled()
    expected = step(model, batch)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.model.tree_loop.composition is model.model.tree_loop.composition
        assert_same(step(other, batch), expected)


@every_composition
@for_each(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
@pytest.mark.slow
def test_another_dtype_gives_the_same_step_to_its_precision(name, dtype, tolerance):
    model, batch = make(name), labelled()
    expected = step(model, batch)
    logits, grads = step(model.to(dtype), batch)
    assert_same((logits, grads), expected, tolerance, scale=0.1)
    assert {gradient.dtype for gradient in grads.values()} == {dtype}


@every_composition
def test_a_step_under_autocast_is_near_the_full_one_and_leaves_float32_gradients(name):
    model, batch = make(name), labelled()
    expected = step(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, grads = step(model, batch)
    assert_same((logits, grads), expected, 0.1, scale=0.1)
    assert {gradient.dtype for gradient in grads.values()} == {torch.float32}


@pytest.mark.slow
def test_a_compiled_model_trains_as_the_plain_one():
    torch.compiler.reset()
    model = make()
    compiled = torch.compile(model, backend="eager")
    for seed in (0, 1):
        assert_same(step(model, labelled(seed), compiled), step(model, labelled(seed)), scale=0.1)


def test_functional_gradients_are_those_of_backward():
    model, batch = make(), labelled()
    found = grad(lambda weights: functional_call(model, weights, kwargs=batch).loss)(dict(model.named_parameters()))
    assert_same({name: value.detach() for name, value in found.items()}, step(model, batch)[1], scale=0.1)
    stacked = {name: torch.stack([value, value]) for name, value in model.named_parameters()}
    logits = vmap(lambda weights: functional_call(model, weights, kwargs=batch).logits)(stacked)
    assert_same(logits.detach(), torch.stack([model(**batch).logits] * 2))
    with pytest.raises(ValueError, match="vmap cannot map over texts: .* Give them as one batch"):
        vmap(lambda ids: model(ids[None]).logits)(batch["input_ids"])


SMALL = {"rows": 4, "most_nodes": 5, "columns": 5}


class Answers(torch.nn.Module):
    """Tensors in, tensors out, as `torch.jit.trace` wants it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, parents):
        outputs = self.model(input_ids, attention_mask, parents)
        return outputs.logits, outputs.node_logits, outputs.parents, outputs.node_mask


def assert_a_graph_answers_as(model, graph, batch):
    """A graph has room for more nodes."""
    (logits, *nodes), (expected, *of_nodes) = graph(*batch.values()), Answers(model)(*batch.values())
    assert_same(logits, expected)
    columns = of_nodes[-1].shape[1]
    assert_same([found[:, :columns] for found in nodes], of_nodes)
    assert not nodes[-1][:, columns:].any()


@pytest.mark.parametrize(
    "tree", ["given", *(pytest.param(tree, marks=pytest.mark.slow) for tree in ("left", "balanced"))]
)
@every_composition
def test_a_traced_model_reads_any_trees_of_its_size(name, tree):
    model, options = make(name, tree=tree).eval(), {**SMALL, "inner_words": name == "child_sum"}
    traced = torch.jit.trace(Answers(model), tuple(random_batch(**options).values()), check_trace=False)
    for seed in (0, 1, 2):
        assert_a_graph_answers_as(model, traced, random_batch(**options, seed=seed))


@pytest.mark.slow
def test_an_exported_program_reads_any_trees_of_its_size():
    model = make().eval()
    program = torch.export.export(Answers(model), tuple(random_batch(**SMALL).values()), strict=False).module()
    for seed in (0, 1, 2):
        assert_a_graph_answers_as(model, program, random_batch(**SMALL, seed=seed))


def test_a_model_without_memory_tells_its_shapes():
    outputs = make().to("meta")(torch.ones(2, 5, dtype=torch.long, device="meta"))
    assert outputs.logits.shape == (2, 3) and outputs.node_logits.shape == (2, 9, 3)


def test_a_step_can_be_repeated_and_hooks_may_move_what_is_kept():
    model, batch = make(), labelled()
    expected = step(model, batch)
    loss = model(**batch).loss
    model.zero_grad()
    loss.backward(retain_graph=True)
    loss.backward()
    assert_same({name: p.grad for name, p in model.named_parameters()}, {k: 2 * v for k, v in expected[1].items()})
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept.mT.clone() if kept.dim() > 1 else kept, _back):
        assert_same(step(model, batch), expected)


def _back(kept):
    """The same numbers in other strides."""
    return kept.mT if kept.dim() > 1 else kept


@every_composition
def test_without_kernels_all_is_the_same(name, monkeypatch):
    model, batch = make(name), labelled()
    expected = step(model, batch)
    monkeypatch.setattr(fused, "_tree_kernels", lambda: None)
    assert_same(step(model, batch), expected, scale=0.1)


def test_the_kernels_are_taken_where_they_are_meant_to_be(monkeypatch):
    kernels = fused._tree_kernels()
    if kernels is None:
        pytest.skip("there are no kernels here")
    runs = []
    monkeypatch.setattr(kernels, "run", lambda *given, run=kernels.run: runs.append(given) or run(*given))
    for name in COMPOSITIONS:
        make(name)(**labelled()).loss.backward()
    assert len(runs) == len(COMPOSITIONS) - 1  # matrices are products, which torch has
    make().bfloat16()(**labelled())
    assert len(runs) == len(COMPOSITIONS) - 1
