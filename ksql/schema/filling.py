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
    pointers. `absent`: set only where the field is missing. `parts`: inner structures, each, or each of a
    list, filled before the `steps` run.
    """

    __slots__ = ("absent", "empty", "every", "parts", "steps")

    def __init__(
        self,
        *,
        empty: Mapping[str, Any] | None = None,
        absent: Mapping[str, Any] | None = None,
        parts: Mapping[str, "Fill"] | None = None,
        every: Mapping[str, "Fill"] | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        self.empty = tuple((empty or {}).items())
        self.absent = tuple((absent or {}).items())
        self.parts = tuple((parts or {}).items())  # fields that hold one structure
        self.every = tuple((every or {}).items())  # fields that hold a list of them
        self.steps = tuple(steps)

    def apply(self, value: Structure) -> Structure:
        """The structure with its defaults; the same object when it has them already."""
        added: Structure = {}
        for key, default in self.empty:
            if not value.get(key):
                added[key] = default
        for key, default in self.absent:
            if key not in value:
                added[key] = default
        for key, fill in self.parts:
            if key in value:
                inner = value[key]
                filled = fill.apply(inner)
                if filled is not inner:
                    added[key] = filled
            elif key in added:
                # A structure that was itself a default has defaults inside.
                added[key] = fill.apply(added[key])
        for key, fill in self.every:
            items = value.get(key)
            if items:
                changed = False
                out = []
                for item in items:
                    filled = fill.apply(item)
                    changed = changed or filled is not item
                    out.append(filled)
                if changed:
                    added[key] = out
        result = {**value, **added} if added else value
        for step in self.steps:
            more = step(result)
            if more:
                result = {**result, **more}
        return result


class Sum(Fill):
    """Several fills of one structure in one."""

    def __init__(self, *fills: Fill) -> None:
        super().__init__()
        for fill in fills:
            self.empty += fill.empty
            self.absent += fill.absent
            self.parts += fill.parts
            self.every += fill.every
            self.steps += fill.steps
