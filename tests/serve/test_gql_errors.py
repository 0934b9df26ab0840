"""Bad input gets an error with a path and a code, never a trace; the limits say what they are."""

# ruff: noqa: UP031 - queries are full of braces, which only % leaves alone.

import asyncio
from typing import Any

import pytest

from ksql.log.protocol import LogUnavailableError
from ksql.serve.gql import pages as gql_pages
from ksql.serve.gql.bounds import DEFAULT
from tests.serve.gql_door import opened


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("{head", "GRAPHQL_PARSE_FAILED", "Syntax Error"),
        ("query A {head} query B {head}", "GRAPHQL_VALIDATION_FAILED", "say which of the 2 operations"),
        ("{haed}", "GRAPHQL_VALIDATION_FAILED", "Did you mean"),
        ('{objects(resource: "pdos"){totalCount}}', "BAD_USER_INPUT", "did you mean pod"),
        ('{object(resource: "pods", name: "a"){id}}', "BAD_USER_INPUT", "pods live in namespaces"),
        ('{object(resource: "pods", namespace: "a"){id}}', "BAD_USER_INPUT", "give a name"),
        ("{object{id}}", "BAD_USER_INPUT", "say which object"),
        ('{objects(resource: "pods", labelSelector: "a=b=c"){totalCount}}', "BAD_USER_INPUT", ""),
        ('{objects(resource: "pods", fieldSelector: "nope=1"){totalCount}}', "BAD_USER_INPUT", "nope"),
        ('{objects(resource: "pods", at: "r99"){totalCount}}', "BAD_USER_INPUT", "after the head"),
        ('{objects(resource: "pods", at: "2020-01-01"){totalCount}}', "HORIZON", "before the first event"),
        ('{objects(resource: "pods", at: true){totalCount}}', "BAD_USER_INPUT", "a moment is"),
        ('{objects(resource: "leases", at: "r5"){totalCount}}', "HORIZON", "heartbeats"),
        ('{objects(resource: "pods", first: 1001){totalCount}}', "LIMIT_EXCEEDED", "at most 1000"),
        ('{objects(resource: "pods", first: -1){totalCount}}', "BAD_USER_INPUT", "must not be negative"),
        ('{objects(resource: "pods", first: 1, last: 1){totalCount}}', "BAD_USER_INPUT", "not both"),
        ('{objects(resource: "pods", after: "x"){totalCount}}', "BAD_USER_INPUT", "is no cursor"),
        ('{events(after: "bwBhAGIAYw"){head}}', "BAD_USER_INPUT", "is no cursor"),
        ('{event(revision: -1){id}}', "BAD_USER_INPUT", "a revision is a whole number"),
        ('{events(filter: {since: 9, until: 3}){head}}', "BAD_USER_INPUT", "since is after until"),
        ('{node(id: "zzz"){id}}', "BAD_USER_INPUT", "is no id"),
        ("{effects(revision: 1, depth: 99){cut}}", "BAD_USER_INPUT", "depth is between"),
        ('{diff(ref: {resource: "pods", namespace: "d", name: "x"}, from: 1){text}}', "NOT_FOUND", "neither"),
        ('{revisionAt(time: "soon")}', "BAD_USER_INPUT", "is no moment"),
    ],
)  # fmt: skip
async def test_bad_input_gets_a_code_and_words(query: str, code: str, words: str) -> None:
    async with opened() as door:
        error = await door.error(query)
        assert error["extensions"]["code"] == code
        assert words in error["message"]
        assert "Traceback" not in str(error)


async def test_near_names_are_data_as_well() -> None:
    async with opened() as door:
        error = await door.error('{objects(resource: "secretz"){totalCount}}')
        assert error["extensions"]["suggestions"] == ["secrets"]
        assert error["path"] == ["objects"]


async def test_a_fault_of_ours_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as door:

        async def broken(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("the password is hunter2")

        door.story.log.read = broken  # type: ignore[method-assign]
        error = await door.error("{events{head}}")
        assert error["extensions"] == {"code": "INTERNAL"}
        assert "hunter2" not in str(error)
        assert "hunter2" in caplog.text


async def test_a_lost_database_is_unavailable_while_the_present_goes_on() -> None:
    async with opened() as door:

        async def lost(*args: Any, **kwargs: Any) -> Any:
            raise LogUnavailableError("the log cannot be read: disk I/O error")

        door.story.log.read = lost  # type: ignore[method-assign]
        answer = await door.post('{objects(resource: "pods"){totalCount} events{head}}')
        assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        assert (await door.ask('{objects(resource: "pods"){totalCount}}'))["objects"]["totalCount"] == 2


async def test_what_costs_too_much_is_refused_before_it_is_read() -> None:
    async with opened() as door:
        error = await door.error(
            'query($n: Int){objects(resource: "po", first: $n){nodes{history(first: $n){nodes{id}}}}}',
            n=1000,
        )
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
        assert error["extensions"]["limit"] == DEFAULT.cost
        aliases = " ".join(f"a{n}: events(first: 1000){{nodes{{id time}}}}" for n in range(30))
        assert (await door.error("{%s}" % aliases))["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_what_is_too_deep_or_too_long_is_refused() -> None:
    async with opened() as door:
        deep = "cause{" * 25 + "id" + "}" * 25
        error = await door.error("{event(revision: 15){%s}}" % deep)
        assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "depth": 27, "limit": DEFAULT.depth}
        error = await door.error("{%s}" % ("head " * DEFAULT.tokens))
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_fragments_are_counted_wherever_they_are_spread() -> None:
    async with opened() as door:
        bombs = "".join(
            f"fragment F{n} on Object {{ owners {{ ...F{n + 1} ...F{n + 1} }} }} " for n in range(15)
        )
        query = bombs + 'fragment F15 on Object { name } { objects(resource: "pods") { nodes { ...F0 } } }'
        assert (await door.error(query))["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_an_operation_that_takes_too_long_is_ended() -> None:
    async with opened(seconds=0.01) as door:

        async def stuck(*args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

        door.story.log.read = stuck  # type: ignore[method-assign]
        error = await door.error("{events{head}}")
        assert error["extensions"]["code"] == "TIMEOUT"


async def test_an_operation_that_takes_too_long_leaves_the_next_one_its_time() -> None:
    async with opened(seconds=0.5) as door:
        read = door.story.log.read

        async def slow(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(60)

        door.story.log.read = slow  # type: ignore[method-assign]
        answer = await door.post("{head events{head}}")
        assert answer["data"] is None
        assert "took more than 0.5 s" in answer["errors"][0]["message"]
        door.story.log.read = read  # type: ignore[method-assign]
        assert await door.ask("{head events(first: 1){head}}")


async def test_introspection_is_answered() -> None:
    async with opened() as door:
        from graphql import get_introspection_query

        data = await door.ask(get_introspection_query())
        assert data["__schema"]["queryType"]["name"] == "Query"


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"3", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"query": 7}', "application/json", 400),
        (b'{"query": "{head}", "variables": []}', "application/json", 400),
        (b'[{"query": 7}]', "application/json", 400),
        (b"[7]", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"documentId": 7}', "application/json", 200),
        (b'{"documentId": ""}', "application/json", 200),
        (b'{"query": "subscription { events { id } }"}', "application/json", 400),
        (b"query={head}", "application/x-www-form-urlencoded", 400),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b"\xff\xfe", "application/json", 400),
    ],
)
async def test_a_malformed_request_is_refused_as_json(content: bytes, content_type: str, status: int) -> None:
    async with opened() as door:
        answer = await door.http.post("/graphql", content=content, headers={"Content-Type": content_type})
        assert answer.status_code == status, answer.text
        assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_body_beyond_its_limit_is_refused() -> None:
    async with opened(body=1000) as door:
        answer = await door.http.post("/graphql", json={"query": "{head}", "variables": {"x": "x" * 1000}})
        assert answer.status_code == 413
        assert "more than 1000 bytes" in answer.text


async def test_other_methods_and_browsers_are_told_what_this_is() -> None:
    async with opened() as door:
        assert (await door.http.put("/graphql", content=b"")).status_code == 405
        answer = await door.http.get("/graphql", headers={"Accept": "text/html"})
        assert answer.status_code == 406
        assert "POST a query" in answer.json()["errors"][0]["message"]


async def test_a_wrong_zone_is_refused() -> None:
    async with opened() as door:
        answer = await door.http.post(
            "/graphql", json={"query": "{head}"}, headers={"Ksql-Time-Zone": "Mars/Base"}
        )
        assert answer.status_code == 400
        assert "is no time zone" in answer.text


async def test_page_limits_are_named() -> None:
    assert gql_pages.PAGE_DEFAULT < gql_pages.PAGE_MAX == 1_000
