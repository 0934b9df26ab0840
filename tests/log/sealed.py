"""A small log under seals, for the tests: some lives, several transactions, blocks of eight events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ksql.base.clock import SystemClock
from ksql.log import migrate, roots, sealer, sealkeys
from ksql.log.event import Change
from ksql.log.sealcheck import Report, check
from ksql.log.sealer import Sealer
from ksql.log.sealkeys import SigningKey
from ksql.log.store import SqlEventLog, open_log
from ksql.log.vault import Vault
from tests.log.drafts import deciding, draft

BLOCK = 8
# Events of `written`, heartbeats included; the last ones are in a block of their own.
HEAD = 37


@dataclass
class Sealed:
    log: SqlEventLog
    sealer: Sealer
    key: SigningKey
    clock: SystemClock

    async def report(self) -> Report:
        return await self.log.inspect(lambda rows: check(rows, self.key.ring))


def keyed(folder: Path, *kinds: str) -> Vault:
    """A vault with a key file in a folder, that encrypts these kinds."""
    found = roots.establish(folder / "encryption.json")
    return Vault(found, lambda resource: found[0] if resource in kinds else None)


@asynccontextmanager
async def sealing(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, vault: Vault | None = None
) -> AsyncIterator[Sealed]:  # fmt: skip
    """An open log and its sealer, which seals when it is closed or asked to."""
    monkeypatch.setattr(sealer, "SEAL_EVENTS", BLOCK)
    migrate.migrate(url)
    clock = SystemClock(seed=1)
    log = open_log(url, clock, vault=vault)
    assert isinstance(log, SqlEventLog)
    key = sealkeys.establish(folder / "seal.key", 1)
    made = Sealer(log, key, clock)
    log.fold_into(made.fold)
    await log.open()
    await made.start()
    try:
        yield Sealed(log, made, key, clock)
    finally:
        await made.aclose()
        await log.aclose()


async def written(log: SqlEventLog) -> None:
    """Seven lives: changes alone and many at once, an end, heartbeats, a name used again."""
    names = ["a", "b", "c", "d", "e", "f", "g"]
    await log.append(deciding(*[draft(name, value="some text that stays " * 4) for name in names]))
    await log.append(deciding(draft("beat", transient=True)))
    for round in range(3):
        for name in names:
            value = "some text that stays " * 4 + str(round)
            await log.append(deciding(draft(name, Change.MODIFIED, value, cause=1 + round)))
        await log.append(deciding(draft("beat", Change.MODIFIED, round, transient=True)))
    await log.append(deciding(draft("g", Change.DELETED), draft("f", Change.DELETED)))
    await log.append(deciding(draft("g", correlation="not a uuid"), draft("h"), draft("i")))


async def sealed_fully(made: Sealed) -> None:
    await made.sealer.seal()
