r"""Tokenizers: trained here, loaded anywhere by plain `AutoTokenizer.from_pretrained`.

They are pipelines of the `tokenizers` library in a `PreTrainedTokenizerFast`, so a saved one needs no code of ours.

| kind                 | a token is                                      | decodes back to         | language models |
|----------------------|-------------------------------------------------|-------------------------|-----------------|
| `word`               | a word, a Han character or a symbol; no space   | tokens joined by spaces | no              |
| `word_or_characters` | a known word, or a character of an unknown one  | words joined by spaces  | no              |
| `wordpiece`          | a piece of a `word`                             | words joined by spaces  | no              |
| `unigram`            | a piece of text between spaces (SentencePiece)  | the text, less unknowns | yes             |
| `bpe`                | a run of bytes within a word: none is unknown   | the text, always        | yes             |
| `char`               | a code point                                    | the text, less unknowns | yes             |
| `word_with_space`    | a `word` with the space before it, other spaces | the text, less unknowns | yes             |
| `whitespace`         | what stands between white space                 | a space and each token  | yes             |
| `byte`               | a byte of UTF-8: nothing is learnt              | the text, always        | no              |

The last two columns hold for `purpose="language-modeling"`. With `purpose="classification"` texts are brought to NFC,
and `bpe` and `unigram` put a space before the first word, so that a list of words (`is_split_into_words=True`) gives
the same pieces as the sentence. `char` and `word_with_space` see no space between the words of such a list: for
tagging take one of the others.

`purpose="tagging"` does the same, and makes offsets and words what a pipeline of taggers needs. `bpe` and `unigram`
cut a text into the words of the kind `word` first: `Oslo,` and the list `["Oslo", ","]` have the same pieces, and no
offset begins at the space before a word. `word` and `whitespace` tell transformers where a word ends: the
`aggregation_strategy` "first" finds `Oslo` in `Oslo,`.

`whitespace` is for corpora whose tokens are separated already (Penn Treebank, WikiText-2, text8); an `<unk>` in the
text is the unknown token, and white space of any length counts as one space. A language model's tokens are decoded
with the space before each, since a continuation is decoded by itself; `min_frequency=1` keeps every type.

`word_or_characters` is for a model that reads the characters of words too (`characters` in its config): known words
are tokens, and an unknown one is spelled, `zyx` as `z ##y ##x`, but for characters that no text had. It cuts texts
nearer to what corpora call words (`1,000`, `U.S.`, `al-Ani`, `'s`). With `lowercase=True` texts keep their case: the
spellings of a word that differ in case are tokens of their own, for which a model keeps one embedding.

`byte` is for a bag that splits texts itself (`BagConfig.units`): the ids are the very bytes, 0 to 255, and `<pad>` is
256. It adds no token, composes no letter, and takes the spelling `<pad>` in a text for five bytes.

A special token in a text is one token in all other kinds, and nothing is learnt from its spelling. `condition_tokens`
adds some of your own, for labels that a text is written under: in `<happy> what a day` the model reads `<happy>`
first. White space after them is dropped, and `skip_special_tokens=True` drops them.

A word is a run of letters, digits and marks, read grapheme cluster by grapheme cluster: no vowel sign, accent, joiner
or emoji sequence is ever cut off. Every Han character is a word of its own (not in `bpe`); kana, Thai, Lao and Khmer,
written without spaces too, stay together as long words: prefer `unigram` or `bpe` for them.

The same texts always give the same tokenizer. Offsets point into the text as it was given; where NFC merges a
decomposed letter (`e` and a combining accent), the library's offsets end before the accent.
"""

import copy
import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from typing_extensions import TypedDict, Unpack

from .kinds import (
    KINDS,
    LANGUAGE_MODEL_KINDS,
    RAISE_IT,
    SPECIAL_TOKENS,
    TAGGING_KINDS,
    Kind,
    Split,
    bytes_alone,
    trained,
    word_splitter,
)
from .texts import Texts, batches, between, check_keywords, strings

PAD, UNK, BOS, EOS, MASK = SPECIAL_TOKENS
Purpose: TypeAlias = Literal["classification", "tagging", "language-modeling"]
# The block of marks for Latin, Greek and Cyrillic: `normalizers.StripAccents` would take Devanagari's vowels as well.
_ACCENTS = "[\u0300-\u036f]+"


class TextForm(TypedDict, total=False):
    """How texts are written before they are cut; a `bpe` of a language model gives them back as they were."""

    lowercase: bool  # of `word_or_characters` it is the embeddings that do not tell case
    strip_accents: bool  # of Latin, Greek and Cyrillic letters; implies composition (NFC)
    normalization: Literal["auto", "nfc", "nfkc"] | None  # "auto", the default: "nfc", but none for language models


def train_tokenizer(
    texts: Texts,
    kind: Kind = "word",
    *,
    purpose: Purpose = "classification",
    vocab_size: int = 30_000,
    min_frequency: int | None = None,
    max_length: int | None = None,
    padding_side: Literal["left", "right"] | None = None,
    condition_tokens: Sequence[str] = (),
    text_column: str = "text",
    **form: Unpack[TextForm],
) -> PreTrainedTokenizerFast:
    """Train a tokenizer which, once saved, `AutoTokenizer.from_pretrained` loads without this package.

    Args:
        texts: Strings, or a dataset whose column `text_column` holds strings.
        kind: See the table at the top of this module.
        purpose: "classification" (similarity and translation too) ends each text with `</s>`, so that an empty text
            still has a token; so does "tagging", for spans that are right. "language-modeling" writes `<s> text </s>`;
            `prompt_tokenizer` makes the twin that leaves the end open, which belongs beside the finished model.
        vocab_size: Most entries, special tokens included.
        min_frequency: Rarer words, characters or merges are left out; not by `unigram`. By default 2, so that a model
            meets `<unk>` in training, before it meets it in use.
        max_length: With special tokens, saved as `model_max_length`; `truncation=True` keeps `</s>`.
        padding_side: By default "left" for language models, which go on where a text ends, else "right".
        condition_tokens: More special tokens, such as "<happy>" and "<sad>": see the top of this module.
        **form: `lowercase`, `strip_accents`, `normalization`: see `TextForm`.

    Returns:
        The tokenizer, with `<pad>`, `<unk>`, `<s>`, `</s>`, `<mask>` as ids 0 to 4, and the condition tokens next;
        the kind `byte` has `<pad>` alone.
    """
    check_keywords(train_tokenizer, form, TextForm)
    is_language = purpose == "language-modeling"
    padding_side = padding_side or ("left" if is_language else "right")
    _check_choice("padding_side", padding_side, ("left", "right"))
    _check_choice("kind", kind, KINDS)
    _check_choice("purpose", purpose, get_args(Purpose))
    special = _special_tokens(kind, condition_tokens)
    _check_options(kind, purpose, vocab_size, len(special), min_frequency)
    if max_length is not None and max_length < (shortest := 3 if is_language else 2):
        raise ValueError(f"max_length={max_length} leaves no room for text; use {shortest} or more, or None")
    share_case = kind == "word_or_characters" and form.pop("lowercase", False)
    normalizer = text_normalizer(kind, purpose, **form)
    limits = {"model_max_length": max_length, "padding_side": padding_side, "truncation_side": "right"}
    if kind == "byte":
        for _ in strings(texts, text_column):  # nothing is learnt, but what is no text is no text for any kind
            pass
        return byte_tokenizer(normalizer, **limits)
    pieces = between(special, strings(texts, text_column))
    sizes = {"vocab_size": vocab_size, "min_frequency": min_frequency or 2}
    if kind == "word_or_characters":
        sizes["share_case"] = int(share_case)
    apart = purpose == "tagging"
    tokenizer = trained(kind, pieces, special, normalizer, spaced=not is_language, apart=apart, **sizes)
    check_learned(tokenizer, kind, vocab_size, len(special))
    marks = {"bos_token": BOS, "eos_token": EOS, "add_bos_token": is_language, "add_eos_token": True}
    others = {"mask_token": MASK, "extra_special_tokens": special[len(SPECIAL_TOKENS) :]}
    return _wrapped(tokenizer, **marks, **others, **limits)


def byte_tokenizer(normalizer: normalizers.Normalizer | None = None, **options: Any) -> PreTrainedTokenizerFast:
    """Make the tokenizer of the kind `byte`, which needs no texts; `options` are those of any in transformers."""
    # `split_special_tokens`: no text has padding in it, so what is spelled like it is text.
    return _wrapped(bytes_alone(normalizer), unk_token=None, split_special_tokens=True, **options)


def prompt_tokenizer(tokenizer: PreTrainedTokenizerFast, *, add_bos: bool = True) -> PreTrainedTokenizerFast:
    """Return a copy of a language model's tokenizer that writes `<s> text`, without `</s>`: prompts stay open.

    Save this copy beside the finished model. Setting `add_eos_token = False` on a tokenizer that was loaded would
    drop `<s>` as well, for transformers saves neither flag; here both are set. `add_bos=False` is for a model that was
    trained on one stream without `<s>`: a prompt is then its text alone.
    """
    return marking_tokenizer(tokenizer, add_bos=add_bos, add_eos=False)


def marking_tokenizer(tokenizer: PreTrainedTokenizerFast, *, add_bos: bool, add_eos: bool) -> PreTrainedTokenizerFast:
    """Return a copy that begins and ends each text as the model's training texts do."""
    marking: Any = copy.deepcopy(tokenizer)
    marking.add_bos_token, marking.add_eos_token = add_bos, add_eos
    return marking


def unknown_rate(tokenizer: PreTrainedTokenizerBase, texts: Texts, text_column: str = "text") -> float:
    """Return the share of `<unk>` among the tokens of the texts, special tokens left out; 0 if there is no token."""
    unknown = total = 0
    for batch in batches(strings(texts, text_column)):
        for ids in tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
            unknown += ids.count(tokenizer.unk_token_id)
            total += len(ids)
    return unknown / total if total else 0.0


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value).lower(), [str(choice) for choice in choices], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}{hint}")


def _check_options(kind: Kind, purpose: Purpose, vocab_size: int, num_special: int, min_frequency: int | None) -> None:
    if purpose == "language-modeling" and kind not in LANGUAGE_MODEL_KINDS:
        fault = f"kind={kind!r} does not keep spaces, so a language model could not write text with it"
        if kind == "byte":
            fault = f"kind={kind!r} marks no end of a text, which a language model has to write"
        raise ValueError(f"{fault}; use one of {', '.join(map(repr, LANGUAGE_MODEL_KINDS))}")
    if purpose == "tagging" and kind not in TAGGING_KINDS:
        fault = f"kind={kind!r} does not see where the words of a list end, so a tagger could not name them"
        raise ValueError(f"{fault}; use one of {', '.join(map(repr, TAGGING_KINDS))}")
    smallest = num_special + (256 if kind in ("bpe", "byte") else 1)
    if vocab_size < smallest:
        contents = "256 bytes" if kind in ("bpe", "byte") else "one entry"
        raise ValueError(
            f"vocab_size={vocab_size} is too small: special tokens and {contents} need {smallest} or more"
        )
    without = kind in ("unigram", "byte")
    if min_frequency is not None and (without or min_frequency < 1):
        cure = f"kind={kind!r} has no such threshold, leave it out" if without else "use 1 or more"
        raise ValueError(f"min_frequency={min_frequency}: {cure} (a recipe calls it tokenizer.min_count)")


def text_normalizer(
    kind: str, purpose: str, lowercase: bool = False, strip_accents: bool = False, normalization: str | None = "auto"
) -> normalizers.Normalizer | None:
    """Return what writes texts in the form that is asked for, see `TextForm`; None: they stay as they are."""
    _check_choice("normalization", normalization, ("auto", "nfc", "nfkc", None))
    altered = lowercase or strip_accents or normalization in ("nfc", "nfkc")
    if kind == "bpe" and purpose == "language-modeling" and altered:
        cure = "leave out lowercase, strip_accents and normalization, or prepare the texts before training"
        raise ValueError(f"kind='bpe' gives a language model's text back byte for byte: {cure}")
    is_composed = (
        strip_accents
        or normalization == "nfc"
        or (normalization == "auto" and purpose != "language-modeling" and kind != "byte")
    )
    steps: list[normalizers.Normalizer] = []
    if strip_accents:
        steps += [normalizers.NFD(), normalizers.Replace(Regex(_ACCENTS), "")]
    if normalization == "nfkc":
        steps.append(normalizers.NFKC())
    elif is_composed:
        steps.append(normalizers.NFC())
    if lowercase:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps) if steps else None


def _special_tokens(kind: Kind, condition_tokens: Sequence[str]) -> list[AddedToken]:
    if kind == "byte":
        if condition_tokens:
            raise ValueError(f"condition_tokens={condition_tokens!r}: kind='byte' has bytes alone; leave them out")
        return [AddedToken(PAD, normalized=False, special=True)]
    if isinstance(condition_tokens, str):
        raise ValueError(f"condition_tokens={condition_tokens!r} is one string; wrap it in a list")
    names = [*SPECIAL_TOKENS, *condition_tokens]
    for name in condition_tokens:
        if not name or name.split() != [name]:
            raise ValueError(f"condition_tokens holds {name!r}; a token is written without white space")
        if names.count(name) > 1:
            raise ValueError(f"condition_tokens holds {name!r}, which is there twice or is a special token already")
    # Where a word carries the space before it, `<mask>` stands for word and space.
    with_space = () if kind == "char" else (MASK,)
    return [
        AddedToken(name, lstrip=name in with_space, rstrip=name in condition_tokens, normalized=False, special=True)
        for name in names
    ]


def check_learned(tokenizer: Tokenizer, kind: Kind, vocab_size: int, num_special: int) -> None:
    """Refuse a vocabulary that became larger than asked for, or that has special tokens alone."""
    size = tokenizer.get_vocab_size()
    if size > vocab_size:
        needs = f"needs {size} entries for the special tokens and the single characters of these texts"
        raise ValueError(f"vocab_size={vocab_size} is too small: kind={kind!r} {needs}; {RAISE_IT}")
    if size == num_special:
        rare = "too rare for min_frequency; lower it to 1 (a recipe calls it tokenizer.min_count)"
        raise ValueError(f"no token was learned: the texts are blank, or {rare}")


def vocabulary_tokenizer(
    words: Sequence[str], *, split: Split = "whitespace", lowercase: bool = False
) -> PreTrainedTokenizerFast:
    """Make a tokenizer of given words: ids 0 and 1 are `<pad>` and `<unk>`, the first word is 2.

    Texts are cut at "whitespace" alone, or into "word"s as `train_tokenizer(kind="word")` does; nothing is added.
    """
    vocabulary = {token: index for index, token in enumerate((PAD, UNK, *words))}
    if len(vocabulary) < len(words) + 2:
        twice = [word for word, count in Counter((PAD, UNK, *words)).items() if count > 1]
        raise ValueError(f"words must be distinct and none of {PAD} and {UNK}; {twice[:5]} are there twice")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase() if lowercase else None
    tokenizer.pre_tokenizer = word_splitter(split)
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **{"unk_token": UNK} | options,
    )
