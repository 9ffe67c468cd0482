"""The kind `word_or_characters`: known words are tokens, any other word is spelled.

Its vocabulary is in this order, so that `hfseq.models.token_words` can tell what is what: special tokens, words,
`##x` for each character, and the characters alone that are no words. The library's WordPiece takes the longest known
beginning of an unknown word, then character by character: `catsup` may be `cat ##s ##u ##p`.

Texts are cut near to what corpora call words: numbers, dates, names with a hyphen, abbreviations of letters (`U.S.`),
addresses of the web and of e-mail stay whole; `'s` and `n't` are words.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import takewhile

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

# `\X` is a grapheme cluster and `\w` knows letters, digits and marks of every script; Han characters stand alone.
_LETTER = r"(?:(?=[\p{L}\p{M}&&[^\p{Han}]])\X)"
_NOT = r"[nN]['’][tT](?!\w)"
_RUN = rf"(?:(?!{_NOT})(?=[\w&&[^\p{{Han}}]])\X)+"
_INSIDE = r"(?<=\d)[.,:/](?=\d)|(?<=\p{L})['’&](?=\p{L}{3}|\p{Lu})|[.-](?=\w)"
_UNITS = (
    r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}'’]",
    r"[\w.+-]+@\w+(?:[.-]\w+)+",
    rf"(?<![\w.'’-])(?:(?:{_LETTER}\.)+{_LETTER}|\p{{Lu}})\.(?!\w)",
    _NOT,
    r"['’](?:\p{L}{1,2}(?![\w'’])|\d+s?(?!\w))",
    rf"(?:(?<![\w.])[.+](?=\d))?{_RUN}(?:(?:{_INSIDE}){_RUN})*",
    # The same mark again and again is one sign; brackets, quotes and number signs are many.
    r"([\p{P}$+<=>^`|~&&[^#()\[\]{}\"]])\1+|[?!]{2,}",
    r"(?=[^\s\p{Cc}\p{Cf}])\X",
)
_PREFIX = "##"


def word_units() -> pre_tokenizers.PreTokenizer:
    """Cut texts near to what corpora call words."""
    return pre_tokenizers.Split(Regex("|".join(_UNITS)), "removed", invert=True)


def vocabulary_of(
    tokenizer: Tokenizer, texts: Iterable[str], special: list[str], sizes: dict[str, int], longest: int
) -> list[str]:
    """Return the tokens of the kind in the order of their ids; the same texts always give the same.

    Args:
        tokenizer: It says how texts are written and cut.
        texts: What to learn from.
        special: Special tokens.
        sizes: `vocab_size`, most entries, which characters go before words; `min_frequency`; `share_case`, 1 to count
            the spellings of a word that differ in case as one word: all of them, and what it is in lower case, upper
            case and as a title, are then in the vocabulary or none.
        longest: Characters of the longest word that a tokenizer finds in a vocabulary.
    """
    counts = Counter(_units(tokenizer, texts))
    characters = sorted(_characters(counts, share_case=bool(sizes["share_case"])))
    spellings: dict[str, set[str]] = {}
    frequency: Counter[str] = Counter()
    for word, count in counts.items():
        key = word.lower() if sizes["share_case"] else word
        spellings.setdefault(key, set()).add(word)
        frequency[key] += count
    ranked = sorted((key for key in frequency if len(key) <= longest), key=lambda key: (-frequency[key], key))
    room = sizes["vocab_size"] - len(special) - 2 * len(characters)
    words: list[str] = []
    for key in takewhile(lambda key: frequency[key] >= sizes["min_frequency"], ranked):
        spelled = spellings[key]
        if sizes["share_case"]:
            spelled = spelled | {form for form in _cases(key) if set(form) <= set(characters)}
        # A character alone takes the place that it would have among the characters.
        room -= sum(len(word) > 1 for word in spelled)
        if room < 0:
            break
        words += sorted(spelled)
    known = set(words)
    pieces = [f"{_PREFIX}{character}" for character in characters]
    return [*special, *words, *pieces, *(character for character in characters if character not in known)]


def _units(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[str]:
    normalizer: normalizers.Normalizer | None = tokenizer.normalizer
    for text in texts:
        written = text if normalizer is None else normalizer.normalize_str(text)
        yield from (word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(written))


def _characters(words: Iterable[str], *, share_case: bool) -> set[str]:
    """Return the characters of words; with `share_case` in upper and lower case, so that no `<unk>` comes of case."""
    found = {character for word in words for character in word}
    if share_case:
        found |= {form for character in found for form in (character.lower(), character.upper()) if len(form) == 1}
    return found


def _cases(word: str) -> set[str]:
    return {word.lower(), word.upper(), word[:1].upper() + word[1:].lower()}
