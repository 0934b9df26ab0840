"""An HTTP client's connections to pods, through the nodes that run them.

A pod's address leads nowhere from a server that is not on the pods' network; its node knows the way. Whatever
is no pod is dialled as ever.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore
import httpx

from ksql.conversations import Wire
from ksql.schema.errors import ApiError
from ksql.secured import secured

# Connects to a pod; None for an address that no pod has.
Dial = Callable[[str, int], Awaitable[Wire | None]]


def transport(dial: Dial, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    """A transport whose connections to pods go through their nodes."""
    made = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    # httpx offers no way to name a network; its pool's own library does.
    made._pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=_Network(dial))
    return made


class _Network(httpcore.AsyncNetworkBackend):
    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._elsewhere = httpcore.AnyIOBackend()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        try:
            wire = await self._dial(host, port)
        except (ApiError, OSError) as error:
            raise httpcore.ConnectError(str(error)) from error
        if wire is not None:
            return _Stream(wire)
        return await self._elsewhere.connect_tcp(host, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._elsewhere.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, wire: Wire) -> None:
        self._wire, self._rest = wire, b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if not self._rest:
            try:
                async with asyncio.timeout(timeout):
                    self._rest = await self._wire.inward.read()
            except TimeoutError as error:
                raise httpcore.ReadTimeout from error
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                await self._wire.outward.write(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except BrokenPipeError as error:
            raise httpcore.WriteError("broken pipe") from error

    async def aclose(self) -> None:
        self._wire.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        try:
            async with asyncio.timeout(timeout):
                return _Stream(await secured(self._wire, ssl_context, server_hostname))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(str(error.__cause__ or error)) from error

    def get_extra_info(self, info: str) -> Any:
        return None
