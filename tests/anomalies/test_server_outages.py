"""A disk that fills up and a database that goes away: writes are refused, reads go on, and it heals by itself."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.support.server import Server, running, until

pytestmark = pytest.mark.timeout(240)

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DISK_BYTES = 48 * 1024 * 1024


def create(client: httpx.Client, name: str, size: int = 100) -> httpx.Response:
    data = {"x": os.urandom(size // 2).hex()}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return client.post(CONFIG_MAPS, json=body)


def refused(client: httpx.Client, prefix: str, size: int = 100, attempts: int = 2000) -> httpx.Response | None:
    """The first answer that is no 201; what was accepted before is the test's to check."""
    for number in range(attempts):
        answer = create(client, f"{prefix}-{number}", size)
        if answer.status_code != 201:
            return answer
    return None


def check_refusal(answer: httpx.Response) -> None:
    status = answer.json()
    assert answer.status_code == 503, status
    assert status["kind"] == "Status" and status["reason"] == "ServiceUnavailable"
    assert status["message"]


def check_reads_go_on(client: httpx.Client, name: str) -> None:
    assert client.get(f"{CONFIG_MAPS}/{name}").status_code == 200
    assert client.get("/api/v1/namespaces").status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "ksql-test", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_writes_and_heals(small_disk: Path) -> None:
    filler = small_disk / "filler"
    with running(small_disk / "data", "--nodes", "0") as server, server.http() as client:
        assert create(client, "before").status_code == 201
        # Unbuffered: bytes that did not fit would be written once more, and fail again, when it is closed.
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"\0" * 65536) == 65536:
                pass
        answer = refused(client, "full", size=200_000)
        assert answer is not None
        check_refusal(answer)
        check_reads_go_on(client, "before")
        kept = {o["metadata"]["name"] for o in client.get(CONFIG_MAPS).json()["items"]}

        filler.unlink()
        until(lambda: create(client, "after").status_code in (201, 409))
        found = {o["metadata"]["name"] for o in client.get(CONFIG_MAPS).json()["items"]}
        assert found == kept | {"after"}
        assert "verified" in server.ksql("log", "verify", "--data", str(server.data)).stdout


@contextlib.contextmanager
def database_away(url: str) -> Iterator[None]:
    """Nobody can connect, and who was connected is thrown out."""
    target = sa.make_url(url)
    engine = sa.create_engine(target.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def say(statement: str) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text(statement), {"name": target.database} if ":name" in statement else {})

    say(f'ALTER DATABASE "{target.database}" ALLOW_CONNECTIONS false')
    say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    try:
        yield
    finally:
        say(f'ALTER DATABASE "{target.database}" ALLOW_CONNECTIONS true')


def test_a_lost_database_refuses_writes_and_heals(tmp_path: Path, postgresql_url: str) -> None:
    with (
        running(tmp_path / "data", "--database", postgresql_url, "--migrate") as server,
        server.http() as client,
    ):
        assert create(client, "before").status_code == 201
        with database_away(postgresql_url):
            # The fate of a write that was under way at that moment cannot be known: 504 says so.
            first = refused(client, "away")
            assert first is not None and first.status_code in (503, 504), first
            answer = refused(client, "still-away")
            assert answer is not None
            check_refusal(answer)
            check_reads_go_on(client, "before")
        until(lambda: create(client, "after").status_code in (201, 409))
        names = {o["metadata"]["name"] for o in client.get(CONFIG_MAPS).json()["items"]}
        assert {"before", "after"} <= names
        assert server.process.poll() is None
        assert "verified" in server.ksql("log", "verify", "--database", postgresql_url).stdout
        controllers_still_work(server, client)


def controllers_still_work(server: Server, client: httpx.Client) -> None:
    """The worker wing came through it too: a new Deployment still becomes pods that run."""
    labels = {"app": "later"}
    body = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "later"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.com/c:1"}]}}},
    }  # fmt: skip
    url = "/apis/apps/v1/namespaces/default/deployments"
    assert client.post(url, json=body).status_code == 201
    until(lambda: client.get(f"{url}/later").json().get("status", {}).get("readyReplicas") == 2)
