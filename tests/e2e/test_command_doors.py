"""Every command there is, walked by construction: who has no name is refused, who has no right learns nothing.

The commands are read from the program, so that one added tomorrow has to be put into one of the two lists below. What
works on files is guarded by the files: keys and database are their owner's alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from ksql import kubeconfig as kubeconfigs
from ksql.auth import pki
from ksql.auth.pki import keeping
from ksql.base.clock import SystemClock
from ksql.cli import app
from tests.support.server import Server, running

# These work on a cluster's own files, or on a file that they are given.
ON_FILES = {
    "up", "demo", "migrate", "version", "export", "open", "replay", "log verify", "log rotate-key", "log stats",
    "log archive", "log thin", "log drop", "proof make", "proof verify", "pki init", "pki status", "pki renew",
    "pki rotate", "encryption status", "encryption rotate-key", "encryption forget-keys",
}  # fmt: skip
MARKER = "planted-7f3a"
THING = f"configmap/{MARKER}"
# These ask a server; `{revision}` is that of what was planted.
ASKING = {
    "login": (), "sessions": (), "history": (THING,), "events": (), "blame": (THING,), "diff": ("r1", "now"),
    "why": ("r{revision}",), "then": ("r{revision}",), "suspects": (THING,), "why-node": (MARKER,), "pending": (),
    "undo": ("r{revision}", "--dry-run"), "restore": (THING, "--at", "r{revision}"), "audit": (),
    "erase": (THING, "--reason", "x", "--yes"), "at": ("r{revision}", "get", "configmaps", "-n", "default"),
    "query": ("orphans",), "pki kubeconfig": ("eve",), "pki revoke": ("kubernetes-admin",),
}  # fmt: skip
# What anybody with a name may do for himself: log his own browser in, and see his own sessions.
ABOUT_ONESELF = {"login", "sessions"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))
    else:
        yield " ".join(path)


def test_every_command_stands_in_one_of_the_lists() -> None:
    assert sorted(commands(typer.main.get_command(app))) == sorted([*ON_FILES, *ASKING])


@dataclass
class Site:
    server: Server
    revision: int
    folder: Path

    def run(self, command: str, who: str) -> Any:
        """A command as somebody; what it said and how it ended."""
        given = [word.format(revision=self.revision) for word in ASKING[command]]
        environment = {"KUBECONFIG": str(self.folder / who), "COLUMNS": "200", "NO_COLOR": "1"}
        return CliRunner().invoke(app, [*command.split(), *given], env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("doors")
    with running(folder / "data", "--nodes", "0", "--no-dns") as server:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MARKER}, "data": {"k": MARKER}}
        with server.http() as http:
            answer = http.post("/api/v1/namespaces/default/configmaps", json=made)
        revision = int(answer.json()["metadata"]["resourceVersion"])
        clock = SystemClock(seed=1)
        keys = keeping.look(folder / "data" / "pki", clock)
        bob = pki.issue_client(keys.signing("clients"), "bob", (), clock)
        trusted, url = keys.bundle("serving"), kubeconfigs.load(server.kubeconfig).server
        for name, connection in (
            ("nobody", kubeconfigs.Connection(url, trusted)),
            ("bob", kubeconfigs.Connection(url, trusted, bob.certificate, bob.key)),
        ):
            (folder / name).write_text(yaml.safe_dump(kubeconfigs.document(connection, url)))
        (folder / "admin").write_text(server.kubeconfig.read_text())
        yield Site(server, revision, folder)


@pytest.mark.parametrize("command", ASKING)
def test_no_command_answers_whoever_has_no_name(site: Site, command: str) -> None:
    done = site.run(command, "nobody")
    assert done.exit_code in (1, 2) and MARKER not in done.stdout, (done.stdout, done.stderr, done.exception)
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit), done.exception


@pytest.mark.parametrize("command", ASKING)
def test_no_command_tells_or_does_what_its_user_may_not(site: Site, command: str) -> None:
    with site.server.http() as http:
        before = http.get(f"/api/v1/namespaces/default/configmaps/{MARKER}").json()
    done = site.run(command, "bob")
    assert MARKER not in done.stdout, done.stdout
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit), done.exception
    if command not in ABOUT_ONESELF:
        assert done.exit_code in (1, 2) or not done.stdout.strip() or "hidden" in done.stdout + done.stderr, done.stdout
    with site.server.http() as http:
        assert http.get(f"/api/v1/namespaces/default/configmaps/{MARKER}").json() == before


def test_the_lists_would_notice_since_an_administrator_is_answered(site: Site) -> None:
    for command in ("history", "events", "blame", "diff", "why"):
        done = site.run(command, "admin")
        assert done.exit_code == 0 and MARKER in done.stdout, (command, done.stdout, done.stderr)
