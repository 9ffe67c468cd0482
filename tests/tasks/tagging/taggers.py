"""A small tagging run in its parts, for the tests of the recipe and of its card."""

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import DataCollatorForTokenClassification

from hfseq.cards.facts import SeedRun
from hfseq.data.tagged import TaggedSettings, TaggedTask
from hfseq.data.text import Classes
from hfseq.evaluation.tags import best_tags, tagging_metrics
from hfseq.recipe.sections import CardSettings
from hfseq.recipe.texts import most_tokens
from hfseq.tasks.tagging.build import card_facts, make_model, make_tokenizer, make_tokens, problem_of, words_cut
from hfseq.tasks.tagging.decoding import choose_decoding
from hfseq.tasks.tagging.settings import TaggingSettings, TokenizerSettings
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer

SENTENCES = [
    "call Ana in Oslo",
    "call me",
    "New York calls Ana",
    "I like New York",
    "Ana likes Oslo a lot",
    "hello",
] * 4
NAMES = {
    "entities": ["O", "B-person", "I-person", "B-place", "I-place"],
    "tags": ["NAME", "OTHER", "VERB"],
}
TAGGED = {
    "entities": {"Ana": "B-person", "Oslo": "B-place", "New": "B-place", "York": "I-place"},
    "tags": dict.fromkeys(("Ana", "Oslo", "New", "York"), "NAME")
    | dict.fromkeys(("call", "calls", "like", "likes"), "VERB"),
}
DROPOUTS = ("embedding_dropout", "hidden_dropout", "classifier_dropout")
SIZES = {
    "lstm": {"embedding_size": 8, "hidden_size": 8},
    "transformer": {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1},
}
ELSE = {"entities": "O", "tags": "OTHER"}


def tagged_task(problem="entities"):
    """24 training texts and 12 test ones."""
    names = NAMES[problem]
    tokens = [sentence.split() for sentence in SENTENCES]
    labels = [[names.index(TAGGED[problem].get(word, ELSE[problem])) for word in words] for words in tokens]
    features = Features({"tokens": List(Value("string")), "labels": List(ClassLabel(names=names))})
    rows = Dataset.from_dict({"tokens": tokens, "labels": labels}, features)
    return TaggedTask(DatasetDict({"train": rows, "validation": rows, "test": rows.select(range(12))}), Classes(names))


def small_settings(folder, family="lstm"):
    """Settings of a small run that writes nothing but into an empty folder."""
    return TaggingSettings(
        data=TaggedSettings(name="embedded"),
        card=CardSettings(
            model_id="hfseq/names",
            show_rows=True,
            summary="Finds names.",
            data_name="Names",
            data_license="cc0-1.0",
            data_domain="sentences about people",
            ask=["call Ana", "hello"],
        ),
        tokenizer=TokenizerSettings(min_count=1),
        model={"type": family} | SIZES[family] | dict.fromkeys(DROPOUTS, 0.0),
        training={
            "output_dir": str(folder / "run"),
            "use_cpu": True,
            "max_steps": 40,
            "total_train_batch_size": 12,
            "learning_rate": 0.05,
            "train_sampling_strategy": "group_by_length",
            "per_device_eval_batch_size": 5,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
        },
    )


def trained(settings, task):
    """A trainer that has run, and its tokens."""
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer, limit=most_tokens(settings.model))
    tokens = make_tokens(task, tokenizer, settings.tokenizer)
    torch.manual_seed(0)
    trainer = SequenceTrainer(
        model=make_model(settings, task, tokenizer),
        args=SequenceTrainingArguments(**settings.training),
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        compute_metrics=tagging_metrics(task.classes.all_names),
        preprocess_logits_for_metrics=best_tags,
    )
    trainer.train()
    return trainer, tokens


def facts_of(settings, task, folder):
    """The facts of a run that has just ended, its predictions and its trainer."""
    trainer, tokens = trained(settings, task)
    named = settings.model.get("decoding")
    decoding = choose_decoding(trainer, tokens["validation"], problem_of(task), named=named)
    predictions, metrics = trainer.score(tokens["test"])
    trainer.save_model(str(folder / "model"))
    run = SeedRun(seed=0, metrics=metrics, minutes=0.1)
    facts = card_facts(
        settings,
        task,
        "test",
        folder / "model",
        tokens=tokens["test"],
        predictions=predictions,
        run=run,
        cut=words_cut(task, tokens),
        decoding=decoding,
    )
    return facts, predictions, trainer
