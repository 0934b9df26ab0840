"""Query parameters as the pipeline's Options and Selection, checked in kube's words. Pure.

What cannot be read is 400, what is read but cannot be is 422 naming the option. Parameters that Kubernetes
does not know either are ignored, as it ignores them.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qs

from ksql.schema.errors import BadRequestError, Cause, InvalidError
from ksql.verbs.request import Options, Selection

Query = Mapping[str, Sequence[str]]

EMPTY: Query = {}

FIELD_MANAGER_MAX = 128
FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")
# A client writes with the same options again and again.
OPTIONS_REMEMBERED = 512

_MATCH = "resourceVersionMatch"
_MATCHES = ("Exact", "NotOlderThan")
_INT64 = 2**63


def parse(query_string: bytes) -> Query:
    """Each parameter with its values in order."""
    if not query_string:
        return EMPTY
    return parse_qs(query_string.decode("latin-1"), keep_blank_values=True, errors="replace")


def text(query: Query, name: str) -> str:
    """The first value, as Go's conversion takes it."""
    values = query.get(name)
    return values[0] if values else ""


def flag(query: Query, name: str) -> bool:
    """Present means yes, unless it says false or 0."""
    values = query.get(name)
    return bool(values) and values[0].lower() not in ("false", "0")  # type: ignore[index]


def number(query: Query, name: str) -> int | None:
    """A decimal 64-bit integer, or None when absent."""
    value = text(query, name)
    if not value:
        return None
    digits = value[1:] if value[0] in "+-" else value
    if not (digits.isascii() and digits.isdigit()):
        raise BadRequestError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    # More digits than any 64-bit number has are not even converted.
    parsed = int(value) if len(digits) < 20 else _INT64
    if not -_INT64 <= parsed < _INT64:
        raise BadRequestError(f'strconv.ParseInt: parsing "{value}": value out of range')
    return parsed


def seconds(query: Query, name: str) -> float | None:
    """A Go duration such as 30s, 1m30s or 500ms."""
    value = text(query, name)
    if not value:
        return None
    units = {"h": 3600.0, "ms": 0.001, "m": 60.0, "s": 1.0}
    total, rest = 0.0, value
    try:
        while rest:
            length = next(i for i, c in enumerate(rest) if c not in "0123456789.")
            unit = "ms" if rest.startswith("ms", length) else rest[length]
            total += float(rest[:length]) * units[unit]
            rest = rest[length + len(unit) :]
    except (StopIteration, KeyError, ValueError):
        raise BadRequestError(
            f'invalid timeout specified in the request URL - time: invalid duration "{value}"'
        ) from None
    return total


def not_supported(field: str, shown: str, allowed: Sequence[str]) -> Cause:
    """`shown` is the value as Go prints it."""
    supported = ", ".join(quoted(item) for item in allowed)
    message = f"Unsupported value: {shown}: supported values: {supported}"
    return Cause("FieldValueNotSupported", message, field)


def forbidden(field: str, message: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {message}", field)


def quoted(value: str) -> str:
    """A text as Go quotes it."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " else f"\\x{ord(c):02x}" for c in plain) + '"'


def refuse(kind: str, causes: list[Cause]) -> None:
    """Raise for what is wrong with an options object, if anything is."""
    if not causes:
        return
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    together = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    raise InvalidError(
        f'{kind}.meta.k8s.io "" is invalid: {together}', group="meta.k8s.io", kind=kind, causes=causes
    )


def dry_run(values: Sequence[str], causes: list[Cause]) -> bool:
    if any(value != "All" for value in values):
        shown = "[" + ",".join(quoted(value) for value in values) + "]"
        causes.append(not_supported("dryRun", shown, ("All",)))
    return bool(values)


@lru_cache(OPTIONS_REMEMBERED)
def writing(query_string: bytes, kind: str, user_agent: str, is_apply: bool = False) -> Options:
    """The options of a create, update or patch; `kind` is CreateOptions, UpdateOptions or PatchOptions."""
    query = parse(query_string)
    causes: list[Cause] = []
    manager = text(query, "fieldManager")
    if len(manager.encode()) > FIELD_MANAGER_MAX:
        message = f"Too long: may not be more than {FIELD_MANAGER_MAX} bytes"
        causes.append(Cause("FieldValueTooLong", message, "fieldManager"))
    odd = next(((place, each) for place, each in enumerate(manager) if not each.isprintable()), None)
    if odd is not None:
        message = f"Invalid value: {quoted(manager)}: invalid character U+{ord(odd[1]):04X} (at position {odd[0]})"
        causes.append(Cause("FieldValueInvalid", message, "fieldManager"))
    validation = text(query, "fieldValidation")
    if validation not in FIELD_VALIDATION:
        causes.append(not_supported("fieldValidation", quoted(validation), FIELD_VALIDATION))
    if is_apply and not manager:
        causes.append(Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager"))
    if "force" in query and kind == "PatchOptions" and not is_apply:
        causes.append(forbidden("force", "may not be specified for non-apply patch"))
    is_dry = dry_run(query.get("dryRun", ()), causes)
    refuse(kind, causes)
    return Options(
        dry_run=is_dry,
        field_manager=manager or manager_of(user_agent),
        # kube-apiserver warns unless told otherwise.
        field_validation=validation or "Warn",
        force=is_apply and flag(query, "force"),
    )


def manager_of(user_agent: str) -> str:
    """The field manager of a client that names none: what its user agent begins with."""
    name = user_agent.partition("/")[0]
    return "".join(c for c in name if c.isprintable())[:FIELD_MANAGER_MAX]


def selecting(query: Query, *, is_watch: bool, name: str = "") -> Selection:
    """Which objects a list, watch or deletecollection means. `name` narrows a watch of one object."""
    fields = text(query, "fieldSelector")
    if name:
        only = f"metadata.name={name}"
        fields = f"{fields},{only}" if fields else only
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    selection = Selection(
        label_selector=text(query, "labelSelector"),
        field_selector=fields,
        limit=max(0, number(query, "limit") or 0),
        continue_token=text(query, "continue"),
        resource_version=text(query, "resourceVersion"),
        resource_version_match=text(query, "resourceVersionMatch"),
        allow_bookmarks=flag(query, "allowWatchBookmarks"),
        send_initial_events=initial,
        timeout_seconds=number(query, "timeoutSeconds"),
    )
    if selection.resource_version_match or initial is not None or selection.continue_token:
        causes = _watch_causes(selection) if is_watch else _list_causes(selection)
        refuse("ListOptions", causes)
    return selection


def _list_causes(selection: Selection) -> list[Cause]:
    match, found = selection.resource_version_match, []
    if match and not selection.resource_version:
        found.append(_match("resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match and selection.continue_token:
        found.append(_match("resourceVersionMatch is forbidden when continue is provided"))
    if match and match not in _MATCHES:
        found.append(not_supported(_MATCH, quoted(match), (*_MATCHES, "")))
    if match == "Exact" and selection.resource_version == "0":
        found.append(_match('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if selection.send_initial_events is not None:
        found.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return found


def _watch_causes(selection: Selection) -> list[Cause]:
    match, found = selection.resource_version_match, []
    if selection.send_initial_events is not None and match != "NotOlderThan":
        found.append(_match("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match and selection.send_initial_events is None:
        message = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(_match(message))
    if match and match != "NotOlderThan":
        found.append(not_supported(_MATCH, quoted(match), ("NotOlderThan",)))
    if selection.continue_token:
        found.append(_match("resourceVersionMatch is forbidden when continue is provided"))
    return found


def _match(message: str) -> Cause:
    return forbidden(_MATCH, message)
