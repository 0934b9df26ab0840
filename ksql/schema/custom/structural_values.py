"""What a value may be by its schema: types, ranges, patterns, formats, junctors. In kube-apiserver's words.

The order of complaints, and which of them come together, is that of its validator: junctors first, then what
concerns the value itself, then its parts. A value that is as it was before its update is not judged again
(ratcheting): a schema may become stricter without making its objects unchangeable. Lists of type set and map
and embedded objects are looked at afterwards, in a walk of their own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ksql.base.documents import canonical
from ksql.schema import faults, names
from ksql.schema.custom.structural import Node
from ksql.schema.custom.value_formats import FORMATS
from ksql.schema.errors import Cause
from ksql.schema.golang.patterns import matches
from ksql.schema.metadata import check_annotations, check_labels

# Complaints about one object: more than anybody reads.
FAULTS_MAX = 1000
_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)
_FLOAT32_MAX = 3.4028234663852886e38

_NONE: Any = object()
# The field of complaints that name their place in their own words.
_NOWHERE = "<nil>"


def faults_of(root: Node, document: Any, old: Any = None) -> list[Cause]:
    """What is wrong with a document's values; `old` is the document before its update."""
    found = _Judgement()
    for name, node in root.properties.items():
        # What every object has is judged as every object's is.
        if name in document and name not in ("apiVersion", "kind", "metadata"):
            before = old.get(name, _NONE) if isinstance(old, dict) else _NONE
            found.judge(node, document[name], name, before)
    if root.values is not None:
        for name, value in document.items():
            if name not in root.properties and name not in ("apiVersion", "kind", "metadata"):
                found.judge(root.values, value, name, _NONE)
    before = _NONE if old is None else old
    if not _unchanged(document, before):
        found.junctors(root.raw, document, "")
        found.counted(root.raw, document, "")
        found.required(root.raw, document, "")
    return found.causes


def default_faults(node: Node, value: Any, where: str) -> list[Cause]:
    """What is wrong with a default, told of as at its own place in the schema."""
    found = _Judgement(asks_either=False)
    found.judge(node, value, "", _NONE)
    out: list[Cause] = []
    for cause in found.causes:
        inside = "" if cause.field == _NOWHERE else cause.field
        separator = "" if not inside or inside.startswith((".", "[")) else "."
        out.append(Cause(cause.reason, cause.message, f"{where}{separator}{inside}"))
    return out


def _unchanged(value: Any, old: Any) -> bool:
    # Python takes 1 for True and 1.0: the bytes tell them apart.
    return old is not _NONE and bool(value == old) and canonical(value) == canonical(old)


class _Judgement:
    """One walk: the complaints so far, and how much was looked at (which picks the best of alternatives).

    With `asks_either` what may be an integer or a string must be one; of defaults kube-apiserver does not ask it.
    """

    def __init__(self, *, asks_either: bool = True) -> None:
        self._asks_either = asks_either
        self.causes: list[Cause] = []
        self.looked = 0

    def wrong(self, path: str, value: Any, detail: str) -> None:
        if len(self.causes) < FAULTS_MAX:
            self.causes.append(faults.wrong(path or _NOWHERE, value, detail))

    def judge(self, node: Node, value: Any, path: str, old: Any) -> None:
        """A place of the structure, and all below it."""
        kind = _plain_kind(node)
        if kind is not None and type(value) is kind:
            # Nothing is asked of it but its type: most fields are such.
            self.looked += 1
            return
        if _unchanged(value, old):
            return
        self.looked += 1
        raw = node.raw
        if value is None:
            if not node.nullable and (node.type or node.int_or_string):
                self._type(node.type, node.int_or_string, "null", path)
            self._enum(raw, value, path)
            return
        self._typed(node.type, node.int_or_string, value, path, raw.get("format") or "")
        self.junctors(raw, value, path)
        self._plain(raw, node.type, value, path)
        if isinstance(value, list):
            self._list(node, value, path, old)
        self._enum(raw, value, path)
        if isinstance(value, dict):
            self._object(node, value, path, old)

    def _list(self, node: Node, value: list[Any], path: str, old: Any) -> None:
        if node.items is not None:
            before = _by_key(node, old)
            for index, item in enumerate(value):
                match = before.get(_key(node, item), _NONE) if before else _NONE
                self.judge(node.items, item, f"{path}[{index}]", match)
        self.sized(node.raw, value, path)

    def _object(self, node: Node, value: dict[str, Any], path: str, old: Any) -> None:
        # Of a map with too many entries each is looked at all the same.
        if self.counted(node.raw, value, path) and node.values is None:
            return
        known = isinstance(old, dict) and node.map_type != "atomic"
        for key, item in value.items():
            if node.has_meta and key in ("apiVersion", "kind", "metadata"):
                continue
            inner = node.below(key)
            if inner is not None:
                before = old.get(key, _NONE) if known else _NONE
                self.judge(inner, item, f"{path}.{key}", before)
        self.required(node.raw, value, path)

    # --- what concerns the value itself

    def _typed(self, type: str, int_or_string: bool, value: Any, path: str, form: str = "") -> None:
        found = type_of(value)
        if int_or_string:
            if found not in ("integer", "string") and self._asks_either:
                self._type("", True, found, path)
        elif type and found != type and not (type == "number" and found == "integer"):
            if type == "string" and form in FORMATS:
                # A text of a known format: the complaint names it, and what Go held in its place.
                found = {"integer": "int64", "number": "float64"}.get(found, "")
                type = form
            self._type(type, False, found, path)

    def _type(self, type: str, int_or_string: bool, found: str, path: str) -> None:
        wanted = "integer,string" if int_or_string else type
        if len(self.causes) < FAULTS_MAX:
            said = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
            self.causes.append(Cause("FieldValueTypeInvalid", said, path or _NOWHERE))

    def _plain(self, raw: Mapping[str, Any], type: str, value: Any, path: str) -> None:
        if isinstance(value, str):
            self._text(raw, value, path)
            form = FORMATS.get(raw.get("format") or "")
            if form is not None and type in ("string", "") and not form(value):
                shown = faults.shown(value)
                said = f"Invalid value: {shown}: {path} in body must be of type {raw['format']}: {shown}"
                self.causes.append(Cause("FieldValueTypeInvalid", said, path))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._number(raw, type, value, path)

    def _text(self, raw: Mapping[str, Any], value: str, path: str) -> None:
        longest, shortest, pattern = raw.get("maxLength"), raw.get("minLength"), raw.get("pattern")
        if longest is not None and len(value) > longest:
            self.causes.append(faults.too_long(path, int(longest)))
        elif shortest is not None and len(value) < shortest:
            self.wrong(path, value, f"{path} in body should be at least {int(shortest)} chars long")
        elif pattern and not matches(pattern, value):
            self.wrong(path, value, f"{path} in body should match '{pattern}'")

    def _number(self, raw: Mapping[str, Any], type: str, value: int | float, path: str) -> None:
        self._range(raw.get("format") or "", type, value, path)
        shown = _number_text(value)
        factor, high, low = raw.get("multipleOf"), raw.get("maximum"), raw.get("minimum")
        if isinstance(value, int):
            # As Go has it, whole numbers are compared with whole numbers: what is behind the point is cut off.
            high, low = (bound if bound is None else int(bound) for bound in (high, low))
        if factor:
            # As Go has it, whole numbers are divided by a whole number.
            used = int(factor) if isinstance(value, int) else factor
            if used and not _is_multiple(value, used):
                self._odd(path, shown, f"a multiple of {_number_text(used)}")
        if high is not None:
            if raw.get("exclusiveMaximum"):
                if value >= high:
                    self._odd(path, shown, f"less than {_number_text(high)}")
            elif value > high:
                self._odd(path, shown, f"less than or equal to {_number_text(high)}")
        if low is not None:
            if raw.get("exclusiveMinimum"):
                if value <= low:
                    self._odd(path, shown, f"greater than {_number_text(low)}")
            elif value < low:
                self._odd(path, shown, f"greater than or equal to {_number_text(low)}")

    def _odd(self, path: str, shown: str, should_be: str) -> None:
        said = f"Invalid value: {shown}: {path} in body should be {should_be}"
        self.causes.append(Cause("FieldValueInvalid", said, path))

    def _range(self, format: str, type: str, value: int | float, path: str) -> None:
        fault = ""
        if type == "integer":
            bounds = _INT32 if format == "int32" else _INT64
            if isinstance(value, float) or not bounds[0] <= value <= bounds[1]:
                fault = f"with format {format}" if format in ("int32", "int64") else "(default format)"
        elif type == "number" and format == "float" and abs(value) > _FLOAT32_MAX:
            fault = "with format float"
        if fault:
            self.wrong("", "", f"Checked value must be of type {type} {fault} in {path}")

    def _enum(self, raw: Mapping[str, Any], value: Any, path: str) -> None:
        choices = raw.get("enum")
        if not choices or any(_same(value, choice) for choice in choices):
            return
        words = [one if isinstance(one, str) else orjson.dumps(one).decode() for one in choices]
        self.causes.append(faults.unsupported(path, value, words))

    def sized(self, raw: Mapping[str, Any], value: list[Any], path: str) -> None:
        least, most = raw.get("minItems"), raw.get("maxItems")
        if least is not None and len(value) < least:
            self.wrong(path, len(value), f"{path} in body should have at least {int(least)} items")
        if most is not None and len(value) > most:
            self._too_many(path, len(value), int(most))
        if raw.get("uniqueItems") and len({canonical(item) for item in value}) < len(value):
            self.wrong(path, value, f"{path} in body shouldn't contain duplicates")

    def counted(self, raw: Mapping[str, Any], value: dict[str, Any], path: str) -> bool:
        """Whether an object has too few or too many fields: then its fields are not looked at."""
        least, most = raw.get("minProperties"), raw.get("maxProperties")
        if least is not None and len(value) < least:
            self.wrong(path, len(value), f"{path} in body should have at least {int(least)} properties")
            return True
        if most is not None and len(value) > most:
            self._too_many(path, len(value), int(most))
            return True
        return False

    def _too_many(self, path: str, count: int, most: int) -> None:
        said = f"Too many: {count}: must have at most {most} {'item' if most == 1 else 'items'}"
        self.causes.append(Cause("FieldValueTooMany", said, path or _NOWHERE))

    def required(self, raw: Mapping[str, Any], value: dict[str, Any], path: str) -> None:
        for name in raw.get("required") or ():
            if name not in value:
                self.causes.append(faults.required(f"{path}.{name}" if path else name))

    # --- alternatives: schemas that judge the same value again

    def junctors(self, raw: Mapping[str, Any], value: Any, path: str) -> None:
        """anyOf, oneOf, allOf and not."""
        if parts := raw.get("anyOf"):
            tried = [self._tried(part, value, path) for part in parts]
            if all(one.causes for one in tried):
                self._no_schema(path, "must validate at least one schema (anyOf)", tried)
        if parts := raw.get("oneOf"):
            tried = [self._tried(part, value, path) for part in parts]
            good = sum(not one.causes for one in tried)
            if not good:
                self._no_schema(path, "must validate one and only one schema (oneOf). Found none valid", tried)
            elif good > 1:
                said = f"must validate one and only one schema (oneOf). Found {good} valid alternatives"
                self._no_schema(path, said, [])
        if parts := raw.get("allOf"):
            tried = [self._tried(part, value, path) for part in parts]
            bad = [one for one in tried if one.causes]
            for one in bad:
                self.causes += one.causes
            if bad:
                none = ". None validated" if len(bad) == len(tried) else ""
                self._no_schema(path, f"must validate all the schemas (allOf){none}", [])
        if (part := raw.get("not")) is not None and not self._tried(part, value, path).causes:
            self._no_schema(path, "must not validate the schema (not)", [])

    def _no_schema(self, path: str, said: str, tried: "list[_Judgement]") -> None:
        self.wrong("", "", f'"{path}" {said}')
        if tried:
            self.causes += max(tried, key=lambda one: one.looked).causes

    def _tried(self, raw: Mapping[str, Any], value: Any, path: str) -> "_Judgement":
        inner = _Judgement()
        inner.alternative(raw, value, path)
        return inner

    def alternative(self, raw: Mapping[str, Any], value: Any, path: str) -> None:
        """A value by a schema inside a junctor, which says nothing about structure."""
        self.looked += 1
        if value is None:
            self._enum(raw, value, path)
            return
        type = raw.get("type") or ""
        self._typed(type, False, value, path, raw.get("format") or "")
        self.junctors(raw, value, path)
        self._plain(raw, type, value, path)
        if isinstance(value, list):
            if isinstance(items := raw.get("items"), Mapping):
                for index, item in enumerate(value):
                    self.alternative(items, item, f"{path}[{index}]")
            self.sized(raw, value, path)
        self._enum(raw, value, path)
        if isinstance(value, dict) and not self.counted(raw, value, path):
            properties, others = raw.get("properties") or {}, raw.get("additionalProperties")
            for key, item in value.items():
                inner = properties.get(key, others)
                if isinstance(inner, Mapping):
                    self.alternative(inner, item, f"{path}.{key}" if path else key)
            self.required(raw, value, path)


_KINDS: Mapping[str, type] = {"string": str, "boolean": bool, "integer": int}
# What may stand in a schema without anything being asked of the value but its type.
_SAYS_NOTHING = frozenset(
    {"type", "description", "title", "default", "example", "externalDocs", "nullable", "x-kubernetes-validations"}
)


def _plain_kind(node: Node) -> type | None:
    """The Python type that is all a place wants; None where it wants more. Integers also have a range."""
    known: type | None = node.__dict__.get("_plain_kind", _NONE)
    if known is _NONE:
        known = _KINDS.get(node.type) if _SAYS_NOTHING.issuperset(node.raw) else None
        # Beyond 64 bits an integer is none.
        known = node.__dict__["_plain_kind"] = None if known is int else known
    return known


def type_of(value: Any) -> str:
    """What JSON calls it; numbers without a fraction are integers."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        # What no integer of Go can hold has been read as another number.
        return "integer" if _INT64[0] <= value <= _INT64[1] else "number"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "null" if value is None else "object"


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) is isinstance(right, bool)


def _number_text(value: int | float) -> str:
    """As Go prints a number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def _is_multiple(value: int | float, factor: int | float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor
    return quotient.is_integer() and abs(quotient) < 2**63


def _by_key(node: Node, old: Any) -> dict[bytes, Any]:
    """The items of the list before, by key: only lists of type map have one."""
    if not isinstance(old, list) or node.list_type != "map":
        return {}
    return {_key(node, item): item for item in old if isinstance(item, dict)}


def _key(node: Node, item: Any) -> bytes:
    return canonical([item.get(key) for key in node.list_keys]) if isinstance(item, dict) else b""


# --- lists with keys --------------------------------------------------------------------------------


def duplicates(node: Node, value: Any, path: str = "") -> Iterator[Cause]:
    """Items that lists of type set or map hold twice."""
    if isinstance(value, dict):
        for key, item in value.items():
            inner = node.below(key)
            if inner is not None and inner.has_unique and isinstance(item, dict | list):
                yield from duplicates(inner, item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        if node.list_type == "set":
            yield from _twice(path, value, value)
        elif node.list_type == "map":
            keyed = [_identity(node, item) for item in value]
            for index, item in enumerate(value):
                if not isinstance(item, dict):
                    said = "must be an object for an array of list-type map"
                    yield faults.wrong(f"{path}[{index}]", item, said)
            yield from _twice(path, keyed, keyed)
        if node.items is not None and node.items.has_unique:
            for index, item in enumerate(value):
                if isinstance(item, dict | list):
                    yield from duplicates(node.items, item, f"{path}[{index}]")


def _identity(node: Node, item: Any) -> Any:
    if not isinstance(item, dict):
        return _NONE
    return {key: item[key] for key in sorted(node.list_keys) if key in item}


def _twice(path: str, keys: list[Any], shown: list[Any]) -> Iterator[Cause]:
    seen: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        if key is _NONE:
            continue
        known = canonical(key)
        seen[known] = seen.get(known, 0) + 1
        # Said once for each value, however often it comes.
        if seen[known] == 2:
            yield faults.duplicate(f"{path}[{index}]", shown[index])


# --- embedded objects -------------------------------------------------------------------------------


def embedded_faults(node: Node, value: Any, path: str = "", *, is_root: bool = False) -> Iterator[Cause]:
    """What is wrong with the identity and the metadata of embedded objects; with `is_root` of the whole too."""
    if isinstance(value, list):
        if node.items is not None and node.items.has_embedded:
            for index, item in enumerate(value):
                yield from embedded_faults(node.items, item, f"{path}[{index}]")
        return
    if not isinstance(value, dict):
        return
    if node.is_embedded or is_root:
        yield from _identity_faults(value, path)
        if isinstance(metadata := value.get("metadata"), dict):
            yield from _metadata_faults(metadata, f"{path}.metadata")
    for key, item in value.items():
        inner = node.below(key)
        if inner is not None and inner.has_embedded:
            yield from embedded_faults(inner, item, f"{path}.{key}" if path else key)


def _identity_faults(value: dict[str, Any], path: str) -> Iterator[Cause]:
    for field in ("apiVersion", "kind"):
        said = value.get(field)
        if said is None:
            yield faults.required(f"{path}.{field}")
        elif said == "":
            yield faults.wrong(f"{path}.{field}", said, "must not be empty")
    version, kind = value.get("apiVersion"), value.get("kind")
    if isinstance(version, str) and version.count("/") > 1:
        yield faults.wrong(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    if isinstance(kind, str) and kind:
        for complaint in names.label_name_1035(kind.lower()):
            said = f"may have mixed case, but should otherwise match: {complaint}"
            yield faults.wrong(f"{path}.kind", kind, said)


def _metadata_faults(metadata: dict[str, Any], path: str) -> Iterator[Cause]:
    for field in ("generateName", "name"):
        if said := metadata.get(field):
            yield from (faults.wrong(f"{path}.{field}", said, text) for text in names.path_segment(said))
    if namespace := metadata.get("namespace"):
        yield from (faults.wrong(f"{path}.namespace", namespace, text) for text in names.label_name(namespace))
    out: list[Cause] = []
    check_labels(metadata.get("labels") or {}, f"{path}.labels", out)
    check_annotations(metadata.get("annotations") or {}, f"{path}.annotations", out)
    yield from out
