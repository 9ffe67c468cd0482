"""Faults for the tests of facts."""

from collections.abc import Callable
from typing import Any


def change_keys(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that sets keys or, with None, removes them; `data__url` means payload["data"]["url"]."""

    def change(payload: dict[str, Any]) -> None:
        for path, value in changes.items():
            *parents, key = path.split("__")
            node = payload
            for parent in parents:
                node = node[parent]
            node[key] = value
            if value is None:
                del node[key]

    return change
