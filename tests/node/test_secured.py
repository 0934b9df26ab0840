"""TLS over a wire: what is said is heard, strangers are refused, and an end is an end."""

import asyncio
import ssl

import pytest

from ksql.auth.pki import issue_server, make_authority
from ksql.base.clock import SystemClock
from ksql.conversations import Wire
from ksql.node.images.certificates import _context as server_context
from ksql.secured import secured

AUTHORITY = make_authority(SystemClock(seed=1))


def client_context(pem: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem.decode())


async def joined(name: str, trusted: bytes) -> tuple[Wire, Wire]:
    pair = issue_server(AUTHORITY, ["web.shop.svc"], SystemClock(seed=2))
    wire = Wire()
    served = asyncio.ensure_future(secured(wire, server_context(pair.certificate, pair.key), serves=True))
    try:
        client = await secured(wire, client_context(trusted), name)
    except OSError:
        with pytest.raises(OSError, match="tls: "):
            await served
        raise
    return client, await served


async def test_bytes_come_through_both_ways_however_many() -> None:
    client, server = await joined("web.shop.svc", AUTHORITY.certificate)
    sent = bytes(range(256)) * 2000

    async def echo() -> None:
        while data := await server.outward.read():
            await server.inward.write(data)
        server.inward.end()

    echoing = asyncio.ensure_future(echo())
    writing = asyncio.ensure_future(client.outward.write(sent))
    heard = b""
    while len(heard) < len(sent):
        heard += await client.inward.read()
    assert heard == sent
    await writing
    client.close()
    await asyncio.wait_for(echoing, 5)


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("other.shop.svc", AUTHORITY.certificate, "Hostname mismatch"),
        ("web.shop.svc", make_authority(SystemClock(seed=3)).certificate, "tls: "),
    ],
)
async def test_whom_the_client_does_not_believe_it_does_not_talk_to(name: str, trusted: bytes, reason: str) -> None:
    with pytest.raises(OSError, match=reason):
        await joined(name, trusted)


async def test_who_speaks_no_tls_is_cut_off() -> None:
    pair, wire = make_authority(SystemClock(seed=4)), Wire()
    await wire.outward.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(OSError, match="tls: "):
        await secured(wire, server_context(pair.certificate, pair.key), serves=True)
    assert wire.inward.is_ended


async def test_an_end_that_leaves_is_told_to_the_other() -> None:
    client, server = await joined("web.shop.svc", AUTHORITY.certificate)
    await client.outward.write(b"last")
    client.close()
    assert await asyncio.wait_for(server.outward.read(), 5) == b"last"
    assert await asyncio.wait_for(server.outward.read(), 5) == b""
