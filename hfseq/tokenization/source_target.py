"""Two tokenizers in one checkpoint folder: one reads the source, the other reads and writes the target.

    pair = SourceTargetTokenizer(english, hindi)
    pair("I am going")                                   # input_ids of the source
    pair(text_target="मैं जा रहा हूँ")                         # input_ids of the target
    pair("I am going", text_target="मैं जा रहा हूँ")           # input_ids of the source, the target's as `labels`
    pair.decode(model.generate(...)[0])                  # a text of the target

| what                                                                      | whose                             |
|---------------------------------------------------------------------------|-----------------------------------|
| `pair(text)`, `encode`, `tokenize`, `model_max_length`, `truncation_side` | the source's                      |
| `pair(text_target=...)`, `decode`, `batch_decode`                         | the target's                      |
| `convert_ids_to_tokens`, `convert_tokens_to_ids`, `get_vocab`             | the target's                      |
| `vocab_size`, `len(pair)`, `pad_token_id`, `eos_token_id`, `bos_token`... | the target's                      |
| `pad()`: `input_ids`                                                      | the source's padding, on its side |
| `pad()`: `labels`                                                         | -100, on the right                |

Special tokens are the target's because `generate` and Trainer ask for those that a model writes. What a model reads is
`pair.source`: `model.resize_token_embeddings(len(pair.source))`, `encoder_pad_token_id=pair.source.pad_token_id`.

`padding_side` says where targets are padded, always on the right, since a decoder reads them from their beginning; the
tokenizer of a language model pads on the left. Targets that a model learns to write end with `eos_token`, and do not
begin with `bos_token`, which is what the decoder reads first (`decoder_start_token_id`).

A folder holds `source_tokenizer.json`, `target_tokenizer.json`, and `tokenizer_config.json`, in which stand the
configs of both and fingerprints of the two files. There is no `tokenizer.json`, so that a program which knows nothing
of two tokenizers fails and does not write one language with the other's vocabulary.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file, resolve_revision

from ..models.artifacts import (
    SOURCE_TOKENIZER_NAME,
    TARGET_TOKENIZER_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    TWO_TOKENIZERS,
    UnsafeArtifactError,
    check_tokenizer_ids,
    read_json,
)
from ..models.base import IGNORED

_FILES = {"source": SOURCE_TOKENIZER_NAME, "target": TARGET_TOKENIZER_NAME}
_NAMES = (TOKENIZER_CONFIG_NAME, *_FILES.values())
_DOWNLOAD = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
# Keywords that AutoTokenizer and pipelines hand on, and that are no options of a tokenizer.
_IN_PASSING = ("_from_auto", "_from_pipeline", "_commit_hash", "trust_remote_code", "use_fast")


class SourceTargetTokenizer(PreTrainedTokenizerBase):
    """The tokenizers of two languages as one; the table at the top of this module says which of them answers.

    Args:
        source: Tokenizer of the texts that a model reads.
        target: Tokenizer of the texts that it writes.
    """

    def __init__(self, source: PreTrainedTokenizerFast, target: PreTrainedTokenizerFast) -> None:
        for role, tokenizer in (("source", source), ("target", target)):
            if not isinstance(tokenizer, PreTrainedTokenizerFast):
                raise TypeError(
                    f"{role} is a {type(tokenizer).__name__}: it must be a PreTrainedTokenizerFast, which is saved as "
                    f"one {TOKENIZER_NAME} (hfseq.train_tokenizer makes one)."
                )
        super().__init__(
            padding_side="right",
            truncation_side=source.truncation_side,
            model_max_length=source.model_max_length,
            model_input_names=source.model_input_names,
        )
        self.source, self.target = source, target

    @property
    def is_fast(self) -> bool:
        """Both come from the tokenizers library."""
        return True

    # Special tokens

    def __getattr__(self, key: str) -> Any:
        """Look up special tokens, which transformers finds here by their names, in the target's tokenizer."""
        return getattr(self.target, key) if _is_special(key) else super().__getattr__(key)

    def __setattr__(self, key: str, value: Any) -> None:
        """Set a special token of the target."""
        if _is_special(key):
            setattr(self.target, key, value)
        else:
            super().__setattr__(key, value)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The target's special tokens by their names."""
        return self.target.special_tokens_map

    @property
    def all_special_tokens(self) -> list[str]:
        """The target's special tokens."""
        return self.target.all_special_tokens

    # Texts to ids

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        *,
        max_target_length: int | None = None,
        **options: Any,
    ) -> BatchEncoding:
        """Tokenize sources, or targets, or both: then `labels` are the targets' ids.

        Args:
            text: One source or a list of them.
            text_pair: Second texts that the sources are joined with.
            text_target: One target or a list of them.
            text_pair_target: Second texts that the targets are joined with.
            max_target_length: Most tokens of a target, where it is not the `max_length` of the options.
            **options: What a tokenizer of transformers takes: `padding`, `truncation`, `max_length`, ... With
                `padding`, `labels` are padded by the target's padding, as transformers does; `pad` and
                `DataCollatorForSeq2Seq` pad them by -100, which a loss ignores.
        """
        if text is None and text_target is None:
            raise ValueError("Give text, which is the source, or text_target, or both.")
        if text_target is None:
            return self.source(text, text_pair, **options)
        own = {"padding_side": self.padding_side} | options
        if max_target_length is not None:
            own["max_length"] = max_target_length
        targets = self.target(text_target, text_pair_target, **own)
        if text is None:
            return targets
        encoded = self.source(text, text_pair, **options)
        _check_pairs(encoded, targets, is_one=(isinstance(text, str), isinstance(text_target, str)))
        encoded["labels"] = targets["input_ids"]
        return encoded

    def encode(self, *texts: Any, **options: Any) -> Any:
        """Return the ids of a source."""
        return self.source.encode(*texts, **options)

    def tokenize(self, *texts: Any, **options: Any) -> list[str]:
        """Return the tokens of a source."""
        return self.source.tokenize(*texts, **options)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens are added to a source, or to a pair of them."""
        return self.source.num_special_tokens_to_add(pair)

    # transformers lists the options, which are handed on.
    def pad(  # type: ignore[override]
        self, encoded_inputs: Any, padding: Any = True, **options: Any
    ) -> BatchEncoding:
        """Make a batch: `input_ids` with the source's padding, `labels` with -100 on the right.

        `max_length` is that of the sources; labels are as long as the longest of them.
        """
        rows = encoded_inputs
        if isinstance(rows, list | tuple):
            rows = {name: [row[name] for row in rows] for name in rows[0]}
        labels = _rows_of_labels(rows)
        if labels is None:
            return self.source.pad(encoded_inputs, padding, **options)
        batch = self.source.pad({name: rows[name] for name in rows if name != "labels"}, padding, **options)
        if padding not in (False, "do_not_pad"):
            labels = _ignored_on_the_right(labels, options.get("pad_to_multiple_of") or 1)
        batch["labels"] = BatchEncoding({"labels": labels}, tensor_type=options.get("return_tensors"))["labels"]
        return batch

    # Ids to texts

    def decode(self, *ids: Any, **options: Any) -> Any:
        """Return the text of target ids, or the texts of several rows."""
        return self.target.decode(*ids, **options)

    def batch_decode(self, *rows: Any, **options: Any) -> list[str]:
        """Return the texts of rows of target ids."""
        return self.target.batch_decode(*rows, **options)

    def convert_ids_to_tokens(self, *ids: Any, **options: Any) -> Any:
        """Return the tokens of target ids."""
        return self.target.convert_ids_to_tokens(*ids, **options)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the ids of target tokens."""
        return self.target.convert_tokens_to_ids(tokens)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Return the text of target tokens."""
        return self.target.convert_tokens_to_string(tokens)

    # The target's vocabulary

    @property
    def vocab_size(self) -> int:
        """The size of the target's vocabulary, without added tokens."""
        return self.target.vocab_size

    def __len__(self) -> int:
        """Return the size of the target's vocabulary, with added tokens."""
        return len(self.target)

    def __bool__(self) -> bool:
        """Return True, whatever the vocabularies hold."""
        return True

    def get_vocab(self) -> dict[str, int]:
        """Return the target's vocabulary."""
        return self.target.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The target's added tokens by their ids."""
        return self.target.added_tokens_decoder

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        raise ValueError(
            f"{new_tokens!r} would be added to which language? Call .source.add_tokens or .target.add_tokens (or "
            "add_special_tokens)."
        )

    def __repr__(self) -> str:
        """Show both."""
        return f"{type(self).__name__}(\n    source={self.source!r},\n    target={self.target!r},\n)"

    # Folders and the Hub

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write both tokenizers into one folder; `push_to_hub` and its options are those of transformers."""
        if legacy_format or filename_prefix:
            raise ValueError(
                f"legacy_format={legacy_format!r}, filename_prefix={filename_prefix!r}: two tokenizers are saved as "
                f"{', '.join(_NAMES)} only. Leave both out."
            )
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"tokenizer_class": TWO_TOKENIZERS, "fingerprints": {}}
        for role, name in _FILES.items():
            content[role] = _save_one(getattr(self, role), folder / name)
            content["fingerprints"][name] = _fingerprint(folder / name)
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / TOKENIZER_CONFIG_NAME).write_text(text, encoding="utf-8")
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)
        return tuple(str(folder / name) for name in _NAMES)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *init_inputs: Any, **kwargs: Any) -> Any:
        """Load both from a folder or a Hub id; other options (`model_max_length`, ...) are those of each of the two.

        Raises:
            UnsafeArtifactError: If a file is missing or torn, if the files are not those that were saved together, or
                if ids have no row in the model whose `config.json` stands beside them.
        """
        origin = str(pretrained_model_name_or_path)
        download = {name: kwargs.pop(name) for name in _DOWNLOAD if name in kwargs}
        options = {name: value for name, value in kwargs.items() if name not in _IN_PASSING}
        folder = _folder_of(origin, download)
        content = _checked_config(folder, origin)
        pair = cls(*(_load_one(folder / name, content[role], options) for role, name in _FILES.items()))
        for tokenizer in (pair, pair.source, pair.target):
            tokenizer.name_or_path = origin
        return pair


def _is_special(name: str) -> bool:
    token = name.removesuffix("_ids").removesuffix("_id")
    return token in PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES or token == "extra_special_tokens"


def _check_pairs(sources: BatchEncoding, targets: BatchEncoding, *, is_one: tuple[bool, bool]) -> None:
    """Refuse another number of targets than of sources, and one text beside a list of one."""
    counts = [len(each.encodings or ()) for each in (sources, targets)]
    if counts[0] != counts[1] or is_one[0] != is_one[1]:
        kinds = [f"{count} ({'a text' if one else 'a list'})" for count, one in zip(counts, is_one, strict=True)]
        raise ValueError(
            f"{kinds[0]} of text and {kinds[1]} of text_target: give one target a source, both as a text or both as a "
            "list."
        )


def _rows_of_labels(batch: Mapping[str, Any]) -> list[list[int]] | None:
    """Return the labels of a batch as lists, where it has one a token."""
    labels = batch.get("labels")
    if labels is None or len(labels) == 0 or not hasattr(labels[0], "__len__"):
        return None
    return [row if isinstance(row, list) else list(map(int, row)) for row in labels]


def _ignored_on_the_right(rows: list[list[int]], multiple: int) -> list[list[int]]:
    longest = -(-max(map(len, rows)) // multiple) * multiple
    return [[*row, *[IGNORED] * (longest - len(row))] for row in rows]


def _save_one(tokenizer: PreTrainedTokenizerFast, file: Path) -> dict[str, Any]:
    """Save one of the two as transformers does: its `tokenizer.json` as the file, its config is returned."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder, save_jinja_files=False)
        shutil.copyfile(Path(folder, TOKENIZER_NAME), file)
        return read_json(Path(folder, TOKENIZER_CONFIG_NAME))


def _load_one(file: Path, config: dict[str, Any], options: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Load one of the two as transformers does, from a folder with its files alone."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(file, Path(folder, TOKENIZER_NAME))
        Path(folder, TOKENIZER_CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
        return cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options))


def _folder_of(origin: str, download: dict[str, Any]) -> Path:
    """Return the local folder with the three files of two tokenizers, downloaded if they are not here."""
    if not os.path.isdir(origin):
        names = ("revision", "token", "local_files_only", "cache_dir")
        download["revision"] = resolve_revision(origin, **{name: download[name] for name in names if name in download})
    found = [cached_file(origin, name, **download, _raise_exceptions_for_missing_entries=False) for name in _NAMES]
    if found[0] is not None and (kind := read_json(Path(found[0])).get("tokenizer_class")) != TWO_TOKENIZERS:
        raise ValueError(f"{origin} holds one tokenizer, of class {kind}: load it with AutoTokenizer.")
    missing = [name for name, file in zip(_NAMES, found, strict=True) if file is None]
    if missing:
        raise UnsafeArtifactError(
            f"{origin} lacks {' and '.join(missing)}: two tokenizers are {', '.join(_NAMES)}, which "
            "SourceTargetTokenizer(source, target).save_pretrained writes. Save or download them again."
        )
    return Path(str(found[0])).parent


def _checked_config(folder: Path, origin: str) -> dict[str, Any]:
    """Return `tokenizer_config.json`, once the files are those that were saved with it."""
    content = read_json(folder / TOKENIZER_CONFIG_NAME)
    saved = content.get("fingerprints")
    configs: list[Any] = [content.get(role) for role in _FILES]
    if not isinstance(saved, dict) or not all(isinstance(config, dict) for config in configs):
        raise UnsafeArtifactError(f"{folder / TOKENIZER_CONFIG_NAME} lacks fingerprints, source or target: save anew.")
    if any(config.get("tokenizer_class") == TWO_TOKENIZERS for config in configs):
        raise UnsafeArtifactError(f"{folder / TOKENIZER_CONFIG_NAME} holds a pair within the pair: save anew.")
    found = {name: _fingerprint(folder / name) for name in _FILES.values()}
    wrong = [name for name in found if found[name] != saved.get(name)]
    if wrong and list(found.values()) == [saved.get(name) for name in reversed(found)]:
        raise UnsafeArtifactError(
            f"{SOURCE_TOKENIZER_NAME} and {TARGET_TOKENIZER_NAME} of {origin} are swapped: each has the content of "
            "the other. Give them back their names."
        )
    if wrong:
        raise UnsafeArtifactError(
            f"{' and '.join(wrong)} of {origin} is not what was saved with {TOKENIZER_CONFIG_NAME}: the files come "
            "from different versions. Save both tokenizers together, or download all files again."
        )
    check_tokenizer_ids(folder)
    return content


def _fingerprint(file: Path) -> str:
    """Return a hash of what a JSON file says, the same for other line ends and indents."""
    return hashlib.sha256(json.dumps(read_json(file), sort_keys=True).encode()).hexdigest()
