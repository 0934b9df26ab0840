"""Fetches the keys of other issuers, and takes a changed configuration file in, without a restart.

Discovery first, then the keys it names; both again after a while, sooner while an issuer has none yet, cannot be
reached, or signs with a key that is not known. The keys that were there stay good meanwhile: an issuer that
is down locks nobody out. A file that became wrong is told of and left aside: what counted before goes on counting.
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import httpx
import jwt

from ksql.auth.issuers import ConfigurationError, Issuer, Issuers, read
from ksql.base.clock import Clock
from ksql.base.tasks import Tasks

logger = logging.getLogger(__name__)

# Keys are rotated over days; a key that an issuer withdrew is believed for no longer than this.
RENEW_SECONDS = 300.0
# Before an issuer that did not answer is asked again, and how often the file is looked at.
RETRY_SECONDS, LOOK_SECONDS = 5.0, 2.0
FETCH_SECONDS_MAX = 10.0
# Discovery documents and key sets have a few kilobytes.
ANSWER_BYTES_MAX = 1 << 20


class Issuing:
    """Keeps `issuers` in step with a file and with the issuers themselves."""

    def __init__(self, issuers: Issuers, file: Path, clock: Clock) -> None:
        self._issuers, self._file, self._clock = issuers, file, clock
        self._text = file.read_text()
        issuers.replace(read(self._text))
        self._due: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._tasks = Tasks()

    async def start(self) -> None:
        self._tasks.start("other issuers", self._run())

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.gather(*map(self._renew, self._issuers.issuers))
            await self._clock.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        """Take the file in when it is another one."""
        try:
            text = await asyncio.to_thread(self._file.read_text)
            if text == self._text:
                return
            self._text = text
            self._issuers.replace(read(text))
            self._due.clear()
            logger.info("authentication configuration taken in", extra={"file": str(self._file)})
        except (OSError, ConfigurationError) as error:
            logger.warning("authentication configuration left aside: %s", error)

    async def _renew(self, issuer: Issuer) -> None:
        now, wanted = self._clock.monotonic(), self._issuers.wanted
        is_wanted = issuer.url in wanted and now >= self._asked.get(issuer.url, 0.0) + RETRY_SECONDS
        if now < self._due.get(issuer.url, 0.0) and not is_wanted:
            return
        wanted.discard(issuer.url)
        self._asked[issuer.url] = now
        try:
            keys = await fetched(issuer)
        except (httpx.HTTPError, jwt.PyJWTError, ssl.SSLError, ValueError) as error:
            self._due[issuer.url] = now + RETRY_SECONDS
            logger.warning("keys of issuer %s: %s", issuer.url, error or type(error).__name__)
            return
        self._due[issuer.url] = now + RENEW_SECONDS
        self._issuers.renewed(issuer.url, keys)


async def fetched(issuer: Issuer) -> jwt.PyJWKSet:
    """The issuer's keys, by its discovery document."""
    context = ssl.create_default_context(cadata=issuer.authority or None)
    # No redirections: whom the file names answers, nobody else.
    async with httpx.AsyncClient(verify=context, timeout=FETCH_SECONDS_MAX, trust_env=False) as client:
        where = issuer.discovery or f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
        told = await _json(client, where)
        if told.get("issuer") != issuer.url:
            raise ValueError(f"{where} speaks for {told.get('issuer')!r}")
        uri = told.get("jwks_uri")
        if not isinstance(uri, str) or not uri.startswith("https://"):
            raise ValueError(f"{where} names no keys under https")
        return jwt.PyJWKSet.from_dict(await _json(client, uri))


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    async with client.stream("GET", url) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answers {answer.status_code}")
        data = b""
        async for chunk in answer.aiter_bytes():
            data += chunk
            if len(data) > ANSWER_BYTES_MAX:
                raise ValueError(f"{url} answers with more than {ANSWER_BYTES_MAX} bytes")
    found = httpx.Response(200, content=data).json()
    if not isinstance(found, dict):
        raise ValueError(f"{url} answers with no object")
    return found
