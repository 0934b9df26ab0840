"""`ksql log stats`, `archive`, `thin` and `drop` on a stopped cluster's files."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ksql.base.clock import SystemClock
from ksql.cli import app
from ksql.hold import FileHold, Holder
from ksql.log.protocol import EventFilter
from ksql.log.store import open_log
from tests.log.drafts import deciding, draft, stream
from tests.log.sealed import sealed_fully, sealing, written


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    async def made() -> None:
        (tmp_path / "pki").mkdir()
        async with sealing(f"sqlite:///{tmp_path}/ksql.db", tmp_path / "pki", monkeypatch) as found:
            await found.log.append(deciding(draft(stream("kube-system", "namespaces", ""))))
            await written(found.log)
            await sealed_fully(found)

    asyncio.run(made())
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["log", *[str(word) for word in words]])


def out(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(code: int, *words: object) -> str:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


def revisions(data: Path) -> list[int]:
    async def read() -> list[int]:
        log = open_log(f"sqlite:///{data}/ksql.db", SystemClock(), archives=data / "archives")
        await log.open()
        try:
            return [event.revision for event in await log.read(log.horizon, 1000, EventFilter(namespace="default"))]
        finally:
            await log.aclose()

    return asyncio.run(read())


def test_stats_say_where_the_bytes_are_and_what_thinning_would_save(data: Path) -> None:
    text = out("stats", "--data", data)
    assert "34 events, " in text and " a day, over 1 days" in text
    kinds, actors = text.split("ACTOR")
    assert "configmaps" in kinds and "namespaces" in kinds and "alice" in actors
    thinned = out("stats", "--data", data, "--field", "metadata.name")
    # Nothing ever changes a name: all but beginnings and ends could go.
    assert "(21 events)" in thinned


def test_a_dry_run_says_what_would_go_and_does_nothing(data: Path) -> None:
    before = revisions(data)
    text = out("drop", "--older-than", "0s", "--dry-run", "--data", data)
    assert text.startswith("would go up to r38: ") and "stay, since something living stands on them" in text
    assert revisions(data) == before
    assert "nothing is that old" in out("drop", "--older-than", "1d", "--dry-run", "--data", data)


def test_what_is_archived_is_still_read_and_verified(data: Path) -> None:
    before = revisions(data)
    text = out("archive", "--older-than", "0s", "--data", data)
    assert "archived; recorded as r39" in text and f"{data}/archives/r1-r38.1.parquet" in text
    assert revisions(data) == before
    assert "verified: " in out("verify", "--data", data)
    # What the retirement wrote is not sealed yet, and so may not go.
    assert "nothing is that old" in out("archive", "--older-than", "0s", "--data", data)


def test_what_is_dropped_is_gone_and_verified(data: Path) -> None:
    assert "dropped; recorded as r39" in out("drop", "--older-than", "0s", "--kind", "configmaps", "--data", data)
    # What lives stands there as it last was.
    assert 0 < len(revisions(data)) < 20
    assert "verified: " in out("verify", "--data", data)


def test_what_cannot_be_is_refused_before_anything_is_done(data: Path) -> None:
    assert "is no age" in refused(2, "drop", "--older-than", "soon", "--data", data)
    assert "no event log" in refused(2, "drop", "--older-than", "1d", "--data", data / "none")
    assert "thin needs the fields" in refused(2, "thin", "--older-than", "1d", "--field", "", "--data", data)
    with FileHold(data / "lock", Holder.of_this_process("127.0.0.1:1", "now")):
        assert "process" in refused(1, "drop", "--older-than", "0s", "--data", data)
    (data / "pki" / "seal.key").unlink()
    assert "only sealed ranges can go" in refused(2, "drop", "--older-than", "0s", "--data", data)


def test_a_reader_who_has_seen_enough_is_not_complained_to(data: Path) -> None:
    ksql = Path(sys.executable).parent / "ksql"
    command = [str(ksql), "log", "stats", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said == ""
