"""The engine of defaulting: what to put where nothing stands, as data.

A `Fill` says for one structure which fields get which constant, which small functions compute the rest,
and which fields hold structures with fills of their own. Applying one shares everything it does not
change and returns the very same object when there is nothing to add, so defaulting twice costs one look.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Structure = dict[str, Any]
# Gets the structure as filled so far and answers the fields to set; an empty answer changes nothing.
Step = Callable[[Structure], Structure]


class Fill:
    """Defaults of one structure.

    `empty`: set where the field is missing or holds Go's zero value ("" or 0), as for fields that are no
    pointers. `absent`: set only where the field is missing. `parts` and `every`: fields that hold an inner
    structure or a list of them. Those are filled first, and the `steps` run last.
    """

    __slots__ = ("absent", "apply", "empty", "every", "parts", "steps")

    def __init__(
        self,
        *,
        empty: Mapping[str, Any] | None = None,
        absent: Mapping[str, Any] | None = None,
        parts: Mapping[str, "Fill"] | None = None,
        every: Mapping[str, "Fill"] | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        self.empty = dict(empty or {})
        self.absent = dict(absent or {})
        self.parts = dict(parts or {})
        self.every = dict(every or {})
        self.steps = tuple(steps)
        # The structure with its defaults; the same object when it has them already.
        self.apply: Callable[[Structure], Structure] = self._compiled()

    def _compiled(self) -> Callable[[Structure], Structure]:
        """A function for just what this fill has to do: a document passes through dozens of them."""
        inside: dict[str, Callable[[Any], Any]] = {key: fill.apply for key, fill in self.parts.items()}
        inside |= {key: _each(fill.apply) for key, fill in self.every.items()}
        # A default that is a structure may have defaults inside, the same for every document.
        absent = tuple(
            (key, self.parts[key].apply(value) if key in self.parts else value)
            for key, value in self.absent.items()
        )
        plain = _constants(tuple(self.empty.items()), absent)
        if not inside and not self.steps:
            return plain
        if not self.empty and not absent and not self.steps:
            return _inner(inside)
        return _whole(_inner(inside), plain, self.steps)


def _constants(
    empty: Sequence[tuple[str, Any]], absent: Sequence[tuple[str, Any]]
) -> Callable[[Structure], Structure]:
    def fill(value: Structure) -> Structure:
        result = value
        for key, default in empty:
            if not value.get(key):
                if result is value:
                    result = value.copy()
                result[key] = default
        for key, default in absent:
            if key not in value:
                if result is value:
                    result = value.copy()
                result[key] = default
        return result

    return fill


def _inner(inside: Mapping[str, Callable[[Any], Any]]) -> Callable[[Structure], Structure]:
    def fill(value: Structure) -> Structure:
        result = value
        for key, inner in value.items():
            # Null is how an empty list that cannot be left out is printed.
            if key in inside and inner is not None:
                filled = inside[key](inner)
                if filled is not inner:
                    if result is value:
                        result = value.copy()
                    result[key] = filled
        return result

    return fill


def _each(fill: Callable[[Structure], Structure]) -> Callable[[list[Structure]], list[Structure]]:
    def fill_each(values: list[Structure]) -> list[Structure]:
        out = [fill(value) for value in values]
        for index, value in enumerate(values):
            if out[index] is not value:
                return out
        return values

    return fill_each


def _whole(
    inner: Callable[[Structure], Structure], plain: Callable[[Structure], Structure], steps: Sequence[Step]
) -> Callable[[Structure], Structure]:
    def fill(value: Structure) -> Structure:
        result = plain(inner(value))
        for step in steps:
            more = step(result)
            if more:
                result = {**result, **more}
        return result

    return fill


def combined(*fills: Fill) -> Fill:
    """Several fills of one structure in one."""
    out: dict[str, dict[str, Any]] = {"empty": {}, "absent": {}, "parts": {}, "every": {}}
    steps: tuple[Step, ...] = ()
    for fill in fills:
        out["empty"] |= fill.empty
        out["absent"] |= fill.absent
        out["parts"] |= fill.parts
        out["every"] |= fill.every
        steps += fill.steps
    return Fill(**out, steps=steps)
