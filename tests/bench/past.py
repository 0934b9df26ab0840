"""The past's figures, which must stay flat however long the log: `python -m tests.bench.past [--events N ...]`.

For each length a log is built through the real append path (`past_log.py`), indexed, and asked: the state of one object
and of a namespace at moments of every age, a long history, searches by whatever can be searched for, and a full
verification. `--keep DIR` leaves the SQLite logs there and takes up what an earlier run has left.

    .venv/bin/python -m tests.bench.past --events 10000 1000000 10000000 --keep DIR    # ten million take some minutes
    .venv/bin/python -m tests.bench.past --events 1000000 --database postgresql
"""

import argparse
import contextlib
import gc
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from random import Random

import uvloop

from ksql.base.clock import SystemClock, to_microseconds
from ksql.config import COLLECTOR_THRESHOLDS
from ksql.history.redaction import SECRETS, Redaction, rule
from ksql.log import exporting, sealcheck, sealkeys
from ksql.log.bundle import Header
from ksql.log.migrate import migrate
from ksql.log.protocol import EventFilter
from ksql.log.sealer import Sealer, newest_seal
from ksql.log.store import SqlEventLog, open_log
from ksql.settings import DEFAULT_MINOR
from tests.bench.past_log import PERSON, STEADY, Facts, build
from tests.support import postgresql

GETS, LISTS, SEARCHES = 300, 5, 15
PAGE = 50
NOBODY = "11111111-2222-4333-a444-555555555555"


async def timed(name: str, ask: Callable[[], Awaitable[object]], times: int) -> None:
    """Ask so often, print the median and the slowest in milliseconds."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        answer = await ask()
        took.append(1000 * (time.perf_counter() - start))
    found = len(answer) if isinstance(answer, Sequence) else 1
    print(f"  {name:44} p50 {statistics.median(took):8.2f} ms, slowest {max(took):8.2f} ms ({found} found)", flush=True)


def searches() -> dict[str, EventFilter]:
    """What is searched for, rare and common."""
    return {
        "a person who writes rarely": EventFilter(user=PERSON.user),
        "that person in a namespace": EventFilter(user=PERSON.user, namespace=STEADY),
        "a verb of every other event": EventFilter(verbs=("create",)),
        "a rare verb": EventFilter(verbs=("patch",)),
        "a namespace": EventFilter(namespace=STEADY),
        "a resource, a namespace and a verb": EventFilter(resources=("pods",), namespace=STEADY, verbs=("delete",)),
        "a name": EventFilter(name="pod-7"),
        "nobody": EventFilter(user="nobody"),
        "a correlation that is nowhere": EventFilter(correlation=NOBODY),
        "a uid that is nowhere": EventFilter(uid=NOBODY),
    }


async def ask(log: SqlEventLog, facts: Facts) -> None:
    """All questions."""
    random, events = Random(1), facts.events

    async def get() -> object:
        revision, name, _ = random.choice(facts.marks)
        where = EventFilter(resources=("pods",), namespace=STEADY, name=name)
        return await log.at(random.randint(revision, events), where)

    async def correlated() -> object:
        _, _, correlation = random.choice(facts.marks)
        return await log.read(0, PAGE, EventFilter(correlation=correlation), newest_first=True)

    await timed("one object at a past moment", get, GETS)
    pods = EventFilter(resources=("pods",), namespace=STEADY)
    for share in (0.02, 0.25, 0.5, 0.75, 1):
        at = max(1100, int(events * share))
        await timed(f"a namespace of 1,000 at {share:.0%} of the log", lambda at=at: log.at(at, pods), LISTS)
    versions = EventFilter(resources=("deployments.apps",), namespace=STEADY, name=facts.deployment)
    await timed("a history", lambda: log.read(0, 1000, versions, newest_first=True), LISTS)
    for name, where in searches().items():
        await timed(f"first page: {name}", lambda where=where: log.read(0, PAGE, where, newest_first=True), SEARCHES)
    await timed("first page: a correlation", correlated, SEARCHES)
    middle = await log.event(events // 2)
    assert middle is not None
    minute = EventFilter(since=middle.time, until=middle.time + timedelta(minutes=1))
    await timed("first page: a minute", lambda: log.read(0, PAGE, minute), SEARCHES)
    await timed("the revision of an instant", lambda: log.revision_at(middle.time), SEARCHES)


async def measure(url: str, facts: Facts) -> None:
    """Open a built log, index it, ask, verify."""
    migrate(url)
    log = open_log(url, SystemClock())
    assert isinstance(log, SqlEventLog)
    await log.open()
    start = time.perf_counter()
    await log.index()
    print(f"  indexed what was left in {time.perf_counter() - start:.1f} s")
    await ask(log, facts)
    await verified(log, facts.events)
    await exported(log, facts.events)
    await log.aclose()


async def exported(log: SqlEventLog, events: int) -> None:
    """Write all of it into a bundle, plain and with the values of Secrets taken out."""
    redaction = Redaction([rule(text) for text in SECRETS], "a key")
    with tempfile.TemporaryDirectory(prefix="ksql-bench-") as folder:
        path = Path(folder) / "log.ksql"
        header = Header(0, log.head, 0, to_microseconds(log.clock.now()), DEFAULT_MINOR, 0, "bench")
        for what, redact in (("", None), (", redacted", redaction.event)):
            start, cpu = time.perf_counter(), _processor()
            await log.inspect(lambda rows, r=redact: exporting.export(rows, header, path, r, redaction.concerns))
            took, worked = time.perf_counter() - start, _processor() - cpu
            size = path.stat().st_size / events
            print(
                f"  exported{what}: {events / took:,.0f} events/s ({1e6 * worked / events:.1f} µs of the processor and"
                f" {size:.0f} bytes each)"
            )


async def verified(log: SqlEventLog, events: int) -> None:
    """Put the log under seals, then do what `ksql log verify` does."""
    with tempfile.TemporaryDirectory(prefix="ksql-bench-") as folder:
        key = sealkeys.establish(Path(folder) / "seal.key", 1)
        if await log.inspect(lambda rows: newest_seal(rows.connection)) is None:
            sealer, start = Sealer(log, key, log.clock), time.process_time()
            # As at a log's end: it does not pause for anybody.
            await sealer.aclose()
            print(f"  sealed: {1e6 * (time.process_time() - start) / events:.1f} µs of the processor an event")
        else:
            key = None
        ring = None if key is None else key.ring
        start, cpu = time.perf_counter(), _processor()
        difference, report = await log.inspect(lambda rows: sealcheck.first_difference(rows, ring))
        assert difference is None and report.events in (0, events)
        took, worked = time.perf_counter() - start, _processor() - cpu
        what = "state, index and seals" if ring else "state and index (the seals were made before)"
        print(
            f"  verified {what}: {events / took:,.0f} events/s ({1e6 * worked / events:.1f} µs of the processor each)"
        )


def _processor() -> float:
    """Seconds of the processor so far, those of processes that have ended included."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def built(url: str, events: int, kept: Path | None) -> Facts:
    """The facts of a log of so many events, building it unless it is kept from before."""
    told = kept / f"{events}.json" if kept is not None else None
    if told is not None and told.exists():
        return Facts(**json.loads(told.read_text()))
    start = time.perf_counter()
    facts = uvloop.run(build(url, events))
    print(f"  built in {time.perf_counter() - start:.0f} s")
    if told is not None:
        told.write_text(json.dumps(asdict(facts)))
    return facts


@contextlib.contextmanager
def place(database: str, events: int, kept: Path | None) -> Iterator[str]:
    """Where a log of so many events goes."""
    if database == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ksql-bench-") as folder:
            yield f"sqlite:///{(kept or Path(folder)) / f'{events}.db'}"
        return
    with postgresql.running() as server:
        if isinstance(server, str):
            raise SystemExit(server)
        with server.database() as url:
            yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--keep", type=Path, default=None, help="of SQLite: where the logs stay")
    arguments = parser.parse_args()
    kept = arguments.keep if arguments.database == "sqlite" else None
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    for events in arguments.events:
        print(f"{arguments.database}, {events:,} events", flush=True)
        with place(arguments.database, events, kept) as url:
            facts = built(url, events, kept)
            uvloop.run(measure(url, facts))


if __name__ == "__main__":
    main()
