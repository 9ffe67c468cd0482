"""The models that the contract suite examines: each family small, with a tokenizer, rows to train on, and its traits.

`Case` is a recurrent classifier of texts. What another head or family has differently is a class below it: how it is
built small, where its answers are, what wrong values look like, and which promises concern it (`traits`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from hfseq.models.features import WordFeatures
from hfseq.models.recurrent.backbone import RecurrentConfig
from hfseq.models.token_words import WordTables, word_tables
from hfseq.registry import AUTO_CLASSES, Family
from hfseq.tokenization.padding import IntentSlotsCollator
from tests.devices import DEVICE

WORDS = ["the", "film", "was", "good", "bad", "not", "very", "a", "plot", "and"]
VOCABULARY = ["<pad>", "<unk>", "<s>", "</s>", *WORDS]
PIECES = ["##s", "##ing", "##e"]
"""In the place of the last words, in models that read characters: tokens that go on with a word."""
LABELS = {
    "single_label_classification": [i % 3 for i in range(24)],
    "multi_label_classification": [[float(i % 2), float(i % 3 == 0), 1.0] for i in range(24)],
    "regression": [i / 10 for i in range(24)],
}


def tokenizer(padding_side: str = "right", template: str = "$A </s>") -> PreTrainedTokenizerFast:
    """Words to the ids of VOCABULARY, and </s> after each text, or what the template adds."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 2), ("</s>", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", padding_side=padding_side
    )


def spellings() -> WordTables:
    """How the tokens of models that read characters are spelled."""
    tokens = [*VOCABULARY[: -len(PIECES)], *PIECES]
    words = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    marks = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return word_tables(PreTrainedTokenizerFast(tokenizer_object=words, **marks))


def texts(
    rows: int = 24, *, vocab_size: int = len(VOCABULARY), label: Callable[[list[int]], int] = lambda row: row[0] % 3
) -> Dataset:
    """Ragged rows of ids, each with a label that can be learnt."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (rows,), generator=generator).tolist()
    ids = [torch.randint(4, vocab_size, (length,), generator=generator).tolist() for length in lengths]
    return Dataset.from_dict({"input_ids": ids, "labels": [label(row) for row in ids]})


def pairs(rows: Dataset) -> Dataset:
    """Each row and, behind </s>, what the one after next has but begins with; many of the two share a token."""
    ids = rows["input_ids"][:]
    both = [row + [3] + ids[(place + 2) % len(ids)][:0:-1] + row[:1] + [3] for place, row in enumerate(ids)]
    return rows.remove_columns("input_ids").add_column("input_ids", both)


@dataclass
class Case:
    """One family with one head, in one configuration, and an empty folder."""

    family: Family
    task: str
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    vocab_size: ClassVar[int] = len(VOCABULARY)
    small: ClassVar[dict[str, Any]] = {"embedding_size": 6, "hidden_size": 5, "num_labels": 3}
    no_dropout: ClassVar[dict[str, float]] = dict.fromkeys(
        ("embedding_dropout", "hidden_dropout", "classifier_dropout"), 0.0
    )
    labels: ClassVar[list[int]] = [0, 1, 2, 0, 1]  # of the rows of `batch`
    misfit: ClassVar[dict[str, int]] = {"num_labels": 7}  # what a checkpoint of the small model is too small for
    foreign_label: ClassVar[tuple[int, str]] = 3, "label 3 is outside 0 to 2"
    poolings: ClassVar[list[dict[str, str]]] = [
        {"pooling": pooling} for pooling in ("last", "mean", "max", "mean_max", "attention")
    ]
    typo: ClassVar[tuple[str, str]] = "hiden_size", "hidden_size"
    foreign_name: ClassVar[tuple[str, str]] = "hidden_dim", "hidden_size"
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "num_hidden_layers": [0, 10**6],
        "vocab_size": [-1, 10**18],
        "hidden_dropout": [1.5, "0.1"],
        "pooling": ["first"],
        "bidirectional": ["yes"],
        "pad_token_id": [len(VOCABULARY)],
        "problem_type": ["ranking"],
    }

    @property
    def traits(self) -> set[str]:
        """What the model has that some promises are about: see `contract.CHECKS`."""
        traits = {"body", "loss", "head", "classifier", "several labels"}
        traits |= {"layers", "cache", "reads on", "recurrence"}
        traits |= {"weights"} | (set() if self.has_pairs else {"embeddings"})
        return (traits | self.of_cells) - self.not_of_words

    @property
    def of_cells(self) -> set[str]:
        """What only a model of recurrent cells has: gates to show."""
        return {"gates"} if issubclass(self.family.config, RecurrentConfig) else set()

    @property
    def not_of_words(self) -> set[str]:
        """What a model that reads words by their characters has not: vectors of tokens, and a state to go on from."""
        has_characters = self.options.get("characters", "none") != "none"
        return {"cache", "reads on", "embeddings"} if has_characters else set()

    @property
    def has_pairs(self) -> bool:
        """Whether it compares two texts, which it finds by their ids."""
        return self.options.get("pairs") == "siamese"

    @property
    def auto_class(self) -> Any:
        """The Auto class of the task."""
        return AUTO_CLASSES[self.task]

    @property
    def model_class(self) -> type[PreTrainedModel]:
        """What that class loads."""
        return self.family.heads[self.task]

    @property
    def oversize(self) -> dict[str, Any]:
        """What a config of a few lines may claim beside small weights."""
        return {"vocab_size": 10**7}

    @property
    def grown_width(self) -> int:
        """How wide the answers of a model with the sizes of `misfit` are."""
        return next(iter(self.misfit.values()))

    def config(self, **options: Any) -> Any:
        """The configuration of a small model."""
        return self.family.config(**{"vocab_size": self.vocab_size, **self.small, **self.options, **options})

    def model(self, seed: int = 0, **options: Any) -> PreTrainedModel:
        """A small model in evaluation mode: of the same numbers on any device."""
        torch.manual_seed(seed)
        return self.seasoned(self.model_class(self.config(**options))).eval().to(DEVICE)

    def seasoned(self, model: PreTrainedModel) -> PreTrainedModel:
        """As after some training, where that shows more than a new model does."""
        if getattr(model, "wide", None) is not None:  # whose weights begin at 0
            nn.init.normal_(model.wide.weight, std=0.5)
            model.wide.row_weights.copy_(torch.linspace(0.5, 2, len(model.wide.row_weights)))
        if getattr(model, "likeness", None) is not None:
            nn.init.normal_(model.likeness.weight, std=0.5)
        if getattr(model.base_model, "token_words", None) is not None:
            model.fill_words(spellings())
        for features in (module for module in model.modules() if isinstance(module, WordFeatures)):
            nn.init.normal_(features.weight, std=0.5)
        return model

    def saved(self, model: PreTrainedModel | None = None) -> Path:
        """A checkpoint folder with tokenizer."""
        (self.model() if model is None else model).save_pretrained(self.folder)
        self.tokenizer().save_pretrained(self.folder)
        return self.folder

    def given(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """What a forward is given in the place of these ids; without a mask all are real."""
        return {"input_ids": ids} | ({} if mask is None else {"attention_mask": mask})

    def answers(self, outputs: Any) -> torch.Tensor:
        """What the model is for, of its outputs."""
        return outputs.logits

    def states(self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What its body says of each token; of pairs, read in its own text alone."""
        if not self.has_pairs:
            return model.model(**self.given(ids, mask)).last_hidden_state
        first = torch.zeros_like(mask)
        for row, (tokens, real) in enumerate(zip(ids.tolist(), mask.tolist(), strict=True)):
            for place, (token, is_real) in enumerate(zip(tokens, real, strict=True)):
                first[row, place] = is_real
                if is_real and token == VOCABULARY.index("</s>"):
                    break
        both = torch.cat([ids, ids]), torch.cat([first, mask - first])
        return model.model(*both).last_hidden_state.view(2, *ids.shape, -1).sum(0)

    def vectors(self, hidden: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of a text's `last_hidden_state`: what belongs to its real tokens, and what must be zeros."""
        return hidden[real], hidden[~real]

    def own_part(self, vectors: torch.Tensor, alone: torch.Tensor, side: str) -> torch.Tensor:
        """Of a text's vectors in a batch padded on this side: what it has when it is read alone."""
        return vectors[: len(alone)] if side == "right" else vectors[-len(alone) :]

    def reply(self, model: PreTrainedModel) -> torch.Tensor:
        """What it answers to the rows of `batch`; one that was loaded comes to their device."""
        return self.answers(model.to(DEVICE)(**self.given(*self.batch())))

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        """Whether a weight that the checkpoint lacked has values of our initialisation."""
        if ".token_words." in name or name.startswith("features."):
            return not tensor.any()
        if name.startswith(("wide.", "likeness.")):
            return bool((tensor == (name == "wide.row_weights")).all())
        if "bias" in name or ".param_" in name:
            return set(tensor.flatten().tolist()) <= {0.0, 1.0}
        return 0.01 < tensor.std().item() < 2

    def tokenizer(self, padding_side: str = "right") -> PreTrainedTokenizerFast:
        """Of the words that the model knows."""
        return tokenizer(padding_side)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids (5, 7) and a mask: a full row, right padding, left padding, holes, and a row without any token."""
        ids = torch.randint(4, self.vocab_size, (5, 7), generator=torch.Generator().manual_seed(1))
        mask = torch.tensor(
            [[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0]]
        )
        if self.has_pairs:  # the ends of the first texts, and one in the padding, which ends nothing
            ids[[0, 1, 1, 2, 3], [3, 1, 5, 5, 3]] = VOCABULARY.index("</s>")
        return ids.to(DEVICE), mask.to(DEVICE)

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        """Labels for the rows of `batch`."""
        return torch.tensor(self.labels, device=DEVICE)

    def foreign_targets(self, ids: torch.Tensor) -> torch.Tensor:
        """The same, the last one a label that does not exist."""
        return torch.tensor([*self.labels[:-1], self.foreign_label[0]], device=DEVICE)

    def wanted(self, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """The targets as a forward takes them."""
        return {"labels": targets}

    def rows(self) -> Dataset:
        """Rows to train on, with labels that can be learnt."""
        return pairs(texts()) if self.has_pairs else texts()

    def collator(self) -> Any:
        """What makes batches of them."""
        return DataCollatorWithPadding(self.tokenizer())

    def trainings(self) -> list[tuple[dict[str, Any], Dataset]]:
        """Options and rows for each loss that a model of this configuration can be given."""
        found = []
        for problem_type, labels in LABELS.items():
            options = {"problem_type": problem_type, **self.no_dropout}
            if problem_type == "regression":
                options["num_labels"] = 1
            found.append((options, self.rows().remove_columns("labels").add_column("labels", labels)))
        return found


@dataclass
class TaggerCase(Case):
    """One label a token: here, the id's remainder."""

    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "input_dropout": [1.5],
        "output_dropout": ["0.1"],
        "crf": ["yes", 1],
        "decoding": ["beam", None],
    }

    @property
    def traits(self) -> set[str]:
        traits = {"body", "loss", "head", "tokens", "tagger", "layers", "cache", "reads on", "recurrence"}
        return (traits | {"weights", "embeddings"} | self.of_cells) - self.not_of_words

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        # Whatever the mask leaves out, O and B-x may follow one another.
        return (ids % 3).clamp(max=1) if self.has_entities else ids % 3

    @property
    def has_entities(self) -> bool:
        """Whether the labels are O, B-x and I-x, which may not follow one another in any order."""
        return "id2label" in self.options

    def seasoned(self, model: PreTrainedModel) -> PreTrainedModel:
        """With a CRF that has an opinion: it begins at 0."""
        model = super().seasoned(model)
        if getattr(model, "crf", None) is not None:
            for parameter in model.crf.parameters():
                nn.init.normal_(parameter)
        return model

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        return not tensor.any() if name.startswith("crf.") else super().starts_well(name, tensor)

    def foreign_targets(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.full_like(ids, self.foreign_label[0])

    def rows(self) -> Dataset:
        rows = texts().remove_columns("labels")
        return rows.add_column("labels", [self._tags(ids) for ids in rows["input_ids"]])

    def _tags(self, ids: list[int]) -> list[int]:
        tags = [token % 3 for token in ids]
        if not self.has_entities:
            return tags
        return [1 if tag == 2 and before == 0 else tag for before, tag in zip([0, *tags], tags, strict=False)]

    def collator(self) -> Any:
        return DataCollatorForTokenClassification(self.tokenizer())

    def trainings(self) -> list[tuple[dict[str, Any], Dataset]]:
        return [(self.no_dropout, self.rows())]


@dataclass
class JointCase(TaggerCase):
    """An intent a text and a slot a token; as many of both, so that no shape tells the heads apart."""

    small: ClassVar[dict[str, Any]] = {**Case.small, "slot_labels": ["O", "B-part", "I-part"]}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "slot_labels": [[], ["O", "O"], "O"],
        "intent_weight": [-1.0, "1"],
        "slot_weight": [-1.0],
        "temperature": [0.0, "hot"],
        "unknown_threshold": [-0.1, 1.5],
    }

    @property
    def traits(self) -> set[str]:
        return super().traits - {"tagger"} | {"two heads"}

    @property
    def grown_width(self) -> int:
        return super().grown_width + 3

    def answers(self, outputs: Any) -> torch.Tensor:
        """Both at each token: the slot's, then the text's."""
        slots = outputs.slot_logits
        return torch.cat([slots, outputs.logits[:, None].expand(-1, slots.shape[1], -1)], dim=-1)

    def wanted(self, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"labels": torch.ones_like(targets[:, 0]), "slot_labels": targets}

    def rows(self) -> Dataset:
        rows = texts()
        return rows.add_column("slot_labels", [[token % 3 for token in ids] for ids in rows["input_ids"]])

    def collator(self) -> Any:
        return IntentSlotsCollator(self.tokenizer())


@dataclass
class LanguageModelCase(TaggerCase):
    """The next token; texts begin with <s>, and the end is open."""

    small: ClassVar[dict[str, Any]] = {
        **{"embedding_size": 6, "hidden_size": 5, "bos_token_id": 2, "eos_token_id": 3},
        "initializer_range": 1.0,  # distinct words, so that a token fed twice or forgotten changes the answers
    }
    no_dropout: ClassVar[dict[str, float]] = {**Case.no_dropout, "weight_drop": 0.0}
    misfit: ClassVar[dict[str, int]] = {"vocab_size": 21}
    foreign_label: ClassVar[tuple[int, str]] = 14, "label 14 is outside 0 to 13"
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "weight_drop": [1.0, -0.1],
        "last_hidden_size": [0, "5"],
        "tie_word_embeddings": ["yes"],
        "adaptive_softmax_cutoffs": [[], [3, 3], [5, 2], [0], [14], [2, 4, 6], 5],
        "activation_regularization": [-1.0],
        "temporal_activation_regularization": ["1"],
    }

    @property
    def traits(self) -> set[str]:
        traits = {"body", "loss", "head", "tokens", "language model", "state", "layers", "cache", "reads on"}
        return traits | {"recurrence", "weights", "embeddings"} | self.of_cells

    def seasoned(self, model: PreTrainedModel) -> PreTrainedModel:
        """With biases, so that a state does not stay zero over padding that is read."""
        for name, parameter in model.named_parameters():
            if name.startswith("model.") and name.endswith("bias"):
                nn.init.normal_(parameter, std=0.5)
        return model

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        return ids

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        return tensor.numel() < 4 or super().starts_well(name, tensor)  # of so few numbers the spread says nothing

    def tokenizer(self, padding_side: str = "right") -> PreTrainedTokenizerFast:
        return tokenizer(padding_side, "<s> $A")

    def rows(self) -> Dataset:
        rows = texts().remove_columns("labels")
        return rows.add_column("labels", rows["input_ids"][:])
