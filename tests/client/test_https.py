"""The HTTPS client beyond what every client must do: what does not answer, what answers wrongly."""

import asyncio
import contextlib

import pytest

from ksql.auth.pki import SERVING
from ksql.https import LINE_BYTES_MAX, GraphQLError, HttpClient
from ksql.kubeconfig import Connection, load
from ksql.schema.errors import InternalError, UnavailableError
from ksql.serve.listen import Listener
from tests.serve.cluster import NODE, listening, rooms


class Canned:
    """A server that always says the same."""

    def __init__(self, code=200, body=b"{}", graphql=None):
        self.code, self.body, self.graphql = code, body, graphql

    async def __call__(self, scope, receive, send):
        body = self.graphql if scope["path"] == "/graphql" else self.body
        await send({"type": "http.response.start", "status": self.code, "headers": []})
        await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def canned(*args, **options):
    listener = Listener(Canned(*args, **options), "127.0.0.1", 0, None)
    await listener.start()
    client = HttpClient(Connection(listener.url), "test")
    try:
        yield client
    finally:
        await client.aclose()
        await listener.aclose()


async def test_a_server_that_is_not_there_is_unavailable():
    client = HttpClient(Connection("http://127.0.0.1:1"))
    with pytest.raises(UnavailableError, match=r"cannot reach http://127\.0\.0\.1:1"):
        await client.get("pods", "default", "x")
    await client.aclose()


async def test_another_authority_is_not_trusted(tmp_path):
    async with rooms() as found, listening(found, tmp_path) as (listener, _):
        client = HttpClient(Connection(listener.url))
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await client.get("pods", "default", "x")
        await client.aclose()


@pytest.mark.parametrize(
    ("code", "body", "error", "words"),
    [
        (502, b"<html>bad gateway", InternalError, "the server answered 502: <html>bad gateway"),
        (503, b"", UnavailableError, "503"),
        (200, b"not json", InternalError, "no JSON"),
        (200, b"[]", InternalError, "no JSON object"),
    ],
)
async def test_what_is_no_answer_of_a_cluster_is_said(code, body, error, words):
    async with canned(code, body) as client:
        with pytest.raises(error, match=words):
            await client.list("pods")


async def test_graphql_gives_data_or_its_errors():
    async with canned(graphql=b'{"data":{"head":5}}') as client:
        assert await client.graphql("{head}") == {"head": 5}
    async with canned(graphql=b'{"errors":[{"message":"no such field"}]}') as client:
        with pytest.raises(GraphQLError, match="no such field"):
            await client.graphql("{nope}")


async def test_a_cause_goes_with_a_write_of_a_component(tmp_path):
    async with rooms() as found, listening(found, tmp_path) as (listener, made):
        node = HttpClient(Connection(listener.url, made.bundle(SERVING), token=NODE), "kubelet")
        await node.create("configmaps", {"metadata": {"name": "a", "namespace": "default"}}, cause=2)
        event = await found.log.event(found.log.head)
        assert (event.cause, event.actor.user, event.field_manager) == (2, "system:node:node-1", "kubelet")
        await node.aclose()


async def test_a_watch_ends_when_the_server_stops(tmp_path):
    async with rooms() as found, listening(found, tmp_path) as (listener, _):
        client = HttpClient(load(tmp_path / "kubeconfig"))
        feed = client.watch("namespaces", 1)
        assert (await asyncio.wait_for(anext(feed), 10))[0].document["metadata"]["name"] == "kube-system"
        await listener.aclose()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(feed), 10)
        await client.aclose()


async def test_a_line_without_end_is_refused():
    from ksql.https import _lines

    async def chunks():
        while True:
            yield b"x" * 1_000_000

    with pytest.raises(InternalError, match="longer than any object"):
        async for _ in _lines(chunks()):
            pass
    assert LINE_BYTES_MAX < 10_000_000


async def test_lines_come_whole_however_they_were_cut():
    from ksql.https import _lines

    text = b"".join(b"line %d\n" % n for n in range(50))
    for size in (1, 7, 64, 1000):

        async def chunks(size=size):
            for at in range(0, len(text), size):
                yield text[at : at + size]

        found = [line async for lines in _lines(chunks()) for line in lines if line]
        assert found == text.split(b"\n")[:-1]
