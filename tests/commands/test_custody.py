"""`ksql log verify`, `ksql log rotate-key` and `ksql proof`, as a person would type them, on files alone."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ksql.cli import app
from ksql.log import witnesses
from ksql.log.witnesses import Witness
from tests.log.sealed import HEAD, sealed_fully, sealing, written


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stopped cluster's directory with a sealed log."""

    async def made() -> None:
        (tmp_path / "pki").mkdir()
        async with sealing(f"sqlite:///{tmp_path}/ksql.db", tmp_path / "pki", monkeypatch) as found:
            found.sealer._witnesses = [Witness(str(tmp_path / witnesses.FILE))]
            await written(found.log)
            await sealed_fully(found)

    asyncio.run(made())
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def out(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(code: int, *words: object) -> str:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith("ksql: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_verify_says_what_is_sealed_and_by_which_key(data: Path) -> None:
    text = out("log", "verify", "--data", data)
    assert f"verified: events up to r{HEAD} and the stored state agree" in text
    assert f"sealed: {HEAD - 4} events up to r{HEAD} are as " in text
    assert "log verify" in run("log", "--help").stdout or "verify" in run("log", "--help").stdout


def test_verify_names_what_was_changed(data: Path) -> None:
    with sqlite3.connect(data / "ksql.db") as database:
        database.execute("UPDATE actors SET user = 'mallory'")
    assert "r1: the event was changed after seal 1" in refused(1, "log", "verify", "--data", data)


def test_verify_sees_an_end_that_was_cut_off_by_its_own_witness(data: Path) -> None:
    with sqlite3.connect(data / "ksql.db") as database:
        database.execute("DELETE FROM seals")
    assert "r1: the log was cut off" in refused(1, "log", "verify", "--data", data)


def test_verify_wants_keys_and_witnesses_that_are_there(data: Path) -> None:
    other = data / "other.json"
    assert "no seal keys at" in refused(2, "log", "verify", "--data", data, "--keys", other)
    assert "no witness at" in refused(2, "log", "verify", "--data", data, "--witness", other)
    assert "is no public key" in refused(2, "log", "verify", "--data", data, "--keys", "abc")
    assert "no event log at" in refused(2, "log", "verify", "--data", data / "none")
    (data / "pki" / "seal-keys.json").rename(other)
    assert "no seal keys at" in refused(2, "log", "verify", "--data", data)
    assert "sealed: " in out("log", "verify", "--data", data, "--keys", other)
    # Of a database elsewhere the keys may be elsewhere too: what can be asked without them is.
    text = out("log", "verify", "--database", f"sqlite:///{data / 'ksql.db'}")
    assert f"verified: events up to r{HEAD}" in text and "sealed: not checked, for want of public keys" in text


def test_a_proof_is_made_and_checked_elsewhere(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    file = elsewhere / "proof.json"
    out("proof", "make", "r12", "--data", data, "-o", file)
    keys = data / "pki" / "seal-keys.json"
    text = out("proof", "verify", file, "--keys", keys, "--data", elsewhere)
    assert text.startswith("proved: r12 ") and "alice: update configmaps default/" in text
    assert "the object is as recorded" in text
    public = json.loads(keys.read_text())["keys"][0]["key"]
    assert "proved: r12 " in out("proof", "verify", file, "--keys", public)
    assert "no seal keys at" in refused(2, "proof", "verify", file, "--data", elsewhere)

    out("proof", "make", "12", "--data", data, "-o", file, "--redact")
    assert "the object itself is left out" in out("proof", "verify", file, "--keys", keys)
    file.write_text(file.read_text().replace("alice", "malice"))
    assert "event, place or path were changed" in refused(1, "proof", "verify", file, "--keys", keys)
    assert "cannot read" in refused(1, "proof", "verify", elsewhere / "none", "--keys", keys)


def test_a_proof_of_nothing_is_refused(data: Path) -> None:
    assert "is no revision" in refused(2, "proof", "make", "yesterday", "--data", data)
    assert f"there is no event r99: the log ends at r{HEAD}" in refused(2, "proof", "make", "r99", "--data", data)
    assert "heartbeats" in refused(2, "proof", "make", "r8", "--data", data)


def test_a_key_is_rotated_and_the_old_one_vouches_for_it(data: Path) -> None:
    assert "lists all 2" in out("log", "rotate-key", "--data", data)
    assert "sealed: " in out("log", "verify", "--data", data)
    assert "no seal key at" in refused(2, "log", "rotate-key", "--data", data / "none")
