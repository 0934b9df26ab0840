"""The listener: TLS, certificates that become users, addresses that are taken, heads that never end."""

import asyncio
import ssl
import subprocess
import sys

import httpx
import pytest
import websockets

from ksql.auth import pki as keys
from ksql.serve import listen, patience
from ksql.serve.listen import BindError, Listener
from tests.serve.cluster import TOKEN, client_context, listening, rooms


@pytest.fixture
async def served(tmp_path):
    async def graphql(scope, receive, send):
        """Says who asks, over HTTP and over a WebSocket."""
        user = scope["ksql.user"].name.encode()
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": user.decode()})
            await send({"type": "websocket.close"})
            return
        headers = [(b"content-length", b"%d" % len(user))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": user})

    async with rooms(graphql=AsgiApp(graphql)) as found, listening(found, tmp_path) as (listener, made):
        yield found, listener, made


class AsgiApp:
    """Starlette takes an object for an app, a function for an endpoint."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


def client(listener, context, **options):
    return httpx.AsyncClient(base_url=listener.url, verify=context, timeout=10, **options)


async def test_a_certificate_is_a_user_on_every_request_of_its_connection(served):
    found, listener, made = served
    alice = keys.issue_client(made.signing(keys.CLIENTS), "alice", ("system:masters",), found.clock)
    async with client(listener, client_context(made, alice)) as http:
        for _ in range(2):
            answer = await http.get("/graphql")
            assert answer.text == "alice" and answer.headers["ksql-correlation"]


async def test_a_websocket_has_the_same_user(served):
    found, listener, made = served
    alice = keys.issue_client(made.signing(keys.CLIENTS), "alice", (), found.clock)
    url = listener.url.replace("https", "wss") + "/graphql"
    async with websockets.connect(url, ssl=client_context(made, alice)) as socket:
        assert await socket.recv() == "alice"
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with websockets.connect(url, ssl=client_context(made), additional_headers=token) as socket:
        assert await socket.recv() == "kubernetes-admin"


@pytest.mark.parametrize("path", ["/graphql", "/api/v1/pods"])
async def test_a_websocket_of_nobody_is_refused(served, path):
    _, listener, made = served
    url = listener.url.replace("https", "wss") + path
    with pytest.raises(websockets.exceptions.InvalidStatus):
        await websockets.connect(url, ssl=client_context(made))


async def test_without_a_certificate_a_token_does(served):
    _, listener, made = served
    async with client(listener, client_context(made)) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 401
        answer = await http.get("/api/v1/nodes", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200


async def test_a_certificate_of_another_authority_gets_no_connection(served):
    found, listener, made = served
    stranger = keys.issue_client(keys.make_authority(found.clock), "eve", ("system:masters",), found.clock)
    async with client(listener, client_context(made, stranger)) as http:
        with pytest.raises(httpx.TransportError):
            await http.get("/version")


async def test_a_server_certificate_is_no_client(served):
    _, listener, made = served
    async with client(listener, client_context(made, made.server)) as http:
        with pytest.raises(httpx.TransportError):
            await http.get("/version")


async def test_old_tls_gets_no_connection(served):
    _, listener, made = served
    context = client_context(made)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)


async def test_a_taken_address_says_who_has_it(served):
    found, listener, _ = served
    with pytest.raises(BindError, match=rf"cannot listen on 127.0.0.1:{listener.port}: .*process \d+"):
        await Listener(found.door, "127.0.0.1", listener.port, None).start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
async def test_an_address_that_is_not_ours_is_refused(served, host):
    found, _, _ = served
    with pytest.raises(BindError, match="cannot listen on"):
        await Listener(found.door, host, 0, None).start()


async def test_a_head_without_end_is_refused(served):
    _, listener, made = served
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_context(made))
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n")
    try:
        for _ in range(listen.HEAD_BYTES_MAX // 1000 + 10):
            writer.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            await writer.drain()
    except ConnectionError:
        return
    assert (await reader.read(64)).startswith((b"HTTP/1.1 431", b""))
    assert await reader.read() is not None
    writer.close()


async def test_a_connection_that_asks_nothing_is_closed(served, monkeypatch):
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.1)
    _, listener, made = served
    for sent in (b"", b"GET /version HT"):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_context(made))
        writer.write(sent)
        told = await asyncio.wait_for(reader.read(), 5)
        assert told.startswith(b"HTTP/1.1 408 ") if sent else told == b""
        writer.close()


@pytest.mark.parametrize("request_line", [b"\x00\x01\x02", b"GET", b"GET /\xff HTTP/1.1", b"\x16\x03\x01"])
async def test_what_is_no_http_is_refused(served, request_line):
    _, listener, made = served
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_context(made))
    writer.write(request_line + b"\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5))[:12] in (b"HTTP/1.1 400", b"")
    writer.close()


async def test_stopping_lets_a_request_finish(served, monkeypatch):
    found, listener, made = served
    begun, go = asyncio.Event(), asyncio.Event()
    perform = found.pipeline.perform

    async def slowly(request):
        begun.set()
        await go.wait()
        return await perform(request)

    monkeypatch.setattr(found.pipeline, "perform", slowly)
    async with client(listener, client_context(made, made.admin)) as http:
        asking = asyncio.ensure_future(http.get("/api/v1/namespaces/default"))
        await begun.wait()
        closing = asyncio.ensure_future(listener.aclose())
        await asyncio.sleep(0)
        go.set()
        assert (await asking).status_code == 200
        await closing
        with pytest.raises(httpx.ConnectError):
            await http.get("/version")


def test_the_holder_of_a_port_is_found():
    listener = subprocess.Popen(
        [sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); "
         "print(s.getsockname()[1], flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        from ksql.serve.ports import holder

        port = int(listener.stdout.readline())
        assert holder(port).endswith(f"process {listener.pid}")
        assert holder(1) == ""
    finally:
        listener.kill()
        listener.wait()
