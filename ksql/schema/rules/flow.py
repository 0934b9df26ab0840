"""Rules of priority and fairness: which requests a flow schema catches, and how a priority level holds them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, unsupported, wrong
from ksql.schema.rules.checks import each

Structure = Mapping[str, Any]

PRECEDENCE_MAX = 10000
QUEUES_MAX = 10_000_000
# The dealer of shuffle sharding draws its cards from a hash of so many bits.
HASH_BITS_MAX = 60

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = ("Group", "ServiceAccount", "User")
_METHODS = ("ByNamespace", "ByUser")
_EVERYTHING = {
    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"],
}  # fmt: skip
_ANY_PATH = {"verbs": ["*"], "nonResourceURLs": ["*"]}


def _caught(*groups: str) -> list[dict[str, Any]]:
    subjects = [{"kind": "Group", "group": {"name": name}} for name in groups]
    return [{"subjects": subjects, "resourceRules": [_EVERYTHING], "nonResourceRules": [_ANY_PATH]}]


# Without these nobody could mend what a mistaken flow schema has shut out: they stay as they are.
MANDATORY_SCHEMAS: Mapping[str, Structure] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _caught("system:masters"),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": PRECEDENCE_MAX,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _caught("system:unauthenticated", "system:authenticated"),
    },
}
_CATCH_ALL_LEVEL = {
    "type": "Limited",
    "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
}


def check_schema(document: Document, out: list[Cause]) -> None:
    spec, name = document.get("spec") or {}, (document.get("metadata") or {}).get("name", "")
    _check_precedence(spec.get("matchingPrecedence", 0), name, out)
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        shown = {"Type": method.get("type", "")}
        out.append(unsupported("spec.distinguisherMethod.type", shown, _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    path = "spec.priorityLevelConfiguration.name"
    if level:
        out += [wrong(path, level, text) for text in names.subdomain(level)]
    else:
        out.append(required(path, "must reference a priority level"))
    for rule, path in each(spec.get("rules"), "spec.rules"):
        _check_rule(rule, path, out)
    fixed = MANDATORY_SCHEMAS.get(name)
    if fixed is not None and spec != fixed:
        out.append(wrong("spec", spec, f"spec of '{name}' must equal the fixed value"))


def _check_precedence(value: int, name: str, out: list[Cause]) -> None:
    path = "spec.matchingPrecedence"
    if value <= 0:
        out.append(wrong(path, value, "must be a positive value"))
    if value > PRECEDENCE_MAX:
        out.append(wrong(path, value, f"must not be greater than {PRECEDENCE_MAX}"))
    if value == 1 and name != "exempt":
        out.append(wrong(path, value, "only the schema named 'exempt' may have matchingPrecedence 1"))


def _check_rule(rule: Structure, path: str, out: list[Cause]) -> None:
    if not rule.get("subjects"):
        out.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for subject, place in each(rule.get("subjects"), f"{path}.subjects"):
        _check_subject(subject, place, out)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        words = "at least one of resourceRules and nonResourceRules has to be non-empty"
        out.append(required(path, words))
    for each_rule, place in each(rule.get("resourceRules"), f"{path}.resourceRules"):
        _check_resources(each_rule, place, out)
    for each_rule, place in each(rule.get("nonResourceRules"), f"{path}.nonResourceRules"):
        _check_verbs(each_rule, place, out)
        _check_urls(each_rule.get("nonResourceURLs") or (), f"{place}.nonResourceURLs", out)


def _check_subject(subject: Structure, path: str, out: list[Cause]) -> None:
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        out.append(unsupported(f"{path}.kind", kind, _SUBJECTS))
        return
    field = kind[0].lower() + kind[1:]
    given = subject.get(field)
    if given is None:
        out.append(required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'"))
    else:
        _check_named_subject(given, kind, f"{path}.{field}", out)
    for other in ("serviceAccount", "user", "group"):
        if other != field and other in subject:
            words = f"{other} is forbidden when subject kind is not '{other[0].upper()}{other[1:]}'"
            out.append(forbidden(f"{path}.{other}", words))


def _check_named_subject(given: Structure, kind: str, path: str, out: list[Cause]) -> None:
    name = given.get("name", "")
    if not name:
        out.append(required(f"{path}.name"))
    elif kind == "ServiceAccount" and name != "*":
        out += [wrong(f"{path}.name", name, text) for text in names.subdomain(name)]
    if kind == "ServiceAccount":
        namespace = given.get("namespace", "")
        if namespace:
            out += [wrong(f"{path}.namespace", namespace, text) for text in names.label_name(namespace)]
        else:
            out.append(required(f"{path}.namespace", "must specify namespace for service account"))


def _check_verbs(rule: Structure, path: str, out: list[Cause]) -> None:
    verbs = rule.get("verbs") or ()
    if not verbs:
        out.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    elif "*" in verbs:
        _check_lonely(verbs, f"{path}.verbs", "verbs", out)
    elif not set(verbs) <= set(_VERBS):
        out.append(unsupported(f"{path}.verbs", verbs, _VERBS))


def _check_lonely(values: Sequence[str], path: str, what: str, out: list[Cause]) -> None:
    """A star stands for all and so stands alone."""
    if "*" in values and len(values) > 1:
        out.append(wrong(path, values, f"if '*' is present, must not specify other {what}"))


def _check_resources(rule: Structure, path: str, out: list[Cause]) -> None:
    _check_verbs(rule, path, out)
    for field, one, other in (
        ("apiGroups", "api group", "api groups"), ("resources", "resource", "resources"),
    ):  # fmt: skip
        values = rule.get(field) or ()
        if not values:
            out.append(required(f"{path}.{field}", f"resource rules must supply at least one {one}"))
        _check_lonely(values, f"{path}.{field}", other, out)
    namespaces, place = rule.get("namespaces") or (), f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        words = "resource rules that are not cluster scoped must supply at least one namespace"
        out.append(required(place, words))
    elif "*" in namespaces:
        _check_lonely(namespaces, place, "namespaces", out)
    else:
        said = "each member of this list must be '*' or a DNS-1123 label; "
        for name, where in each(namespaces, place):
            out += [wrong(where, name, said + text) for text in names.label_name(name)]


def _check_urls(urls: Sequence[str], path: str, out: list[Cause]) -> None:
    if not urls:
        out.append(required(path, "nonResourceURLs must contain at least one value"))
    elif "*" in urls:
        _check_lonely(urls, path, "non-resource URLs", out)
    else:
        for url, place in each(urls, path):
            if words := _url_complaint(url):
                out.append(wrong(place, url, words))


def _url_complaint(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if "*" in url and (url.count("*") > 1 or not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


# --- priority levels -------------------------------------------------------------------------------


def check_level(document: Document, out: list[Cause]) -> None:
    spec, name = document.get("spec") or {}, (document.get("metadata") or {}).get("name", "")
    kind = spec.get("type", "")
    if (name == "exempt") != (kind == "Exempt"):
        out.append(wrong("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    if kind == "Exempt":
        if "limited" in spec:
            out.append(forbidden("spec.limited", "must be nil if the type is not Limited"))
        _check_shares(spec.get("exempt") or {}, "spec.exempt", out)
    elif kind == "Limited":
        if "exempt" in spec:
            out.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
        if "limited" not in spec:
            out.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            _check_limited(spec["limited"], "spec.limited", out)
    else:
        out.append(unsupported("spec.type", kind, ("Exempt", "Limited")))
    if name == "catch-all" and spec != _CATCH_ALL_LEVEL:
        out.append(wrong("spec", spec, f"spec of '{name}' must equal the fixed value"))


def _check_limited(limited: Structure, path: str, out: list[Cause]) -> None:
    _check_shares(limited, path, out, lambda: _check_response(limited.get("limitResponse") or {}, path, out))
    borrowed = limited.get("borrowingLimitPercent")
    if borrowed is not None and borrowed < 0:
        words = "if specified, must be a non-negative integer"
        out.append(wrong(f"{path}.borrowingLimitPercent", borrowed, words))


def _check_shares(
    level: Structure, path: str, out: list[Cause], between: Callable[[], None] = lambda: None
) -> None:
    shares, lent = level.get("nominalConcurrencyShares"), level.get("lendablePercent")
    if shares is not None and shares < 0:
        out.append(wrong(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    between()
    if lent is not None and not 0 <= lent <= 100:
        out.append(wrong(f"{path}.lendablePercent", lent, "must be between 0 and 100, inclusive"))


def _check_response(response: Structure, path: str, out: list[Cause]) -> None:
    kind, path = response.get("type", ""), f"{path}.limitResponse"
    if kind == "Reject":
        if "queuing" in response:
            words = "must be nil if limited.limitResponse.type is not Limited"
            out.append(forbidden(f"{path}.queuing", words))
    elif kind != "Queue":
        out.append(unsupported(f"{path}.type", kind, ("Queue", "Reject")))
    elif "queuing" not in response:
        words = "must not be empty if limited.limitResponse.type is Limited"
        out.append(required(f"{path}.queuing", words))
    else:
        _check_queuing(response["queuing"], f"{path}.queuing", out)


def _check_queuing(queuing: Structure, path: str, out: list[Cause]) -> None:
    length, queues = queuing.get("queueLengthLimit", 0), queuing.get("queues", 0)
    hand = queuing.get("handSize", 0)
    if length <= 0:
        out.append(wrong(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        out.append(wrong(f"{path}.queues", queues, "must be positive"))
    elif queues > QUEUES_MAX:
        out.append(wrong(f"{path}.queues", queues, f"must not be greater than {QUEUES_MAX}"))
    if hand <= 0:
        out.append(wrong(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        out.append(wrong(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif entropy_bits(queues, hand) > HASH_BITS_MAX:
        words = (
            f"required entropy bits of deckSize {queues} and handSize {hand} "
            f"should not be greater than {HASH_BITS_MAX}"
        )
        out.append(wrong(f"{path}.handSize", hand, words))


def entropy_bits(deck: int, hand: int) -> int:
    """How many bits it takes, at most, to deal a hand of so many cards from a deck."""
    return math.ceil(math.log2(deck) * hand)


def check_conditions(document: Document, old: Document, out: list[Cause]) -> None:
    """The status of both kinds."""
    taken: set[str] = set()
    for condition, path in each((document.get("status") or {}).get("conditions"), "status.conditions"):
        kind = condition.get("type", "")
        if kind in taken:
            out.append(duplicate(f"{path}.type", kind))
        taken.add(kind)
        if not kind:
            out.append(required(f"{path}.type"))
