"""The command line as a user meets it: help everywhere, exit code 2 on what cannot be, plain words."""

import subprocess
from pathlib import Path

import pytest

from tests.support.server import KSQL


def ksql(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KSQL, *arguments], capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "command",
    [(), ("up",), ("migrate",), ("log",), ("log", "verify"), ("history",), ("events",), ("diff",), ("why",), ("at",),
     ("export",), ("open",), ("replay",)],
    ids=" ".join,
)
def test_help_is_everywhere(command: tuple[str, ...]) -> None:
    done = ksql(*command, "--help")
    assert done.returncode == 0 and "Usage:" in done.stdout


@pytest.mark.parametrize(
    "arguments, word",
    [
        (("up", "--nodes", "-1"), "--nodes"),
        (("up", "--nodes", "many"), "--nodes"),
        (("up", "--listen", "nowhere"), "--listen"),
        (("up", "--listen", "127.0.0.1:99999"), "--listen"),
        (("up", "--database", "mysql://x/y"), "--database"),
        (("up", "--database", "not a url"), "--database"),
        (("up", "--log-format", "xml"), "--log-format"),
        (("up", "--kubernetes-version", "1.2"), "--kubernetes-version"),
        (("up", "--surprise",), "--surprise"),
        (("log", "verify", "--data", "missing"), "missing"),
        (("dance",), "dance"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)  # fmt: skip
def test_what_cannot_be_is_refused_with_exit_code_2(arguments: tuple[str, ...], word: str, tmp_path: Path) -> None:
    done = ksql(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert word in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_older_schema_is_told_with_the_command_that_mends_it(tmp_path: Path, postgresql_url: str) -> None:
    done = ksql("up", "--data", str(tmp_path), "--listen", "127.0.0.1:0", "--database", postgresql_url)
    assert done.returncode == 1 and "ksql migrate --database" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    first = ksql("migrate", "--data", str(tmp_path), "--database", postgresql_url)
    again = ksql("migrate", "--data", str(tmp_path), "--database", postgresql_url)
    assert first.returncode == again.returncode == 0 and "already up to date" in again.stdout


def test_an_address_in_use_is_told_plainly(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = ksql("up", "--data", str(tmp_path / "data"), "--listen", address)
    assert done.returncode == 1 and address in done.stderr and "Traceback" not in done.stderr
