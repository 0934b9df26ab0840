"""How long a server takes to start on a log with many objects: `python -m tests.bench.start [--objects N]`.

The log is filled beforehand with the lives of typical objects (pods, workloads, small things) until that
many live; then `ksql up` is started on it as a user would, twice, and the time until it says it is ready is
printed with what it says of loading state.
"""

import argparse
import asyncio
import re
import tempfile
import time
from pathlib import Path

import orjson

from ksql.base.clock import SystemClock
from ksql.log import samples
from ksql.log.event import Actor, Change, Draft, Stream
from ksql.log.migrate import migrate
from ksql.log.store import open_log
from tests.support.server import running

BATCH = 250
ACTOR = Actor("bench")


def pods(count: int) -> list[Draft]:
    """As many running pods, each as its kubelet last reported it, in namespaces of a thousand."""
    maker = samples._Maker(1)
    found: list[Draft] = []
    while len(found) < count:
        # The last image but one of a life is the pod as it runs.
        document = list(samples.pod_life(maker))[-2]
        metadata = {**document["metadata"], "name": f"pod-{len(found)}", "namespace": f"team-{len(found) // 1000}"}
        metadata.pop("ownerReferences", None)
        metadata.pop("deletionTimestamp", None)
        # Bound to nodes that this server does not simulate: it has nothing to do for them.
        document = {**document, "metadata": metadata}
        stream = Stream("pods", metadata["namespace"], metadata["name"], metadata["uid"])
        found.append(Draft(stream, Change.ADDED, "create", ACTOR, document, orjson.dumps(document)))
    return found


async def fill(url: str, count: int) -> None:
    log = open_log(url, SystemClock())
    await log.open()
    drafts = pods(count)
    for at in range(0, count, BATCH * 16):
        groups = [drafts[start : start + BATCH] for start in range(at, min(at + BATCH * 16, count), BATCH)]
        await asyncio.gather(*(log.append(lambda _, group=group: group) for group in groups))
    await log.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ksql-bench-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        url = f"sqlite:///{data / 'ksql.db'}"
        migrate(url)
        started = time.perf_counter()
        asyncio.run(fill(url, arguments.objects))
        print(f"{arguments.objects:,} pods appended in {time.perf_counter() - started:.1f} s")
        for attempt in ("first start", "second start"):
            # Without nodes: what would be measured is otherwise the clearing away of pods of unknown nodes.
            with running(data, "--nodes", "0") as server:
                loaded = re.search(r"state loaded .*", server.text())
                assert loaded is not None
                print(f"{attempt}: ready after {server.seconds_to_ready:.2f} s ({loaded[0]})")


if __name__ == "__main__":
    main()
