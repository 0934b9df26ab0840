"""How far back a list or a watch wants to look: resourceVersion, its match rule, and their refusals.

The table of the API concepts ("Resource versions"), as one parse: a `Selection` becomes an `Asked`. The
words of refusals are those of kube-apiserver's ListOptions validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.schema import faults
from ksql.schema.errors import BadRequestError, Cause, TimedOutError
from ksql.schema.resources import GroupVersionKind
from ksql.verbs.request import Selection

EXACT, NOT_OLDER = "Exact", "NotOlderThan"
_MATCH = "resourceVersionMatch"
_OPTIONS = GroupVersionKind("meta.k8s.io", "v1", "ListOptions")


@dataclass(frozen=True, slots=True)
class Asked:
    """`exact`: the state at this revision; otherwise any that is not older than `least`."""

    least: int = 0
    exact: int | None = None


def parse(text: str) -> int:
    """A resourceVersion as a number; empty is 0."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise _unreadable(text, "invalid syntax")
    # More digits than any 64-bit number has are not even converted.
    if len(text) > _DIGITS_MAX or (number := int(text)) > _UINT64_MAX:
        raise _unreadable(text, "value out of range")
    return number


_UINT64_MAX = 2**64 - 1
_DIGITS_MAX = 20


def _unreadable(text: str, why: str) -> BadRequestError:
    return BadRequestError(
        f'invalid resource version: resourceVersion: Invalid value: "{text}": '
        f'strconv.ParseUint: parsing "{text}": {why}'
    )


def of_list(selection: Selection) -> Asked:
    """What a list asks for; a continued list asks its token instead."""
    causes: list[Cause] = []
    match, version = selection.resource_version_match, selection.resource_version
    if match:
        if not version:
            causes.append(_forbidden("is forbidden unless resourceVersion is provided"))
        if selection.continue_token:
            causes.append(_forbidden("is forbidden when continue is provided"))
        if match not in (EXACT, NOT_OLDER):
            causes.append(faults.unsupported(_MATCH, match, (EXACT, NOT_OLDER)))
        if match == EXACT and version == "0":
            causes.append(_forbidden('"Exact" is forbidden for resourceVersion "0"'))
    if selection.send_initial_events is not None:
        why = "sendInitialEvents is forbidden for list"
        causes.append(faults.forbidden("sendInitialEvents", why))
    _refuse(causes)
    if selection.continue_token and version not in ("", "0"):
        raise BadRequestError("specifying resource version is not allowed when using continue")
    number = parse(version)
    # A limited list at a revision without a rule is an exact one: so it was before the rule existed.
    if number and (match == EXACT or (not match and selection.limit > 0)):
        return Asked(exact=number)
    return Asked(least=number)


def of_watch(selection: Selection) -> tuple[int | None, bool]:
    """After which revision a watch begins (None: at the present), and whether with the whole state first."""
    causes: list[Cause] = []
    match, initial = selection.resource_version_match, selection.send_initial_events
    if match and initial is None:
        causes.append(_forbidden("is forbidden for watch unless sendInitialEvents is provided"))
    elif initial is not None and not match:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(faults.forbidden(_MATCH, why))
    elif match and match != NOT_OLDER:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(faults.forbidden(_MATCH, why))
        causes.append(faults.unsupported(_MATCH, match, (NOT_OLDER,)))
    if selection.continue_token:
        causes.append(_forbidden("is forbidden when continue is provided"))
    _refuse(causes)
    number = parse(selection.resource_version)
    if initial is None:
        return (number or None, number == 0)
    return (number or None, initial)


def _forbidden(why: str) -> Cause:
    return faults.forbidden(_MATCH, f"resourceVersionMatch {why}")


def _refuse(causes: Sequence[Cause]) -> None:
    if causes:
        raise faults.invalid(_OPTIONS, "", causes)


def too_large(asked: int, current: int) -> TimedOutError:
    """The revision asked for lies in the future, and stayed there."""
    return TimedOutError(
        f"Timeout: Too large resource version: {asked}, current: {current}",
        causes=[Cause("ResourceVersionTooLarge", "Too large resource version")],
        retry_after_seconds=1,
    )
