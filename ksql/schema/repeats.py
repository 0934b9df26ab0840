"""Keys that a body says twice: found where the text was read, told where unknown fields are told. Pure.

JSON's decoder meets both on one way through the text, so kube-apiserver names them in the order in which they
stand; YAML's meets keys said twice before anything else, and so do patches. A `Repeats` therefore waits for
the unknown fields and then says all of it: as warnings, or as the reasons of one strict refusal.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ksql.base.documents import dotted

# Where Go's strict decoders stop listing what is wrong.
FAULTS_MAX = 100


class Pairs(list[tuple[str, Any]]):
    """An object's keys and values as they stand in the text."""


class Repeats:
    """What a body says twice. `pairs` is its text read as pairs, where the order within it counts."""

    def __init__(self, told: Sequence[str], pairs: Any = None, *, of_yaml: bool = False) -> None:
        self._told, self._pairs, self._of_yaml = list(told), pairs, of_yaml

    def among(self, unknown: Sequence[str]) -> list[str]:
        """All that is wrong, for warnings."""
        if self._pairs is None:
            return [*self._told, *unknown][:FAULTS_MAX]
        return list(dict.fromkeys(_ordered(self._pairs, (), dict.fromkeys(unknown))))[:FAULTS_MAX]

    def strict(self, unknown: Sequence[str]) -> list[str]:
        """All that is wrong, for a refusal: YAML's decoder says its part in one piece."""
        if not self._of_yaml or not self._told:
            return self.among(unknown)
        return ["\n  ".join(("yaml: unmarshal errors:", *self._told)), *unknown][:FAULTS_MAX]


def read_pairs(data: bytes) -> Any:
    """A JSON text as pairs; None where it nests too deep for that."""
    try:
        return json.loads(data, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return None


def duplicate(path: tuple[str | int, ...]) -> str:
    return f'duplicate field "{dotted(path)}"'


def duplicates(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[str]:
    """A message for each key that is said once more, in the order of the text."""
    return _ordered(value, path, {})


def _ordered(value: Any, path: tuple[str | int, ...], unknown: dict[str, None]) -> Iterator[str]:
    if isinstance(value, Pairs):
        seen: dict[str, None] = {}
        for key, item in value:
            here = (*path, key)
            if unknown and (message := f'unknown field "{dotted(here)}"') in unknown:
                # Nobody looks into what nobody knows, or whether it comes twice.
                yield message
                continue
            if key in seen:
                yield duplicate(here)
            seen[key] = None
            yield from _ordered(item, here, unknown)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _ordered(item, (*path, index), unknown)
