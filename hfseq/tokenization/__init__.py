r"""Tokenizers: trained here, loaded anywhere by plain `AutoTokenizer.from_pretrained`.

`train_tokenizer` trains a pipeline of the `tokenizers` library and wraps it in `PreTrainedTokenizerFast`; there is no
tokenizer class of our own, so a saved tokenizer needs no code of ours.

| kind              | a token is                                      | decodes back to         | language models |
|-------------------|-------------------------------------------------|-------------------------|-----------------|
| `word`            | a word, a Han character or a symbol; no space   | tokens joined by spaces | no              |
| `wordpiece`       | a piece of a `word`                             | words joined by spaces  | no              |
| `unigram`         | a piece of text between spaces (SentencePiece)  | the text, less unknowns | yes             |
| `bpe`             | a run of bytes within a word: none is unknown   | the text, always        | yes             |
| `char`            | a code point                                    | the text, less unknowns | yes             |
| `word_with_space` | a `word` with the space before it, other spaces | the text, less unknowns | yes             |
| `whitespace`      | what stands between white space                 | a space and each token  | yes             |

The last two columns hold for `purpose="language-modeling"`. With `purpose="classification"` texts are brought to NFC,
and `bpe` and `unigram` put a space before the first word, so that a list of words (`is_split_into_words=True`) gives
the same pieces as the sentence. `char` and `word_with_space` see no space between the words of such a list: for
tagging take one of the others.

`whitespace` is for corpora whose tokens are separated already (Penn Treebank, WikiText-2, text8): the vocabulary is
theirs, and an `<unk>` that stands in the text is the unknown token. White space of any kind and length counts as one
space. A language model's tokens are decoded with the space before each, the first one included, since a continuation
is decoded by itself; `min_frequency=1` keeps every type of the corpus.

A special token that is written in a text is one token, whatever the kind, and nothing is learnt from its spelling.
`condition_tokens` adds some of your own, for labels that a text is written under: in `<happy> what a day` the model
reads the embedding of `<happy>` first. White space after them is dropped, and `skip_special_tokens=True` drops them.

A word is a run of letters, digits and marks, read grapheme cluster by grapheme cluster: no vowel sign, accent, joiner
or emoji sequence is ever cut off. Every Han character is a word of its own (not in `bpe`); kana, Thai, Lao and Khmer,
written without spaces too, stay together as long words: prefer `unigram` or `bpe` for them.

The same texts always give the same tokenizer. Offsets point into the text as it was given; where NFC merges a
decomposed letter (`e` and a combining accent), the library's offsets end before the accent.
"""

import copy
import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

from datasets import Dataset, IterableDataset
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

Kind: TypeAlias = Literal["word", "wordpiece", "unigram", "bpe", "char", "word_with_space", "whitespace"]
Purpose: TypeAlias = Literal["classification", "language-modeling"]
Split: TypeAlias = Literal["whitespace", "word"]
Texts: TypeAlias = Iterable[str] | Dataset | IterableDataset

KINDS: tuple[Kind, ...] = get_args(Kind)
LANGUAGE_MODEL_KINDS: tuple[Kind, ...] = ("unigram", "bpe", "char", "word_with_space", "whitespace")
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

PAD, UNK, BOS, EOS, MASK = SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")  # ids 0 to 4

# `\X` is a grapheme cluster and `\w` knows letters, digits and marks of every script.
_WORD = r"(?:(?=[\w&&[^\p{Han}]])\X)+"
_WORDS = rf"{_WORD}|(?=[^\s\p{{Cc}}\p{{Cf}}])\X"
_WORDS_WITH_SPACE = rf" ?{_WORD}| ?(?=\S)\X|\s+(?!\S)|\s"
_CHARS = r"[\s\S]"
# The library's own expression for bytes cuts words of Indic scripts at every vowel sign.
_RUNS = r" ?(?:(?=\w)\X)+| ?(?:(?=[^\s\w])\X)+|\s+(?!\S)|\s"
# The block of marks for Latin, Greek and Cyrillic: `normalizers.StripAccents` would take Devanagari's vowels as well.
_ACCENTS = "[\u0300-\u036f]+"
_LONGEST_WORD = 200  # wordpiece gives up on longer ones; the library's 100 is short for a line of Thai
_BATCH_SIZE = 1000


def train_tokenizer(
    texts: Texts,
    kind: Kind = "word",
    *,
    purpose: Purpose = "classification",
    vocab_size: int = 30_000,
    min_frequency: int | None = None,
    lowercase: bool = False,
    strip_accents: bool = False,
    normalization: Literal["auto", "nfc", "nfkc"] | None = "auto",
    max_length: int | None = None,
    padding_side: Literal["left", "right"] | None = None,
    condition_tokens: Sequence[str] = (),
    text_column: str = "text",
) -> PreTrainedTokenizerFast:
    """Trains a tokenizer which, once saved, `AutoTokenizer.from_pretrained` loads without this package.

    Args:
        texts: Strings, or a dataset whose column `text_column` holds strings.
        kind: See the table at the top of this module.
        purpose: "classification" (tagging, similarity and translation too) ends each text with `</s>`, so that an
            empty text still has a token. "language-modeling" writes `<s> text </s>`; `prompt_tokenizer` makes the
            twin that leaves the end open, which belongs beside the finished model.
        vocab_size: Most entries, special tokens included.
        min_frequency: Rarer words, characters or merges are left out. By default 2, so that a model meets `<unk>` in
            training, before it meets it in use. `unigram` has no such threshold.
        lowercase: Whether to lower-case.
        strip_accents: Whether to drop the accents of Latin, Greek and Cyrillic letters; implies composition (NFC).
        normalization: Unicode normal form. "auto" is "nfc" for classification and none for language models.
        max_length: Longest sequence with its special tokens, saved as `model_max_length`; `truncation=True` keeps
            `</s>`.
        padding_side: Saved with the tokenizer; None: "left" for language models, which go on where a text ends, else
            "right".
        condition_tokens: More special tokens, such as "<happy>" and "<sad>": see the top of this module.
        text_column: Column to read when `texts` is a dataset.

    Returns:
        The tokenizer, with `<pad>`, `<unk>`, `<s>`, `</s>`, `<mask>` as ids 0 to 4, and the condition tokens next.

    Raises:
        ValueError: If an option is out of range or does not fit the kind, or if there is nothing to learn from.
        TypeError: If `texts` holds something other than strings.
    """
    if padding_side is None:
        padding_side = "left" if purpose == "language-modeling" else "right"
    _check_choices(kind, purpose, normalization, padding_side)
    special = _special_tokens(kind, condition_tokens)
    _check_numbers(kind, purpose, vocab_size, len(special), min_frequency, max_length)
    altered = lowercase or strip_accents or normalization in ("nfc", "nfkc")
    if kind == "bpe" and purpose == "language-modeling" and altered:
        raise ValueError(
            "kind='bpe' gives a language model's text back byte for byte, which lowercase, strip_accents and "
            "normalization would break; leave them out, or prepare the texts before training"
        )
    if normalization == "auto":
        normalization = "nfc" if purpose == "classification" else None
    tokenizer = _untrained(kind, purpose)
    tokenizer.normalizer = _normalizer(lowercase, strip_accents, normalization)
    pieces = _between(special, _strings(texts, text_column))
    tokenizer = _train(tokenizer, kind, pieces, special, vocab_size, min_frequency or 2)
    _check_learned(tokenizer, kind, vocab_size, len(special))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        mask_token=MASK,
        extra_special_tokens=special[len(SPECIAL_TOKENS) :],
        add_bos_token=purpose == "language-modeling",
        add_eos_token=True,
        model_max_length=max_length,
        padding_side=padding_side,
        truncation_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def prompt_tokenizer(tokenizer: PreTrainedTokenizerFast, *, add_bos: bool = True) -> PreTrainedTokenizerFast:
    """Returns a copy of a language model's tokenizer that writes `<s> text`, without `</s>`: prompts stay open.

    Save this copy beside the finished model. Setting `add_eos_token = False` on a tokenizer that was loaded would
    drop `<s>` as well, for transformers saves neither flag; here both are set.

    Args:
        tokenizer: What `train_tokenizer(purpose="language-modeling")` made.
        add_bos: False for a model that was trained on one stream without `<s>`: a prompt is then its text alone.
    """
    return marking_tokenizer(tokenizer, add_bos=add_bos, add_eos=False)


def marking_tokenizer(tokenizer: PreTrainedTokenizerFast, *, add_bos: bool, add_eos: bool) -> PreTrainedTokenizerFast:
    """Returns a copy that begins and ends each text as the model's training texts do.

    Args:
        tokenizer: What `train_tokenizer(purpose="language-modeling")` made.
        add_bos: Begin each text with `bos_token`.
        add_eos: End each with `eos_token`, as a masked model reads it; a prompt is left open.
    """
    marking = copy.deepcopy(tokenizer)
    marking.add_bos_token = add_bos  # type: ignore[misc] # the setter stands where mypy does not see it
    marking.add_eos_token = add_eos  # type: ignore[misc]
    return marking


def unknown_rate(tokenizer: PreTrainedTokenizerBase, texts: Texts, text_column: str = "text") -> float:
    """Returns the share of `<unk>` among the tokens of the texts, special tokens left out; 0 if there is no token."""
    unknown = total = 0
    for batch in _batches(_strings(texts, text_column)):
        for ids in tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
            unknown += ids.count(tokenizer.unk_token_id)
            total += len(ids)
    return unknown / total if total else 0.0


def _check_choices(kind: str, purpose: str, normalization: str | None, padding_side: str) -> None:
    for name, value, choices in (
        ("kind", kind, KINDS),
        ("purpose", purpose, PURPOSES),
        ("normalization", normalization, ("auto", "nfc", "nfkc", None)),
        ("padding_side", padding_side, ("left", "right")),
    ):
        if value not in choices:
            near = difflib.get_close_matches(str(value).lower(), [str(choice) for choice in choices], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}{hint}")
    if purpose == "language-modeling" and kind not in LANGUAGE_MODEL_KINDS:
        raise ValueError(
            f"kind={kind!r} does not keep spaces, so a language model could not write text with it; "
            f"use one of {', '.join(map(repr, LANGUAGE_MODEL_KINDS))}"
        )


def _check_numbers(
    kind: Kind,
    purpose: Purpose,
    vocab_size: int,
    num_special: int,
    min_frequency: int | None,
    max_length: int | None,
) -> None:
    smallest = num_special + (256 if kind == "bpe" else 1)
    if vocab_size < smallest:
        contents = "256 bytes" if kind == "bpe" else "one entry"
        raise ValueError(
            f"vocab_size={vocab_size} is too small: the special tokens and {contents} need {smallest} or more"
        )
    if min_frequency is not None and (kind == "unigram" or min_frequency < 1):
        cure = "kind='unigram' has no such threshold, leave it out" if kind == "unigram" else "use 1 or more"
        raise ValueError(f"min_frequency={min_frequency}: {cure}")
    shortest = 2 if purpose == "classification" else 3
    if max_length is not None and max_length < shortest:
        raise ValueError(
            f"max_length={max_length} leaves no room for text beside the special tokens; "
            f"use {shortest} or more, or None for no limit"
        )


def _strings(texts: Texts, text_column: str) -> Iterator[str]:
    """Yields the texts one by one; complains about everything that is not a string."""
    if isinstance(texts, Dataset | IterableDataset):
        texts = rows_of_column(texts, text_column)
    if isinstance(texts, str | Mapping):
        cure = "wrap it in a list" if isinstance(texts, str) else "pass one of its splits or columns"
        raise TypeError(f"texts is one {type(texts).__name__}, not a sequence of strings; {cure}")
    number = -1
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"text number {number} is {text!r} ({type(text).__name__}), not a string; "
                "drop rows without text and turn other values into strings first"
            )
        yield text
    if number < 0:
        raise ValueError("there are no texts: the iterable is empty, or it was an iterator that is already used up")


def rows_of_column(dataset: Dataset | IterableDataset, text_column: str) -> Iterator[Any]:
    """Yield a column row by row; a stream may not know which columns it has."""
    if dataset.column_names is not None and text_column not in dataset.column_names:
        raise ValueError(f"text_column={text_column!r} is not among the columns {dataset.column_names}")
    return (row[text_column] for row in dataset.select_columns(text_column))


def _between(special: list[AddedToken], texts: Iterable[str]) -> Iterator[str]:
    """Yields what stands between the special tokens of the texts: the library would learn from their spelling."""
    spaced = (
        (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
        for token in sorted(special, key=lambda token: -len(token.content))
    )
    expression = re.compile("|".join(spaced))
    for text in texts:
        yield from expression.split(text)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while batch := list(islice(texts, _BATCH_SIZE)):
        yield batch


def _normalizer(
    lowercase: bool, strip_accents: bool, normalization: Literal["nfc", "nfkc"] | None
) -> normalizers.Normalizer | None:
    steps: list[normalizers.Normalizer] = []
    if strip_accents:
        steps += [normalizers.NFD(), normalizers.Replace(Regex(_ACCENTS), "")]
    if normalization == "nfkc":
        steps.append(normalizers.NFKC())
    elif normalization == "nfc" or strip_accents:
        steps.append(normalizers.NFC())
    if lowercase:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps) if steps else None


def _untrained(kind: Kind, purpose: Purpose) -> Tokenizer:
    """Builds model, pre-tokenizer and decoder of a kind, with an empty vocabulary."""
    scheme = "always" if purpose == "classification" else "never"  # a space before the first word
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                # Not ByteLevel(add_prefix_space=True), which puts a space before every piece that comes from Split.
                pre_tokenizers.Metaspace(" ", prepend_scheme=scheme, split=False),
                pre_tokenizers.Split(Regex(_RUNS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        first_space = [decoders.Strip(" ", 1, 0)] if scheme == "always" else []
        tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), *first_space])
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=UNK, max_input_chars_per_word=_LONGEST_WORD))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
        tokenizer.decoder = decoders.WordPiece(cleanup=False)
    elif kind == "whitespace":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        first_space = [decoders.Strip(" ", 1, 0)] if scheme == "always" else []
        tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex("^"), " "), decoders.Fuse(), *first_space])
    elif kind == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(
            Regex(_CHARS if kind == "char" else _WORDS_WITH_SPACE), "isolated"
        )
        tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _special_tokens(kind: Kind, condition_tokens: Sequence[str]) -> list[AddedToken]:
    if isinstance(condition_tokens, str):
        raise ValueError(f"condition_tokens={condition_tokens!r} is one string; wrap it in a list")
    names = [*SPECIAL_TOKENS, *condition_tokens]
    for name in condition_tokens:
        if not name or name.split() != [name]:
            raise ValueError(
                f"condition_tokens holds {name!r}; a token is written without white space, like '<happy>'"
            )
        if names.count(name) > 1:
            raise ValueError(f"condition_tokens holds {name!r}, which is there twice or is a special token already")
    # Where a word carries the space before it, `<mask>` stands for word and space.
    return [
        AddedToken(
            name,
            lstrip=name == MASK and kind != "char",
            rstrip=name in condition_tokens,
            normalized=False,
            special=True,
        )
        for name in names
    ]


def _train(
    tokenizer: Tokenizer,
    kind: Kind,
    texts: Iterator[str],
    special: list[AddedToken],
    vocab_size: int,
    min_frequency: int,
) -> Tokenizer:
    if kind == "wordpiece":
        return _train_wordpiece(tokenizer, list(texts), special, vocab_size, min_frequency)
    if kind == "unigram":
        return _train_unigram(tokenizer, texts, special, vocab_size)
    if kind == "bpe":
        trainer: trainers.Trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
    else:
        trainer = trainers.WordLevelTrainer(
            vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special, show_progress=False
        )
    tokenizer.train_from_iterator(_batches(texts), trainer)
    return tokenizer


def _train_wordpiece(
    tokenizer: Tokenizer, texts: list[str], special: list[AddedToken], vocab_size: int, min_frequency: int
) -> Tokenizer:
    """Trains WordPiece so that the same texts always give the same vocabulary.

    The library numbers the pieces `##x` in the order of a hash table and breaks ties between merges by these numbers.
    Naming the pieces beforehand, as if they were special tokens of a throw-away tokenizer, fixes the order. First
    letters are named too: a letter met only at the start of words must not make a word unknown where it stands inside.
    """
    normalized = texts if tokenizer.normalizer is None else map(tokenizer.normalizer.normalize_str, texts)
    words = {word for text in normalized for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    continuing = sorted({f"##{char}" for word in words if len(word) > 1 for char in word})
    draft = copy.deepcopy(tokenizer)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*special, *continuing],
        show_progress=False,
    )
    draft.train_from_iterator(_batches(texts), trainer)
    tokenizer.model = models.WordPiece(
        draft.get_vocab(), unk_token=UNK, max_input_chars_per_word=_LONGEST_WORD, continuing_subword_prefix="##"
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def _train_unigram(
    tokenizer: Tokenizer, texts: Iterator[str], special: list[AddedToken], vocab_size: int
) -> Tokenizer:
    """Trains a unigram model so that the same texts always give the same ids and scores.

    The library orders pieces by scores that carry rounding noise, and gives the characters that it did not learn a
    place in a ladder of scores in the order of a hash table. Ids follow the pieces' spelling here, scores are
    rounded, and all those characters stand on the lowest rung.
    """
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special, unk_token=UNK, show_progress=False
    )
    try:
        tokenizer.train_from_iterator(_batches(texts), trainer)
    except Exception as error:  # the library raises the bare class
        if "not large enough" not in str(error):
            raise
        raise ValueError(
            f"vocab_size={vocab_size} is smaller than the number of different characters in the texts; "
            "raise it, or use kind='bpe', which needs bytes only"
        ) from error
    vocabulary: list[tuple[str, float]] = [tuple(x) for x in json.loads(tokenizer.to_str())["model"]["vocab"]]
    named, learned = vocabulary[: len(special)], sorted(vocabulary[len(special) :])
    lowest = min((score for _, score in learned), default=0.0)
    pieces = [(piece, round(_off_the_ladder(piece, score, lowest), 6)) for piece, score in learned]
    tokenizer.model = models.Unigram(named + pieces, unk_id=SPECIAL_TOKENS.index(UNK), byte_fallback=False)
    return tokenizer


def _off_the_ladder(piece: str, score: float, lowest: float) -> float:
    rung = (score - lowest) / 1e-4  # the library's step
    return lowest if len(piece) == 1 and abs(rung - round(rung)) < 1e-5 else score


def _check_learned(tokenizer: Tokenizer, kind: Kind, vocab_size: int, num_special: int) -> None:
    size = tokenizer.get_vocab_size()
    if size > vocab_size:
        raise ValueError(
            f"vocab_size={vocab_size} is too small: kind={kind!r} needs {size} entries for the special tokens and the "
            "single characters of these texts; raise it, or use kind='bpe', which needs bytes only"
        )
    if size == num_special:
        raise ValueError("no token was learned: the texts are blank, or too rare for min_frequency; lower it to 1")


def vocabulary_tokenizer(
    words: Sequence[str], *, split: Split = "whitespace", lowercase: bool = False
) -> PreTrainedTokenizerFast:
    """Makes a tokenizer of given words, for word vectors: nothing is learnt and nothing added to a text.

    Args:
        words: The vocabulary; ids 0 and 1 are `<pad>` and `<unk>`, the first word is 2.
        split: Where texts are cut: at "whitespace" alone, or into "word"s as `train_tokenizer(kind="word")` does.
        lowercase: Whether to lower-case texts.

    Raises:
        ValueError: If a word is there twice or is one of the special tokens.
    """
    vocabulary = {token: index for index, token in enumerate((PAD, UNK, *words))}
    if len(vocabulary) < len(words) + 2:
        twice = [word for word, count in Counter((PAD, UNK, *words)).items() if count > 1]
        raise ValueError(f"words must be distinct and none of {PAD} and {UNK}; {twice[:5]} are there twice")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase() if lowercase else None
    tokenizer.pre_tokenizer = word_splitter(split)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def word_splitter(split: Split) -> pre_tokenizers.PreTokenizer:
    """Cuts texts at white space, or into words as the kind `word` does."""
    if split == "whitespace":
        return pre_tokenizers.WhitespaceSplit()
    return pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
