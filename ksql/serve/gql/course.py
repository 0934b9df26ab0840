"""How far a subscription has come, and how far its source shall go: what lets many followers share one evaluation.

A subscription's resolver is a generator of what there is to tell. On its own it begins where its arguments say and
never ends. Told to `join`, it ends at the present, where others go on for it (`choir.py`); told to `resume`, it begins
after a revision without telling what was before, as one source for all who came to the present.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Course:
    """One run of a subscription's source."""

    resume: int | None = None  # begin after this revision, whatever the arguments say
    until: int | None = None  # end once everything up to this revision is told
    joins: bool = False  # end at the present
    position: int = 0  # everything up to here has been told
    variables: dict[str, Any] | None = None  # the operation's, as they were given
    taken: int = 0  # everything up to here is told, or on its way to be
    is_present: bool = False  # it has ended because it came as far as it was to go
    # Where what is told at once has to be parted: somebody goes on from there.
    marks: set[int] = field(default_factory=set)

    def start(self, after: int | None) -> int | None:
        """Where to begin: after a revision, or None for the source's own beginning."""
        return after if self.resume is None else self.resume

    def arrive(self, position: int) -> bool:
        """Everything up to a revision is told and there is no more yet; whether the source is to end here."""
        self.position = max(self.position, position)
        self.taken = max(self.taken, position)
        self.is_present = self.joins or (self.until is not None and self.position >= self.until)
        return self.is_present
