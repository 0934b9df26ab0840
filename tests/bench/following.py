"""A thousand subscribers of one selection, a hundred changes a second: how late does each change reach whom?

Server and subscribers are processes of their own on the same machine. A subscriber's lag is what has passed since the
change was committed when its bytes are there; how long the commit took is told beside it. Sockets are read, not parsed:
what a thousand browsers do with their messages is theirs.
"""

import argparse
import asyncio
import base64
import gc
import json
import multiprocessing as mp
import os
import ssl
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from ksql.base.clock import SystemClock
from ksql.config import COLLECTOR_THRESHOLDS
from ksql.log.migrate import migrate
from ksql.serve.gql.app import graphql_app
from ksql.serve.listen import Listener
from tests.serve.cluster import TOKEN, rooms
from tests.serve.cluster import listening as listening_securely

QUERY = """subscription { objects(resource: "configmaps", namespace: "default") {
  revision changes { change object { name } } } }"""
STAMP = b'"name":"c'


class Subscriber(asyncio.Protocol):
    """One WebSocket that says what it must and measures what comes."""

    def __init__(self, heard: list[tuple[int, float]], counts: list[int], ready: "asyncio.Future[None]") -> None:
        self._heard, self._counts, self._ready = heard, counts, ready
        self._is_open = False

    def connection_made(self, transport: Any) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\nsec-websocket-protocol: graphql-transport-ws\r\n"
            f"authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            assert b"101" in data[:20], data
            self._is_open = True
            self._say({"type": "connection_init"})
            self._say({"type": "subscribe", "id": "1", "payload": {"query": QUERY}})
            return
        if not self._ready.done() and b'"revision"' in data:
            self._ready.set_result(None)
        count = data.count(STAMP)
        if count:
            at = data.find(STAMP) + len(STAMP)
            # The oldest of what has come together is the latest to come.
            self._heard.append((int(data[at : data.index(b'"', at)]), time.monotonic()))
            self._counts.append(count)

    def _say(self, message: dict[str, Any]) -> None:
        payload = json.dumps(message).encode()
        mask = b"\0\0\0\0"
        size = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else (
            bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big"))  # fmt: skip
        self._transport.write(size + mask + payload)


def subscribers(port: int, count: int, secure: bool, pipe: Connection) -> None:
    async def main() -> None:
        loop, heard, counts = asyncio.get_running_loop(), list[tuple[int, float]](), list[int]()
        context = None
        if secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        waiting = []
        for _ in range(count):
            ready: asyncio.Future[None] = loop.create_future()
            made = Subscriber(heard, counts, ready)
            await loop.create_connection(lambda made=made: made, "127.0.0.1", port, ssl=context)  # type: ignore[misc]
            waiting.append(ready)
        await asyncio.gather(*waiting)
        heard.clear()
        counts.clear()
        pipe.send("ready")
        await loop.run_in_executor(None, pipe.recv)
        pipe.send((heard, sum(counts), time.process_time()))

    uvloop.run(main())


async def measure(count: int, rate: float, seconds: float, secure: bool) -> None:
    class Late:
        app: Any = None

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    late, clock = Late(), SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ksql.db"
        migrate(url)
        async with rooms(clock, url, graphql=late) as found:
            late.app = graphql_app(found.pipeline, found.objects, found.log, found.catalogue, clock)
            if secure:
                async with listening_securely(found, Path(folder)) as (listener, _):
                    await _measure(found, listener, count, rate, seconds, secure)
            else:
                listener = Listener(found.door, "127.0.0.1", 0, None, found.door.close)
                await listener.start()
                await _measure(found, listener, count, rate, seconds, secure)
                await listener.aclose()


async def _measure(found: Any, listener: Listener, count: int, rate: float, seconds: float, secure: bool) -> None:
    here, there = mp.Pipe()
    arguments = (listener.port, count, secure, there)
    process = mp.get_context("spawn").Process(target=subscribers, args=arguments, daemon=True)
    process.start()
    await asyncio.to_thread(here.recv)
    # As `ksql up` does it: what start-up has made is there to stay.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    began, used = time.monotonic(), time.process_time()
    committed: list[float] = []
    commits: list[float] = []
    while time.monotonic() < began + seconds:
        asked = time.monotonic()
        await found.make("configmaps", {"metadata": {"name": f"c{len(committed)}", "namespace": "default"}})
        committed.append(time.monotonic())
        commits.append(committed[-1] - asked)
        await asyncio.sleep(max(0.0, began + len(committed) / rate - time.monotonic()))
    await asyncio.sleep(1.0)
    cpu = (time.process_time() - used) / seconds
    here.send("stop")
    heard, total, theirs = await asyncio.to_thread(here.recv)
    lags = [at - committed[number] for number, at in heard]
    print(
        f"{count} subscribers, {len(committed) / seconds:.0f} changes/s, {'TLS' if secure else 'plain'}: heard {total} "
        f"of {len(committed) * count}; lag {spread(lags)}; commit {spread(commits)}; server {100 * cpu:.0f} % of a "
        f"core, all subscribers {theirs:.1f} s"
    )
    assert total == len(committed) * count, "each change once to each"
    process.join(5)


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99, worst = (1000 * ordered[int(len(ordered) * part)] for part in (0.5, 0.99, 0.9999))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f}, worst {worst:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    for secure in (False, True):
        uvloop.run(measure(given.subscribers, given.rate, given.seconds, secure))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
