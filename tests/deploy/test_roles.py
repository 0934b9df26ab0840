"""The server's role in PostgreSQL: it adds events and can neither change nor delete one, nor let itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock
from ksql.log.migrate import migrate
from ksql.log.store import open_log
from tests.log.drafts import deciding, draft
from tests.support.server import running, until

SCRIPT = Path(__file__).parents[2] / "deploy/postgresql-roles.sql"
LOGIN = "ksql_of_the_tests"


@pytest.fixture
def server_url(postgresql_url: str) -> Iterator[str]:
    """The database's URL as the server's role, its tables made and the script run."""
    migrate(postgresql_url)
    engine = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for _ in range(2):  # it may be run again
            connection.exec_driver_sql(SCRIPT.read_text().replace("%", "%%"))
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {LOGIN}")
        connection.exec_driver_sql(f"CREATE ROLE {LOGIN} LOGIN PASSWORD 'x' IN ROLE ksql_server")
    yield sa.make_url(postgresql_url).set(username=LOGIN, password="x").render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE {LOGIN}")


def test_the_server_writes_and_reads_its_log_with_that_role(server_url: str) -> None:
    async def write() -> None:
        log = open_log(server_url, SystemClock(seed=1))
        await log.open()
        for number in range(3):
            await log.append(deciding(draft(f"a-{number}", value=number)))
        assert [event.stream.name for event in await log.read(0, 10)] == ["a-0", "a-1", "a-2"]
        await log.aclose()

    asyncio.run(write())


def test_a_whole_cluster_runs_with_that_role(server_url: str, tmp_path: Path) -> None:
    with running(tmp_path / "data", "--database", server_url, "--nodes", "1") as server, server.http() as http:
        path, made = "/api/v1/namespaces/default/secrets", {"apiVersion": "v1", "kind": "Secret"}
        assert http.post(path, json={**made, "metadata": {"name": "a"}, "stringData": {"k": "v"}}).status_code == 201
        assert http.get(f"{path}/a").json()["data"] == {"k": "dg=="}
        assert http.delete(f"{path}/a").status_code == 200
        until(lambda: len(http.get("/api/v1/nodes").json()["items"]) == 1)
        assert "permission denied" not in server.text() and "ERROR" not in server.text(), server.text()
    # Its seals and everything else that it wrote stand when it starts again.
    with running(tmp_path / "data", "--database", server_url, "--nodes", "0") as server:
        assert "permission denied" not in server.text() and server.graphql("{ head }")["head"] > 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 1",
        "DELETE FROM events",
        "TRUNCATE events",
        "DROP TABLE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TRIGGER events_refuse_truncate ON events",
        "DELETE FROM streams",
        "UPDATE actors SET \"user\" = 'bob'",
        "DELETE FROM seals",
        "UPDATE alembic_version SET version_num = 'x'",
        "CREATE TABLE mine (id int)",
        "CREATE ROLE other",
    ],
)
def test_it_may_not_do_anything_else_to_what_happened(server_url: str, statement: str) -> None:
    engine = sa.create_engine(server_url, poolclass=sa.NullPool)
    with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError) as refused:
        connection.exec_driver_sql(statement)
    assert "permission denied" in str(refused.value) or "must be owner" in str(refused.value)
