"""Logs that past versions wrote: today's code reads every state in them, and the last is where it starts."""

import json
from pathlib import Path

import pytest
import zstandard

from ksql.base.clock import SystemClock
from ksql.log.migrate import migrate
from ksql.log.store import open_log
from ksql.log.verify import verify
from tests.replay import digests

LOGS = sorted(Path(__file__).with_name("logs").glob("*.db.zst"))


@pytest.fixture(params=LOGS, ids=lambda path: path.name.removesuffix(".db.zst"))
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict]:
    packed: Path = request.param
    file = tmp_path / "log.db"
    file.write_bytes(zstandard.ZstdDecompressor().decompress(packed.read_bytes()))
    url = f"sqlite:///{file}"
    migrate(url)
    return url, json.loads(packed.with_name(packed.name.replace(".db.zst", ".json")).read_text())


async def test_every_recorded_state_is_found_again(recorded: tuple[str, dict]) -> None:
    url, told = recorded
    log = open_log(url, SystemClock())
    await log.open()
    try:
        assert log.head >= told["head"]
        for revision, digest in told["states"].items():
            assert await digests.past(log, int(revision)) == digest, f"r{revision}"
        assert await verify(log) is None
    finally:
        await log.aclose()


async def test_a_server_starts_where_the_log_ended(recorded: tuple[str, dict]) -> None:
    url, told = recorded
    assert await digests.folded(url) == told["states"][str(told["head"])]


def test_there_is_something_to_replay() -> None:
    assert LOGS
