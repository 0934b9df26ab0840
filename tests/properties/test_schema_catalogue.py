# ruff: noqa: E501 -- messages are quoted whole, one case a line
"""Laws of a document's way in: checked once is checked for ever, defaults twice are defaults once, and
nothing a document may hold raises anything but an `ApiError`."""

from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksql.base.documents import encode
from ksql.schema import catalogue, structure
from ksql.schema.defaults.engine import apply_defaults
from ksql.schema.derive import REF
from ksql.schema.errors import ApiError
from ksql.schema.faults import invalid
from ksql.schema.resources import ResourceType
from ksql.schema.validation import validate
from ksql.schema.versions import convert

KNOWN = catalogue.load()
DEEPEST = 9
ODD = st.sampled_from([None, 0, -1, 1.0, 1.5, 2**40, True, "", "x", [], {}, [None], {"a": None}])
TEXT = st.sampled_from(
    ["", "a", "web", "A_b", "10%", "0%", "Always", "Never", "RollingUpdate", "OnDelete", "TCP", "ClusterIP", "None", "In",
     "Exists", "Equal", "*/5 * * * *", "TZ=x * *", "a.b/c", "/", "..", "10.0.0.0/8", "metadata.name", "ü", "Recreate",
     "Indexed", "Resource", "Container", "Prefix", "ServiceAccount", "kubernetes.io/tls", "ExternalName"]
)  # fmt: skip
TIMES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-31T23:59:59.5+02:00", "0001-01-01T00:00:00+23:00", "soon"])
AMOUNTS = st.sampled_from(["1", "500m", "1Gi", "0", "-1", "1.5", "1000m", "1e3", "x", 2, 0.5])
SPECIAL: Mapping[str, st.SearchStrategy[Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": AMOUNTS,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": st.one_of(TEXT, st.integers(-1, 70000)),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": TIMES,
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": TIMES,
}


@st.composite
def documents(draw: st.DrawFn, schema: Mapping[str, Any], depth: int = 0, odd: bool = False) -> Any:
    """Any value of a schema; now and then, when `odd`, something else."""
    if odd and draw(st.integers(0, 40)) == 0:
        return draw(ODD)
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return draw(SPECIAL[name] if name in SPECIAL else documents(KNOWN.definitions[name], depth, odd))
    kind = schema.get("type")
    if kind == "array":
        size = draw(st.integers(0, 2)) if depth < DEEPEST else 0
        return [draw(documents(schema["items"], depth + 1, odd)) for _ in range(size)]
    if kind == "object" and "properties" in schema:
        # Few fields of many, or documents grow without bound.
        names = list(schema["properties"]) if depth < DEEPEST else []
        most = 6 if depth < 6 else 3
        chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=most)) if names else []
        chosen = list(
            dict.fromkeys([*chosen, *(n for n in ("metadata", "spec", "template", "containers") if n in names)])
        )
        return {name: draw(documents(schema["properties"][name], depth + 1, odd)) for name in chosen}
    if kind == "object" and "additionalProperties" in schema:
        return {draw(TEXT): draw(documents(schema["additionalProperties"], depth + 1, odd))}
    if kind == "integer":
        return draw(st.sampled_from([0, 1, 2, 80, 443, -1, 511, 70000]))
    if kind == "string":
        return draw(st.sampled_from(["", "YWJj", "YQ", "?"]) if schema.get("format") == "byte" else TEXT)
    return draw({"boolean": st.booleans(), "number": st.floats(0, 1)}.get(str(kind), ODD))


@st.composite
def anything(draw: st.DrawFn, odd: bool) -> tuple[ResourceType, Any]:
    found = draw(st.sampled_from(KNOWN.types))
    document = draw(documents(KNOWN.schema(found), odd=odd))
    if isinstance(document, dict):
        document.pop("apiVersion", None)
        document.pop("kind", None)
    return found, document


def read(found: ResourceType, document: Any, mode: str) -> Any:
    """The document as checked; None when it was refused."""
    try:
        return structure.check(KNOWN, found, document, mode)[0]
    except ApiError:
        return None


relaxed = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(anything(odd=False))
def test_a_checked_document_is_left_alone_by_the_next_check(given_document: tuple[ResourceType, Any]) -> None:
    found, document = given_document
    kept = read(found, document, "Ignore")
    if kept is not None:
        assert read(found, kept, "Strict") == kept


@relaxed
@given(anything(odd=True))
def test_the_fast_path_accepts_only_what_the_slow_path_leaves_alone(
    given_document: tuple[ResourceType, Any],
) -> None:
    found, document = given_document
    kept = read(found, document, "Ignore")
    for candidate in (document, kept):
        checker = structure._checker(KNOWN, found.gvk)
        if checker.accepts(candidate):
            assert checker.walk(KNOWN, candidate) == (candidate, [])


@relaxed
@given(anything(odd=False))
def test_defaults_twice_are_defaults_once_and_keep_the_structure(
    given_document: tuple[ResourceType, Any],
) -> None:
    found, document = given_document
    kept = read(found, document, "Ignore")
    if kept is not None:
        before = encode(kept)
        filled = apply_defaults(found, kept)
        assert apply_defaults(found, filled) == filled
        assert encode(kept) == before
        assert read(found, filled, "Strict") == filled


@relaxed
@given(anything(odd=True), anything(odd=True), st.sampled_from(["Strict", "Warn", "Ignore"]))
def test_no_document_raises_anything_but_an_api_error(
    first: tuple[ResourceType, Any], second: tuple[ResourceType, Any], mode: str
) -> None:
    found, document = first
    kept = read(found, document, mode)
    if kept is None:
        return
    filled = apply_defaults(found, kept)
    causes = validate(found, filled)
    assert causes == validate(found, filled)
    if causes:
        assert invalid(found, "x", causes).status()["code"] == 422
    other = read(found, second[1], "Ignore")
    if other is not None and second[0] is found:
        validate(found, filled, apply_defaults(found, other))
    validate(found, filled, {"metadata": {}})
    for version in ("v1", "events.k8s.io/v1", "autoscaling/v1", "autoscaling/v2"):
        convert(filled, version)
