"""Who is asked once more: an earlier guard that wants to see what later ones made of the object.

As upstream has it: when a guard changes the object, all asked before it with reinvocation `IfNeeded` are asked a
second time, after the cluster's own mutators; nobody is asked three times, and nobody for the first time then.
"""

from collections.abc import Hashable


class Rounds:
    """Of webhooks, or of policies: which are to be asked in the second round."""

    def __init__(self) -> None:
        self._earlier: set[Hashable] = set()
        self._again: set[Hashable] = set()

    def asked(self, key: Hashable, *, reinvoked: bool, changed: bool) -> None:
        """A guard was asked, and whether it changed the object."""
        if changed:
            self.object_changed()
        if reinvoked:
            self._earlier.add(key)

    def object_changed(self) -> None:
        """Somebody else changed it: all so far shall see that."""
        self._again |= self._earlier
        self._earlier = set()

    def is_again(self, key: Hashable) -> bool:
        return key in self._again
