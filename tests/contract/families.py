"""The families that are no recurrent network: what `Case` and its heads have differently there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    AutoModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from hfseq.models.words.ascending import unpack
from hfseq.registry import Family
from hfseq.tokenization import vocabulary_tokenizer
from tests.contract.cases import (
    VOCABULARY,
    WORDS,
    Case,
    JointCase,
    LanguageModelCase,
    TaggerCase,
    spellings,
    texts,
    tokenizer,
)
from tests.contract.strokes import StrokesCase
from tests.contract.trees import RecursiveCase
from tests.devices import DEVICE


@dataclass
class WordVectorCase(Case):
    """Word vectors: a backbone and no head; its tokenizer, counts and n-grams belong to the model."""

    vocab_size: ClassVar[int] = len(WORDS) + 2
    small: ClassVar[dict[str, Any]] = {"hidden_size": 5}
    no_dropout: ClassVar[dict[str, float]] = {}
    labels: ClassVar[list[int]] = [2, 3, 4, 5, 6]
    misfit: ClassVar[dict[str, int]] = {"hidden_size": 9}
    foreign_label: ClassVar[tuple[int, str]] = 12, "label 12 is outside 0 to 11"
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "vocab_size": [-1, 2, 10**18],
        "architecture": ["skipgram", None],
        "loss": ["hs"],
        "window": [0, 2.5],
        "negatives": [0],
        "sample": [-1.0, "1e-3"],
        "ngram_buckets": [-1, 10**12],
        "longest_ngram": [0, 2],
        "num_ngrams": [-1],
        "with_outputs": ["yes"],
        "pad_token_id": [12, -1],
        "tie_word_embeddings": [True],
    }

    @property
    def traits(self) -> set[str]:
        loss = {"loss", "embeddings"} if self.options.get("with_outputs", True) else set()
        return {"body", "weights", *loss}

    @property
    def auto_class(self) -> Any:
        return AutoModel

    @property
    def model_class(self) -> type[PreTrainedModel]:
        return self.family.backbone

    def seasoned(self, model: PreTrainedModel) -> PreTrainedModel:
        """Before training the outputs are 0, and no gradient reaches the inputs."""
        model.set_vocabulary(self.tokenizer(), np.array([0, 0, *range(30, 30 - len(WORDS), -1)]))
        if model.outputs is not None:
            nn.init.normal_(model.outputs.weight, std=0.5)
        return model

    def answers(self, outputs: Any) -> torch.Tensor:
        return outputs.last_hidden_state

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        if name == "inputs.weight":
            return not tensor[0].any() and tensor.std().item() > 0.01 and tensor.abs().max().item() <= 0.1
        return bool((tensor == (1 if name == "counts" else 0)).all())

    def tokenizer(self, padding_side: str = "right") -> PreTrainedTokenizerFast:
        words = vocabulary_tokenizer(WORDS)
        words.padding_side = padding_side
        return words

    def rows(self) -> Dataset:
        return texts(vocab_size=self.vocab_size, label=lambda row: row[0])

    def trainings(self) -> list[tuple[dict[str, Any], Dataset]]:
        return [({}, self.rows())]


@dataclass
class BagCase(Case):
    """Bags of tokens: vectors of features, no layers, and one vector a text."""

    small: ClassVar[dict[str, Any]] = {"hidden_size": 6, "num_labels": 3, "ngram_buckets": 50}
    no_dropout: ClassVar[dict[str, float]] = {}
    poolings: ClassVar[list[dict[str, str]]] = [{}]
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "vocab_size": [-1, 10**18],
        "units": ["words", "bytes"],
        "word_ngrams": [0, 11, "2"],
        "ngram_buckets": [-1, 10**12],
        "longest_ngram": [-1, 1],
        "weighting": ["bm25"],
        "num_kept_buckets": [51, -1],
        "row_codes": [7],
        "norm_codes": ["yes"],
        "num_words": [3],
        "pad_token_id": [14, -1],
        "problem_type": ["ranking"],
        "tie_word_embeddings": [True],
    }

    @property
    def traits(self) -> set[str]:
        traits = {"body", "loss", "head", "classifier", "weights", "embeddings"}
        return traits if self.options.get("hierarchical_softmax") else traits | {"several labels"}

    @property
    def oversize(self) -> dict[str, Any]:
        config = self.config()
        return {"vocab_size": 10**7 - (config.num_rows - config.vocab_size)}  # rows of words and buckets together

    def vectors(self, hidden: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return hidden, hidden[:0] if real.any() else hidden

    def config(self, **options: Any) -> Any:
        given = {**self.options, **options}
        table = {"num_ngrams": 3 * self.vocab_size} if given.get("longest_ngram") else {}
        return super().config(**table, **options)

    def seasoned(self, model: PreTrainedModel) -> PreTrainedModel:
        """Before training the labels' vectors are 0, and no gradient reaches the rows; and a word has its n-grams."""
        nn.init.normal_(model.classifier.weight, std=0.5)
        rows = model.model.inputs
        if model.config.row_codes:
            rows.codes.copy_(torch.arange(rows.codes.numel()).view_as(rows.codes) % 256)
            rows.norm_codes.copy_(torch.arange(len(rows.norm_codes)) % 256)
            rows.norm_centroids.copy_(torch.linspace(1, 3, len(rows.norm_centroids)))
        else:
            nn.init.normal_(rows.weight, std=0.5)
        tables = dict(model.model.named_buffers(recurse=False))
        if "ngrams" in tables:
            model.model.ngram_starts.fill(torch.arange(self.vocab_size + 1) * 3)
            tables["ngrams"].copy_(torch.arange(len(tables["ngrams"])) % 50)
        if "weight_levels" in tables:
            tables["weight_levels"].copy_(torch.linspace(0.5, 2, 256))
            tables["weight_codes"].copy_(torch.arange(len(tables["weight_codes"])) * 7 % 256)
        if "row_weights" in tables:
            tables["row_weights"].copy_(torch.linspace(0.5, 2, len(tables["row_weights"])))
        if "label_counts" in dict(model.named_buffers(recurse=False)):
            model.label_counts.copy_(torch.arange(1, 1 + len(model.label_counts)))
        return model

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        if name == "model.inputs.weight":
            return 0.05 < tensor.std().item() < 0.2 and tensor.abs().max().item() <= 1 / 6
        if name in ("model.row_weights", "model.weight_levels", "label_counts", "model.inputs.norm_centroids"):
            return bool((tensor == 1).all())
        if name == "model.inputs.centroids":
            return 0.8 < tensor.std().item() < 1.2
        if name.endswith(".bits"):
            listed = self.model().get_submodule(name.removesuffix(".bits"))
            found = unpack(tensor.cpu().numpy(), listed.count, listed.limit).tolist()
            return found == list(range(listed.count)) if "kept_buckets" in name else not any(found)
        return not tensor.any()

    def trainings(self) -> list[tuple[dict[str, Any], Dataset]]:
        return super().trainings() if "several labels" in self.traits else super().trainings()[:1]


class HiddenMarkovCase:
    """What a hidden Markov model has differently: states in the place of layers, and nothing below its head."""

    small: ClassVar[dict[str, Any]] = {"num_states": 3, "bos_token_id": 2, "eos_token_id": 3, "initializer_range": 1.0}
    no_dropout: ClassVar[dict[str, float]] = {}
    misfit: ClassVar[dict[str, int]] = {"vocab_size": 21}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "num_states": [0, 10**6, "3", True],
        "decoding": ["greedy"],
        "emission_smoothing": [-1.0],
        "transition_smoothing": ["0.1"],
        "pad_token_id": [14],
    }
    typo: ClassVar[tuple[str, str]] = "num_stats", "num_states"
    foreign_name: ClassVar[tuple[str, str]] = "hidden_dim", "num_states"

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        return 0.1 < tensor.std().item() < 3


class HiddenMarkovTaggerCase(HiddenMarkovCase, TaggerCase):
    """States that are labels."""

    misfit: ClassVar[dict[str, int]] = {"num_states": 9}

    @property
    def traits(self) -> set[str]:
        return {"loss", "tokens", "tagger", "weights"}


class HiddenMarkovLanguageCase(HiddenMarkovCase, LanguageModelCase):
    """States that nobody has named."""

    @property
    def traits(self) -> set[str]:
        return {"loss", "tokens", "language model", "state", "cache", "weights"}


class NGramCase(LanguageModelCase):
    """Counts: nothing that a gradient could change, and tables as large as the text has n-grams."""

    small: ClassVar[dict[str, Any]] = {"order": 3, "bos_token_id": 2, "eos_token_id": 3}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "order": [0, 11, "3"],
        "smoothing": ["laplace"],
        "discounts": ["none"],
        "add_k": [-1.0],
        "num_ngrams": [[1], [13, 2, 3], [14, -1, 2]],
        "pad_token_id": [14],
        "bos_token_id": [-1],
    }
    typo: ClassVar[tuple[str, str]] = "smothing", "smoothing"
    foreign_name: ClassVar[tuple[str, str]] = "ngram_order", "order"

    @property
    def traits(self) -> set[str]:
        return {"tokens", "language model"}

    def model(self, seed: int = 0, **options: Any) -> PreTrainedModel:
        rows = [[*ids, 3] for ids in texts()["input_ids"]]
        return self.model_class(self.config(**options)).fit(rows).eval().to(DEVICE)

    @property
    def oversize(self) -> dict[str, Any]:
        return {**super().oversize, "num_ngrams": [10**7, *[10] * (self.config().order - 1)]}

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        return len(set(tensor.flatten().tolist())) <= 1  # as nothing was counted


class MixtureCase(LanguageModelCase):
    """A network and counts: the weights of the one, and the tables of the other."""

    small: ClassVar[dict[str, Any]] = {
        "network": {
            **{"model_type": "hfseq_lstm", "embedding_size": 6, "hidden_size": 5, "num_hidden_layers": 2},
            **{"initializer_range": 1.0, "hidden_dropout": 0.0},
        },
        **{"order": 3, "network_weight": 0.7, "bos_token_id": 2, "eos_token_id": 3},
    }
    no_dropout: ClassVar[dict[str, float]] = {}
    misfit: ClassVar[dict[str, Any]] = {"network": {"hidden_size": 9, "initializer_range": 1.0}}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "network": [{"model_type": "bert"}, {"hidden_size": 0}, {"vocab_size": 9}, {"bidirectional": True}],
        "network_weight": [0.0, 1.0, "0.5"],
        "order": [1, 11],
        "num_ngrams": [[1], [13, 2, 3]],
        "pad_token_id": [14],
    }
    typo: ClassVar[tuple[str, str]] = "netwrk", "network"
    foreign_name: ClassVar[tuple[str, str]] = "ngram_order", "order"

    @property
    def traits(self) -> set[str]:
        return {"loss", "tokens", "language model", "state", "cache", "weights"}

    @property
    def grown_width(self) -> int:
        return self.vocab_size  # another network does not change the words

    def model(self, seed: int = 0, **options: Any) -> PreTrainedModel:
        torch.manual_seed(seed)
        mixture = self.model_class(self.config(**options))
        self.seasoned(mixture.network)
        mixture.ngrams.fit([[*ids, 3] for ids in texts()["input_ids"]])
        return self.model_class.of(mixture.network, mixture.ngrams, mixture.config.network_weight).eval().to(DEVICE)

    @property
    def oversize(self) -> dict[str, Any]:
        return {**super().oversize, "num_ngrams": [10**7, *[10] * (self.config().order - 1)]}

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        return len(set(tensor.flatten().tolist())) <= 1 or super().starts_well(name, tensor)


class TransformerCase:
    """What a transformer has differently: a cache in the place of a state, and a width for everything."""

    small: ClassVar[dict[str, Any]] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    no_dropout: ClassVar[dict[str, float]] = dict.fromkeys(
        ("embedding_dropout", "hidden_dropout", "attention_dropout", "activation_dropout", "classifier_dropout"), 0.0
    )
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12, 9],
        "num_hidden_layers": [0, 10**6],
        "num_attention_heads": [0, 3, "2"],
        "intermediate_size": [0, "9"],
        "hidden_act": ["tanh", None],
        "norm": ["batch_norm"],
        "norm_position": ["none"],
        "norm_eps": [-1.0, "1e-5"],
        "position_embedding_type": ["absolute"],
        "max_position_embeddings": [0, "512"],
        "rope_theta": [0.0],
        "bias": ["yes"],
        "attention_dropout": [1.5, "0.1"],
        "bidirectional": ["yes"],
        "pooling": ["first"],
        "crf": ["yes"],
        "decoding": ["posterior"],
        "pad_token_id": [14],
        "adaptive_softmax_cutoffs": [[3, 3], [14]],
    }

    @property
    def traits(self) -> set[str]:
        return super().traits - {"recurrence"}

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        if "norm" in name or "bias" in name or name.startswith("crf."):
            return set(tensor.flatten().tolist()) <= {0.0, 1.0}
        return 0.01 < tensor.std().item() < 2


class TransformerClassifierCase(TransformerCase, Case):
    """A label for a text, from the mean of its outputs."""

    small: ClassVar[dict[str, Any]] = {**TransformerCase.small, "num_labels": 3}


class TransformerTaggerCase(TransformerCase, TaggerCase):
    """One label a token."""

    small: ClassVar[dict[str, Any]] = {**TransformerCase.small, "num_labels": 3}


class TransformerJointCase(TransformerCase, JointCase):
    """An intent a text and a slot a token."""

    small: ClassVar[dict[str, Any]] = {
        **TransformerCase.small,
        "num_labels": 3,
        "slot_labels": JointCase.small["slot_labels"],
    }
    wrong_values: ClassVar[dict[str, list[Any]]] = JointCase.wrong_values


class TransformerLanguageCase(TransformerCase, LanguageModelCase):
    """A decoder, in which attention weighs as much as the word itself, so that keys of another text are noticed."""

    small: ClassVar[dict[str, Any]] = {**TransformerCase.small, "bos_token_id": 2, "eos_token_id": 3}

    def seasoned(self, model: PreTrainedModel) -> PreTrainedModel:
        model = super().seasoned(model)
        for name, parameter in model.named_parameters():
            if "_attention." in name and name.endswith("weight"):
                nn.init.normal_(parameter, std=0.7)
        return model


class MaskedLanguageCase(TransformerCase, TaggerCase):
    """An encoder that fills in; the mask is the last word of its vocabulary."""

    small: ClassVar[dict[str, Any]] = TransformerCase.small
    misfit: ClassVar[dict[str, int]] = {"vocab_size": 21}
    foreign_label: ClassVar[tuple[int, str]] = 14, "label 14 is outside 0 to 13"

    @property
    def traits(self) -> set[str]:
        return super().traits - {"tagger"} | {"masked language model"}

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        return ids

    def tokenizer(self, padding_side: str = "right") -> PreTrainedTokenizerFast:
        words = tokenizer(padding_side)
        words.mask_token = WORDS[-1]
        return words

    def rows(self) -> Dataset:
        rows = texts().remove_columns("labels")
        return rows.add_column("labels", rows["input_ids"][:])


class WindowCase:
    """What a window network has differently: no state, and a text before and behind a word instead of a direction."""

    no_dropout: ClassVar[dict[str, float]] = Case.no_dropout
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "embedding_size": [0, "64"],
        "num_hidden_layers": [0, 10**6],
        "left": [-1, 10**4, 1.5, True],
        "right": [-1, "2"],
        "hidden_act": ["sigmoid", None],
        "hidden_dropout": [1.5, "0.1"],
        "pooling": ["first"],
        "bidirectional": [True],
        "crf": ["yes"],
        "decoding": ["posterior"],
        "pad_token_id": [len(VOCABULARY)],
        "problem_type": ["ranking"],
    }

    @property
    def traits(self) -> set[str]:
        return super().traits - {"cache", "reads on", "recurrence"}


class WindowClassifierCase(WindowCase, Case):
    """A label for a text, from the maximum over its windows."""


class WindowTaggerCase(WindowCase, TaggerCase):
    """A label for a word, from the words around it."""


class WindowJointCase(WindowCase, JointCase):
    """An intent a text and a slot a word."""

    wrong_values: ClassVar[dict[str, list[Any]]] = JointCase.wrong_values


class LinearCRFCase(TaggerCase):
    """What a linear CRF has differently: features in the place of vectors and layers."""

    small: ClassVar[dict[str, Any]] = {
        **{"num_labels": 3, "feature_buckets": 50},
        **{name: size for name, size in spellings().sizes().items() if name != "word_rows"},
    }
    no_dropout: ClassVar[dict[str, float]] = {}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "feature_buckets": [0, -1, "64", None, True, 10**12],
        "num_characters": [0, 10**6],
        "spelling_size": [-1, "9"],
        "decoding": ["greedy"],
        "pad_token_id": [14],
    }
    typo: ClassVar[tuple[str, str]] = "feature_bucket", "feature_buckets"
    foreign_name: ClassVar[tuple[str, str]] = "label_names", "id2label"

    @property
    def traits(self) -> set[str]:
        return {"body", "loss", "tokens", "tagger", "weights"}

    def starts_well(self, name: str, tensor: torch.Tensor) -> bool:
        return not tensor.any()


class Seq2SeqCase(TransformerLanguageCase):
    """A text from a text: here, its copy."""

    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "num_encoder_layers": [0, "2"],
        "decoder_start_token_id": [14, -1],
        "encoder_pad_token_id": [14, -1],
        "decoder_vocab_size": [0, 3, "14"],
        "bidirectional": [True, False],
    }

    @property
    def misfit(self) -> dict[str, int]:  # what widens the answers
        return {"decoder_vocab_size" if "decoder_vocab_size" in self.options else "vocab_size": 21}

    @property
    def traits(self) -> set[str]:
        return {"loss", "weights", "encoder and decoder"}

    def reply(self, model: PreTrainedModel) -> torch.Tensor:
        ids, mask = self.batch()
        return self.answers(model.to(DEVICE)(ids, mask, decoder_input_ids=ids))


class RecurrentSeq2SeqCase(LanguageModelCase):
    """A text from a text, by cells; here, its copy."""

    no_dropout: ClassVar[dict[str, float]] = dict.fromkeys(
        ("embedding_dropout", "hidden_dropout", "scheduled_sampling"), 0.0
    )
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12, 9],
        "num_hidden_layers": [0, 10**6],
        "num_encoder_layers": [0, "2"],
        "decoder_vocab_size": [0, 10**18, 2],
        "cell": ["transistor", None],
        "attention": ["luong", None],
        "num_attention_heads": [0, 3],
        "scheduled_sampling": [-0.1, 1.5],
        "decoder_start_token_id": [14, -1],
        "encoder_pad_token_id": [14, -1],
        "feedback": ["yes"],
        "bidirectional": [True],
    }

    @property
    def traits(self) -> set[str]:
        return {"loss", "weights", "encoder and decoder"}

    @property
    def grown_width(self) -> int:
        return self.options.get("decoder_vocab_size") or super().grown_width  # a target of its own does not grow

    def reply(self, model: PreTrainedModel) -> torch.Tensor:
        ids, mask = self.batch()
        return self.answers(model.to(DEVICE)(ids, mask, decoder_input_ids=ids))


class CaptionerCase(LanguageModelCase):
    """A text from the vectors of the regions of an image."""

    small: ClassVar[dict[str, Any]] = {**LanguageModelCase.small, "feature_size": 9}
    no_dropout: ClassVar[dict[str, float]] = RecurrentSeq2SeqCase.no_dropout
    mask_name: ClassVar[str] = "image_mask"
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "feature_size": [0, "9", None],
        "num_regions": [0, "9"],
        "vision_config": [{"model_type": "hfseq_lstm_of_nobody"}, {"model_type": "timm_backbone"}, {}, "resnet"],
        "vision_stage": ["stage1"],
        "freeze_vision": [True, "yes"],
        "cell": ["transistor", None],
        "attention": ["luong", None],
        "scheduled_sampling": [-0.1, 1.5],
        "decoder_start_token_id": [14, -1],
        "feedback": [True],
    }

    @property
    def traits(self) -> set[str]:
        return {"loss", "weights", "images"}

    def given(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"image_features": ids} | ({} if mask is None else {"image_mask": mask})

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (5, 7, 9) of regions and their mask, with the holes of texts; each image has a region."""
        mask = super().batch()[1]
        mask[-1, 2] = 1
        return torch.randn(5, 7, 9, generator=torch.Generator().manual_seed(1)).to(DEVICE), mask

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.randint(4, self.vocab_size, (5, 6), generator=torch.Generator().manual_seed(2)).to(DEVICE)

    def beginnings(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.targets(inputs)

    def foreign_targets(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.full_like(self.targets(ids), self.foreign_label[0])

    def reply(self, model: PreTrainedModel) -> torch.Tensor:
        features, mask = self.batch()
        return self.answers(model.to(DEVICE)(features, mask, decoder_input_ids=self.targets(features)))

    def rows(self) -> Dataset:
        rows = texts().remove_columns("labels").rename_column("input_ids", "labels")
        # A region for each token, so that it can be learnt what to write.
        features = [[[float(token == place + 4) for place in range(9)] for token in ids] for ids in rows["labels"]]
        return rows.add_column("image_features", features)

    def collator(self) -> Any:
        return pad_regions


def pad_regions(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Make a batch of images with different numbers of regions."""
    features = [torch.tensor(row["image_features"]) for row in rows]
    labels = [torch.tensor(row["labels"]) for row in rows]
    return {
        "image_features": nn.utils.rnn.pad_sequence(features, batch_first=True),
        "image_mask": nn.utils.rnn.pad_sequence([torch.ones(len(each)) for each in features], batch_first=True),
        "labels": nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
    }


KINDS: dict[str, type[Case]] = {
    "text-classification": Case,
    "token-classification": TaggerCase,
    "intent-slots": JointCase,
    "text-generation": LanguageModelCase,
    "feature-extraction": WordVectorCase,
}
OWN_KINDS: dict[tuple[str, str], type[Case]] = {
    ("bag", "text-classification"): BagCase,
    ("crf", "token-classification"): LinearCRFCase,
    ("hmm", "token-classification"): HiddenMarkovTaggerCase,
    ("hmm", "text-generation"): HiddenMarkovLanguageCase,
    ("mixture", "text-generation"): MixtureCase,
    ("ngram", "text-generation"): NGramCase,
    ("recursive", "text-classification"): RecursiveCase,
    ("window", "text-classification"): WindowClassifierCase,
    ("window", "token-classification"): WindowTaggerCase,
    ("window", "intent-slots"): WindowJointCase,
    ("transformer", "intent-slots"): TransformerJointCase,
    ("transformer", "text-classification"): TransformerClassifierCase,
    ("transformer", "token-classification"): TransformerTaggerCase,
    ("transformer", "text-generation"): TransformerLanguageCase,
    ("transformer", "fill-mask"): MaskedLanguageCase,
    ("transformer_seq2seq", "text2text-generation"): Seq2SeqCase,
    ("seq2seq", "text2text-generation"): RecurrentSeq2SeqCase,
    ("captioner", "image-captioning"): CaptionerCase,
    ("strokes", "strokes-generation"): StrokesCase,
}
"""Families that are no recurrent network under a head that others have too."""


def kind_of(family: str, task: str, options: dict[str, Any]) -> type[Case]:
    """The case of a family with a head, which may read numbers."""
    if task == "series-forecasting" or "feature_size" in options:
        from tests.contract.numbers import kind_of  # which stands above the families

        return kind_of(family, task)
    return OWN_KINDS.get((family, task)) or KINDS[task]


def make_case(family: Family, task: str, folder: Path, options: dict[str, Any]) -> Case:
    """The case of one row of the registry."""
    kind = kind_of(family.name, task, options)
    return kind(family, task, folder, options)
