"""An extension API server made small: HTTPS with a certificate of its own, believing the front proxy's alone."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from ksql.auth import pki
from ksql.base.clock import Clock

GROUP, VERSION = "things.example.com", "v1"
API = f"/apis/{GROUP}/{VERSION}"
RESOURCES = {
    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [
        {
            "name": "things", "singularName": "thing", "namespaced": True, "kind": "Thing",
            "verbs": ["get", "list", "watch", "create"], "shortNames": ["th"],
        },
        {"name": "things/status", "singularName": "", "namespaced": True, "kind": "Thing", "verbs": ["get"]},
    ],
}  # fmt: skip
THING = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Thing", "metadata": {"name": "one", "namespace": "default"}}
LIST = {"kind": "ThingList", "apiVersion": f"{GROUP}/{VERSION}"}
OPENAPI = {"openapi": "3.0.0", "info": {"title": "things", "version": "v1"}, "paths": {}}


class Extension:
    """`asked` keeps the requests it got: the first line and the headers of each."""

    def __init__(self, clock: Clock, directory: Path, trusted: pki.Pki) -> None:
        self.authority = pki.make_authority(clock, "extension-ca")
        self._pair = pki.issue_server(self.authority, ("ext.default.svc", "localhost"), clock)
        self._directory, self._trusted = directory, trusted
        self.asked: list[tuple[str, dict[str, list[str]], bytes]] = []
        self.port, self.watching, self.left = 0, asyncio.Event(), asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, data in (("ext.crt", self._pair.certificate), ("ext.key", self._pair.key)):
            (self._directory / name).write_bytes(data)
        context.load_cert_chain(self._directory / "ext.crt", self._directory / "ext.key")
        context.load_verify_locations(cadata=self._trusted.bundle(pki.PROXY).decode())
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = await asyncio.start_server(self._serve, "localhost", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers: dict[str, list[str]] = {}
            for line in head[1:-2]:
                name, _, value = line.partition(": ")
                headers.setdefault(name.lower(), []).append(value)
            body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
            self.asked.append((head[0], headers, body))
            await self._answer(head[0].split()[1], reader, writer, body)
        writer.close()

    async def _answer(
        self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        if "watch=true" in path:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            line = json.dumps({"type": "ADDED", "object": THING}).encode() + b"\n"
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.watching.set()
            await reader.read()  # until the client leaves
            self.left.set()
            return
        known = {
            API: RESOURCES,
            f"{API}/namespaces/default/things": {**LIST, "items": [THING]},
            f"{API}/namespaces/default/things/one": THING,
            "/openapi/v3": {"paths": {API[1:]: {"serverRelativeURL": f"/openapi/v3{API}?hash=ABC"}}},
            f"/openapi/v3{API}": OPENAPI,
        }
        found = known.get(path.partition("?")[0])
        data = body if body else json.dumps(found or {"kind": "Status", "code": 404}).encode()
        code = b"200 OK" if found is not None else b"404 Not Found"
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (code, len(data))
        writer.write(head + data)
        await writer.drain()


@contextlib.asynccontextmanager
async def extension(clock: Clock, directory: Path, trusted: pki.Pki) -> AsyncIterator[Extension]:
    found = Extension(clock, directory, trusted)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()
