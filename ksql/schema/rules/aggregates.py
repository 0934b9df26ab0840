"""Rules of what a whole pod asks for, against what its containers ask for together."""

from collections.abc import Callable, Mapping
from typing import Any

from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, wrong
from ksql.schema.quantities import ZERO, Quantity, parse
from ksql.schema.rules.resources import HUGE, check_pod_resources

Structure = Mapping[str, Any]
Amounts = dict[str, Quantity]


def check_pod_level(spec: Structure, path: str, out: list[Cause]) -> None:
    resources, where = spec["resources"], f"{path}.resources"
    if (spec.get("os") or {}).get("name") == "windows":
        out.append(forbidden(where, "may not be set for a windows pod"))
        return
    check_pod_resources(resources, where, out)
    _check_covers(spec, resources, where, "requests", lambda name: True, out)
    _check_covers(spec, resources, where, "limits", lambda name: name.startswith(HUGE), out)
    limits = resources.get("limits") or {}
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and parse(amount) > parse(limits[name]):
                at = f"{where}.containers[{index}][{name}].limits"
                words = f"must be less than or equal to pod limits of {limits[name]}"
                out.append(wrong(at, amount, words))


def _check_covers(
    spec: Structure,
    resources: Structure,
    path: str,
    part: str,
    counts: Callable[[str], bool],
    out: list[Cause],
) -> None:
    """The pod's amounts are at least those of its containers together."""
    whole = resources.get(part) or {}
    for name, amount in aggregate(spec, part).items():
        if name in whole and counts(name) and amount > parse(whole[name]):
            words = f"must be greater than or equal to aggregate container {part} of {amount}"
            out.append(wrong(f"{path}.{part}[{name}]", whole[name], words))


def aggregate(spec: Structure, part: str) -> Amounts:
    """The requests (or limits) of a pod's containers at their highest: while it starts, or once it runs."""
    running: Amounts = {}
    for container in spec.get("containers") or ():
        _add(running, _amounts(container, part))
    beside: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(container, part)
        if container.get("restartPolicy") == "Always":
            _add(running, own)
            _add(beside, own)
            _raise(starting, beside)
        else:
            _add(own, beside)
            _raise(starting, own)
    _raise(running, starting)
    return running


def _amounts(container: Structure, part: str) -> Amounts:
    given = (container.get("resources") or {}).get(part) or {}
    return {name: parse(amount) for name, amount in given.items()}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, ZERO) + amount


def _raise(total: Amounts, other: Amounts) -> None:
    for name, amount in other.items():
        if name not in total or amount > total[name]:
            total[name] = amount
