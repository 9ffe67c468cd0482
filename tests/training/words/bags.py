"""Small bags, texts with labels, and trainers over them, for the tests of kernels and of training."""

import numpy as np
import torch
from datasets import Dataset

from hfseq.models.words.bag import BagConfig, BagForSequenceClassification
from hfseq.training.words.bag_corpus import BagCorpus, BagTargets
from hfseq.training.words.bag_engines import NumbaBagEngine, TorchBagEngine
from hfseq.training.words.bag_trainer import BagTrainer, BagTrainingArguments

VOCABULARY, LABELS, WIDTH = 30, 4, 10  # a width of which 16 is no divisor: rows are padded
LOSSES = {
    "softmax": {"problem_type": "single_label_classification"},
    "one-vs-all": {"problem_type": "multi_label_classification"},
    "hierarchical-softmax": {"problem_type": "single_label_classification", "hierarchical_softmax": True},
    "regression": {"problem_type": "regression"},
}


def labels_of(problem_type, rows, random):
    if problem_type == "regression":
        return random.normal(size=(rows, LABELS)).astype(np.float32).tolist()
    if problem_type == "multi_label_classification":
        return (random.random((rows, LABELS)) < 0.4).astype(np.float32).tolist()
    return random.integers(0, LABELS, rows).tolist()


def random_rows(problem_type, rows=12, seed=0, longest=9):
    """Texts of ids of all lengths, one of them empty, with labels that mean nothing."""
    random = np.random.default_rng(seed)
    texts = [random.integers(1, VOCABULARY, random.integers(1, longest + 1)).tolist() for _ in range(rows)]
    texts[rows // 2] = []
    return Dataset.from_dict({"input_ids": texts, "labels": labels_of(problem_type, rows, random)})


def random_bag(loss="softmax", *, kept=False, seed=0, **options):
    """A bag all of whose tables and weights are filled at random."""
    options = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_labels": LABELS, "ngram_buckets": 50} | options
    if kept:
        options["num_kept_buckets"] = 20
    generator = torch.Generator().manual_seed(seed)
    model = BagForSequenceClassification(BagConfig(**options, **LOSSES[loss]))
    if model.config.longest_ngram:
        model.model.set_vocabulary([None, *(f"word{number}" for number in range(1, VOCABULARY))])
    if kept:
        model.model.fill_table("kept_buckets", torch.randperm(50, generator=generator)[:20].sort().values.int())
    if model.config.weighting != "count":
        model.model.row_weights.copy_(torch.rand(model.config.num_rows, generator=generator) + 0.1)
    if model.config.hierarchical_softmax:
        model.label_counts.copy_(torch.tensor([9, 5, 3, 1]))
    size = 0.3 if loss == "regression" else 1.0  # with larger ones its steps lead away
    for parameter in model.parameters():
        parameter.data.normal_(std=size, generator=generator)
    return model.eval()


def make_engine(model, rows, *, kind="numba", **options):
    problem_type = model.config.problem_type
    given = BagCorpus.of(rows, model.model), BagTargets.of(rows, model, problem_type)
    made = {"numba": (NumbaBagEngine, {"num_threads": 1}), "torch": (TorchBagEngine, {"texts_per_step": 1})}[kind]
    return made[0](model, *given, problem_type=problem_type, **made[1] | options)


def learnable(rows=2400, seed=0):
    """Texts whose label is told by their words 1 to 4, among words that tell nothing."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, LABELS, rows)
    texts = random.integers(5, VOCABULARY, (rows, 6))
    texts[np.arange(rows), random.integers(0, 6, rows)] = labels + 1
    return Dataset.from_dict({"input_ids": texts.tolist(), "labels": labels.tolist()})


def new_model(loss="softmax", seed=0, **options):
    """An untrained one."""
    options = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_labels": LABELS, "ngram_buckets": 50} | options
    torch.manual_seed(seed)
    return BagForSequenceClassification(BagConfig(**options, **LOSSES[loss]))


def make_trainer(folder, model=None, rows=None, **options):
    own = {name: options.pop(name) for name in ("eval_dataset", "compute_metrics", "callbacks") if name in options}
    args = {"use_cpu": True, "disable_tqdm": True, "num_train_epochs": 3, "num_threads": 1, "save_strategy": "no"}
    args |= {"logging_steps": 1} | options
    return BagTrainer(
        model or new_model(),
        BagTrainingArguments(str(folder), **args),
        train_dataset=learnable() if rows is None else rows,
        **own,
    )


def accuracy(trainer, rows=None):
    logits, _ = trainer.score(learnable(seed=1) if rows is None else rows)
    rows = learnable(seed=1) if rows is None else rows
    return float((logits.argmax(-1) == np.asarray(rows["labels"])).mean())
