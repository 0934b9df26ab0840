"""How much a simulated container uses, as data: from its pod's annotations, its age, and who shares its load. Pure.

| annotation | meaning                                                                                     |
|------------|---------------------------------------------------------------------------------------------|
| `cpu`      | cores used; without it a tenth of the request, at least a thousandth of a core              |
| `memory`   | bytes used; without it half of the request, at least 16Mi                                   |

A value is a quantity (`250m`); a wave from one to another and back within a period (`100m..2/600s`); or steps, each
from so long after the container's start (`100m, 60s:400m, 300s:100m`). Ending in `shared` it is the load of all pods of
the same controller together, each of which that runs has its part: what an autoscaler adds pods against.
"""

import math
import re
from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.conversations import Usage
from ksql.node.lifecycle import annotation_of
from ksql.schema import quantities

CPU, MEMORY = "cpu", "memory"
CPU_MIN_NANO = 10**6
MEMORY_MIN = 16 * 1024 * 1024
_SHARES = {CPU: 10, MEMORY: 2}  # of its request that a container uses when nothing is said

_WAVE = re.compile(r"^(\S+?)\.\.(\S+)/(\d+(?:\.\d+)?)s$")
_STEP = re.compile(r"^(\d+(?:\.\d+)?)s:(\S+)$")
_SHARED = " shared"


def is_shared(pod: Document, container: str) -> bool:
    """Whether the container's load is one with that of its siblings."""
    return any(annotation_of(pod, container, key).rstrip().endswith(_SHARED) for key in (CPU, MEMORY))


def _silent(_: str) -> None:
    """What cannot be read was told of when the container was made."""


def usage_of(
    pod: Document, container: Document, age_seconds: float, sharers: int, complain: Callable[[str], None] = _silent
) -> Usage:
    """What one running container uses now; `complain` is told of a value that cannot be read."""
    requests = (container.get("resources") or {}).get("requests") or {}
    found = {}
    for key in (CPU, MEMORY):
        text = annotation_of(pod, container["name"], key).strip()
        try:
            nano = _now(text, age_seconds, sharers) if text else _default(key, requests)
        except ValueError as error:
            complain(f"simulation.ksql.dev/{key}: {error}")
            nano = _default(key, requests)
        found[key] = nano
    return Usage(found[CPU], found[MEMORY] // 10**9)


def _default(key: str, requests: Mapping[str, str]) -> int:
    least = CPU_MIN_NANO if key == CPU else MEMORY_MIN * 10**9
    return max(least, quantities.parse(requests[key]).nano // _SHARES[key]) if key in requests else least


def _now(text: str, age_seconds: float, sharers: int) -> int:
    shared = text.endswith(_SHARED)
    nano = _profile(text.removesuffix(_SHARED).strip(), age_seconds)
    return nano // max(1, sharers) if shared else nano


def _profile(text: str, age_seconds: float) -> int:
    if (wave := _WAVE.match(text)) is not None:
        low, high, period = _amount(wave[1]), _amount(wave[2]), float(wave[3])
        if period <= 0:
            raise ValueError(f"{text!r}: the period must be above 0")
        return round(low + (high - low) * (1 - math.cos(2 * math.pi * age_seconds / period)) / 2)
    first, *steps = (part.strip() for part in text.split(","))
    nano = _amount(first)
    for step in steps:
        found = _STEP.match(step)
        if found is None:
            raise ValueError(f"{step!r}: a step is SECONDSs:QUANTITY, such as 60s:400m")
        amount = _amount(found[2])
        if age_seconds >= float(found[1]):
            nano = amount
    return nano


def _amount(text: str) -> int:
    try:
        nano = quantities.parse(text).nano
    except ValueError:
        raise ValueError(f"{text!r} is no quantity") from None
    if nano < 0:
        raise ValueError(f"{text!r}: must not be negative")
    return nano
