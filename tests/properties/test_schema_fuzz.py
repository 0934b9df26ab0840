"""Documents of every kind, made from its own schema and then damaged, walk every verb: never a 500, never a trace."""

import gc
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksql.schema import catalogue as catalogues
from ksql.schema.derive import REF
from tests.properties.test_serve import Loop, check

CATALOGUE = catalogues.load("1.35")
TYPES = [found for found in CATALOGUE.types if {"create", "update", "patch"} <= set(found.verbs)]
DEPTH_MAX = 7
MEDIA = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]
TABLE = b"application/json;as=Table;v=v1;g=meta.k8s.io"

STRINGS = [
    "", "a", "web", "main", "default", "Always", "TCP", "ClusterIP", "10.0.0.1", "fe80::1", "100m", "1Gi", "-1", "50%",
    "2024-01-01T00:00:00Z", "example.com/x", "*", "kubernetes.io/os", "app=web", "* * * * *", "a" * 300, "\u0000", "é",
    "$(A)", "../..", "In", "Exists", "NoSchedule", "{{", "True", "v1", "Pod", "apps/v1",
]  # fmt: skip
SMALL, LARGE = [0, 1, 2, 3, 30, 80, 100, -1, 65535], [2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**30, 1.5, -0.0, 1e308]
# What a definition of this name takes, where its schema says too little.
SOUND = {
    "Quantity": ["0", "1", "100m", "1Gi", "1e3", "-1", 2, "1.5"],
    "IntOrString": [0, 80, "http", "25%", "100%", -1],
    "Time": ["2024-01-01T00:00:00Z", None],
    "MicroTime": ["2024-01-01T00:00:00.000001Z", None],
    "FieldsV1": [{}, {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}],
}


class Maker:
    """A document from a schema, every choice drawn from a seed; one value in `damage` is wrong, none at 0."""

    def __init__(self, seed: int, damage: int) -> None:
        self._draw, self._damage = random.Random(seed).randrange, damage

    def pick(self, options: list[Any]) -> Any:
        return options[self._draw(len(options))]

    def value(self, schema: Any, depth: int = 0) -> Any:
        while True:
            if self._damage and self._draw(self._damage) == 0:
                return self.pick([None, [], {}, "x", 7, True, [None], {"x": None}, [[]], 1.5])
            while "$ref" in schema:
                name = schema["$ref"].removeprefix(REF)
                if sound := SOUND.get(name.rpartition(".")[2]):
                    return self.pick(sound)
                schema = CATALOGUE.definitions[name]
            if "allOf" not in schema:
                break
            schema = schema["allOf"][0]
        kind = schema.get("type", "object")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return [self.value(schema["items"], depth + 1) for _ in range(self._draw(3) if depth < DEPTH_MAX else 0)]
        if kind in ("integer", "number"):
            return self.pick(SMALL if self._draw(20) else LARGE)
        if schema.get("format") == "byte":
            return self.pick(["", "YQ==", "YWJjZA=="])
        return bool(self._draw(2)) if kind == "boolean" else self.pick(STRINGS)

    def _object(self, schema: Any, depth: int) -> Any:
        made: dict[str, Any] = {}
        if depth >= DEPTH_MAX:
            return made
        required = schema.get("required", ())
        for name, inner in schema.get("properties", {}).items():
            # Deep down few optional fields: what is required leads far enough.
            if name in required or self._draw(2 + depth) == 0:
                made[name] = self.value(inner, depth + 1)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for _ in range(self._draw(3)):
                made[self.pick(STRINGS)] = self.value(extra, depth + 1)
        return made


# Many sound ones, since what is refused at the door tries nothing behind it.
makers = st.builds(Maker, st.integers(0, 2**32), st.sampled_from([0, 0, 400, 100, 24]))


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def path_of(type: Any) -> str:
    prefix = f"/apis/{type.group}/{type.version}" if type.group else f"/api/{type.version}"
    return f"{prefix}/{'namespaces/default/' if type.namespaced else ''}{type.resource}"


def text_of(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


def made_of(type: Any, maker: Maker, name: str) -> dict[str, Any]:
    found = maker.value(CATALOGUE.schema(type))
    document = found if isinstance(found, dict) else {}
    found = document.get("metadata")
    # Mostly a body that gets past the door, since what lies behind is what is tried here.
    metadata = {**found, "name": name} if isinstance(found, dict) else {"name": name}
    if maker.pick([True, True, True, False]):
        for key in ("namespace", "uid", "resourceVersion", "deletionTimestamp"):
            metadata.pop(key, None)
    return {**document, "apiVersion": type.api_version, "kind": type.kind, "metadata": metadata}


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TYPES), makers, st.sampled_from(["", "dryRun=All", "fieldValidation=Strict"]))
def test_any_document_of_a_kind_walks_every_verb(loop: Loop, type: Any, maker: Maker, query: str) -> None:
    path, text = path_of(type), [(b"content-type", b"application/json")]
    first = made_of(type, maker, "fuzzed")
    check(loop.ask("POST", path, query.encode(), text, text_of(first)))
    one = f"{path}/fuzzed"
    check(loop.ask("PUT", one, query.encode(), text, text_of(made_of(type, maker, "fuzzed"))))
    for media in MEDIA:
        patch: Any = made_of(type, maker, "fuzzed")
        if media == "json-patch+json":
            patch = [{"op": "add", "path": f"/{key}", "value": value} for key, value in patch.items()]
        sent = [(b"content-type", f"application/{media}".encode())]
        asked = f"{query}&fieldManager=fuzz" if media.startswith("apply") else query
        check(loop.ask("PATCH", one, asked.encode(), sent, text_of(patch)))
    for sub in type.subresources:
        if "update" in type.subresources[sub].verbs:
            check(loop.ask("PUT", f"{one}/{sub}", query.encode(), text, text_of(made_of(type, maker, "fuzzed"))))
    check(loop.ask("GET", path, b"", [(b"accept", TABLE)], b""))
    check(loop.ask("DELETE", one, b"gracePeriodSeconds=0", text, b""))
    check(loop.ask("PATCH", one, b"", [(b"content-type", b"application/merge-patch+json")],
                   b'{"metadata":{"finalizers":null}}'))  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TYPES), makers, st.integers(0, 5000), st.binary(max_size=4))
def test_bodies_that_are_cut_or_damaged_are_refused_or_read(
    loop: Loop, type: Any, maker: Maker, at: int, damage: bytes
) -> None:
    body = text_of(made_of(type, maker, "damaged"))
    at %= len(body) + 1
    for broken in (body[:at], body[:at] + damage + body[at:], body[:at] + damage + body[at + len(damage) :]):
        for media in (b"application/json", b"application/yaml"):
            check(loop.ask("POST", path_of(type), b"dryRun=All", [(b"content-type", media)], broken))


def test_refusals_leave_nothing_in_memory(loop: Loop) -> None:
    """A thousand bad requests, and again: the second thousand holds no objects more than the first."""

    def round_of(seed: int) -> int:
        maker = Maker(seed, 24)
        for type in TYPES[:60]:
            for number in range(4):
                body = text_of(made_of(type, maker, f"n{number}"))
                query = f"dryRun=All&fieldManager=m{seed}-{number}".encode()
                check(loop.ask("POST", path_of(type), query, [(b"content-type", b"application/json")], body))
                check(loop.ask("GET", f"{path_of(type)}/n{seed}-{number}", b"labelSelector=a", [], b""))
        gc.collect()
        return len(gc.get_objects())

    round_of(1)
    before = round_of(1)
    after = max(round_of(seed) for seed in (2, 3, 4))
    # Compiled shapes and actors are kept, bounded; an object a request would be a thousand and more.
    assert after - before < 2_000, (before, after)
