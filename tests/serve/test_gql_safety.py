"""What one caller may ask: every bound holds over every door, says what it is, and can be set."""

# ruff: noqa: UP031 - queries are full of braces, which only % leaves alone.

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query, parse
from prometheus_client import CollectorRegistry, generate_latest

from ksql.schema import catalogue
from ksql.serve.gql import bounds
from ksql.serve.gql.app import base, served_by
from ksql.serve.gql.bounds import DEFAULT, BoundsError
from ksql.serve.gql.limits import judge
from ksql.settings import Settings, SettingsError
from tests.history import story
from tests.serve.gql_door import ADMIN, app_of, as_user, listening, opened
from tests.serve.test_gql_subscriptions import serving, socket_to, subscribe

HEAD = "query Head { head }"
OPERATIONS = Path(__file__).parents[2] / "graphql" / "operations"


# --- aliases, depth, cost


async def test_too_many_aliases_are_refused_also_when_fragments_repeat_them() -> None:
    async with opened(aliases=10) as door:
        assert await door.ask("{%s}" % " ".join(f"a{n}: head" for n in range(10)))
        error = await door.error("{%s}" % " ".join(f"a{n}: head" for n in range(11)))
        assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "aliases": 11, "limit": 10}
        query = "fragment F on Query { %s } { ...F ...F ...F ...F }" % " ".join(f"a{n}: head" for n in range(3))
        assert (await door.error(query))["extensions"]["aliases"] == 12


SCHEMA = served_by(catalogue.load())._schema


@pytest.mark.parametrize(
    "query",
    [
        # What tools and windows ask for.
        "{ pods(first: 1000) { totalCount nodes { name namespace uid labels { key value } createdAt metadata { name }"
        " spec { nodeName hostNetwork priority } status { phase podIP hostIP startTime qosClass } } } }",
        '{ objects(resource: "pods", first: 1000) { nodes { manifest } } }',
        "{ events(first: 100) { nodes { revision time sentence diff { changes { text } } actor { name } } } }",
        '{ search(query: "kind:Pod", first: 100) { hits { event { sentence } fields { text } } } }',
        'subscription { objects(resource: "pods") { changes { change object { name manifest } } } }',
        get_introspection_query(),
        *(path.read_text() for path in sorted(OPERATIONS.glob("*.graphql"))),
    ],
)
def test_what_people_ask_for_is_well_within_the_bounds(query: str) -> None:
    document = parse(query)
    name = document.definitions[0].name  # type: ignore[attr-defined]
    assert judge(SCHEMA, document, None if name is None else name.value, {"first": 100}, DEFAULT) is None


@pytest.mark.parametrize(
    "query",
    [
        '{ objects(resource: "pods", first: 1000) { nodes { history(first: 1000) { nodes { id } } } } }',
        "{ pods(first: 1000) { nodes { owned(first: 1000) { nodes { name } } } } }",
        "{ events(first: 1000) { nodes { effects(first: 1000) { nodes { id } } } } }",
        "{ events(last: 1000) { nodes { causes { events { diff { changes { text path } } } } } } }",
        "mutation { %s }" % " ".join(f"a{n}: play {{ speed }}" for n in range(1200)),
        'subscription { objects(resource: "pods") { changes { object { history(first: 500) { nodes { id } } } } } }',
    ],
)
def test_what_would_read_too_much_is_refused_by_its_estimate(query: str) -> None:
    fault = judge(SCHEMA, parse(query), None, {}, bounds.read(["aliases=100000"]))
    assert fault is not None and fault.extensions is not None and fault.extensions["limit"] == DEFAULT.cost


def test_a_page_size_in_a_variable_counts_like_one_in_the_text() -> None:
    query = parse("query($n: Int) { pods(first: $n) { nodes { history(first: $n) { nodes { id } } } } }")
    assert judge(SCHEMA, query, None, {"n": 10}, DEFAULT) is None
    assert judge(SCHEMA, query, None, {"n": 1000}, DEFAULT) is not None


def test_fragments_that_spread_each_other_come_to_an_end() -> None:
    query = parse("fragment A on Query { ...B } fragment B on Query { ...A head } { ...A }")
    assert judge(base._schema, query, None, {}, DEFAULT) is None


async def test_what_is_long_is_not_judged_at_length() -> None:
    """Some rules of validation take the square of a selection's length: what is too much never gets there."""
    async with opened(depth=3) as door:
        for times in (150, 1000):
            deep = "{ event(revision: 1) { %s } }" % ("cause { id " * times + "}" * times)
            assert (await door.error(deep))["extensions"]["code"] == "LIMIT_EXCEEDED"


# --- introspection


@pytest.mark.parametrize("query", [get_introspection_query(), '{ __type(name: "Pod") { name } }'])
async def test_introspection_can_be_turned_off(query: str) -> None:
    async with opened(introspection=False) as door:
        assert (await door.error(query))["extensions"]["code"] == "INTROSPECTION_DISABLED"
        assert (await door.ask("{ __typename head }"))["__typename"] == "Query"


async def test_introspection_goes_no_deeper_than_tools_need() -> None:
    async with opened() as door:
        nested = "{ __schema { types { %s name %s } } }" % ("fields { type { " * 4, "} } " * 4)
        assert (await door.error(nested))["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


# --- batches


async def test_a_batch_is_answered_in_order_and_bounded() -> None:
    async with opened(batch=3) as door:
        one = {"query": HEAD}
        answer = await door.http.post("/graphql", json=[one, {"query": "{ haed }"}, one])
        head = {"data": {"head": door.story.log.head}}
        first, second, third = answer.json()
        assert first == third == head and second["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
        answer = await door.http.post("/graphql", json=[one] * 4)
        assert answer.status_code == 413
        assert answer.json()["errors"][0]["extensions"] == {"code": "LIMIT_EXCEEDED", "limit": 3}


# --- rates


async def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_kept() -> None:
    async with story.told() as told:
        app = app_of(told, rate=0.2)
        import httpx

        from ksql.auth.identity import User

        bob = User("bob", ("system:masters",))
        clients = [httpx.AsyncClient(transport=httpx.ASGITransport(as_user(app, user)), base_url="http://ksql")
                   for user in (ADMIN, bob)]  # fmt: skip
        body = {"query": HEAD}
        told.clock.monotonic = lambda: 0.0  # type: ignore[method-assign]
        for _ in range(2):
            assert (await clients[0].post("/graphql", json=body)).status_code == 200
        answer = await clients[0].post("/graphql", json=body)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 5
        error = answer.json()["errors"][0]
        assert error["extensions"]["code"] == "TOO_MANY_REQUESTS" and error["extensions"]["retryAfterSeconds"] == 5.0
        assert (await clients[1].post("/graphql", json=body)).status_code == 200
        # A batch is as many operations as it holds.
        assert (await clients[1].post("/graphql", json=[body] * 2)).status_code == 429
        told.clock.monotonic = lambda: 6.0  # type: ignore[method-assign]
        assert (await clients[0].post("/graphql", json=body)).status_code == 200
        for client in clients:
            await client.aclose()


async def test_a_socket_is_held_to_the_same_rate_and_lives_on() -> None:
    async with story.told() as told:
        told.clock.monotonic = lambda: 0.0  # type: ignore[method-assign]
        async with serving(told, rate=0.1) as url, socket_to(url) as socket:
            await subscribe(socket, HEAD, id="1")
            assert json.loads(await socket.recv())["type"] == "next"
            assert json.loads(await socket.recv())["type"] == "complete"
            await subscribe(socket, HEAD, id="2")
            refused = json.loads(await socket.recv())
            assert (refused["id"], refused["type"]) == ("2", "error")
            assert refused["payload"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
            await socket.send('{"type":"ping"}')
            assert json.loads(await socket.recv())["type"] == "pong"


@pytest.mark.parametrize(("bound", "code"), [("subscriptions", "LIMIT_EXCEEDED"), ("followers", "TOO_MANY_REQUESTS")])
async def test_open_operations_are_bounded_and_an_ended_one_makes_room(bound: str, code: str) -> None:
    async with story.told() as told, serving(told, **{bound: 2}) as url, socket_to(url) as socket:
        for id in ("a", "b", "c"):
            await subscribe(socket, id=id)
        refused = json.loads(await socket.recv())
        assert (refused["id"], refused["type"]) == ("c", "error")
        assert refused["payload"][0]["extensions"]["code"] == code
        await socket.send('{"id":"a","type":"complete"}')
        await subscribe(socket, HEAD, id="d")
        assert json.loads(await socket.recv())["type"] == "next"


# --- operations that were laid down


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


HEAD_TEXT = (OPERATIONS / "head.graphql").read_text()


@pytest.mark.parametrize(
    "asked",
    [
        {"documentId": "head"},
        {"documentId": sha(HEAD_TEXT)},
        {"documentId": f"sha256:{sha(HEAD_TEXT)}"},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(HEAD_TEXT)}}},
        {"documentId": "head", "query": HEAD_TEXT},
        {"query": "\n" + HEAD_TEXT.strip()},
    ],
)
@pytest.mark.parametrize("only", [False, True])
async def test_an_operation_is_asked_for_by_name_by_hash_or_by_its_own_text(asked: Any, only: bool) -> None:
    async with opened(persisted_only=only) as door:
        answer = await door.http.post("/graphql", json=asked)
        assert answer.json()["data"]["head"] == door.story.log.head, answer.text
        params = {key: value if isinstance(value, str) else json.dumps(value) for key, value in asked.items()}
        answer = await door.http.get("/graphql", params=params)
        assert answer.json()["data"]["head"] == door.story.log.head, answer.text


@pytest.mark.parametrize(
    ("asked", "code", "only"),
    [
        ({"documentId": "nothing"}, "PERSISTED_OPERATION_NOT_FOUND", False),
        ({"documentId": sha("{ head }")}, "PERSISTED_OPERATION_NOT_FOUND", False),
        ({"extensions": {"persistedQuery": {"sha256Hash": "0" * 64}}}, "PERSISTED_OPERATION_NOT_FOUND", False),
        ({"documentId": "head", "query": "{ horizon }"}, "BAD_USER_INPUT", False),
        ({"documentId": ["head"]}, "BAD_USER_INPUT", False),
        ({"query": "{ head }"}, "PERSISTED_OPERATIONS_ONLY", True),
        ({"query": get_introspection_query()}, "PERSISTED_OPERATIONS_ONLY", True),
        ({}, "BAD_USER_INPUT", True),
    ],
)
async def test_what_was_not_laid_down_is_refused_with_its_code(asked: Any, code: str, only: bool) -> None:
    async with opened(persisted_only=only) as door:
        answer = await door.http.post("/graphql", json=asked)
        assert answer.json()["errors"][0]["extensions"]["code"] == code, answer.text
        assert "data" not in answer.json()


async def test_a_folder_of_ones_own_lays_down_more_and_a_broken_file_harms_none(tmp_path: Path) -> None:
    (tmp_path / "horizon.graphql").write_text("query Horizon { horizon }")
    (tmp_path / "broken.graphql").write_text("query {")
    async with opened(operations=tmp_path, persisted_only=True) as door:
        answer = await door.http.post("/graphql", json={"documentId": "horizon"})
        assert answer.json()["data"] == {"horizon": door.story.log.horizon}


async def test_sockets_and_streams_know_them_too() -> None:
    async with story.told() as told, serving(told, persisted_only=True) as url, socket_to(url) as socket:
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"documentId": "head"}}))
        assert json.loads(await socket.recv())["payload"]["data"]["head"] == told.log.head
        assert json.loads(await socket.recv())["type"] == "complete"
        await subscribe(socket, "{ head }", id="2")
        assert json.loads(await socket.recv())["payload"][0]["extensions"]["code"] == "PERSISTED_OPERATIONS_ONLY"
    async with story.told() as told, listening(as_user(app_of(told), ADMIN)) as address:
        import httpx

        async with httpx.AsyncClient() as http:
            headers = {"accept": "text/event-stream"}
            answer = await http.post(f"http://{address}/graphql", json={"documentId": "head"}, headers=headers)
            assert f'"head":{told.log.head}' in answer.text and "event: complete" in answer.text


# --- figures


async def test_operations_are_counted_by_name_outcome_and_time() -> None:
    async with opened() as door:
        view: Any = app_of(door.story)
        import httpx

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(as_user(view, ADMIN)), base_url="http://ksql"
        ) as http:
            await http.post("/graphql", json={"documentId": "head"})
            await http.post("/graphql", json={"query": "query MadeUp { head }"})
            await http.post("/graphql", json={"query": "{ haed }"})
            await http.post("/graphql", json={"query": '{ objects(resource: "podz") { totalCount } }'})
        registry = CollectorRegistry()
        registry.register(view._rooms.figures)
        text = generate_latest(registry).decode()
        for line in (
            'ksql_graphql_operations_total{operation="head",outcome="ok",type="query"} 1.0',
            'ksql_graphql_operations_total{operation="other",outcome="ok",type="query"} 1.0',
            'ksql_graphql_operations_total{operation="other",outcome="GRAPHQL_VALIDATION_FAILED",type="query"} 1.0',
            'ksql_graphql_errors_total{code="BAD_USER_INPUT",operation="other",type="query"} 1.0',
            'ksql_graphql_operation_duration_seconds_count{operation="head",type="query"} 1.0',
            "ksql_graphql_followers 0.0",
        ):
            assert line in text, text
        assert "MadeUp" not in text, "nobody makes the server remember his words"


# --- settings


def test_every_bound_can_be_set_by_its_name() -> None:
    found = bounds.read(["depth=3", "cost=10", "introspection=off", "persisted-only=on", "rate=0.5", "body=1024"])
    assert (found.depth, found.cost, found.introspection, found.persisted_only) == (3, 10, False, True)
    assert (found.rate, found.body, found.aliases) == (0.5, 1024, DEFAULT.aliases)
    assert Settings(graphql=("depth=3",)).bounds.depth == 3


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("depth", "expected NAME=VALUE"),
        ("width=3", "'width': expected one of tokens, depth, cost"),
        ("depth=deep", "depth='deep': expected a number"),
        ("depth=0", "expected a number above 0"),
        ("rate=inf", "expected a number above 0"),
        ("rate=nan", "expected a number above 0"),
        ("introspection=perhaps", "expected on or off"),
        ("operations=/nowhere/at/all", "expected a folder"),
    ],
)
def test_a_bound_that_cannot_be_is_named(pair: str, words: str) -> None:
    with pytest.raises(BoundsError) as caught:
        bounds.read([pair])
    assert words in str(caught.value)
    with pytest.raises(SettingsError, match="--graphql"):
        Settings(graphql=(pair,)).check()
