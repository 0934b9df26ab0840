"""Record a log for later versions to replay: `python -m tests.replay.record NAME`.

Tells a story of a simulated cluster with rollouts, faults and deletions on a SQLite file, and keeps the file
(compressed) beside the digests of its state at every tenth of its length. Recorded logs are never made
anew: what a version has written, every later one must read.
"""

import json
import sys
import tempfile
from pathlib import Path

import zstandard

from ksql import __version__
from ksql.base.clock import VirtualClock, run_virtual
from ksql.log.migrate import migrate
from ksql.simulation import Simulation
from tests.replay import digests
from tests.simulation.test_whole import busy

LOGS = Path(__file__).with_name("logs")
MOMENTS = 10


def record(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.db"
        url = f"sqlite:///{file}"
        migrate(url)

        async def story(clock: VirtualClock) -> dict[str, object]:
            async with Simulation(clock, url=url) as cluster:
                await busy(cluster)
                head = cluster.log.head
                moments = [max(1, head * tenth // MOMENTS) for tenth in range(1, MOMENTS + 1)]
                past = {str(revision): await digests.past(cluster.log, revision) for revision in moments}
                return {"version": __version__, "head": head, "states": past}

        told = run_virtual(story, seed=35)
        for suffix in ("-wal", "-shm"):
            assert not file.with_name(file.name + suffix).exists(), "the log was not closed cleanly"
        packed = zstandard.ZstdCompressor(level=19).compress(file.read_bytes())
        LOGS.joinpath(f"{name}.db.zst").write_bytes(packed)
        LOGS.joinpath(f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    record(sys.argv[1])
