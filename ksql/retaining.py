"""Retention at work: rules to retirements, each recorded as an object that is written like any other.

`Keeper` runs in a server (`ksql up --retention FILE`); a command does it on a stopped cluster's files, or asks the
server that holds them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ksql.base.clock import Clock, to_microseconds
from ksql.base.documents import encode
from ksql.base.tasks import Tasks
from ksql.log import archives, retirement
from ksql.log.protocol import HorizonError, LogUnavailableError
from ksql.log.retired import Retirement, archives_of
from ksql.log.retirement import Plan
from ksql.log.retiring import RetentionError, Rule, parse
from ksql.log.sealkeys import SigningKey
from ksql.log.store import SqlEventLog
from ksql.schema.errors import AlreadyExistsError, ApiError
from ksql.settings import SettingsError
from ksql.verbs.bootstrap import APISERVER, APISERVER_AGENT
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

logger = logging.getLogger(__name__)

# Ages are days; an hour's delay is nothing to them.
ROUND_SECONDS = 3600.0
NAMESPACE, RESOURCE = "kube-system", "configmaps"


def rules_of(path: Path) -> tuple[Rule, ...]:
    """The rules in a file; `SettingsError` says what is wrong with it."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"--retention {path}: {error.strerror}") from None
    except RetentionError as error:
        raise SettingsError(f"--retention {path}: {error}") from None


class Retainer:
    """Retires ranges of one log."""

    def __init__(self, log: SqlEventLog, pipeline: Pipeline, key: SigningKey, clock: Clock) -> None:
        self._log, self._pipeline, self._key, self._clock = log, pipeline, key, clock
        # One range at a time, whoever asks.
        self._gate = asyncio.Lock()

    async def next(self, rules: Sequence[Rule]) -> Retirement | None:
        """The next range that the rules come to now; None when there is none."""
        async for done in self.retire(rules):
            return done
        return None

    async def retire(self, rules: Sequence[Rule]) -> AsyncIterator[Retirement]:
        """All that the rules come to now, range after range."""
        now = to_microseconds(self._clock.now())
        work = await self._log.inspect(lambda rows: list(retirement.due(rows.connection, rules, now)))
        for standing, end in work:
            while (done := await self._next(standing, end)) is not None:
                yield done

    async def _next(self, rules: Sequence[Rule], end: int) -> Retirement | None:
        async with self._gate:
            found = await self.plan(rules, end)
            if found is None:
                return None
            folder = self._log.archives_folder
            return await retirement.carry_out(self._log, found, self._key, folder, self._record, self._clock)

    async def foretell(self, rules: Sequence[Rule]) -> Plan | None:
        """The first range that would go, without doing anything."""
        now = to_microseconds(self._clock.now())
        for standing, end in await self._log.inspect(lambda rows: list(retirement.due(rows.connection, rules, now))):
            if (found := await self.plan(standing, end)) is not None:
                return found
        return None

    async def plan(self, rules: Sequence[Rule], end: int) -> Plan | None:
        """The next range, without doing anything."""
        log = self._log
        known: set[int] = set()
        for archive in archives_of(log.retired, log.archives_folder).archives:
            known |= archives.leaves_of(archive).keys()
        return await log.inspect(lambda rows: retirement.plan(rows, rules, end, known))

    async def _record(self, told: dict[str, Any]) -> int:
        """An object of the cluster says what is about to be taken out of its history."""
        name = f"ksql-retirement-{told['number']}"
        type = self._pipeline.catalogue.by_key(RESOURCE)
        body = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"ksql.io/retirement": str(told["number"])}},
            "data": {
                "rules": encode(told["rules"]).decode(), "last": str(told["last"]), "archive": told["archive"],
                "digest": told["digest"], **{key: str(value) for key, value in told["counts"].items()},
            },
        }  # fmt: skip
        request = Request(APISERVER, "create", type, NAMESPACE, name, body=body, user_agent=APISERVER_AGENT)
        # One that is there already is of an attempt that ended before its deed: the deed is done now.
        with suppress(AlreadyExistsError):
            await self._pipeline.perform(request)
        entry = self._pipeline.objects.get(RESOURCE, NAMESPACE, name)
        assert entry is not None
        return entry.revision


class Keeper:
    """Applies rules to a running server's log, every hour."""

    def __init__(self, retainer: Retainer, rules: Sequence[Rule], clock: Clock) -> None:
        self._retainer, self._rules, self._clock = retainer, rules, clock
        self._tasks = Tasks()

    def start(self) -> None:
        self._tasks.start("retention", self._run())

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _run(self) -> None:
        while True:
            try:
                async for done in self._retainer.retire(self._rules):
                    logger.info("retired", extra={"through": done.last, **done.counts})
            except (LogUnavailableError, HorizonError, ApiError, OSError) as error:
                logger.warning("retention is tried again later: %s", error)
            await self._clock.sleep(ROUND_SECONDS)
