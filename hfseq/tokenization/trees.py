"""A tokenizer of trees: one token a node, and the number of each node's parent.

    tokenizer("(3 (2 It) (4 works))")        # input_ids: It works <node>; parents: 3 3 0
    tokenizer("It works")                    # input_ids: It works;        parents: 0 0

| what is given                                       | what it becomes                                              |
|-----------------------------------------------------|--------------------------------------------------------------|
| brackets `(3 (2 It) (4 works))`, `(NP (DT the) ...)` | a tree; `<node>` is the token of a node without a word       |
| a sentence of CoNLL-U                               | a dependency tree: a token a word, in the order of the words |
| a `Tree`, or a dict with `words` and `parents`      | the same                                                     |
| plain text                                          | its words, all of them roots: a model joins them             |
| a list of words (`is_split_into_words=True`)        | the same, each word whole                                    |

A text is brackets if it is one tree as a whole, with a label and a word or nodes in each bracket; a bracket alone
around a word needs a number or a category in capitals, so that "(see below)" and "(I agree)" stay text. What begins
as a tree does, `(3 (` or `(NP (`, or is a tree's word that is not closed, `(3 works`, but is no whole tree, is an
error that names line and column. All other text is plain: "(3 of us) it was great".

Truncation keeps the first `max_length` nodes. Children come before their parents, so that what is left are whole
subtrees, side by side: a forest, which a model joins again. The root is then cut off, with its label.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from tokenizers import AddedToken, Tokenizer, models, trainers
from transformers import BatchEncoding, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from typing_extensions import Unpack

from . import TextForm, check_learned, text_normalizer
from .brackets import BracketError, read_brackets
from .conllu import from_conllu, is_conllu
from .kinds import PAD, UNK
from .padding import IGNORED
from .spelled_words import word_units
from .texts import Texts, batches, check_keywords, is_dataset, strings
from .tree import Tree

NODE = "<node>"
TreeInput: TypeAlias = str | Tree | Mapping[str, Any]

_BLANK = r"[ \t\r\n\f\v]"
_WORD = r"[^ \t\r\n\f\v()]+"
_CATEGORY = rf"(?:-?\d+|[A-Z](?![a-z])(?:{_WORD})?)(?={_BLANK}|\()"
# `( (S ...)` too: the roots of the Penn Treebank have no category.
_BEGINS_LIKE_A_TREE = re.compile(rf"\({_BLANK}*(?:{_CATEGORY}{_BLANK}*\(|\({_BLANK}*{_CATEGORY})")
_ONE_LEAF = re.compile(rf"\({_BLANK}*(?:-?\d+|[A-Z]{{2}}(?:{_WORD})?){_BLANK}+{_WORD}{_BLANK}*\)?")
_NESTED = re.compile(rf"\({_BLANK}*{_WORD}{_BLANK}*\(")
_NUMBER = re.compile(r"-?\d+")


class TreeTokenizer(PreTrainedTokenizerFast):
    """Turns trees and texts into `input_ids`, `parents` and `attention_mask`, and with `return_labels` into `labels`.

    Made by `train` or `from_tokenizer`, saved and loaded as any tokenizer of transformers.

    Attributes:
        label_names: What the labels of trees are called, in the order of their ids; None: they are numbers already.
    """

    # Any: transformers declares both as attributes of an instance.
    SPECIAL_TOKENS_ATTRIBUTES: Any = [*PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES, "node_token"]
    model_input_names: Any = ["input_ids", "parents", "attention_mask"]

    @classmethod
    def train(
        cls,
        trees: "Iterable[TreeInput] | Texts",
        *,
        vocab_size: int = 30_000,
        min_frequency: int = 2,
        max_length: int | None = None,
        label_names: Sequence[str] | None = None,
        text_column: str = "tree",
        **form: Unpack[TextForm],
    ) -> "TreeTokenizer":
        """Learn the words of trees, each of them whole; plain texts are cut near to what treebanks call words.

        Args:
            trees: Brackets, other trees or texts, or a dataset: with the columns of `tree_features`, or one of texts.
            vocab_size: Most entries, with `<pad>`, `<unk>` and `<node>`, which are 0, 1 and 2.
            min_frequency: Rarer words are `<unk>`.
            max_length: Most nodes of a tree, saved as `model_max_length`; by default any number.
            label_names: See the attributes of the class.
            text_column: The column of a dataset without the columns `words` and `parents`.
            **form: `lowercase`, `strip_accents`, `normalization`: see `hfseq.train_tokenizer`.
        """
        check_keywords(cls.train, form, TextForm)
        special = [AddedToken(token, normalized=False, special=True) for token in (PAD, UNK, NODE)]
        for name, number, least in (("vocab_size", vocab_size, 4), ("min_frequency", min_frequency, 1)):
            if number < least:
                raise ValueError(f"{name}={number}: use {least} or more.")
        backend = Tokenizer(models.WordLevel(unk_token=UNK))
        backend.normalizer = text_normalizer("word", "classification", **form)
        trainer = trainers.WordLevelTrainer(
            vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special, show_progress=False
        )
        backend.train_from_iterator(batches(_words_of(trees, text_column)), trainer)
        backend.pre_tokenizer = word_units()  # not before: the words of trees are learnt whole
        check_learned(backend, "word", vocab_size, len(special))
        return cls._made(backend, label_names, model_max_length=max_length)

    @classmethod
    def from_tokenizer(
        cls, tokenizer: PreTrainedTokenizerFast, *, label_names: Sequence[str] | None = None
    ) -> "TreeTokenizer":
        """Make one of a tokenizer of whole words, whose ids stay; `<node>` gets the next one.

        Args:
            tokenizer: Of the kind `word` or `whitespace`, or any other whose words are one token each.
            label_names: See the attributes of the class.
        """
        model = tokenizer.backend_tokenizer.model
        is_whole = getattr(model, "continuing_subword_prefix", None) == " "  # as `train_tokenizer` does for taggers
        if not (isinstance(model, models.WordLevel) or is_whole):
            raise ValueError(
                f"The tokenizer is a {type(model).__name__}, which may cut a word into several tokens; a node has "
                "one. Take TreeTokenizer.train(trees), or train_tokenizer(texts, kind='word')."
            )
        if tokenizer.pad_token is None or tokenizer.unk_token is None:
            raise ValueError(
                "The tokenizer needs a pad_token and an unk_token: set them, such as '<pad>' and '<unk>'."
            )
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        limits = {"model_max_length": tokenizer.model_max_length, "padding_side": tokenizer.padding_side}
        return cls._made(backend, label_names, pad_token=tokenizer.pad_token, unk_token=tokenizer.unk_token, **limits)

    @classmethod
    def _made(cls, backend: Tokenizer, label_names: Sequence[str] | None, **options: Any) -> "TreeTokenizer":
        return cls(
            tokenizer_object=backend,
            node_token=NODE,
            label_names=_checked_names(label_names),
            add_bos_token=False,
            add_eos_token=False,
            clean_up_tokenization_spaces=False,
            # A text has no nodes in it: what is spelled like a special token is a word.
            split_special_tokens=True,
            **{"pad_token": PAD, "unk_token": UNK, "padding_side": "right", "truncation_side": "right"} | options,
        )

    @property
    def label_names(self) -> list[str] | None:
        """What the labels of trees are called; None: they are numbers already."""
        return cast("list[str] | None", self.init_kwargs.get("label_names"))

    @label_names.setter
    def label_names(self, names: Sequence[str] | None) -> None:
        self.init_kwargs["label_names"] = _checked_names(names)

    # Trees to ids

    def read(self, text: TreeInput | Sequence[str], *, is_split_into_words: bool = False) -> Tree:
        """Return the tree that a text, brackets, CoNLL-U or a dict stand for; of plain text a forest of its words."""
        if isinstance(text, Tree | Mapping):
            return (text if isinstance(text, Tree) else Tree.from_row(text)).in_order()
        if is_split_into_words and isinstance(text, str):
            raise TypeError(f"is_split_into_words=True takes lists of words, not the text {text[:60]!r}.")
        if isinstance(text, str):
            tree = tree_in(text)
            if tree is not None:
                return tree
            # Cut as it was written, so that what is shown of it is not in lower case.
            words = tuple(word for word, _ in self.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text))
        elif is_split_into_words and isinstance(text, list | tuple) and all(isinstance(word, str) for word in text):
            words = tuple(text)
        else:
            raise TypeError(f"{text!r:.80} is no tree: give a text, a Tree, or a dict with words and parents.")
        return Tree(words, (0,) * len(words))

    def _ids(self, words: Iterable[str | None]) -> list[int]:
        """Return the id of each word, and that of `<node>` where there is none."""
        backend, node, unknown = self.backend_tokenizer, self.node_token_id, self.unk_token_id
        special = {number for number, token in self.added_tokens_decoder.items() if token.special}
        written = backend.normalizer.normalize_str if backend.normalizer is not None else str
        found = (node if word is None else backend.token_to_id(written(word)) for word in words)
        known = [unknown if number is None else number for number in found]
        return [
            unknown if number in special and word is not None else number
            for number, word in zip(known, words, strict=True)
        ]

    def labels_of(self, tree: Tree) -> list[int]:
        """Return the id of each node's label, and -100, which a loss ignores, where there is none."""
        names = self.label_names
        places = {name: place for place, name in enumerate(names or ())}
        return [self._label(label, node, places) for node, label in enumerate(tree.labels, start=1)]

    def _label(self, label: str, node: int, places: Mapping[str, int]) -> int:
        if not label:
            return IGNORED
        if label in places:
            return places[label]
        number = int(label) if _NUMBER.fullmatch(label) else None
        if number is not None and (not places or 0 <= number < len(places)):
            return number
        if not places:
            cure = "name all of them: tokenizer.label_names = [...]"
            raise ValueError(f"Node {node} has the label {label!r}, which is no number: {cure}.")
        raise ValueError(f"Node {node} has the label {label!r}, which is not among label_names: {', '.join(places)}.")

    # The arguments are those that transformers' own __call__ hands on, in any of its releases.
    def _encode_plus(  # type: ignore[override]
        self, text: Any, text_pair: Any = None, *, return_labels: bool = False, **options: Any
    ) -> BatchEncoding:
        if text_pair is not None:
            raise ValueError(f"text_pair={text_pair!r:.60}: a tree is of one text; join the two, or leave it out.")
        _check_options(options)
        is_split = bool(options.get("is_split_into_words"))
        is_batch = isinstance(text, list | tuple) and not (is_split and all(isinstance(word, str) for word in text))
        rows = [
            self._row(self.read(one, is_split_into_words=is_split), return_labels, options)
            for one in (text if is_batch else [text])
        ]
        names = rows[0] if rows else dict.fromkeys(self.model_input_names)
        padding = {name: options.get(name) for name in ("max_length", "pad_to_multiple_of", "padding_side")}
        padding |= {"return_attention_mask": options.get("return_attention_mask")}
        batch = self.pad(
            {name: [row[name] for row in rows] for name in names},
            options["padding_strategy"],
            return_tensors=options.get("return_tensors"),
            verbose=False,
            **padding,
        )
        if is_batch or options.get("return_tensors") is not None:
            return BatchEncoding(dict(batch))  # of an empty list transformers gives back the dict
        return BatchEncoding({name: values[0] for name, values in batch.items()})

    def _row(self, tree: Tree, return_labels: bool, options: Mapping[str, Any]) -> dict[str, Any]:
        limit: Any = options.get("max_length")
        row: dict[str, Any] = {"input_ids": self._ids(tree.words), "parents": list(tree.parents)}
        if return_labels:
            row["labels"] = self.labels_of(tree)
        self._eventual_warn_about_too_long_sequence(row["input_ids"], limit, options.get("verbose", True))
        is_cut = options.get("truncation_strategy") != TruncationStrategy.DO_NOT_TRUNCATE and limit is not None
        if is_cut and len(row["input_ids"]) > limit:
            if self.truncation_side == "left":
                raise ValueError("truncation_side='left': trees are cut behind their first nodes; set it to 'right'.")
            row = {name: values[:limit] for name, values in row.items()}
            row["parents"] = [parent if parent <= limit else 0 for parent in row["parents"]]
        if options.get("return_attention_mask") is not False:
            row["attention_mask"] = [1] * len(row["input_ids"])
        if options.get("return_special_tokens_mask"):
            row["special_tokens_mask"] = [int(token == self.node_token_id) for token in row["input_ids"]]
        if options.get("return_length"):
            row["length"] = len(row["input_ids"])
        return row

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """Return the token of each node."""
        return cast(list[str], self.convert_ids_to_tokens(self(text, pair, **options)["input_ids"]))

    def _switch_to_target_mode(self) -> None:
        """Refuse targets; transformers calls this before it reads them."""
        raise ValueError("text_target is for models that write texts: leave it out.")

    # Padding

    def _pad(self, encoded_inputs: Any, *args: Any, **options: Any) -> Any:
        """Pad a row as any tokenizer does, its `parents` with 0 and labels of nodes with -100."""
        length = len(encoded_inputs["input_ids"])
        side = options.get("padding_side") or self.padding_side
        padded = super()._pad(encoded_inputs, *args, **options)
        more = len(padded["input_ids"]) - length
        for name, filler in (("parents", 0), ("labels", IGNORED)):
            values = padded.get(name)
            if more and isinstance(values, list) and len(values) == length:
                padded[name] = values + [filler] * more if side == "right" else [filler] * more + values
        return padded

    # Ids to texts

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Join the words; `<node>` is none of them."""
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        kept = [token for token in ids if token != self.node_token_id]
        return super()._decode(kept, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)


def tree_in(text: str) -> Tree | None:
    """Return the tree that a text spells, in brackets or as CoNLL-U; None: it is plain text.

    Raises:
        BracketError: If it begins as brackets do, but is no whole tree.
    """
    if is_conllu(text):
        return from_conllu(text)
    bare = text.strip()
    if not bare.startswith("("):
        return None
    if _BEGINS_LIKE_A_TREE.match(bare) or _ONE_LEAF.fullmatch(bare):
        return read_brackets(text)
    try:
        return read_brackets(text) if _NESTED.match(bare) else None
    except BracketError:
        return None


def _words_of(trees: Any, text_column: str) -> Iterator[str]:
    """Yield the words of all trees and texts but for spellings of special tokens."""
    if is_dataset(trees) and {"words", "parents"} <= set(trees.column_names or ()):
        trees = trees.select_columns(["words", "parents"])
    elif is_dataset(trees) or isinstance(trees, str | Mapping):
        trees = strings(trees, text_column)
    is_empty = True
    for row in trees:
        is_empty = False
        tree = tree_in(row) if isinstance(row, str) else row if isinstance(row, Tree) else Tree.from_row(row)
        cut = (word for word, _ in word_units().pre_tokenize_str(row)) if tree is None else tree.sentence
        yield from (word for word in cut if word not in (PAD, UNK, NODE))
    if is_empty:
        raise ValueError("There are no trees: the iterable is empty, or it was an iterator that is already used up.")


def _checked_names(names: Sequence[str] | None) -> list[str] | None:
    if isinstance(names, str) or (names is not None and len(set(names)) < max(len(names), 1)):
        raise ValueError(f"label_names={names!r} must be a list of names, each there once.")
    return None if names is None else list(names)


def _check_options(options: Mapping[str, Any]) -> None:
    for name in ("return_overflowing_tokens", "return_offsets_mapping", "return_token_type_ids"):
        if options.get(name):
            raise ValueError(f"{name}=True: a tree has none of these; leave it out.")
