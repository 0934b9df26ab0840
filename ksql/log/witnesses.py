"""Witnesses: what saw the newest seal and lies where the database's own keeper cannot reach.

Seals prove the middle of a log, not its end: whoever cuts events off together with their seals leaves a
shorter log that is whole. A witness is the newest seal kept elsewhere, in a file or under a URL (written by
PUT, read by GET); `ksql log verify` wants to find it again. One that cannot be reached costs a warning and
is told the next seal.
"""

import asyncio
import logging
import os
import ssl
from pathlib import Path

import orjson

from ksql.base.tls import hardened
from ksql.log.seals import Seal, SealError, statement_of

logger = logging.getLogger(__name__)

FORMAT = "ksql-seal-witness/1"
FILE = "seal-witness.json"
# How long one is waited for: the next seal comes within half a minute.
ANSWER_SECONDS_MAX = 5.0
# A witness is half a kilobyte.
BYTES_MAX = 64 * 1024


class WitnessError(ValueError):
    """There is no witness where one should be; the message says where."""


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def encode(seal: Seal) -> bytes:
    document = {
        "format": FORMAT, "statement": seal.statement.encode().decode(), "signature": seal.signature.hex()
    }  # fmt: skip
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def decode(data: bytes, source: str) -> Seal:
    """The seal that a witness tells of."""
    try:
        document = orjson.loads(data)
        assert document["format"] == FORMAT
        statement = statement_of(document["statement"].encode())
        return Seal(statement, bytes.fromhex(document["signature"]), b"", b"")
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f": {error}" if isinstance(error, SealError) else ""
        raise WitnessError(f"{source} is no witness of a seal{reason}") from None


class Witness:
    """Tells one place of each seal."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.failures = 0

    async def __call__(self, seal: Seal) -> None:
        try:
            if is_url(self.source):
                await _put(self.source, encode(seal))
            else:
                await asyncio.to_thread(_write, Path(self.source), encode(seal))
        except Exception as error:
            # Whatever keeps it away: the log goes on, and so do its seals.
            self.failures += 1
            logger.warning("the witness %s was not told of a seal: %s", self.source, error or type(error).__name__)


def read(source: str) -> Seal:
    """The seal that a file or a URL tells of. Blocking."""
    if not is_url(source):
        try:
            return decode(Path(source).read_bytes()[:BYTES_MAX], source)
        except OSError as error:
            raise WitnessError(f"no witness at {source}: {error.strerror}") from None
    import httpx

    try:
        answer = httpx.get(source, timeout=ANSWER_SECONDS_MAX, trust_env=False, verify=_trusted(source))
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise WitnessError(f"no witness at {source}: {error}") from None
    return decode(answer.content[:BYTES_MAX], source)


async def _put(url: str, data: bytes) -> None:
    import httpx

    async with httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, trust_env=False, verify=_trusted(url)) as http:
        answer = await http.put(url, content=data, headers={"content-type": "application/json"})
        answer.raise_for_status()


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Whom a witness's server may be: whoever this machine trusts, so also an authority of its operator's own (in the
    system's store, or by SSL_CERT_FILE)."""
    return hardened(ssl.create_default_context()) if url.startswith("https://") else True


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
