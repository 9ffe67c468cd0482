"""Word vectors and encoders as models of sentence-transformers: a text becomes the mean of its words' vectors."""

import json
import logging
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..formats.vector_files import checked_rows
from ..models.words.vectors import KeyedVectors

logger = logging.getLogger(__name__)

# The old paths: sentence-transformers 5 and 6 take them too, the versions before know no others.
_MODULES = "sentence_transformers.models"
_WORD_START = "\u2581"
_EDGES = f"[{re.escape(string.punctuation)}]+"


def export_sentence_transformers(
    vectors: KeyedVectors, folder: str | Path, *, layout: Literal["static", "word"] = "static", lowercase: bool = False
) -> None:
    """Write a folder that `SentenceTransformer(folder)` loads: `encode` gives the mean of the words' vectors.

    Words without a vector are left out of the mean; a text of none but such words becomes zeros.

    Args:
        layout: "static" is one `StaticEmbedding`, the fast one: words end at white space, and punctuation at their
            edges is taken as words of its own. "word" is `WordEmbeddings` and `Pooling`: words end at white space, and
            one without a vector is looked up again without the punctuation at its edges, then in lower case.
        lowercase: Lower-case texts first: true for vectors that were trained on lower-cased text.
    """
    keys = [(row, key) for row, key in enumerate(vectors.index_to_key) if key is not None]  # none: a row set aside
    words = [str(key) for _, key in keys]
    rows = checked_rows(words, vectors.vectors[[row for row, _ in keys]])
    if "" in words:
        raise ValueError("The empty word can have no vector; leave it out.")
    if layout not in ("static", "word"):
        raise ValueError(f"layout is {layout!r}; it can be 'static' or 'word'.")
    write = _write_static if layout == "static" else _write_word
    if lost := write(Path(folder), words, rows, lowercase):
        why = "they hold spaces, capitals that lowercase=True takes away, or punctuation at their edges"
        logger.warning("%d of %d words, such as %s, are found in no text: %s.", len(lost), len(words), lost[:5], why)


def export_text_encoder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a folder that `SentenceTransformer(folder)` loads, after `import hfseq`: texts become means of outputs.

    A head stays behind. The folder says how wide the vectors are: for an ordinary checkpoint sentence-transformers
    reports `config.hidden_size`, which is one direction of a bidirectional network, and not always the last layer's.
    """
    body: Any = model.base_model
    fault = f"{type(model).__name__} is no encoder of texts"
    if not hasattr(body.config, "output_size"):
        cure = "export a recurrent network or a transformer, or word vectors with export_sentence_transformers"
        raise ValueError(f"{fault}: {cure}.")
    if body.config.is_encoder_decoder:
        raise ValueError(f"{fault}: it answers one with another.")
    target = Path(folder)
    body.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _write_pooling(target / "1_Pooling", body.config.output_size)
    _write_modules(target, [("Transformer", ""), ("Pooling", "1_Pooling")])


def _write_modules(target: Path, modules: list[tuple[str, str]]) -> None:
    places = enumerate(modules)
    rows = [{"idx": at, "name": str(at), "path": path, "type": f"{_MODULES}.{kind}"} for at, (kind, path) in places]
    options: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write_json(target / "modules.json", rows)
    _write_json(target / "config_sentence_transformers.json", options)


def _write_pooling(folder: Path, width: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True})


def _write_static(target: Path, words: Sequence[str], rows: np.ndarray, lowercase: bool) -> list[str]:
    """Write one `StaticEmbedding`; return the words that no text can reach."""
    tokenizer = _static_tokenizer(words, lowercase)
    _write_weights(target, {"embedding.weight": rows})
    tokenizer.save(str(target / "tokenizer.json"))
    _write_modules(target, [("StaticEmbedding", "")])
    encodings = tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
    return [words[index] for index, encoding in enumerate(encodings) if encoding.ids != [index]]


def _static_tokenizer(words: Sequence[str], lowercase: bool) -> Tokenizer:
    """Make one of whole words and nothing for an unknown one, where WordLevel would need an unknown token's vector.

    This BPE has no merges: a word is in the vocabulary or falls apart into characters, and no character is there
    because everything there begins with the mark of a word and goes on after it.
    """
    vocabulary = {_WORD_START + word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    lower = [normalizers.Lowercase()] if lowercase else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), *lower])
    edges = pre_tokenizers.Split(Regex(rf"(?<=\s){_EDGES}|^{_EDGES}|{_EDGES}(?=\s|$)"), "isolated")
    words_of_text = pre_tokenizers.Metaspace(replacement=_WORD_START, prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([edges, words_of_text])
    return tokenizer


def _write_word(target: Path, words: Sequence[str], rows: np.ndarray, lowercase: bool) -> list[str]:
    embeddings, pooling = target / "0_WordEmbeddings", target / "1_Pooling"
    cut = {"tokenizer_class": f"{_MODULES}.tokenizer.WhitespaceTokenizer", "max_seq_length": 1_000_000}
    known = {"vocab": list(words), "stop_words": [], "do_lower_case": lowercase}
    _write_weights(embeddings, {"emb_layer.weight": rows})
    _write_json(embeddings / "wordembedding_config.json", {**cut, "update_embeddings": False})
    _write_json(embeddings / "whitespacetokenizer_config.json", known)
    _write_pooling(pooling, rows.shape[1])
    _write_modules(target, [("WordEmbeddings", embeddings.name), ("Pooling", pooling.name)])
    return [word for word in words if word.split() != [word] or (lowercase and word != word.lower())]


def _write_weights(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
