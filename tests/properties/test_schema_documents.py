"""Laws of selectors, quantities, patches and protobuf bodies."""

# Tables of cases read best with a case on a line, however long.
# ruff: noqa: E501

import base64
import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ksql.base.documents import canonical, differences, pointer
from ksql.schema import catalogue, quantities, selectors
from ksql.schema.errors import ApiError
from ksql.schema.patches import jsonpatch, strategic
from ksql.schema.protobuf import reading as protobuf

CATALOGUE = catalogue.load()
PODS = CATALOGUE.by_key("pods")

# --- selectors

names = st.from_regex(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
keys = st.one_of(names, st.builds("{}/{}".format, st.sampled_from(["k8s.io", "a.b"]), names), st.just("in"))
values = st.one_of(names, st.just(""), st.sampled_from(["in", "notin", "10", "9"]))
labels = st.dictionaries(keys, values, max_size=4)
requirements = st.one_of(
    st.builds(lambda k, o, v: selectors.Requirement(k, o, (v,)), keys, st.sampled_from(["=", "==", "!="]), values),
    st.builds(
        lambda k, o, vs: selectors.Requirement(k, o, tuple(sorted(vs))),
        keys, st.sampled_from(["in", "notin"]), st.sets(values, min_size=1, max_size=3),
    ),
    st.builds(lambda k, o: selectors.Requirement(k, o), keys, st.sampled_from(["exists", "!"])),
    st.builds(lambda k, o, n: selectors.Requirement(k, o, (str(n),)), keys, st.sampled_from(["gt", "lt"]), st.integers(0, 99)),
)  # fmt: skip


@given(st.lists(requirements, min_size=1, max_size=4))
def test_a_printed_selector_parses_to_itself(parts: list[selectors.Requirement]) -> None:
    selector = selectors.LabelSelector(parts)
    assert selectors.parse_labels(str(selector)) == selector


@given(st.lists(requirements, max_size=4), labels)
def test_a_selector_is_the_conjunction_of_its_requirements(
    parts: list[selectors.Requirement], of: dict[str, str]
) -> None:
    assert selectors.LabelSelector(parts).matches(of) == all(part.matches(of) for part in parts)


@given(keys, st.sets(values, min_size=1, max_size=3), labels)
def test_in_and_notin_divide_the_world(key: str, among: set[str], of: dict[str, str]) -> None:
    listed = ",".join(sorted(among))
    inside = selectors.parse_labels(f"{key} in ({listed})").matches(of)
    assert inside is not selectors.parse_labels(f"{key} notin ({listed})").matches(of)


@given(st.text(alphabet="ab/-. ,=!()<>in\t", max_size=20))
def test_any_text_is_a_selector_or_a_refusal(text: str) -> None:
    for parse in (selectors.parse_labels, lambda t: selectors.parse_fields(PODS, t)):
        try:
            selector = parse(text)
        except ApiError as error:
            assert error.code == 400
        else:
            selector.matches({})


# --- quantities

suffixes = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E-2", "e0"])
numerals = st.builds("{}{}".format, st.integers(-(10**6), 10**6), st.sampled_from(["", ".5", ".25", ".000001"]))
amounts = st.builds("{}{}".format, numerals, suffixes)

_SCALE = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "k": Fraction(1000), "M": Fraction(10**6),
    "G": Fraction(10**9), "T": Fraction(10**12), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
    "e3": Fraction(1000), "E-2": Fraction(1, 100), "e0": Fraction(1),
}  # fmt: skip


def fraction(text: str) -> Fraction:
    number = text.rstrip("numkMGTKiEe-")
    suffix = max((s for s in _SCALE if s and text.endswith(s)), key=len, default="")
    return Fraction(text.removesuffix(suffix) if suffix else number) * _SCALE[suffix]


@given(amounts)
def test_a_canonical_quantity_is_the_same_amount_and_canonical(text: str) -> None:
    printed = quantities.canonical(text)
    assert quantities.parse(printed) == quantities.parse(text)
    assert quantities.canonical(printed) == printed


@given(amounts)
def test_a_quantity_is_its_exact_value_rounded_away_from_zero(text: str) -> None:
    exact, nano = fraction(text) * 10**9, quantities.parse(text).nano
    assert abs(nano) >= abs(exact) and abs(nano - exact) < 1
    whole = fraction(text)
    rounded = -(-whole // 1) if whole >= 0 else whole // 1
    assert quantities.value(text) == rounded


@given(amounts, amounts)
def test_quantities_are_ordered_as_their_values(left: str, right: str) -> None:
    a, b = quantities.parse(left), quantities.parse(right)
    assert (a < b) == (a.nano < b.nano)
    assert quantities.compare(left, right) == -quantities.compare(right, left)
    assert (a + b) - b == a


@given(st.text(alphabet="0123456789.+-eEinumkKMGTP x", max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    try:
        quantities.parse(text)
    except ValueError as error:
        assert str(error) in (quantities.FORMAT_WORDS, quantities.SUFFIX_WORDS)


# --- JSON patch

scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3))
json_keys = st.sampled_from(["a", "b", "c", "a/b", "~", ""])
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(json_keys, inner, max_size=3)),
    max_leaves=10,
)
objects = st.dictionaries(json_keys, documents, max_size=4)


@given(objects, json_keys, documents)
def test_removing_what_was_added_restores_the_document(document: Any, key: str, value: Any) -> None:
    assume(key not in document)
    before, path = canonical(document), pointer([key])
    added = jsonpatch.apply(document, [{"op": "add", "path": path, "value": value}])
    tested = jsonpatch.apply(added, [{"op": "test", "path": path, "value": value}])
    assert canonical(jsonpatch.apply(tested, [{"op": "remove", "path": path}])) == before
    assert canonical(document) == before


def operations(old: Any, new: Any) -> list[dict[str, Any]]:
    """A JSON patch from one document to the other."""
    out = []
    for found in differences(old, new):
        path = pointer(found.path)
        if found.kind == "added":
            out.append({"op": "add", "path": path, "value": found.new})
        elif found.kind == "changed":
            out.append({"op": "replace", "path": path, "value": found.new})
        else:
            out.append({"op": "remove", "path": path})
    # Elements leave a list from its end, or the positions of the others would move.
    removals = [operation for operation in out if operation["op"] == "remove"]
    return [operation for operation in out if operation["op"] != "remove"] + removals[::-1]


@given(objects, objects)
def test_a_patch_made_of_differences_leads_to_the_target(old: Any, new: Any) -> None:
    before = canonical(old)
    assert jsonpatch.equal(jsonpatch.apply(old, operations(old, new)), new)
    assert canonical(old) == before


@given(objects, st.lists(st.one_of(objects, scalars), max_size=4))
def test_any_json_is_a_patch_or_a_refusal(document: Any, patch: list[Any]) -> None:
    for operation in patch:
        if isinstance(operation, dict):
            operation |= {"op": "add", "path": "/a/b"}
    try:
        jsonpatch.apply(document, patch)
    except ApiError as error:
        assert error.code in (400, 413, 422)


# --- strategic merge patch

words = st.sampled_from(["x", "y", "z"])
maps = st.dictionaries(st.sampled_from("abcd"), words, max_size=4)
configuration = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"labels": maps, "annotations": maps}), "data": maps}
)


def map_patch(old: Any, new: Any) -> Any:
    """The merge patch between two documents of maps."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if isinstance(value, dict):
            patch[key] = map_patch(old.get(key, {}), value)
        elif old.get(key) != value:
            patch[key] = value
    return patch


@given(configuration, configuration)
def test_a_patch_of_maps_leads_to_the_target(old: Any, new: Any) -> None:
    before = canonical(old)
    assert strategic.apply(CATALOGUE, CATALOGUE.by_key("configmaps"), old, map_patch(old, new)) == new
    assert canonical(old) == before


container = st.fixed_dictionaries(
    {"name": st.sampled_from("abcde")}, optional={"image": words, "args": st.lists(words)}
)
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"labels": maps, "finalizers": st.lists(words, unique=True)}),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(container, unique_by=lambda one: one["name"], max_size=4)}
        ),
    }
)  # fmt: skip


def merge(document: Any, patch: Any) -> Any:
    return strategic.apply(CATALOGUE, PODS, document, patch)


@given(pods, pods)
def test_a_strategic_patch_twice_is_once(document: Any, patch: Any) -> None:
    once = merge(document, patch)
    assert merge(once, patch) == once


@given(pods, pods)
def test_merged_lists_hold_every_element_once(document: Any, patch: Any) -> None:
    merged = [one["name"] for one in merge(document, patch)["spec"]["containers"]]
    both = [one["name"] for one in document["spec"]["containers"] + patch["spec"]["containers"]]
    assert sorted(merged) == sorted(set(both))
    kept = [name for name in merged if name in [one["name"] for one in patch["spec"]["containers"]]]
    assert kept == [one["name"] for one in patch["spec"]["containers"]], "the patch's own order holds"


@given(pods, pods)
def test_an_order_and_deletions_lead_to_exactly_the_target(old: Any, new: Any) -> None:
    target = new["spec"]["containers"]
    kept = [one["name"] for one in target]
    assume(target)
    replacements = [{**one, "$patch": "delete"} for one in old["spec"]["containers"] if one["name"] not in kept]
    patch = {"spec": {"$setElementOrder/containers": [{"name": n} for n in kept], "containers": target + replacements}}
    merged = merge(old, patch)["spec"]["containers"]
    assert [one["name"] for one in merged] == kept
    for one, wanted in zip(merged, target, strict=True):
        assert {key: one[key] for key in wanted} == wanted


DIRECTIVES = [
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "$setElementOrder",
]
directed = st.recursive(
    st.one_of(scalars, st.sampled_from(["delete", "replace", "merge"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "containers", "finalizers", "args", *DIRECTIVES]), inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip


@given(pods, directed, directed)
def test_any_patch_is_applied_or_refused_and_harms_nothing(document: Any, spec: Any, metadata: Any) -> None:
    before = canonical(document)
    try:
        merge(document, {"spec": spec, "metadata": metadata})
    except ApiError as error:
        assert error.code == 400
    assert canonical(document) == before


# --- protobuf

ROOT = Path(protobuf.__file__).parent
TABLE: dict[str, str] = json.loads((ROOT / "fields_protobuf.json").read_bytes())
RECORDED = [
    base64.b64decode(one["body"])
    for one in json.loads((Path(__file__).parents[1] / "schema" / "bodies_kubectl.json").read_bytes())
]


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def field(text: str) -> tuple[int, str, str, str]:
    """Number, flags, code and JSON name, read independently of the decoder."""
    head, _, name = (
        text.partition(":") if "<" not in text else (text[: text.index(">") + 1], "", text[text.index(">") + 2 :])
    )
    digits = len(head) - len(head.lstrip("0123456789"))
    flags = head[digits:].rstrip("<>abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.")
    return int(head[:digits]), flags, head[digits + len(flags) :], name


def encode(message: str, document: dict[str, Any]) -> bytes:
    """The wire form of a document: each field on its own, as gogo's encoder writes it."""
    out = b""
    for number, flags, code, name in map(field, TABLE[message].split()):
        if "~" in flags:
            out += delimited(number, encode(code[1:-1], document))
        elif name in document:
            value = document[name]
            if "{" in flags:
                for key, inner in value.items():
                    out += delimited(number, delimited(1, key.encode()) + single(2, code, inner))
            else:
                for inner in value if "[" in flags else [value]:
                    out += single(number, code, inner)
    return out


def single(number: int, code: str, value: Any) -> bytes:
    if code in ("b", "i", "l"):
        return varint(number << 3) + varint(int(value))
    if code == "d":
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return delimited(number, contents(code, value))


def contents(code: str, value: Any) -> bytes:
    if code.startswith("<"):
        return encode(code[1:-1], value)
    match code:
        case "s":
            return value.encode()
        case "y":
            return base64.b64decode(value)
        case "q":
            return delimited(1, value.encode())
        case "o":
            is_text = isinstance(value, str)
            return (
                varint(1 << 3)
                + varint(is_text)
                + (delimited(3, value.encode()) if is_text else varint(2 << 3) + varint(value))
            )
        case "r":
            return delimited(1, json.dumps(value).encode())
        case "x":
            return b"".join(delimited(1, one.encode()) for one in value)
    raise AssertionError(code)


PLAIN = {
    "s": st.text(min_size=1, max_size=4),
    "y": st.binary(min_size=1, max_size=4).map(lambda data: base64.b64encode(data).decode()),
    "b": st.just(True),
    "i": st.integers(-(2**31), 2**31 - 1).filter(bool),
    "l": st.integers(-(2**63), 2**63 - 1).filter(bool),
    "d": st.floats(allow_nan=False, allow_infinity=False),
    "q": st.sampled_from(["1", "500m", "2Gi"]),
    "o": st.one_of(st.integers(1, 99), st.text(min_size=1, max_size=4)),
    "r": st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), min_size=1),
    "x": st.lists(st.text(max_size=3), min_size=1, max_size=2),
}
ZEROES = {"s": "", "b": False, "i": 0, "l": 0}
DEPTH_DRAWN_MAX = 6


@st.composite
def drawn(draw: st.DrawFn, message: str, depth: int = 0) -> dict[str, Any]:
    """A document of this message as Go would print it: plain zeroes left out, pointers' zeroes kept."""
    out: dict[str, Any] = {}
    for _, flags, code, name in map(field, TABLE[message].split()):
        if "~" in flags:
            out |= draw(drawn(code[1:-1], depth))
            continue
        always = flags == "!" and code in "sbild"
        if not always and (depth > DEPTH_DRAWN_MAX or draw(st.integers(0, 5)) != 0):
            continue
        if code in "tuABC":
            continue
        value = drawn(code[1:-1], depth + 1) if code.startswith("<") else PLAIN[code]
        if code in ZEROES and ("*" in flags or "!" in flags):
            value = st.one_of(value, st.just(ZEROES[code]))
        if "{" in flags:
            out[name] = draw(st.dictionaries(st.text(max_size=3), value, min_size=1, max_size=2))
        elif "[" in flags:
            out[name] = draw(st.lists(value, min_size=1, max_size=2))
        else:
            out[name] = draw(value)
    return out


KINDS = [(type.api_version, type.kind) for type in CATALOGUE.types]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(KINDS))
def test_a_document_of_any_kind_survives_the_wire(data: st.DataObject, kind: tuple[str, str]) -> None:
    message = protobuf.message_name(*kind)
    assert message is not None
    document = data.draw(drawn(message))
    meta = delimited(1, kind[0].encode()) + delimited(2, kind[1].encode())
    body = protobuf.MAGIC + delimited(1, meta) + delimited(2, encode(message, document))
    assert protobuf.decode_body(body) == {"apiVersion": kind[0], "kind": kind[1], **document}


def refused_or_read(data: bytes) -> None:
    try:
        assert isinstance(protobuf.decode_body(data), dict)
    except ApiError as error:
        assert error.code in (400, 413, 415)


@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    refused_or_read(data)
    refused_or_read(protobuf.MAGIC + data)


@given(st.sampled_from(KINDS), st.binary(max_size=80))
def test_random_objects_are_read_or_refused(kind: tuple[str, str], raw: bytes) -> None:
    meta = delimited(1, kind[0].encode()) + delimited(2, kind[1].encode())
    refused_or_read(protobuf.MAGIC + delimited(1, meta) + delimited(2, raw))


@given(st.sampled_from(RECORDED), st.data())
def test_a_damaged_body_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    refused_or_read(body[:at])
    refused_or_read(body[:at] + bytes([data.draw(st.integers(0, 255))]) + body[at + 1 :])
