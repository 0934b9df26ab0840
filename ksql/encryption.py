"""Encryption at rest, put together: which vault a cluster's settings ask for, and its keys rotated while it serves.

Without other words Secrets are encrypted, under a key file in the data directory that the first start makes. A file
that changes (a new key, another provider) is taken in while the server runs, and the objects' keys are wrapped anew in
the background; their payloads stay as they are, since events never change.
"""

import asyncio
import logging
from pathlib import Path

from ksql.base.clock import Clock
from ksql.base.tasks import Tasks
from ksql.log import encryptionconfig, roots
from ksql.log.protocol import LogUnavailableError
from ksql.log.roots import RootError
from ksql.log.rotating import rotate
from ksql.log.store import SqlEventLog
from ksql.log.vault import Vault
from ksql.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

# What is encrypted without other words.
SECRETS = "secrets"
# How often the file is looked at, and a KMS plugin asked which key it uses.
LOOK_SECONDS = 5.0


def vault_of(settings: Settings, *, makes: bool = False) -> Vault | None:
    """The vault of a cluster; None for one that has no keys yet. `makes`: then it gets some."""
    if settings.encryption_file is not None:
        try:
            return encryptionconfig.vault(encryptionconfig.read(settings.encryption_file.read_text()))
        except (OSError, UnicodeDecodeError, encryptionconfig.EncryptionError) as error:
            raise SettingsError(f"--encryption-config {str(settings.encryption_file)!r}: {error}") from None
    path = settings.encryption_keys
    if not makes and not path.exists():
        return None
    found = roots.establish(path) if makes else roots.read(path)
    return Vault(found, lambda resource: found[0] if resource == SECRETS else None)


class Rotation:
    """Keeps a running server's vault in step with its file, and wraps objects' keys anew where that asks for it."""

    def __init__(self, log: SqlEventLog, settings: Settings, clock: Clock) -> None:
        self._log, self._settings, self._clock = log, settings, clock
        self._text = self._read()
        self._tasks = Tasks()

    def start(self) -> None:
        self._tasks.start("rotation of encryption keys", self._run())

    async def aclose(self) -> None:
        await self._tasks.aclose()

    def _read(self) -> str:
        return _path(self._settings).read_text()

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
                await self._log.notice_erasures()
                count = await rotate(self._log, self._clock)
                if count:
                    logger.info("encryption keys rotated", extra={"objects": count})
            except (OSError, RootError, SettingsError, LogUnavailableError) as error:
                logger.warning("rotation of encryption keys is tried again later: %s", error)
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        """Take the file in when it is another one; what it said before counts until it can be used."""
        text = await asyncio.to_thread(self._read)
        if text == self._text:
            return
        found = vault_of(self._settings)
        assert found is not None and self._log.vault is not None
        self._log.vault.replace(found)
        self._text = text
        logger.info("encryption configuration taken in")


def _path(settings: Settings) -> Path:
    return settings.encryption_file or settings.encryption_keys
