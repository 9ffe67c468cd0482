"""What makes a kind of tokenizer: its model, how it cuts texts, how tokens become text again, how it is trained."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase

from .spelled_words import vocabulary_of, word_units
from .texts import batches

Kind: TypeAlias = Literal[
    "word", "word_or_characters", "wordpiece", "unigram", "bpe", "char", "word_with_space", "whitespace", "byte"
]
Split: TypeAlias = Literal["whitespace", "word"]
_Special: TypeAlias = list[Any]  # AddedTokens, or their spelling
_Normalizer: TypeAlias = normalizers.Normalizer | None
_Sizes: TypeAlias = dict[str, int]  # vocab_size, min_frequency; of word_or_characters share_case as well
_Train: TypeAlias = Callable[[Tokenizer, Iterator[str], _Special, _Sizes], None]

KINDS: tuple[Kind, ...] = get_args(Kind)
LANGUAGE_MODEL_KINDS: tuple[Kind, ...] = ("unigram", "bpe", "char", "word_with_space", "whitespace")
# They see where the words of a list end.
TAGGING_KINDS: tuple[Kind, ...] = ("word", "word_or_characters", "wordpiece", "unigram", "bpe", "whitespace")

PAD, UNK, BOS, EOS, MASK = SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")  # ids 0 to 4

# `\X` is a grapheme cluster and `\w` knows letters, digits and marks of every script.
_WORD = r"(?:(?=[\w&&[^\p{Han}]])\X)+"
_WORDS = rf"{_WORD}|(?=[^\s\p{{Cc}}\p{{Cf}}])\X"
_WORDS_WITH_SPACE = rf" ?{_WORD}| ?(?=\S)\X|\s+(?!\S)|\s"
_CHARS = r"[\s\S]"
# The library's own expression for bytes cuts words of Indic scripts at every vowel sign.
_RUNS = r" ?(?:(?=\w)\X)+| ?(?:(?=[^\s\w])\X)+|\s+(?!\S)|\s"
RAISE_IT = "raise it, or use kind='bpe', which needs bytes only"
_LONGEST_WORD = 200  # wordpiece gives up on longer ones; the library's 100 is short for a line of Thai


def trained(
    kind: Kind,
    texts: Iterator[str],
    special: _Special,
    normalizer: _Normalizer,
    *,
    spaced: bool,
    apart: bool = False,
    **sizes: int,
) -> Tokenizer:
    """Train a kind.

    Args:
        spaced: A space comes before the first word of a text.
        apart: Words are cut apart before they are cut into pieces, and the model tells where one ends: for taggers.
    """
    parts = _parts(spaced, apart)[kind]
    tokenizer = Tokenizer(parts.model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, parts.cut
    if parts.join is not None:
        tokenizer.decoder = parts.join
    parts.train(tokenizer, texts, special, sizes)
    return tokenizer


def bytes_alone(normalizer: _Normalizer) -> Tokenizer:
    """Make the kind whose ids are the bytes of a text, 0 to 255, with `<pad>` as 256."""
    # The library writes a byte as a character that can be seen: those of Latin-1 that can stand for themselves, the
    # others are numbered from U+0100 on.
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    characters = {byte: chr(byte) for byte in seen} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}
    # No cache: it would keep whole texts.
    tokenizer = Tokenizer(models.BPE({characters[byte]: byte for byte in range(256)}, [], cache_capacity=0))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    # A pair of texts is joined by a blank; one text is its bytes alone.
    blank = characters[ord(" ")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=f"$A {blank} $B", special_tokens=[(blank, ord(" "))]
    )
    return tokenizer


def ids_are_bytes(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether a tokenizer is of the kind `byte`."""
    return len(tokenizer) == 257 and tokenizer.pad_token_id == 256 and tokenizer.convert_ids_to_tokens(0) == chr(0x100)


def word_splitter(split: Split) -> pre_tokenizers.PreTokenizer:
    """Cut texts at white space, or into words as the kind `word` does."""
    if split == "whitespace":
        return pre_tokenizers.WhitespaceSplit()
    return pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)


def _word_pieces(vocabulary: dict[str, int], prefix: str = "##") -> models.Model:
    return models.WordPiece(
        vocabulary, unk_token=UNK, max_input_chars_per_word=_LONGEST_WORD, continuing_subword_prefix=prefix
    )


def _by(trainer: Callable[..., trainers.Trainer], **options: Any) -> _Train:
    """Train as the library does, where it gives the same vocabulary each time."""

    def train(tokenizer: Tokenizer, texts: Iterator[str], special: _Special, sizes: _Sizes) -> None:
        own = trainer(**sizes, **options, special_tokens=special, show_progress=False)
        tokenizer.train_from_iterator(batches(texts), own)

    return train


def _train_wordpiece(tokenizer: Tokenizer, texts: Iterator[str], special: _Special, sizes: _Sizes) -> None:
    """Train WordPiece so that the same texts always give the same vocabulary.

    The library numbers the pieces `##x` in the order of a hash table and breaks ties by these numbers: naming them
    beforehand, as special tokens of a throw-away tokenizer, fixes the order. First letters are named too: a letter met
    only at the start of words must not make a word unknown where it stands inside.
    """
    kept = list(texts)
    normalized = kept if tokenizer.normalizer is None else map(tokenizer.normalizer.normalize_str, kept)
    words = {word for text in normalized for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    continuing = sorted({f"##{char}" for word in words if len(word) > 1 for char in word})
    draft = copy.deepcopy(tokenizer)
    _by(trainers.WordPieceTrainer)(draft, iter(kept), [*special, *continuing], sizes)
    tokenizer.model = _word_pieces(draft.get_vocab())
    tokenizer.add_special_tokens(special)


def _train_whole_words(tokenizer: Tokenizer, texts: Iterator[str], special: _Special, sizes: _Sizes) -> None:
    """Train whole words as a WordPiece model without pieces, which gives the same ids as WordLevel.

    The pipeline of taggers in transformers takes tokens for words where the model has a prefix of pieces. Elsewhere it
    looks for spaces, and joins a word with the comma behind it. No word has a space in it, so none goes on in pieces.
    """
    _by(trainers.WordLevelTrainer)(tokenizer, texts, special, sizes)
    tokenizer.model = _word_pieces(tokenizer.get_vocab(), prefix=" ")
    tokenizer.add_special_tokens(special)


def _train_word_or_characters(tokenizer: Tokenizer, texts: Iterator[str], special: _Special, sizes: _Sizes) -> None:
    """Learn words and characters, without a trainer of the library: a count decides."""
    tokens = vocabulary_of(tokenizer, texts, [str(token) for token in special], sizes, _LONGEST_WORD)
    tokenizer.model = _word_pieces({token: index for index, token in enumerate(tokens)})
    tokenizer.add_special_tokens(special)


def _train_unigram(tokenizer: Tokenizer, texts: Iterator[str], special: _Special, sizes: _Sizes) -> None:
    """Train a unigram model so that the same texts always give the same ids and scores.

    The library orders pieces by scores with rounding noise, and characters that it did not learn stand on a ladder of
    scores in the order of a hash table. Here ids follow the spelling, scores are rounded, and those characters stand
    on the lowest rung.
    """
    size = sizes["vocab_size"]
    own = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token=UNK, show_progress=False)
    try:
        tokenizer.train_from_iterator(batches(texts), own)
    except Exception as error:  # the library raises the bare class
        if "not large enough" not in str(error):
            raise
        fault = f"vocab_size={size} is smaller than the number of different characters in the texts"
        raise ValueError(f"{fault}; {RAISE_IT}") from error
    vocabulary: list[tuple[str, float]] = [tuple(x) for x in json.loads(tokenizer.to_str())["model"]["vocab"]]
    named, learned = vocabulary[: len(special)], sorted(vocabulary[len(special) :])
    lowest = min((score for _, score in learned), default=0.0)
    pieces = [(piece, round(_off_the_ladder(piece, score, lowest), 6)) for piece, score in learned]
    tokenizer.model = models.Unigram(named + pieces, unk_id=SPECIAL_TOKENS.index(UNK), byte_fallback=False)


def _off_the_ladder(piece: str, score: float, lowest: float) -> float:
    rung = (score - lowest) / 1e-4  # the library's step
    return lowest if len(piece) == 1 and abs(rung - round(rung)) < 1e-5 else score


class _Parts(NamedTuple):
    """What a kind consists of."""

    model: models.Model
    cut: pre_tokenizers.PreTokenizer
    join: decoders.Decoder | None = None
    train: _Train = _by(trainers.WordLevelTrainer)


def _parts(spaced: bool, apart: bool) -> dict[Kind, _Parts]:
    scheme: Literal["always", "never"] = "always" if spaced else "never"
    first_space = [decoders.Strip(" ", 1, 0)] if spaced else []
    whole, words = models.WordLevel(unk_token=UNK), word_splitter("word")
    joined = decoders.WordPiece(cleanup=False)
    train_whole = _train_whole_words if apart else _by(trainers.WordLevelTrainer)
    # Cut apart first, each word gets a space of its own: one of the text would be inside the offsets of the word.
    spaces: pre_tokenizers.PreTokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    if apart:
        spaces = pre_tokenizers.Sequence([words, spaces])
    with_spaces = [decoders.Replace(Regex("^"), " "), decoders.Fuse()]
    runs = [
        *([words] if apart else []),
        # Not ByteLevel(add_prefix_space=True), which puts a space before every piece that comes from Split.
        pre_tokenizers.Metaspace(" ", prepend_scheme=scheme, split=False),
        pre_tokenizers.Split(Regex(_RUNS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return {
        "word": _Parts(whole, words, train=train_whole),
        "word_or_characters": _Parts(_word_pieces({}), word_units(), joined, _train_word_or_characters),
        "wordpiece": _Parts(_word_pieces({}), words, joined, _train_wordpiece),
        "unigram": _Parts(models.Unigram(), spaces, decoders.Metaspace(prepend_scheme=scheme), _train_unigram),
        "bpe": _Parts(
            models.BPE(),
            pre_tokenizers.Sequence(runs),
            decoders.Sequence([decoders.ByteLevel(), *first_space]),
            _by(trainers.BpeTrainer, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())),
        ),
        "char": _Parts(whole, pre_tokenizers.Split(Regex(_CHARS), "isolated"), decoders.Fuse()),
        "word_with_space": _Parts(whole, pre_tokenizers.Split(Regex(_WORDS_WITH_SPACE), "isolated"), decoders.Fuse()),
        "whitespace": _Parts(
            whole, word_splitter("whitespace"), decoders.Sequence([*with_spaces, *first_space]), train_whole
        ),
    }


def whole_token_kind(parts: dict[str, Any]) -> Kind | None:
    """Name the kind of a tokenizer of whole tokens, as its JSON tells its parts; None where it is of no such kind."""
    if parts.get("model", {}).get("type") != "WordLevel":
        return None
    cuts: dict[Kind, Any] = {kind: json.loads(own.cut.__getstate__()) for kind, own in _parts(True, False).items()}
    return next((kind for kind, cut in cuts.items() if cut == parts["pre_tokenizer"]), None)
