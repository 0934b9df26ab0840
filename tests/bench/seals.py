"""What sealing costs appends: the same events appended with a sealer and without, in turns.

    python -m tests.bench seals [--events 20000] [--rounds 6]
"""

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path

import uvloop

from ksql.base.clock import SystemClock
from ksql.config import COLLECTOR_THRESHOLDS
from ksql.log import sealkeys
from ksql.log.event import Draft
from ksql.log.migrate import migrate
from ksql.log.sealer import Sealer
from ksql.log.store import SqlEventLog, open_log
from tests.bench.past_log import Crowd

# Producers that wait each for its answer, as in the log's own bench.
PRODUCERS = 64


async def appended(folder: Path, drafts: list[Draft], sealed: bool) -> tuple[float, float]:
    """Append them to a new log: events a second, and µs of the processor for each."""
    url = f"sqlite:///{folder}/{time.monotonic_ns()}.db"
    migrate(url)
    clock = SystemClock()
    log = open_log(url, clock)
    assert isinstance(log, SqlEventLog)
    sealer = Sealer(log, sealkeys.establish(folder / "seal.key", 1), clock)
    if sealed:
        log.fold_into(sealer.fold)
    await log.open()
    if sealed:
        await sealer.start()
    under_way: deque[asyncio.Task[object]] = deque()
    start, cpu = time.perf_counter(), time.process_time()
    for draft in drafts:
        under_way.append(asyncio.create_task(log.append(lambda _, draft=draft: [draft])))  # type: ignore[misc]
        if len(under_way) == PRODUCERS:
            await under_way.popleft()
    while under_way:
        await under_way.popleft()
    took, worked = time.perf_counter() - start, time.process_time() - cpu
    if sealed:
        # What is left to be sealed is not the appends' matter.
        await sealer._tasks.aclose()
        sealer._worker.close()
    await log.aclose()
    return len(drafts) / took, 1e6 * worked / len(drafts)


async def compare(events: int, rounds: int) -> None:
    crowd = Crowd(10 * events)
    source = crowd.drafts()
    drafts = [next(source)[0] for _ in range(events)]
    rates: list[float] = []
    costs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="ksql-bench-") as name:
        # The first log of a process pays for what all others find ready.
        await appended(Path(name), drafts[: events // 4], False)
        for number in range(rounds):
            order = (False, True) if number % 2 else (True, False)
            found = {sealed: await appended(Path(name), drafts, sealed) for sealed in order}
            rates.append(found[True][0] / found[False][0])
            costs.append(found[True][1] / found[False][1])
            (rate, cost), (plain, least) = found[True], found[False]
            print(f"  sealed {rate:7,.0f}/s, {cost:5.1f} µs; plain {plain:7,.0f}/s, {least:5.1f} µs of the processor")
    print(f"  sealed against plain: rate × {statistics.median(rates):.3f}, processor × {statistics.median(costs):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    uvloop.run(compare(arguments.events, arguments.rounds))


if __name__ == "__main__":
    main()
