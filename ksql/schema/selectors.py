"""Label and field selectors: which objects a list, a watch or a controller means.

Query texts and LabelSelector documents become the same immutable `LabelSelector`; field selectors are
compiled for one kind from the table in `fields_selectable.py`. Parsing is cached, since controllers and
clients ask with the same few texts all day; matching is a handful of dict look-ups. The words of refusals
are kube-apiserver's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ksql.base.documents import Document, canonical, decode
from ksql.schema import names
from ksql.schema.errors import BadRequestError
from ksql.schema.fields_selectable import DEFAULT_FIELDS, Getter, SelectableFields, fields_of
from ksql.schema.resources import ResourceType

# How many parsed selectors are kept. A cluster uses one per Service, workload and watcher; beyond this
# number the oldest are parsed again, which costs microseconds.
SELECTORS_CACHED_MAX = 4096
# Longer texts are parsed each time: a few thousand of the longest would fill the memory.
CACHED_CHARACTERS_MAX = 1024
# A selector travels in a URL; nothing a server accepts there is longer (uvicorn stops at 64 KiB).
SELECTOR_CHARACTERS_MAX = 64 * 1024

# --- labels

_BINARY = ("in", "notin", "=", "==", "!=", "gt", "lt")
_PRINTED = {"=": "=", "==": "==", "!=": "!=", "gt": ">", "lt": "<"}
# No label's value is longer.
_INTEGER = re.compile(r"[+-]?[0-9]{1,63}", re.ASCII)


def _integer(text: str | None) -> int | None:
    """The 64-bit integer a label's value spells, or None."""
    if text is None or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `operator` is one of = == != in notin gt lt exists !; values are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return self.key in labels
            case "!":
                return self.key not in labels
        wanted, number = _integer(self.values[0]), _integer(value)
        if wanted is None or number is None:
            return False
        return number > wanted if self.operator == "gt" else number < wanted

    def __str__(self) -> str:
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator == "exists":
            return self.key
        if self.operator in _PRINTED:
            return f"{self.key}{_PRINTED[self.operator]}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(self.values)})"


class LabelSelector:
    """All of its requirements hold. Without any it selects everything, unless it is `NOTHING`."""

    __slots__ = ("_equal", "_other", "nothing", "requirements")

    def __init__(self, requirements: Sequence[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda requirement: requirement.key))
        self.nothing = nothing
        # Nearly all selectors are plain equalities: those are checked without a call each.
        self._equal = tuple((r.key, r.values[0]) for r in self.requirements if r.operator in ("=", "=="))
        self._other = tuple(r for r in self.requirements if r.operator not in ("=", "=="))

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is meant. No labels and null are the same."""
        if self.nothing:
            return False
        labels = labels or {}
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        return all(requirement.matches(labels) for requirement in self._other)

    @property
    def exact(self) -> Mapping[str, str]:
        """The labels that must have one certain value: what an index can answer."""
        single = {r.key: r.values[0] for r in self._other if r.operator == "in" and len(r.values) == 1}
        return single | dict(self._equal)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelSelector):
            return NotImplemented
        return self.requirements == other.requirements and self.nothing == other.nothing

    def __hash__(self) -> int:
        return hash((self.requirements, self.nothing))

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def __repr__(self) -> str:
        return "LabelSelector(nothing)" if self.nothing else f"LabelSelector({str(self)!r})"


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


class _Words(Exception):
    """What a parser found wrong; becomes a BadRequestError at the border."""


def _quoted(text: str) -> str:
    """Text as Go's %q prints it, for the characters a selector can hold."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _invalid(path: str, value: str, faults: Sequence[str]) -> str:
    return f"{path}: Invalid value: {_quoted(value)}: {'; '.join(faults)}"


def _checked(key: str, operator: str, values: Sequence[str], given: str = "[]") -> Requirement:
    """A requirement whose key and values obey the rules of labels. `given` is how an empty list was spelled."""
    words = []
    if faults := names.qualified(key):
        words.append(_invalid("key", key, faults))
    if operator in ("in", "notin") and not values:
        # Go prints the list it was given; a document without one gave none.
        words.append(f"values: Invalid value: {given}: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and values:
        printed = canonical(list(values)).decode()
        words.append(f"values: Invalid value: {printed}: values set must be empty for exists and does not exist")
    for index, value in enumerate(values):
        if operator in ("gt", "lt") and _integer(value) is None:
            fault = "for 'Gt', 'Lt' operators, the value must be an integer"
            words.append(_invalid(f"values[{index}]", value, [fault]))
        if faults := names.label_value(value):
            words.append(_invalid(f"values[{index}][{key}]", value, faults))
    words = list(dict.fromkeys(words))
    if words:
        raise _Words(words[0] if len(words) == 1 else f"[{', '.join(words)}]")
    return Requirement(key, operator, tuple(sorted(values)))


# Names run until white space or one of = ! ( ) , < >; the longest symbol wins.
_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SYMBOLS = frozenset(["==", "!=", "=", "!", "(", ")", ",", "<", ">"])


class _LabelParser:
    """Recursive descent over the tokens; the end of the text is the token ''."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._next = 0

    def look(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self) -> str:
        token = self.look()
        self._next += 1
        return token

    def selector(self) -> LabelSelector:
        requirements: list[Requirement] = []
        while token := self.look():
            if token in _SYMBOLS and token != "!":
                raise _Words(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self.requirement())
            except _Words as words:
                raise _Words(f"unable to parse requirement: {words}") from None
            end = self.take()
            if not end:
                break
            if end != ",":
                raise _Words(f"found '{end}', expected: ',' or 'end of string'")
            following = self.look()
            if not following or (following in _SYMBOLS and following != "!"):
                raise _Words(f"found '{following}', expected: identifier after ','")
        return LabelSelector(requirements) if requirements else EVERYTHING

    def requirement(self) -> Requirement:
        key = self.take()
        negated = key == "!"
        if negated:
            key = self.take()
        if not key or key in _SYMBOLS:
            raise _Words(f"found '{key}', expected: identifier")
        if faults := names.qualified(key):
            # Go prints the path it was not given.
            raise _Words(_invalid("<nil>", key, faults))
        if negated:
            return _checked(key, "!", ())
        if self.look() in ("", ","):
            return _checked(key, "exists", ())
        token = self.take()
        operator = {">": "gt", "<": "lt"}.get(token, "" if token in ("gt", "lt") else token)
        if operator not in _BINARY:
            raise _Words(f"found '{token}', expected: {', '.join(_BINARY)}")
        values = self.set_of_values() if operator in ("in", "notin") else [self.exact_value()]
        return _checked(key, operator, values)

    def exact_value(self) -> str:
        if self.look() in ("", ","):
            return ""
        token = self.take()
        if token in _SYMBOLS:
            raise _Words(f"found '{token}', expected: identifier")
        return token

    def set_of_values(self) -> list[str]:
        token = self.take()
        if token != "(":
            raise _Words(f"found '{token}' expected: '('")
        token = self.look()
        if not token or (token in _SYMBOLS and token not in (",", ")")):
            raise _Words(f"found '{token}', expected: ',', ')' or identifier")
        return sorted(self.values())

    def values(self) -> set[str]:
        """What stands in the parentheses; a comma without a neighbour stands beside the empty value."""
        found: set[str] = set()
        after_comma = True
        while True:
            token = self.take()
            if token == ")":
                return found | {""} if after_comma else found
            if token == ",":
                if after_comma:
                    found.add("")
                after_comma = True
            elif not token or token in _SYMBOLS:
                raise _Words(f"found '{token}', expected: ',', or identifier")
            elif not after_comma:
                raise _Words(f"found '{token}', expected: ',' or ')'")
            else:
                found.add(token)
                after_comma = False
                if self.look() not in (",", ")"):
                    raise _Words(f"found '{self.look()}', expected: ',' or ')'")


def parse_labels(text: str) -> LabelSelector:
    """The selector a query's text means; the empty text selects everything.

    `BadRequestError` says what is wrong.
    """
    if not text:
        return EVERYTHING
    return _known_labels(text) if len(text) <= CACHED_CHARACTERS_MAX else _parsed_labels(text)


def _parsed_labels(text: str) -> LabelSelector:
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise BadRequestError(f"label selector is longer than {SELECTOR_CHARACTERS_MAX} characters")
    try:
        return _LabelParser(text).selector()
    except _Words as words:
        raise BadRequestError(str(words)) from None


_known_labels = lru_cache(maxsize=SELECTORS_CACHED_MAX)(_parsed_labels)


def from_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """What a plain map means (Service, ReplicationController): every label equal; empty is everything."""
    return LabelSelector([Requirement(key, "=", (value,)) for key, value in (labels or {}).items()])


def from_document(selector: Document | None) -> LabelSelector:
    """What a LabelSelector document means: null selects nothing, `{}` everything.

    `BadRequestError` for operators and labels that Kubernetes does not have.
    """
    if selector is None:
        return NOTHING
    if not selector:
        return EVERYTHING
    data = canonical(selector)
    return _known_document(data) if len(data) <= CACHED_CHARACTERS_MAX else _from_bytes(data)


_DOCUMENT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def _from_bytes(data: bytes) -> LabelSelector:
    selector = decode(data)
    try:
        labels = selector.get("matchLabels") or {}
        requirements = [_checked(key, "=", (value,)) for key, value in labels.items()]
        requirements += [_expression(expression) for expression in selector.get("matchExpressions") or ()]
    except _Words as words:
        raise BadRequestError(str(words)) from None
    except (AttributeError, TypeError):
        raise BadRequestError("label selector is not of the form {matchLabels, matchExpressions}") from None
    return LabelSelector(requirements)


_known_document = lru_cache(maxsize=SELECTORS_CACHED_MAX)(_from_bytes)


def _expression(expression: Document) -> Requirement:
    operator, values = str(expression.get("operator", "")), expression.get("values") or ()
    if operator not in _DOCUMENT_OPERATORS:
        raise _Words(f"{_quoted(operator)} is not a valid label selector operator")
    return _checked(expression.get("key", ""), _DOCUMENT_OPERATORS[operator], values, given="null")


# --- fields


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field. `label` is its name after old spellings were translated."""

    label: str
    value: str
    equal: bool
    read: Getter

    def matches(self, document: Document) -> bool:
        return (self.read(document) == self.value) is self.equal

    def __str__(self) -> str:
        return f"{self.label}{'=' if self.equal else '!='}{_escaped(self.value)}"


class FieldSelector:
    """All of its terms hold."""

    __slots__ = ("exact", "terms")

    def __init__(self, terms: Sequence[FieldTerm] = ()) -> None:
        self.terms = tuple(terms)
        self.exact: Mapping[str, str] = {term.label: term.value for term in terms if term.equal}

    @property
    def empty(self) -> bool:
        return not self.terms

    @property
    def labels(self) -> Sequence[str]:
        """The fields that are asked about."""
        return [term.label for term in self.terms]

    def matches(self, document: Document) -> bool:
        """Whether this object is meant; a field it lacks counts with its default."""
        return all(term.matches(document) for term in self.terms)

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


EVERY_FIELD = FieldSelector()

_FIELD_OPERATOR = re.compile("!=|==|=")
# A comma that is not escaped by a backslash ends a term.
_FIELD_TERM = re.compile(r"(?:\\.|[^,\\]|\\$)+", re.DOTALL)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _unescaped(value: str) -> str:
    out, characters = [], iter(value)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            if following not in ("\\", ",", "=") or not following:
                raise BadRequestError(f"invalid field selector: invalid escape sequence: \\{following}")
            out.append(following)
        elif character == "=":
            raise BadRequestError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            out.append(character)
    return "".join(out)


def parse_fields(type: ResourceType, text: str) -> FieldSelector:
    """The field selector `text` means for objects of this type.

    `BadRequestError` for a field that objects of this kind cannot be asked about.
    """
    if not text:
        return EVERY_FIELD
    if type.custom is not None:
        # Not remembered: a kind of the same name may have other fields tomorrow.
        return _fields_of(type.custom.fields, (type.group, type.version, type.kind), text)
    parse = _known_fields if len(text) <= CACHED_CHARACTERS_MAX else _parsed_fields
    return parse(type.group, type.version, type.kind, text)


def _parsed_fields(group: str, version: str, kind: str, text: str) -> FieldSelector:
    return _fields_of(fields_of(group, kind), (group, version, kind), text)


def _fields_of(fields: SelectableFields, gvk: tuple[str, str, str], text: str) -> FieldSelector:
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise BadRequestError(f"field selector is longer than {SELECTOR_CHARACTERS_MAX} characters")
    terms = []
    for part in sorted(_FIELD_TERM.findall(text)):
        operator = _FIELD_OPERATOR.search(part)
        if operator is None:
            raise BadRequestError(f"invalid selector: '{text}'; can't understand '{part}'")
        label, value = part[: operator.start()], _unescaped(part[operator.end() :])
        terms.append(_field_term(fields, gvk, label, value, operator.group() != "!="))
    return FieldSelector(terms)


_known_fields = lru_cache(maxsize=SELECTORS_CACHED_MAX)(_parsed_fields)


def _field_term(
    fields: SelectableFields, gvk: tuple[str, str, str], label: str, value: str, equal: bool
) -> FieldTerm:
    name = fields.aliases.get(label, label)
    read: Callable[[Any], str] | None = fields.getters.get(name) if label not in fields.hidden else None
    if read is None:
        known = ", ".join(_quoted(field) for field in DEFAULT_FIELDS)
        version, kind = (f"{gvk[0]}/{gvk[1]}" if gvk[0] else gvk[1]), gvk[2]
        words = fields.refusal.format(
            label=label, quoted=_quoted(label), known=known, version=version, kind=kind
        )
        raise BadRequestError(words)
    return FieldTerm(name, value, equal, read)
