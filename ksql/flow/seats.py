"""How many seats each level has: its share, what it lends to others and what it borrows. Pure.

The shares of all levels divide the server's seats. A level may lend a part of its own while it does not
need it and borrow what others lend; every few seconds the seats are dealt anew by what each level wanted
meanwhile. The arithmetic is KEP-1040's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ksql.base.documents import Document

# kube-apiserver's --max-requests-inflight and --max-mutating-requests-inflight together.
SEATS = 600
# How often seats are dealt anew.
ADJUST_SECONDS = 10.0
# How much of the smoothed demand is remembered from one dealing to the next.
_SMOOTHING = 0.977
_DEFAULT_SHARES = 30
_ROUNDS = 60  # of the bisection: beyond the precision of a float


@dataclass(frozen=True, slots=True)
class Share:
    """A level's right: seats of its own, the least it keeps, the most it may have."""

    nominal: int
    least: int
    most: int


@dataclass(slots=True)
class Demand:
    """What a level wanted since the last dealing, in seats."""

    high: int = 0
    smooth: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0
    _seconds: float = 0.0
    _at: float = 0.0
    _last: int = 0

    def note(self, seats: int, now: float) -> None:
        """From now on it wants so many."""
        passed, self._at = now - self._at, now
        self._sum += self._last * passed
        self._squares += self._last * self._last * passed
        self._seconds += passed
        self._last = seats
        if seats > self.high:
            self.high = seats

    def settle(self, now: float) -> None:
        """End an interval: smooth what was wanted in it, begin the next one."""
        self.note(self._last, now)
        average = self._sum / self._seconds if self._seconds else float(self._last)
        spread = math.sqrt(max(0.0, self._squares / self._seconds - average * average)) if self._seconds else 0.0
        envelope = average + spread
        # It follows a rise at once and forgets it slowly.
        self.smooth = max(envelope, _SMOOTHING * self.smooth + (1 - _SMOOTHING) * envelope)

    def begin(self) -> None:
        self.high, self._sum, self._squares, self._seconds = self._last, 0.0, 0.0, 0.0


def shares_of(levels: Sequence[Document], total: int = SEATS) -> dict[str, Share]:
    """Each level's right, by its name."""
    wanted = {level["metadata"]["name"]: _shares(level) for level in levels}
    whole = sum(wanted.values())
    found = {}
    for level in levels:
        name, body = level["metadata"]["name"], _body(level)
        nominal = math.ceil(total * wanted[name] / whole) if whole else 0
        lends = _percent(nominal, body.get("lendablePercent") or 0)
        borrows = body.get("borrowingLimitPercent")
        most = total if borrows is None else min(total, nominal + _percent(nominal, borrows))
        found[name] = Share(nominal, nominal - lends, max(nominal, most))
    return found


def _percent(of: int, percent: int) -> int:
    """Rounded as Go rounds: halves up."""
    return math.floor(of * percent / 100 + 0.5)


def _body(level: Document) -> Document:
    spec = level["spec"]
    return (spec.get("exempt") if spec["type"] == "Exempt" else spec.get("limited")) or {}


def _shares(level: Document) -> int:
    shares = _body(level).get("nominalConcurrencyShares")
    if shares is None:
        return 0 if level["spec"]["type"] == "Exempt" else _DEFAULT_SHARES
    return int(shares)


def dealt(shares: Mapping[str, Share], demands: Mapping[str, Demand], total: int) -> dict[str, int]:
    """The seats of each limited level until the next dealing: fair by what it wants, within its right."""
    bounds = {
        name: (float(max(share.least, min(share.nominal, demands[name].high))), float(share.most))
        for name, share in shares.items()
    }
    wants = {name: max(bounds[name][0], demands[name].smooth) for name in shares}
    spare = float(total)
    if sum(low for low, _ in bounds.values()) >= spare:
        return {name: max(1, round(low)) for name, (low, _) in bounds.items()}

    def at(proportion: float) -> dict[str, float]:
        return {name: min(high, max(low, proportion * wants[name])) for name, (low, high) in bounds.items()}

    # As much more (or less) than it wants for every level alike as all seats together give.
    smallest = max(1e-9, min(wants.values(), default=1.0))
    low, high = 0.0, max((most for _, most in bounds.values()), default=0.0) / smallest
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(at(middle).values()) <= spare else (low, middle)
    return {name: max(1, math.floor(seats + 1e-6)) for name, seats in at(low).items()}
