"""Whatever bytes come in, the door answers in bounded time: a Status for every refusal, never a 500."""

import asyncio
import base64
import contextlib
import gzip
import json
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksql.base.documents import decode
from ksql.schema.golang import gojson
from ksql.serve import bodies, negotiation, parameters
from tests.serve.cluster import TOKEN, Rooms, rooms

SECONDS = 10.0
MAPS = "/api/v1/namespaces/default/configmaps"

words = st.sampled_from(
    ["api", "apis", "v1", "apps", "namespaces", "default", "pods", "configmaps", "a", "status", "scale", "",
     "watch",
     "deployments", "nodes", "openapi", "v3", "v2", "readyz", "livez", "version", "metrics", "..", "%2e",
     "autoscaling", "horizontalpodautoscalers", "eviction", "log", "proxy", "events.k8s.io", "events",
     "bindings"]
)  # fmt: skip
steps = st.one_of(words, st.text(max_size=8))
paths = st.lists(steps, max_size=8).map(lambda found: "/" + "/".join(found))
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"])
options = st.sampled_from(
    ["limit", "continue", "labelSelector", "fieldSelector", "resourceVersion", "resourceVersionMatch",
     "fieldValidation", "dryRun", "fieldManager", "force", "gracePeriodSeconds", "propagationPolicy",
     "orphanDependents", "includeObject", "hash", "verbose", "exclude", "allowWatchBookmarks",
     "timeoutSeconds", "timeout", "pretty"]
)  # fmt: skip
values = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["0", "-1", "1", "All", "Strict", "Exact", "a=b", "a in (b", "metadata.name=x", "9" * 25,
                     "5s", "true", "NotOlderThan", "Object", "!a", "a,b", "==", "spec.nodeName!="]),
)  # fmt: skip


def text_of(document) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=12,
)
named = st.fixed_dictionaries(
    {"metadata": st.one_of(json_values, st.fixed_dictionaries({"name": st.one_of(values, json_values)}))},
    optional={
        "kind": st.one_of(st.sampled_from(["ConfigMap", "Pod", "List", "DeleteOptions"]), json_values),
        "apiVersion": st.one_of(st.sampled_from(["v1", "apps/v1", "/", "a/b/c"]), json_values),
        "data": json_values,
        "spec": json_values,
        "status": json_values,
    },
)
documents = st.one_of(json_values, named).map(text_of)
content = st.one_of(st.binary(max_size=200), documents, documents.map(lambda data: b"k8s\x00" + data))
media = st.sampled_from(
    [b"application/json", b"application/yaml", b"application/vnd.kubernetes.protobuf", b"text/plain", b"",
     b"\xff",
     *(name.encode() for name in negotiation.PATCHES)]
)  # fmt: skip
accepts = st.one_of(
    st.sampled_from([b"application/json", b"*/*", b"application/yaml", b"",
                     b"application/json;as=Table;v=v1;g=meta.k8s.io",
                     b"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"]),
    st.binary(max_size=40),
)  # fmt: skip
header_names = st.sampled_from(
    [b"impersonate-user", b"impersonate-group", b"impersonate-extra-%", b"ksql-cause", b"if-none-match",
     b"accept-encoding", b"content-length", b"user-agent"]
)  # fmt: skip
headers = st.lists(st.tuples(header_names, st.binary(max_size=20)), max_size=4)


class Loop:
    """One event loop and one server for many examples."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self._opened = rooms()
        self.rooms: Rooms = self.runner.run(self._opened.__aenter__())

    def close(self) -> None:
        self.runner.run(self._opened.__aexit__(None, None, None))
        self.runner.close()

    def ask(self, method, path, query, sent, body) -> tuple[int, dict[bytes, bytes], bytes]:
        return self.runner.run(asyncio.wait_for(self._ask(method, path, query, sent, body), SECONDS))

    async def _ask(self, method, path, query, sent, body) -> tuple[int, dict[bytes, bytes], bytes]:
        messages = []
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message):
            messages.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "query_string": query, "client": ("10.0.0.1", 1),
            "headers": [(b"authorization", f"Bearer {TOKEN}".encode()), *sent], "root_path": "",
            "raw_path": quote(path, errors="replace").encode(),
        }  # fmt: skip
        await self.rooms.door(scope, receive, send)
        if not messages:
            return 499, {}, b""
        data = b"".join(message.get("body", b"") for message in messages[1:])
        told = dict(messages[0]["headers"])
        if told.get(b"content-encoding") == b"gzip":
            data = gzip.decompress(data)
        return messages[0]["status"], told, data


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def encoded(query: list[tuple[str, str]]) -> bytes:
    return urlencode(query, errors="replace").encode()


def check(answer: tuple[int, dict[bytes, bytes], bytes]) -> None:
    code, told, data = answer
    assert code != 500, data
    if code >= 400 and code != 499 and told[b"content-type"] == b"application/json":
        status = decode(data)
        assert status["kind"] == "Status" and status["code"] == code and status["message"]
        assert b"Traceback" not in data


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(methods, paths, st.lists(st.tuples(options, values), max_size=3), media, accepts, headers, content)
def test_any_request_is_answered(loop, method, path, query, type, accept, sent, body):
    given = [(b"content-type", type), (b"accept", accept), *sent]
    check(loop.ask(method, path, encoded(query), given, body))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["configmaps", "pods", "services", "nodes", "namespaces", "events"]),
    named,
    options,
    values,
)
def test_any_document_is_created_or_refused(loop, resource, document, option, value):
    within = "" if resource in ("nodes", "namespaces") else "/namespaces/default"
    body = text_of(document)
    sent = [(b"content-type", b"application/json")]
    check(loop.ask("POST", f"/api/v1{within}/{resource}", encoded([(option, value)]), sent, body))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["json-patch", "merge-patch", "strategic-merge-patch"]),
    st.one_of(
        json_values,
        st.lists(
            st.fixed_dictionaries(
                {
                    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
                    "path": st.sampled_from(
                        ["", "/", "/data", "/data/a", "/metadata/name", "/metadata", "/-", "~", "/a/0"]
                    ),
                },
                optional={"value": json_values, "from": st.sampled_from(["/data", "", "/metadata/labels"])},
            ),
            max_size=4,
        ),
    ),
)  # fmt: skip
def test_any_patch_is_applied_or_refused(loop, kind, patch):
    body = b'{"metadata":{"name":"patched"},"data":{"a":"b"}}'
    loop.ask("POST", MAPS, b"", [(b"content-type", b"application/json")], body)
    sent = [(b"content-type", f"application/{kind}+json".encode())]
    body = text_of(patch)
    check(loop.ask("PATCH", f"{MAPS}/patched", b"", sent, body))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_yaml_is_read_or_refused(data):
    try:
        orjson.dumps(bodies.parse_yaml(data))
    except bodies.MalformedError as error:
        assert str(error)


@settings(max_examples=300, deadline=None)
@given(json_values, st.integers(0, 400), st.binary(max_size=3))
def test_what_orjson_refuses_is_explained(value, at, damage):
    text = json.dumps(value).encode("utf-8", "surrogatepass")
    broken = text[: at % (len(text) + 1)] + damage + text[at % (len(text) + 1) :]
    try:
        orjson.loads(broken)
    except orjson.JSONDecodeError:
        assert gojson.fault(broken)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_a_document_without_keys_said_twice_has_none(document):
    try:
        data = json.dumps(document, allow_nan=False).encode("utf-8", "surrogatepass")
        found = orjson.loads(data)
    except ValueError:
        return
    assert bodies.repeats(data, negotiation.JSON, found) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_accept_header_is_understood_or_refused(header):
    from ksql.schema.errors import NotAcceptableError

    for understand in (negotiation.wish, negotiation.discovery_wish):
        with contextlib.suppress(NotAcceptableError):
            understand(header)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_query_is_parsed(query):
    for value in parameters.parse(query).values():
        assert all(isinstance(text, str) for text in value)


def part(value) -> bytes:
    return base64.urlsafe_b64encode(value if isinstance(value, bytes) else text_of(value)).rstrip(b"=")


heads = st.fixed_dictionaries(
    {"alg": st.sampled_from(["none", "ES256", "RS256", "HS256", "", None, 7])},
    optional={"kid": json_values, "typ": json_values, "crit": json_values, "jwk": json_values},
)
claims = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.sampled_from(["https://kubernetes.default.svc", "x", None]),
        "sub": st.sampled_from(["system:serviceaccount:default:default", "admin", 7]),
        "aud": json_values, "exp": json_values, "nbf": json_values, "iat": json_values, "kubernetes.io": json_values,
    },
)  # fmt: skip
tokens = st.one_of(
    st.tuples(heads, claims, st.binary(max_size=70)).map(lambda parts: b".".join(map(part, parts))),
    st.lists(st.binary(max_size=20), max_size=5).map(b".".join),
    st.integers(0, len(TOKEN)).map(lambda end: TOKEN[:end].encode()),
)
schemes = st.sampled_from([b"Bearer ", b"bearer ", b"Bearer", b"Basic ", b"", b"Bearer  ", b"\x00"])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemes, tokens)
def test_any_credentials_are_believed_or_refused(loop, scheme, token):
    given = scheme + token
    code, told, data = loop.ask("GET", "/api/v1/pods", b"", [(b"authorization", given)], b"")
    believed = given.partition(b" ")[0].lower() == b"bearer" and given.partition(b" ")[2].strip() == TOKEN.encode()
    assert code == (200 if believed else 401), (given, data)
    check((code, told, data))
