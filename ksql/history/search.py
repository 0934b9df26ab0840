"""One grammar for "which events?": `kind:Pod ns:shop actor:alice verb:delete since:1h field:spec.replicas`.

`parse` is pure: a text in, a `Query` out, or a `SearchError` that names what is wrong and what comes near.
The command line, GraphQL and the UI all hand their text to it, so a filter means the same everywhere.
`finding.py` asks the log for what a query means.

A text is terms with spaces between them; an event must satisfy all. `key:a,b` is one of a or b, and so is a
key given twice (`field` and `label` given twice must all hold); `-key:a` is anything but a. Quotes hold what has
spaces, commas or colons. A word without a key is a part of a name.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ksql.history import paths
from ksql.schema.errors import BadRequestError
from ksql.schema.selectors import parse_labels

QUERY_CHARACTERS_MAX = 2_000  # longer than any that a person types; bounds what is parsed
TERMS_MAX = 50
SUGGESTIONS_MAX = 2


class SearchError(ValueError):
    """The text is no filter; the message says which part, and what would be."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: any of `values` under `key`; `negated`: none of them."""

    key: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """All terms hold. Terms of one key and sign are one, but for those of `_ALL`."""

    terms: tuple[Term, ...] = ()

    def values(self, key: str) -> tuple[str, ...]:
        """What the positive terms of a key ask for; empty when they ask for nothing."""
        return tuple(value for term in self.terms if term.key == key and not term.negated for value in term.values)

    def one(self, key: str) -> str | None:
        """The value of a key that takes only one."""
        found = self.values(key)
        return found[0] if found else None


# What each key means, in the order in which help and errors name them.
KEYS = {
    "kind": "of this kind or resource",
    "ns": "in this namespace",
    "name": "of objects of this name; * stands for anything",
    "uid": "of this one life",
    "object": "of this object, KIND/NAME, in all its lives",
    "owner": "of this object and all that it owned, KIND/NAME",
    "label": "of objects whose labels match, label:app=web",
    "actor": "by this user or component",
    "is": "by a person or a component; about status or what is wanted",
    "verb": "written by this verb",
    "change": "added, modified or deleted",
    "manager": "by this field manager",
    "field": "that changed this field",
    "since": "at or after this moment",
    "until": "at or before this moment",
    "cause": "provoked directly by this revision",
    "request": "of this request (correlation)",
}
_OTHER_NAMES = {
    "namespace": "ns", "resource": "kind", "user": "actor", "by": "actor", "labels": "label", "selector": "label",
    "path": "field", "from": "since", "to": "until", "correlation": "request", "fieldmanager": "manager",
}  # fmt: skip
# Keys that take one value, and are not turned round: they say where to look, not what to look for.
_SINGLE = ("since", "until", "cause", "request", "object", "owner")
_STRAIGHT = (*_SINGLE, "field")
# Given twice, both must hold: an object has many labels and a change many fields.
_ALL = ("label", "field")

VERBS = ("create", "update", "patch", "apply", "delete", "deletecollection")
CHANGES = {
    "added": "ADDED", "created": "ADDED", "modified": "MODIFIED", "changed": "MODIFIED", "deleted": "DELETED",
    "removed": "DELETED",
}  # fmt: skip
TRAITS = ("person", "component", "status", "wanted")

_TERM = re.compile(r"""\s*(?P<sign>-)?(?:(?P<key>[A-Za-z]+):)?(?P<value>(?:"[^"]*"|[^\s"])*)""")
_VALUE = re.compile(r'((?:"[^"]*"|[^,"])*)(?:,|$)')


def parse(text: str) -> Query:
    """The query that a text means; the empty one means every event."""
    if len(text) > QUERY_CHARACTERS_MAX:
        raise SearchError(f"a filter has at most {QUERY_CHARACTERS_MAX} characters")
    if text.count('"') % 2:
        raise SearchError('a filter opens a quotation with " and never closes it')
    found: list[Term] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TERM.match(text, position)
        if match is None or not (match["key"] or match["value"]):
            raise SearchError(f'"{text[position:].strip()[:40]}" is no filter: write key:value, as in kind:Pod')
        found.append(_term(match))
        position = match.end()
    if len(found) > TERMS_MAX:
        raise SearchError(f"a filter has at most {TERMS_MAX} terms")
    return Query(_joined(found))


def _term(match: re.Match[str]) -> Term:
    key, text, negated = _key(match["key"]), match["value"], match["sign"] is not None
    # A selector has commas of its own: it is one value.
    values = [text.replace('"', "")] if key == "label" else _values(text)
    if not all(values):
        raise SearchError(f"{key}: has no value: write {key}:{_EXAMPLES[key]}")
    if key in _SINGLE and len(values) > 1:
        raise SearchError(f"{key}: takes one value")
    if key in _STRAIGHT and negated:
        raise SearchError(f"{key}: cannot be turned round with -")
    check = _CHECKS.get(key)
    return Term(key, tuple(values if check is None else [check(value) for value in values]), negated)


def _key(word: str | None) -> str:
    if word is None:
        return "part"
    key = _OTHER_NAMES.get(word.lower(), word.lower())
    if key not in KEYS:
        hint = _hint(word, [*KEYS, *_OTHER_NAMES]) or f"; there are {', '.join(KEYS)}"
        raise SearchError(f'there is no filter "{word[:40]}:"{hint}')
    return key


def _values(text: str) -> list[str]:
    found = [match[1].replace('"', "") for match in _VALUE.finditer(text)]
    # The pattern finds one more, empty, at the end of all but a text that ends with a comma.
    return found if text.endswith(",") else found[:-1] if len(found) > 1 else found


def _joined(terms: list[Term]) -> tuple[Term, ...]:
    """Terms of one key and sign made one: alternatives; single keys may not be said twice."""
    out: dict[tuple[str, bool, int], Term] = {}
    for number, term in enumerate(terms):
        place = (term.key, term.negated, number if term.key in _ALL or term.key == "part" else 0)
        known = out.get(place)
        if known is None:
            out[place] = term
        elif term.key in _SINGLE:
            raise SearchError(f"{term.key}: is given twice")
        else:
            out[place] = Term(term.key, tuple(dict.fromkeys((*known.values, *term.values))), term.negated)
    return tuple(out.values())


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.lower(), list(known), SUGGESTIONS_MAX)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _one_of(key: str, known: Iterable[str]) -> Callable[[str], str]:
    names = list(known)

    def check(value: str) -> str:
        if value.lower() not in names:
            hint = _hint(value, names)
            raise SearchError(f'{key}: there is no "{value[:40]}"{hint or "; give one of " + ", ".join(names)}')
        return value.lower()

    return check


def _path(value: str) -> str:
    try:
        paths.parse(value)
    except paths.PathError as error:
        raise SearchError(f"field: {error}") from None
    return value


def _selector(value: str) -> str:
    try:
        parse_labels(value)
    except BadRequestError as error:
        raise SearchError(f"label: {error.message}") from None
    return value


def _revision(value: str) -> str:
    digits = value.lower().removeprefix("r")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise SearchError(f'cause: "{value[:40]}" is no revision: write cause:r1042')
    return digits


def _pair(key: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        kind, slash, name = value.partition("/")
        if not (slash and kind and name):
            raise SearchError(f'{key}: "{value[:80]}" is not KIND/NAME: write {key}:deployment/web')
        return value

    return check


def _uid(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value.lower()):
        raise SearchError(f'uid: "{value[:80]}" is no uid')
    return value.lower()


_CHECKS: dict[str, Callable[[str], str]] = {
    "verb": _one_of("verb", VERBS), "change": _one_of("change", CHANGES), "is": _one_of("is", TRAITS), "field": _path,
    "label": _selector, "cause": _revision, "object": _pair("object"), "owner": _pair("owner"), "uid": _uid,
}  # fmt: skip
_EXAMPLES = {
    "kind": "Pod", "ns": "shop", "name": "web-*", "uid": "UID", "object": "deployment/web",
    "owner": "deployment/web", "label": "app=web", "actor": "alice", "is": "person", "verb": "delete",
    "change": "deleted", "manager": "kubectl", "field": "spec.replicas", "since": "1h", "until": "10:32",
    "cause": "r1042", "request": "ID", "part": "web",
}  # fmt: skip
