"""The options of a training that is one call: names of several classes beside each other, none of them misspelt."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ...models.configs import SequenceConfig


def check_options(
    function: str,
    given: Iterable[str],
    known: Iterable[str],
    *,
    elsewhere: Mapping[str, str],
    config: type[SequenceConfig],
    told: Iterable[str] | None = None,
) -> None:
    """Raise a ValueError for an option that is not among the `known` ones, with the one that is probably meant.

    Args:
        function: Whose options they are.
        given: Names.
        known: Names that are right.
        elsewhere: What other libraries call what is not the config's -> its name here.
        config: Knows what other libraries call its own fields.
        told: The known ones that the message lists; None: all.
    """
    known = list(known)
    for name in given:
        if name in known:
            continue
        meant = elsewhere.get(name) or config.field_meant(name)
        close = [meant] if meant in known else difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(
            f"{function}: unknown option {name!r}{hint} Allowed: {', '.join(known if told is None else told)}."
        )


def parted(options: Mapping[str, Any], *groups: Iterable[str]) -> list[dict[str, Any]]:
    """Return of each group of names the options that are given."""
    return [{name: options[name] for name in names if name in options} for names in groups]
