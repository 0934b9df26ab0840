"""How fast nodes may be given up: by zone, since many nodes that fall silent at once are one fault, not many. Pure.

A node that is not ready is given up (its pods end) at a rate for its zone. A zone of which most nodes are not ready is
more likely to have lost its connection than its nodes: a large one is given up slowly, a small one not at all. When no
zone has a ready node left it is this side that is cut off, and nobody is given up.
"""

from dataclasses import dataclass, field
from enum import Enum

# kube-controller-manager's defaults: --node-eviction-rate, --secondary-node-eviction-rate,
# --unhealthy-zone-threshold and --large-cluster-size-threshold.
RATE, RATE_SLOW = 0.1, 0.01
UNHEALTHY_SHARE = 0.55
LARGE_ZONE_NODES = 50
# Fewer silent nodes than this are no sign of anything but themselves.
SILENT_MIN = 3
# How soon a node of a zone that is not given up at present is looked at again.
AGAIN_SECONDS = 5.0


class State(Enum):
    """How a zone is."""

    NORMAL = "normal"
    PARTIAL = "partial disruption"
    FULL = "full disruption"


@dataclass(slots=True)
class _Zone:
    ready: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    next_at: float = 0.0  # when the next node may be given up


class Zones:
    """The nodes by zone. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._zones: dict[str, _Zone] = {}
        self._zone_of: dict[str, str] = {}

    def note(self, node: str, zone: str, is_ready: bool) -> None:
        """Learn where a node is and whether it is ready."""
        if self._zone_of.get(node, zone) != zone:
            self.forget(node)
        self._zone_of[node] = zone
        known = self._zones.setdefault(zone, _Zone())
        (known.ready if is_ready else known.silent).add(node)
        (known.silent if is_ready else known.ready).discard(node)

    def forget(self, node: str) -> None:
        zone = self._zone_of.pop(node, None)
        if zone is None:
            return
        known = self._zones[zone]
        known.ready.discard(node)
        known.silent.discard(node)
        if not known.ready and not known.silent:
            del self._zones[zone]

    def state(self, zone: str) -> State:
        known = self._zones.get(zone)
        if known is None or not known.silent:
            return State.NORMAL
        if not known.ready:
            return State.FULL
        silent = len(known.silent)
        is_partial = silent >= SILENT_MIN and silent / (silent + len(known.ready)) >= UNHEALTHY_SHARE
        return State.PARTIAL if is_partial else State.NORMAL

    @property
    def is_cut_off(self) -> bool:
        """Whether no zone has a ready node left."""
        return bool(self._zones) and all(not zone.ready for zone in self._zones.values())

    def grant(self, zone: str, now: float) -> float:
        """Let one node of the zone be given up now (0), or answer in how many seconds to ask again."""
        known = self._zones.setdefault(zone, _Zone())
        rate = self._rate(zone, known)
        if not rate:
            return AGAIN_SECONDS
        if now < known.next_at:
            return known.next_at - now
        known.next_at = now + 1.0 / rate
        return 0.0

    def _rate(self, zone: str, known: _Zone) -> float:
        if self.is_cut_off:
            return 0.0
        if self.state(zone) is not State.PARTIAL:
            return RATE
        return RATE_SLOW if len(known.ready) + len(known.silent) > LARGE_ZONE_NODES else 0.0
