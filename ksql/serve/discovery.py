"""Discovery and OpenAPI over HTTP: documents that depend on the catalogue alone, printed once and kept
until custom kinds come or go.

Clients keep them too: an ETag lets them ask whether theirs is still right, and an OpenAPI document whose
address carries its hash may be kept for ever.
"""

import hashlib
from collections.abc import Callable

from ksql.base.documents import Document, decode, encode
from ksql.schema import discovery as documents
from ksql.schema.catalogue import Catalogue
from ksql.schema.openapi import gnostic
from ksql.schema.openapi import v2 as openapi_v2
from ksql.schema.openapi import v3 as openapi
from ksql.schema.protobuf.writing import encode_body
from ksql.serve import mergedgroups
from ksql.serve.exchange import GZIP_BYTES_MIN, JSON_TYPE, NO_CACHE, Compressor, Exchange, Header, yaml_of
from ksql.serve.mergedgroups import Remotes
from ksql.serve.negotiation import JSON, PROTOBUF, YAML, discovery_wish, error_media, openapi_v2_wish
from ksql.serve.parameters import Query, text
from ksql.serve.paths import Page

# A year: how long HTTP lets one say "for ever".
FOREVER = b"public, max-age=31536000, immutable"


class Discovery:
    """What is served, told in the ways that clients ask it."""

    def __init__(self, catalogue: Catalogue, compressor: Compressor) -> None:
        self._catalogue, self._compressor = catalogue, compressor
        self._kept: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
        self._packed: dict[bytes, bytes] = {}
        # The APIs that other servers answer, told beside our own.
        self.remotes: Callable[[], Remotes] = dict
        catalogue.listen(self.forget)

    def forget(self) -> None:
        """Other kinds are served, here or by others: all that was printed is told anew."""
        self._kept.clear()
        self._packed.clear()

    async def page(self, exchange: Exchange, page: Page) -> None:
        """/api, /apis and what is below, down to a group's version."""
        wished = "" if page.group or page.version else discovery_wish(exchange.headers.get(b"accept", b""))
        if wished:
            media = f"application/json;g=apidiscovery.k8s.io;v={wished};as=APIGroupDiscoveryList".encode()
            data, tag = self._document(
                ("aggregated", page.core, wished),
                lambda: self._aggregated(page.core, wished),
            )
            await self._send(exchange, data, tag, media, [(b"vary", b"Accept")], b"public")
            return
        form, address = error_media(exchange.headers.get(b"accept", b"")), _address(exchange)

        def make() -> bytes:
            document = self._plain(page, address)
            if form == PROTOBUF:
                return encode_body(document)
            return yaml_of(document) if form == YAML else encode(document) + b"\n"

        data, tag = self._bytes((page, form, address), make)
        # The same path answers in several ways: a cache between must know by what.
        await self._send(exchange, data, tag, form.encode(), [(b"vary", b"Accept")])

    def paths(self) -> list[str]:
        """The addresses of all pages."""
        found = ["/api", "/api/v1", "/apis", "/apis/"]
        for group, versions in self._catalogue.groups().items():
            if group:
                found += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
        return found

    def _plain(self, page: Page, address: str) -> Document:
        if page.version:
            return documents.api_resource_list(self._catalogue, page.group, page.version)
        if page.core:
            return documents.api_versions(address)
        groups = mergedgroups.with_groups(documents.api_group_list(self._catalogue), self.remotes())
        if not page.group:
            return groups
        found = next(one for one in groups["groups"] if one["name"] == page.group)
        return {"kind": "APIGroup", "apiVersion": "v1", **found}

    def _aggregated(self, core: bool, wished: str) -> Document:
        document = documents.aggregated(self._catalogue, core, wished)
        return document if core else mergedgroups.with_discovery(document, self.remotes())

    def _openapi_index(self) -> Document:
        index = openapi.index(self._catalogue)
        others = {
            f"apis/{group}/{version}": {
                "serverRelativeURL": f"/openapi/v3/apis/{group}/{version}?hash={remote.openapi_hash}"
            }
            for (group, version), remote in self.remotes().items()
            if remote.is_available and remote.openapi_hash is not None
        }
        return {**index, "paths": {**index["paths"], **others}}

    async def openapi(self, exchange: Exchange, query: Query) -> bool:
        """/openapi/v3 and below; whether there is such a document."""
        path = exchange.path.strip("/").removeprefix("openapi/v3").strip("/")
        if not path:
            data, tag = self._document(("openapi",), self._openapi_index)
            await self._send(exchange, data, tag, JSON_TYPE, [])
            return True
        index = self._index()
        if path not in index:
            return False
        data, tag = self._bytes(("openapi", path), lambda: openapi.document(self._catalogue, path))
        asked, hashed = text(query, "hash"), index[path].partition("hash=")[2]
        if asked and asked != hashed:
            # The address of another server's document: where this one's is.
            moved = exchange.scope.get("root_path", "") + index[path]
            await exchange.answer(301, b"", JSON_TYPE, [(b"location", moved.encode())])
            return True
        await self._send(exchange, data, tag, JSON_TYPE, [], FOREVER if asked else NO_CACHE)
        return True

    async def openapi_v2(self, exchange: Exchange) -> None:
        """/openapi/v2: all of it in one document, as JSON or in the protobuf form that old clients read."""
        media = openapi_v2_wish(exchange.headers.get(b"accept", b""))
        if not media:
            await exchange.answer(406, b"", JSON_TYPE)
            return

        def make() -> bytes:
            document = openapi_v2.document(self._catalogue)
            return encode(document) + b"\n" if media == JSON else gnostic.encode_document(document)

        data, tag = self._bytes(("openapi v2", media), make)
        await self._send(exchange, data, tag, media.encode(), [(b"vary", b"Accept")])

    def _index(self) -> dict[str, str]:
        """Each document's path with its address."""
        data, _ = self._document(("openapi",), self._openapi_index)
        return {path: found["serverRelativeURL"] for path, found in decode(data)["paths"].items()}

    def _document(self, key: tuple[object, ...], make: Callable[[], Document]) -> tuple[bytes, bytes]:
        return self._bytes(key, lambda: encode(make()) + b"\n")

    def _bytes(self, key: tuple[object, ...], make: Callable[[], bytes]) -> tuple[bytes, bytes]:
        """A document's bytes and tag; made when first asked for. Keys come from the catalogue: few."""
        found = self._kept.get(key)
        if found is None:
            data = make()
            tag = b'"%s"' % hashlib.sha256(data).hexdigest().upper().encode()
            found = self._kept[key] = (data, tag)
        return found

    async def _send(
        self,
        exchange: Exchange,
        data: bytes,
        tag: bytes,
        media: bytes,
        headers: list[Header],
        cache: bytes = NO_CACHE,
    ) -> None:
        headers = [*headers, (b"etag", tag)]
        if tag in exchange.headers.get(b"if-none-match", b""):
            await exchange.start(304, media, headers, cache)
            await exchange.write(b"", False)
            return
        if len(data) >= GZIP_BYTES_MIN and exchange.takes_gzip():
            if tag not in self._packed:
                self._packed[tag] = await self._compressor.gzip(data)
            data = self._packed[tag]
            headers.append((b"content-encoding", b"gzip"))
        await exchange.answer(200, data, media, headers, cache)


def _address(exchange: Exchange) -> str:
    """Where the client reached the server."""
    server = exchange.scope.get("server")
    return f"{server[0]}:{server[1]}" if server else ""
