"""The parts of the toy recipe: its words, tokens and model, and the facts of its card."""

import random
from pathlib import Path

from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerFast, pipeline

from hfseq.cards.facts import Network, SeedRun, SplitSource
from hfseq.cards.measure import widget_entries
from hfseq.recipe.publish import network_facts, run_facts
from hfseq.recipe.sections import build_model, label_options, token_options
from hfseq.tokenization import train_tokenizer, unknown_rate

from .card import TASK
from .facts import ToyFacts
from .settings import ToySettings, WordSettings


def make_words(settings: WordSettings) -> DatasetDict:
    """Draw words of five letters, and label them by the last one."""
    dice, splits = random.Random(0), {}
    for split in ("train", "validation"):
        words = ["".join(dice.choices("abcdeiou", k=5)) for _ in range(settings.count)]
        splits[split] = Dataset.from_dict({"text": words, "labels": [int(word[-1] in "aeiou") for word in words]})
    return DatasetDict(splits)


def make_tokenizer(rows: Dataset) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the words of the training split."""
    return train_tokenizer(rows["text"][:], "char", vocab_size=64)


def make_model(settings: ToySettings, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the classifier of the `model` section."""
    return build_model(TASK, settings.model, **token_options(tokenizer), **label_options(["consonant", "vowel"]))


def card_facts(settings: ToySettings, dataset: DatasetDict, split: str, folder: Path, run: SeedRun) -> ToyFacts:
    """Gather what the card says: from the settings, from the run, and of the saved model."""
    pipe = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=False)
    return ToyFacts(
        **run_facts(settings.card, pipe.model, folder, run),
        architecture=Network(**network_facts(pipe.model.config)),
        data=SplitSource(
            **settings.card.data_facts(),
            splits={name: rows.num_rows for name, rows in dataset.items()},
            evaluated_split=split,
            unknown_rate=unknown_rate(pipe.tokenizer, dataset[split]["text"][:]),
        ),
        widgets=widget_entries(pipe, settings.card.ask),
        comparisons=settings.card.published(),
    )
