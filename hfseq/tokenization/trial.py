"""A script, not a module: tries a `tokenizer.json` in a process of its own, which may die of it.

    python -I trial.py FILE SYS_PATH        SYS_PATH: where to import from, a JSON list

The tokenizers library panics, aborts or asks for all memory at files that are malformed in ways which no look at their
text shows (a regular expression, a table of normalisation). Writes `ok`, or one line that says what is wrong.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MEMORY = 4 << 30
CPU_SECONDS = 60
# Strings of these files become tokens of the tokenizer when transformers loads it.
SIBLINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_DECODED = 50_000
_TEXTS = (
    "",
    " ",
    "a",
    "A word, and (perhaps) another one: it's 12345 of 67!\n\tNew line  ",
    "\u00e9t\u00e9 na\u00efve \u65e5\u672c\u8a9e \u0627\u0644\u0639 \u0e44\u0e17\u0e22 \U0001f600 \u200b\ufffd\x00",
    *(500 * piece for piece in ("aaaa", "ab ", " ", "1", "!")),
)


def limit() -> None:
    """Bound memory and time where the system can; elsewhere the caller's patience is the only bound."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        with suppress(ValueError):  # macOS lets nobody bound the address space
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def try_all(file: Path) -> str | None:
    """Do with the tokenizer what its users will; return what is wrong."""
    from tokenizers import AddedToken, Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except BaseException as error:  # PanicException is no Exception
        return f"it does not load ({_said(error)})"
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    largest = max(vocabulary.values(), default=-1)
    if largest > 2 * len(vocabulary) + 100_000:  # saving makes a list of all ids up to it
        return f"its largest id is {largest}, but it has {len(vocabulary)} tokens"
    content = json.loads(file.read_text(encoding="utf-8"))
    texts = [*_TEXTS, *(2 * text for text in list(vocabulary)[:50]), *_of_patterns(content)]
    ids = sorted(vocabulary.values())[:: 1 + len(vocabulary) // _DECODED]
    beside = [AddedToken(text, normalized=True) for text in _beside(file)]
    return (
        _panic("to encode a text", tokenizer.encode, *((text,) for text in texts))
        or _panic("to encode a pair of texts", tokenizer.encode, ("a good one", "and a bad one"))
        or _panic("to decode", tokenizer.decode_batch, ([[token] for token in ids] + [ids[:1000]], False))
        or _panic("to take the tokens of the files beside it", tokenizer.add_tokens, (beside,))
    )


def _panic(step: str, work: Callable[..., Any], *calls: tuple[Any, ...]) -> str | None:
    try:
        for arguments in calls:
            with suppress(Exception):  # an ordinary error is an answer, such as that a word is unknown
                work(*arguments)
    except BaseException as error:
        return f"asked {step}, it panics ({_said(error)})"
    return None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _of_patterns(content: Any) -> list[str]:
    """Make runs of each character that a regular expression names, which show a catastrophic one."""
    letters = sorted({letter for key, text in _strings(content) if key == "Regex" for letter in text})[:200]
    return [letter * 60 + end for letter in letters for end in ("", "~")]


def _beside(file: Path) -> list[str]:
    """Find all strings of the files beside it; the chat template is none of the tokens."""
    found: list[str] = []
    for path in map(file.with_name, SIBLINGS):
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            content.pop("chat_template", None)
            found += [text for _, text in _strings(content) if text]
    return found


def _strings(node: Any, under: str = "") -> Iterator[tuple[str, str]]:
    """Yield all texts and keys, each with the key that it stands under."""
    if isinstance(node, str):
        yield under, node
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, under)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield under, key
            yield from _strings(value, key)


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[2])
    limit()
    sys.stdout.write(try_all(Path(sys.argv[1])) or "ok")
