"""Slow clients, silent ones, and too many of them: over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ksql.serve import listen, patience
from ksql.serve.listen import Listener
from tests.serve.cluster import TOKEN, client_context, listening, rooms

HEAD = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
Open = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    def __init__(self, found: Any, listener: Listener, keys: Any) -> None:
        self.found, self.listener, self.keys = found, listener, keys

    async def open(self) -> Open:
        return await asyncio.open_connection("127.0.0.1", self.listener.port, ssl=client_context(self.keys))

    async def until(self, claim: Any) -> None:
        async with asyncio.timeout(20):
            while not claim():
                await self.found.clock.sleep(0.01)

    @property
    def connections(self) -> set[Any]:
        return self.listener._server.server_state.connections

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx.AsyncClient(
            base_url=self.listener.url, verify=client_context(self.keys), headers=headers, timeout=20
        )


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(listen, "HANDSHAKE_SECONDS", 0.3)
    async with rooms() as found, listening(found, tmp_path) as (listener, made):
        yield Site(found, listener, made)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Code and body of an answer that tells its length."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def test_a_later_head_that_trickles_in_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.5)
    reader, writer = await site.open()
    writer.write(b"GET /version HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert (await answer(reader))[0] == 200
    # The second one comes a byte at a time, and never ends.
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(200):
        writer.write(b"x")
        await asyncio.sleep(0.02)
        if reader.at_eof() or writer.is_closing():
            break
        if reader._buffer:  # type: ignore[attr-defined]
            break
    assert (await answer(reader))[0] == 408 and await reader.read() == b""
    writer.close()


async def test_a_body_that_trickles_in_is_given_up_and_one_that_goes_on_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(patience, "BODY_BYTES_MIN", 100)
    path = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nContent-Type: application/json\r\n"
    head = site.found.log.head

    async def send(piece: int) -> int:
        body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"%b"}}' % (b"x" * 2000)
        reader, writer = await site.open()
        writer.write(path + HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), piece):
            writer.write(body[at : at + piece])
            await asyncio.sleep(0.05)
            if reader._buffer or reader.at_eof():  # type: ignore[attr-defined]
                break
        code, _ = await answer(reader)
        writer.close()
        return code

    assert await send(5) == 408 and site.found.log.head == head
    assert await send(100) == 201


async def test_heads_of_too_many_lines_are_refused(site: Site) -> None:
    reader, writer = await site.open()
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(patience.HEADERS_MAX + 1))
    writer.write(b"GET /version HTTP/1.1\r\n" + HEAD + lines + b"\r\n")
    assert (await answer(reader))[0] == 431
    writer.close()


async def test_whoever_connects_and_does_not_speak_tls_is_let_go(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.listener.port)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_two_hundred_slow_clients_do_not_keep_others_waiting(site: Site) -> None:
    slow = await asyncio.gather(*(site.open() for _ in range(200)))
    for _, writer in slow:
        writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nX: y")
    loop = asyncio.get_running_loop()
    async with site.client() as http:
        await http.get("/version")
        started = loop.time()
        for _ in range(20):
            assert (await http.get("/api/v1/namespaces")).status_code == 200
        assert loop.time() - started < 5
    for _, writer in slow:
        writer.transport.abort()
    await site.until(lambda: not site.connections)


async def test_over_the_limit_the_next_connection_is_told_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "connections_max", lambda: 10)
    kept = [await site.open() for _ in range(5)]
    await site.until(lambda: len(site.connections) == 5)
    # One address may have half of them: the sixth is refused, in words that clients understand.
    reader, writer = await site.open()
    writer.write(b"GET /version HTTP/1.1\r\n" + HEAD + b"\r\n")
    code, body = await answer(reader)
    assert code == 503 and b'"reason":"ServiceUnavailable"' in body
    writer.close()
    kept.pop()[1].close()
    await site.until(lambda: len(site.connections) <= 4)
    async with site.client() as http:
        assert (await http.get("/version")).status_code == 200
    for _, writer in kept:
        writer.close()


def test_the_limit_leaves_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((1024, 768), (100_000, 10_000), (patience.resource.RLIM_INFINITY, 10_000)):
        monkeypatch.setattr(patience.resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert patience.connections_max() == most


def asking(port: int) -> socket.socket:
    """A connection that has asked for much and reads nothing; its own system keeps little of it."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", port))
    found.sendall(b"GET /api/v1/configmaps HTTP/1.1\r\n" + HEAD + b"\r\n")
    return found


async def test_an_answer_that_nobody_reads_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "STALLED_SECONDS", 0.3)
    for number in range(12):
        await site.found.make(
            "configmaps",
            {"metadata": {"name": f"m-{number}", "namespace": "default"}, "data": {"k": "x" * 900_000}},
        )
    # Without TLS, whose own buffers would take all of it at once: there the end comes with the connection's idle time.
    plain = Listener(site.found.door, "127.0.0.1", 0, None)
    await plain.start()
    connections = plain._server.server_state.connections
    silent = await asyncio.to_thread(asking, plain.port)
    await site.until(lambda: len(connections) == 1)
    await site.until(lambda: not connections)
    silent.close()
    await plain.aclose()
    # Who reads gets all of it.
    async with site.client() as http:
        assert len((await http.get("/api/v1/configmaps")).content) > 10_000_000


async def test_a_request_that_comes_whole_leaves_no_timer(site: Site) -> None:
    async with site.client() as http:
        for _ in range(3):
            await http.get("/version")
            (connection,) = site.connections
            assert connection._timer is None and connection._stall is None
