"""A small text classification run in its parts, for the tests of the recipe and of its card."""

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import DataCollatorWithPadding

from hfseq.cards.facts import SeedRun
from hfseq.data.text import Classes, TextTask, tokenize_dataset
from hfseq.evaluation.trainer_metrics import PROBLEMS, classification_metrics
from hfseq.tasks.text_classification.build import card_facts, longest_text, make_model, make_tokenizer
from hfseq.tasks.text_classification.settings import (
    ClassifierCardSettings,
    LabelledTexts,
    TextClassificationSettings,
    TokenizerSettings,
)
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer

TEXTS = ["a good film", "a bad film", "the plot was good", "the plot was bad", "a good plot", "a bad plot"] * 4
LABELS = {
    "single_label_classification": [[2, 0, 2, 0, 1, 0][i % 6] for i in range(24)],
    "multi_label_classification": [[float(i % 2), float(i % 3 == 0), 1.0] for i in range(24)],
    "regression": [i % 6 / 5 for i in range(24)],
}
FEATURES = {
    "single_label_classification": ClassLabel(names=["bad", "fair", "good"]),
    "multi_label_classification": List(Value("float32")),
    "regression": Value("float32"),
}


def text_task(problem_type="single_label_classification", labels=None):
    """24 training texts and 12 test ones."""
    labels = LABELS[problem_type] if labels is None else labels
    features = Features({"text": Value("string"), "labels": FEATURES[problem_type]})
    rows = Dataset.from_dict({"text": TEXTS, "labels": labels}, features)
    names = ["score"] if problem_type == "regression" else ["bad", "fair", "good"]
    return TextTask(DatasetDict({"train": rows, "test": rows.select(range(12))}), problem_type, Classes(names))


def small_settings(folder):
    """Settings of a small run that writes nothing but into an empty folder."""
    return TextClassificationSettings(
        data=LabelledTexts(name="embedded"),
        card=ClassifierCardSettings(
            model_id="hfseq/films",
            show_rows=True,
            summary="Tells good films from bad ones.",
            data_name="Films",
            data_license="cc0-1.0",
            data_domain="sentences about films",
            ask=["a good plot", "what a film"],
        ),
        tokenizer=TokenizerSettings(min_count=1, max_length=16),
        model={"type": "lstm", "embedding_size": 4, "hidden_size": 5, "pooling": "max"},
        training={
            "output_dir": str(folder / "run"),
            "use_cpu": True,
            "max_steps": 5,
            "total_train_batch_size": 12,
            "learning_rate": 0.05,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
        },
    )


def made(settings, task=None):
    """Tokenizer and model for the settings, the same every time."""
    task = task or text_task()
    tokenizer = make_tokenizer(
        task.dataset["train"], settings.tokenizer, settings.transfer, limit=longest_text(settings)
    )
    torch.manual_seed(0)
    return tokenizer, make_model(settings, task, tokenizer)


def trained(settings, task):
    """A trainer that has run."""
    tokenizer, model = made(settings, task)
    rows = tokenize_dataset(task.dataset["train"], tokenizer)
    trainer = SequenceTrainer(
        model=model,
        args=SequenceTrainingArguments(**settings.training),
        train_dataset=rows,
        eval_dataset=tokenize_dataset(task.dataset["test"], tokenizer) if "test" in task.dataset else None,
        compute_metrics=classification_metrics(task.problem_type),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trainer.train()
    return trainer


def facts_of(settings, task, tmp_path):
    """The facts of a run that has just ended, and its logits."""
    trainer = trained(settings, task)
    rows = tokenize_dataset(task.dataset["test"], trainer.processing_class)
    trainer.save_model(str(tmp_path / "model"))
    logits = trainer.predict(rows).predictions
    metrics = dict.fromkeys(PROBLEMS[task.problem_type].scores, 0.5)
    run = SeedRun(seed=0, metrics=metrics, minutes=0.1)
    options = {"logits": logits, "run": run}
    return card_facts(settings, task, "test", tmp_path / "model", **options), logits, trainer.model
