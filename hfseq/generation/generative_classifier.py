"""Classification by language models: which class is the likeliest author of this text?

    P(class | text) = P(text | class) P(class) / sum_k P(text | k) P(k)                 Bayes' rule

P(text | class) is a language model of that class's texts alone, end of the text included; P(class) is how frequent the
class is. A new class is a new model, and the others stay.

    classifier = hfseq.GenerativeClassifier.train(texts, labels)         # a character n-gram model for each label
    classifier("guten Morgen")                                           # [{"label": "de", "score": 0.999}]
    classifier.save_pretrained("languages")

    GenerativeClassifier({"en": "me/english-lm", "de": model}, tokenizer={"de": tokenizer})

Classes with tokenizers of their own can be compared as long as none has unknown tokens (byte-level BPE has none):
`<unk>` stands for any of many words, and so is cheaper to write than each of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from ..evaluation.language import encode, score_ids, text_list
from ..models.artifacts import CONFIG_NAME, TOKENIZER_NAME, check_ids_fit, check_weights_folder, read_json
from ..models.base import load_with_weights_checked
from ..models.counting.ngram import NGramConfig, NGramForCausalLM
from ..tokenization import prompt_tokenizer, train_tokenizer
from ..tokenization.files import load_tokenizer

Source: TypeAlias = PreTrainedModel | str | PathLike[str]
Tokenizers: TypeAlias = PreTrainedTokenizerBase | Mapping[str, PreTrainedTokenizerBase]
Answer: TypeAlias = list[dict[str, Any]]
Make: TypeAlias = Callable[[list[list[int]], PreTrainedTokenizerBase], PreTrainedModel]

_FILE = "generative_classifier.json"
_MOST_BYTES = 16 << 20  # of that file: room for 100,000 long labels


def ngram_model(documents: list[list[int]], tokenizer: PreTrainedTokenizerBase, *, order: int = 5) -> PreTrainedModel:
    """Make the default model of a class for `GenerativeClassifier.train`: n-grams of the tokenizer's tokens."""
    config = NGramConfig(
        vocab_size=len(tokenizer),
        order=order,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return NGramForCausalLM(config).fit(documents)


class GenerativeClassifier:
    """Says which of several language models is the likeliest author of a text.

    Args:
        models: For each label a causal language model, or a folder or Hub id to load it from with its tokenizer.
        tokenizer: One for all, or for each label its own; not needed for labels whose model is loaded.
        priors: P(class) of each label, in any scale, as they are made to sum to 1. By default all are equal.
    """

    def __init__(
        self,
        models: Mapping[str, Source],
        tokenizer: Tokenizers | None = None,
        priors: Mapping[str, float] | None = None,
    ) -> None:
        if len(models) < 2:
            raise ValueError(f"A classifier chooses between two labels or more, got {list(models)}.")
        if isinstance(tokenizer, Mapping) and (unknown := sorted(tokenizer.keys() - models.keys())):
            raise ValueError(f"tokenizer has the labels {unknown}, which have no model: those are {list(models)}.")
        self.models: dict[str, PreTrainedModel] = {}
        self.tokenizers: dict[str, PreTrainedTokenizerBase] = {}
        for label, source in models.items():
            self.models[label], self.tokenizers[label] = _loaded(label, source, tokenizer)
        self.labels = list(models)
        self.priors = _normalized(dict.fromkeys(models, 1.0) if priors is None else priors, self.labels)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        labels: Iterable[str],
        *,
        make: Make = ngram_model,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> "GenerativeClassifier":
        """Make one language model for each label, of the texts that have it; how often it occurs is its prior.

        Args:
            make: (token ids of each of a label's texts, with start and end; tokenizer) -> its language model. By
                default counts n-grams up to 5 tokens (`functools.partial(ngram_model, order=3)`: up to 3).
            tokenizer: One for all labels. By default one of characters is trained on all texts.
        """
        texts, labels = text_list(texts), list(labels)
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts have {len(labels)} labels: each text needs one.")
        if tokenizer is None:
            tokenizer = prompt_tokenizer(train_tokenizer(texts, "char", purpose="language-modeling"))
        documents: dict[str, list[list[int]]] = {label: [] for label in sorted(set(labels))}
        for label, document in zip(labels, encode(tokenizer, texts), strict=True):
            documents[label].append(document)
        models = {label: make(own, tokenizer) for label, own in documents.items()}
        return cls(models, tokenizer, priors=Counter(labels))

    def log_probs(self, texts: str | Iterable[str]) -> np.ndarray:
        """Log P(text, class) = log P(text | class) + log P(class) in nats: (texts, labels), float64."""
        strings = text_list(texts)
        found = np.empty((len(strings), len(self.models)))
        # Encoded once for each tokenizer: often one serves all labels.
        tokenizers = {id(tokenizer): tokenizer for tokenizer in self.tokenizers.values()}
        encoded = {key: encode(tokenizer, strings) for key, tokenizer in tokenizers.items()}
        for column, (label, model) in enumerate(self.models.items()):
            surprisals = score_ids(model, encoded[id(self.tokenizers[label])])
            found[:, column] = np.log(self.priors[label]) - [values.sum() for values in surprisals]
        return found

    def __call__(self, texts: str | Iterable[str], top_k: int | None = 1) -> Answer | list[Answer]:
        """Classify as `pipeline("text-classification")` does: {"label": ..., "score": P(class | text)}.

        One text gives a list of the `top_k` most probable labels (None: all); several texts one such list each, or
        with `top_k=1` its only element.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} would return no label: use 1 or more, or None for all.")
        answers = [self._answer(row, top_k) for row in self.log_probs(texts)]
        if isinstance(texts, str):
            return answers[0]
        return [answer[0] for answer in answers] if top_k == 1 else answers

    def _answer(self, log_probs: np.ndarray, top_k: int | None) -> Answer:
        order = np.argsort(-log_probs, kind="stable")
        # Relative to the best class: P(text | class) itself is too small for a float.
        odds = np.exp(log_probs - log_probs[order[0]])
        return [{"label": self.labels[i], "score": float(odds[i] / odds.sum())} for i in order[:top_k]]

    def save_pretrained(self, save_directory: str | PathLike[str]) -> None:
        """Write a folder: labels and priors, and for each class a sub-folder that is an ordinary checkpoint."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        for number, (label, model) in enumerate(self.models.items()):
            model.save_pretrained(folder / f"class_{number}")  # not every label can name a folder
            self.tokenizers[label].save_pretrained(folder / f"class_{number}")
        shared = [id(tokenizer) for tokenizer in self.tokenizers.values()]
        facts = {
            "labels": self.labels,
            "priors": list(self.priors.values()),
            "tokenizers": [shared.index(tokenizer) for tokenizer in shared],
        }
        (folder / _FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> "GenerativeClassifier":
        """Load a local folder that `save_pretrained` wrote; what is no safetensors file, or does harm, is refused."""
        facts = _read_facts(Path(folder) / _FILE)
        labels, owners = facts["labels"], facts["tokenizers"]
        sources = {label: Path(folder) / f"class_{number}" for number, label in enumerate(labels)}
        # All files are checked before any of them is loaded.
        for label, owner in zip(labels, owners, strict=True):
            check_weights_folder(sources[label])
            check_ids_fit(sources[labels[owner]] / TOKENIZER_NAME, read_json(sources[label] / CONFIG_NAME))
        loaded = {owner: load_tokenizer(sources[labels[owner]]) for owner in sorted(set(owners))}
        tokenizers = {label: loaded[owner] for label, owner in zip(labels, owners, strict=True)}
        return cls(sources, tokenizers, priors=dict(zip(labels, facts["priors"], strict=True)))


def _read_facts(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {_FILE}: give a folder that save_pretrained wrote.")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} is damaged: it has {path.stat().st_size} bytes. Save the classifier again.")
    facts = read_json(path)
    if (wrong := _wrong_fact(facts)) is not None:
        raise ValueError(f"{path} is damaged: {wrong}. Save the classifier again.")
    return facts


def _wrong_fact(facts: dict[str, Any]) -> str | None:
    if facts.keys() != {"labels", "priors", "tokenizers"}:
        return "it must have labels, priors and tokenizers"
    labels, priors, owners = facts["labels"], facts["priors"], facts["tokenizers"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return "labels must be a list of strings"
    if not 2 <= len(labels) == len(set(labels)):
        return "labels must be two or more, each another"
    is_complete = isinstance(priors, list) and len(priors) == len(labels)
    if not is_complete or not all(type(prior) in (int, float) and 0 < prior < float("inf") for prior in priors):
        return "priors must be a positive number for each label"
    if not isinstance(owners, list) or len(owners) != len(labels):
        return "tokenizers must be a number for each label"
    for number, owner in enumerate(owners):
        if type(owner) is not int or not 0 <= owner <= number or owners[owner] != owner:
            return f"tokenizers has {owner!r} for {labels[number]!r}, but it must be the number of its first label"
    return None


def _loaded(
    label: str, source: Source, tokenizer: Tokenizers | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    own = tokenizer.get(label) if isinstance(tokenizer, Mapping) else tokenizer
    if isinstance(source, str | PathLike):
        own = load_tokenizer(source) if own is None else own
        return load_with_weights_checked(AutoModelForCausalLM, source), own
    if own is None:
        raise ValueError(f"The model of {label!r} comes without its tokenizer: pass tokenizer=.")
    return source, own


def _normalized(priors: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    if set(priors) != set(labels):
        raise ValueError(f"priors are of the labels {sorted(priors)}, the models of {sorted(labels)}.")
    wrong = {label: prior for label, prior in priors.items() if not 0 < prior < float("inf")}
    if wrong:
        raise ValueError(f"priors={wrong} must be positive numbers: leave a class out that cannot occur.")
    total = sum(priors.values())
    return {label: priors[label] / total for label in labels}
