"""Kubernetes' own functions in CEL: lists, sets, regular expressions, addresses, amounts, versions, formats.

Each function is declared twice from one line of a table: with precise types for the check of a rule, and
for evaluation, where a URL or an amount is a map that carries its kind. Nothing here may run long: regular
expressions are RE2's, amounts and addresses are bounded by the texts they come from.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cel_expr_python import cel

from ksql.schema import names, quantities
from ksql.schema.cel import authorization, macros
from ksql.schema.custom.value_formats import FORMATS
from ksql.schema.golang.patterns import compiled

T = cel.Type
_KIND = "@kind"
_NANO = 10**9
_OBJECT = T.Map(T.STRING, T.DYN)

# Kinds of values that Kubernetes adds. They are declared as messages without fields (`types.py`): what the
# library calls abstract types it does not tell from each other.
PACKAGE = "kubernetes"
_VALUE_TYPES = ("Quantity", "URL", "IP", "CIDR", "Semver", "NamedFormat")
OWN_TYPES = (*_VALUE_TYPES, *authorization.TYPES)
QUANTITY, URL, IP, CIDR, SEMVER, FORMAT = (T(f"{PACKAGE}.{name}") for name in _VALUE_TYPES)
_LIST = T.List(T.DYN)
_OPTIONAL_TEXTS = T.AbstractType("optional_type", [T.List(T.STRING)])
_OPTIONAL_FORMAT = T.AbstractType("optional_type", [FORMAT])


def _tagged(kind: str, **fields: Any) -> dict[str, Any]:
    return {_KIND: kind, **fields}


# --- amounts


def _amount(text: str) -> dict[str, Any]:
    return _quantity(quantities.parse(text).nano)


def _quantity(nano: int) -> dict[str, Any]:
    # As text: a sum of amounts may be more than an integer of CEL holds.
    return _tagged("quantity", nano=str(nano))


def _nano(value: Any) -> int:
    return int(value["nano"]) if isinstance(value, Mapping) else int(value) * _NANO


def _is_integer(value: Mapping[str, Any]) -> bool:
    return _nano(value) % _NANO == 0 and abs(_nano(value)) < 2**63 * _NANO


def _as_integer(value: Mapping[str, Any]) -> int:
    if not _is_integer(value):
        raise ValueError("cannot convert value to integer")
    return _nano(value) // _NANO


# --- versions

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?", re.ASCII)


def _semver(text: str) -> dict[str, Any]:
    found = _SEMVER.fullmatch(text)
    if found is None:
        raise ValueError("No Major.Minor.Patch elements found")
    major, minor, patch = (int(part) for part in found.groups()[:3])
    return _tagged("semver", numbers=[major, minor, patch], pre=found[4] or "")


def _semver_place(value: Mapping[str, Any]) -> tuple[Any, ...]:
    pre = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in value["pre"].split(".")] if value["pre"] else []
    return (*value["numbers"], not pre, pre)


def _compared(left: Mapping[str, Any], right: Mapping[str, Any]) -> int:
    if left.get(_KIND) != right.get(_KIND):
        raise ValueError("no such overload")
    if left[_KIND] == "semver":
        first, second = _semver_place(left), _semver_place(right)
        return (first > second) - (first < second)
    one, two = _nano(left), _nano(right)
    return (one > two) - (one < two)


# --- addresses


def _url(text: str) -> dict[str, Any]:
    if not FORMATS["uri"](text):
        why = "missing protocol scheme" if text.startswith(":") else "invalid URI for request"
        raise ValueError(f'URL parse error during conversion from string: parse "{text}": {why}')
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    port = host.rpartition(":")[2] if re.search(r":\d*$", host) else ""
    name = host[: -len(port) - 1] if port or host.endswith(":") else host
    query = parse_qs(parts.query, keep_blank_values=True)
    return _tagged(
        "url", scheme=parts.scheme, host=host, hostname=name.strip("[]"), port=port, path=parts.path, query=query
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        said = f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): unable to parse IP'
        raise ValueError(said) from None
    if "%" in text or getattr(found, "ipv4_mapped", None) is not None:
        raise ValueError(f'IPv4-mapped addresses and zones are not allowed: IP Address "{text}"')
    return found


def _ip(text: str) -> dict[str, Any]:
    return _tagged("ip", text=str(_address(text)))


def _cidr(text: str) -> dict[str, Any]:
    said = "network address parse error during conversion from string"
    if "/" not in text:
        raise ValueError(f"{said}: {said}: netip.ParsePrefix(\"{text}\"): no '/'")
    try:
        network = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f'{said}: {said}: netip.ParsePrefix("{text}"): ParseAddr("{text}")') from None
    return _tagged("cidr", text=f"{network.ip}/{network.network.prefixlen}")


def _network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    text = value["text"] if isinstance(value, Mapping) else _cidr(value)["text"]
    return ipaddress.ip_interface(text).network


def _contains_ip(cidr: Any, address: Any) -> bool:
    found = _address(address["text"] if isinstance(address, Mapping) else address)
    network = _network(cidr)
    return found.version == network.version and found in network


def _contains_cidr(cidr: Any, other: Any) -> bool:
    outer, inner = _network(cidr), _network(other)
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _of_ip(judge: Callable[[Any], bool]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda value: bool(judge(_address(value["text"])))


def _is_global(address: Any) -> bool:
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
        or str(address) == "255.255.255.255"
    )  # fmt: skip


def _is_it(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def judge(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return judge


# --- lists, sets, texts


def _is_sorted(items: Sequence[Any]) -> bool:
    return all(left <= right for left, right in pairwise(items))


def _sum(items: Sequence[Any]) -> Any:
    return sum(items[1:], items[0]) if items else 0


def _extreme(choose: Callable[[Sequence[Any]], Any], name: str) -> Callable[[Sequence[Any]], Any]:
    def extreme(items: Sequence[Any]) -> Any:
        if not items:
            raise ValueError(f"{name} called on empty list")
        return choose(items)

    return extreme


def _index_of(items: Sequence[Any], item: Any) -> int:
    return next((index for index, one in enumerate(items) if one == item), -1)


def _last_index_of(items: Sequence[Any], item: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if items[index] == item), -1)


def _find(text: str, pattern: str) -> str:
    found = compiled(pattern).search(text)
    return found.group() if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found: list[str] = []
    for match in compiled(pattern).finditer(text):
        if 0 <= limit <= len(found):
            break
        found.append(match.group())
    return found


def _contains(items: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(other in items for other in others)


# --- formats


def _prefix(judge: Callable[[str], Sequence[str]]) -> Callable[[str], Sequence[str]]:
    return lambda text: judge(names.masked(text))


def _by_format(name: str, said: str) -> Callable[[str], Sequence[str]]:
    return lambda text: () if FORMATS[name](text) else (said,)


_NAMED: Mapping[str, Callable[[str], Sequence[str]]] = {
    "dns1123Label": names.label_name,
    "dns1123Subdomain": names.subdomain,
    "dns1035Label": names.label_name_1035,
    "qualifiedName": names.qualified,
    "dns1123LabelPrefix": _prefix(names.label_name),
    "dns1123SubdomainPrefix": _prefix(names.subdomain),
    "dns1035LabelPrefix": _prefix(names.label_name_1035),
    "labelValue": names.label_value,
    "uri": lambda text: () if FORMATS["uri"](text) else (f'parse "{text}": invalid URI for request',),
    "uuid": _by_format("uuid", "does not match the UUID format"),
    "byte": _by_format("byte", "invalid base64"),
    "date": _by_format("date", "invalid date"),
    "datetime": _by_format("date-time", "invalid datetime"),
}


def _format(name: str) -> Callable[[], dict[str, Any]]:
    return lambda: _tagged("format", name=name)


def _validated(format: Mapping[str, Any], text: str) -> dict[str, Any]:
    complaints = list(_NAMED[format["name"]](text))
    return _tagged("optional", has=bool(complaints), value=complaints)


def _named(name: str) -> dict[str, Any]:
    return _tagged("optional", has=name in _NAMED, value=_tagged("format", name=name))


def _value(optional: Mapping[str, Any]) -> Any:
    if not optional["has"]:
        raise ValueError("optional.none() dereference")
    return optional["value"]


# --- the table

# name, is a member, parameters, result, function. A function may stand in several lines.
_Row = tuple[str, bool, Sequence[Any], Any, Callable[..., Any]]

_ROWS: Sequence[_Row] = (
    ("quantity", False, [T.STRING], QUANTITY, _amount),
    ("isQuantity", False, [T.STRING], T.BOOL, _is_it(_amount)),
    ("isInteger", True, [QUANTITY], T.BOOL, _is_integer),
    ("asInteger", True, [QUANTITY], T.INT, _as_integer),
    ("asApproximateFloat", True, [QUANTITY], T.DOUBLE, lambda value: _nano(value) / _NANO),
    ("sign", True, [QUANTITY], T.INT, lambda value: (_nano(value) > 0) - (_nano(value) < 0)),
    ("add", True, [QUANTITY, QUANTITY], QUANTITY, lambda a, b: _quantity(_nano(a) + _nano(b))),
    ("add", True, [QUANTITY, T.INT], QUANTITY, lambda a, b: _quantity(_nano(a) + _nano(b))),
    ("sub", True, [QUANTITY, QUANTITY], QUANTITY, lambda a, b: _quantity(_nano(a) - _nano(b))),
    ("sub", True, [QUANTITY, T.INT], QUANTITY, lambda a, b: _quantity(_nano(a) - _nano(b))),
    *(
        row
        for kind in (QUANTITY, SEMVER)
        for row in (
            ("isLessThan", True, [kind, kind], T.BOOL, lambda a, b: _compared(a, b) < 0),
            ("isGreaterThan", True, [kind, kind], T.BOOL, lambda a, b: _compared(a, b) > 0),
            ("compareTo", True, [kind, kind], T.INT, _compared),
        )
    ),
    ("semver", False, [T.STRING], SEMVER, _semver),
    ("isSemver", False, [T.STRING], T.BOOL, _is_it(_semver)),
    ("major", True, [SEMVER], T.INT, lambda value: value["numbers"][0]),
    ("minor", True, [SEMVER], T.INT, lambda value: value["numbers"][1]),
    ("patch", True, [SEMVER], T.INT, lambda value: value["numbers"][2]),
    ("url", False, [T.STRING], URL, _url),
    ("isURL", False, [T.STRING], T.BOOL, _is_it(_url)),
    ("getScheme", True, [URL], T.STRING, lambda value: value["scheme"]),
    ("getHost", True, [URL], T.STRING, lambda value: value["host"]),
    ("getHostname", True, [URL], T.STRING, lambda value: value["hostname"]),
    ("getPort", True, [URL], T.STRING, lambda value: value["port"]),
    ("getEscapedPath", True, [URL], T.STRING, lambda value: value["path"]),
    ("getQuery", True, [URL], T.Map(T.STRING, T.List(T.STRING)), lambda value: value["query"]),
    ("ip", False, [T.STRING], IP, _ip),
    ("isIP", False, [T.STRING], T.BOOL, _is_it(_address)),
    ("ip.isCanonical", False, [T.STRING], T.BOOL, lambda text: str(_address(text)) == text),
    ("family", True, [IP], T.INT, lambda value: _address(value["text"]).version),
    ("isUnspecified", True, [IP], T.BOOL, _of_ip(lambda address: address.is_unspecified)),
    ("isLoopback", True, [IP], T.BOOL, _of_ip(lambda address: address.is_loopback)),
    ("isLinkLocalUnicast", True, [IP], T.BOOL, _of_ip(lambda address: address.is_link_local)),
    (
        "isLinkLocalMulticast", True, [IP], T.BOOL,
        _of_ip(lambda a: a.is_multicast and str(a).startswith(("224.0.0.", "ff02:", "ff12:"))),
    ),
    ("isGlobalUnicast", True, [IP], T.BOOL, _of_ip(_is_global)),
    ("cidr", False, [T.STRING], CIDR, _cidr),
    ("isCIDR", False, [T.STRING], T.BOOL, _is_it(_cidr)),
    ("containsIP", True, [CIDR, T.STRING], T.BOOL, _contains_ip),
    ("containsIP", True, [CIDR, IP], T.BOOL, _contains_ip),
    ("containsCIDR", True, [CIDR, T.STRING], T.BOOL, _contains_cidr),
    ("containsCIDR", True, [CIDR, CIDR], T.BOOL, _contains_cidr),
    ("ip", True, [CIDR], IP, lambda value: _tagged("ip", text=value["text"].partition("/")[0])),
    ("masked", True, [CIDR], CIDR, lambda value: _tagged("cidr", text=str(_network(value)))),
    ("prefixLength", True, [CIDR], T.INT, lambda value: _network(value).prefixlen),
    ("isSorted", True, [_LIST], T.BOOL, _is_sorted),
    *(("sum", True, [T.List(kind)], kind, _sum) for kind in (T.INT, T.DOUBLE, T.DURATION)),
    *(
        row
        for kind in (T.INT, T.DOUBLE, T.STRING, T.BOOL, T.BYTES, T.TIMESTAMP, T.DURATION)
        for row in (
            ("min", True, [T.List(kind)], kind, _extreme(min, "min")),
            ("max", True, [T.List(kind)], kind, _extreme(max, "max")),
        )
    ),
    ("indexOf", True, [_LIST, T.DYN], T.INT, _index_of),
    ("lastIndexOf", True, [_LIST, T.DYN], T.INT, _last_index_of),
    ("find", True, [T.STRING, T.STRING], T.STRING, _find),
    ("findAll", True, [T.STRING, T.STRING], T.List(T.STRING), _find_all),
    ("findAll", True, [T.STRING, T.STRING, T.INT], T.List(T.STRING), _find_all),
    ("sets.contains", False, [_LIST, _LIST], T.BOOL, _contains),
    (
        "sets.equivalent", False, [_LIST, _LIST], T.BOOL,
        lambda one, two: _contains(one, two) and _contains(two, one),
    ),
    ("sets.intersects", False, [_LIST, _LIST], T.BOOL, lambda one, two: any(item in two for item in one)),
    *((f"format.{name}", False, [], FORMAT, _format(name)) for name in _NAMED),
    ("format.named", False, [T.STRING], _OPTIONAL_FORMAT, _named),
    ("validate", True, [FORMAT, T.STRING], _OPTIONAL_TEXTS, _validated),
    ("jsonpatch.escapeKey", False, [T.STRING], T.STRING, lambda text: text.replace("~", "~0").replace("/", "~1")),
    *authorization.ROWS,
)  # fmt: skip

# What the optional values above are asked, where they are maps; and what makes maps of loops.
_OPTIONAL_ROWS: Sequence[_Row] = (
    ("hasValue", True, [_OBJECT], T.BOOL, lambda optional: optional["has"]),
    ("value", True, [_OBJECT], T.DYN, _value),
    (macros.OF_PAIRS, True, [_LIST], T.Map(T.DYN, T.DYN), macros.of_pairs),
    (macros.OF_ENTRIES, True, [_LIST], T.Map(T.DYN, T.DYN), macros.of_entries),
)  # fmt: skip


@cache
def typed() -> list[Any]:
    """The functions with their types, for the check of a rule; no rule writes patches."""
    return _declared([row for row in _ROWS if not row[0].startswith("jsonpatch.")])


@cache
def evaluated() -> list[Any]:
    """The functions as they are run, over plain values."""
    rows: dict[tuple[Any, ...], _Row] = {}
    for name, is_member, parameters, result, function in (*_ROWS, *_OPTIONAL_ROWS):
        shapes = [_shape(one) for one in parameters]
        key = (name, is_member, tuple(shape for shape, _ in shapes))
        # Several overloads may be one at run time, and what they answer is then known only when they do.
        told = T.DYN if key in rows else _shape(result)[1]
        rows[key] = (name, is_member, [kind for _, kind in shapes], told, rows[key][4] if key in rows else function)
    return _declared(list(rows.values()))


def _shape(kind: Any) -> tuple[str, Any]:
    """A type as values come at run time: by their kind alone."""
    name = str(kind.name())
    if name.startswith(("kubernetes.", "optional_type")):
        return "map", _OBJECT
    if name.startswith("LIST"):
        return "list", _LIST
    return "map" if name.startswith("MAP") else name, kind


def _declared(rows: Sequence[_Row]) -> list[Any]:
    by_name: dict[str, list[Any]] = {}
    for number, (name, is_member, parameters, result, function) in enumerate(rows):
        overload = cel.Overload(
            id=f"kubernetes_{name.replace('.', '_')}_{number}", return_type=result, parameters=list(parameters),
            is_member=is_member, impl=function,
        )  # fmt: skip
        by_name.setdefault(name, []).append(overload)
    return [cel.FunctionDecl(name, overloads) for name, overloads in by_name.items()]
