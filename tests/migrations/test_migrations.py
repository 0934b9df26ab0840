"""Upgrading leads to the same tables as the code says, leaves events alone, and says what it finds."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ksql.base.clock import SystemClock
from ksql.log import migrate
from ksql.log.database import dialect_of
from ksql.log.migrate import SchemaError, SchemaState
from ksql.log.schema import metadata
from ksql.log.store import open_log
from ksql.log.verify import verify
from tests.log.drafts import deciding, draft

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


def engine_of(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    return dialect_of(parsed).create_engine(parsed)


def shape(connection: sa.Connection) -> dict[str, Any]:
    """Everything a database says of its own schema, apart from Alembic's table."""
    if connection.dialect.name == "sqlite":
        query = "SELECT type || ' ' || name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'"
    else:
        query = """
            SELECT 'column ' || table_name || '.' || column_name,
                   data_type || ' ' || is_nullable || ' ' || ordinal_position FROM information_schema.columns
              WHERE table_schema = 'public' AND table_name <> 'alembic_version'
            UNION SELECT 'index ' || indexname, indexdef FROM pg_indexes
              WHERE schemaname = 'public' AND tablename <> 'alembic_version'
            UNION SELECT 'trigger ' || tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
            UNION SELECT 'function ' || proname, prosrc FROM pg_proc
              WHERE pronamespace = 'public'::regnamespace
            UNION SELECT 'check ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
              WHERE contype = 'c' AND connamespace = 'public'::regnamespace
            UNION SELECT 'options ' || relname, reloptions::text FROM pg_class WHERE reloptions IS NOT NULL
              AND relnamespace = 'public'::regnamespace
            UNION SELECT 'storage ' || attrelid::regclass || '.' || attname, attstorage::text
              FROM pg_attribute WHERE attname = 'payload'
        """
    found = connection.exec_driver_sql(query).all()
    return {name: re.sub(r"\s+", " ", sql or "").replace('"', "") for name, sql in found}


def test_an_upgraded_database_equals_the_tables(url: str) -> None:
    engine = engine_of(url)
    with engine.connect() as connection:
        metadata.create_all(connection)
        connection.commit()
        made = shape(connection)
        heads = connection.exec_driver_sql("SELECT * FROM head").all()
        for name in ("events_refuse",) if connection.dialect.name == "postgresql" else ():
            connection.exec_driver_sql(f"DROP FUNCTION {name} CASCADE")
        metadata.drop_all(connection)
        connection.commit()
    engine.dispose()
    migrate.migrate(url)
    engine = engine_of(url)
    with engine.connect() as connection:
        upgraded = shape(connection)
        assert {k: sorted(v.split()) for k, v in upgraded.items()} == {
            k: sorted(v.split()) for k, v in made.items()
        }
        assert connection.exec_driver_sql("SELECT * FROM head").all() == heads
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


async def test_migrating_twice_changes_nothing(url: str) -> None:
    assert migrate.schema_state(url) is SchemaState.EMPTY
    migrate.migrate(url)
    assert migrate.schema_state(url) is SchemaState.CURRENT
    log = open_log(url, SystemClock())
    await log.open()
    await log.append(deciding(draft("a")))
    migrate.migrate(url)
    assert log.head == 1 and await verify(log) is None
    await log.aclose()


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET time = 0", "DELETE FROM events", "DELETE FROM events WHERE revision = 1"]
)
async def test_the_database_itself_refuses_to_change_events(url: str, statement: str) -> None:
    migrate.migrate(url)
    log = open_log(url, SystemClock())
    await log.open()
    await log.append(deciding(draft("a")))
    await log.aclose()
    engine = engine_of(url)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="events are never"):
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_postgresql_refuses_to_truncate_events(postgresql_url: str) -> None:
    migrate.migrate(postgresql_url)
    engine = engine_of(postgresql_url)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="events are never"):
        connection.exec_driver_sql("TRUNCATE events")
    engine.dispose()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "migrations" / "versions").glob("*.py")), ids=lambda p: p.stem
)
def test_no_migration_touches_events_that_exist(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b(UPDATE|DELETE FROM|TRUNCATE|DROP TABLE)\s+\"?events\b", text, re.IGNORECASE)
    assert not re.search(r"drop_table\(\s*[\"']events|op\.(bulk_insert|drop_column)\(\s*[\"']events", text)


async def test_a_server_that_finds_no_schema_names_the_command(url: str) -> None:
    log = open_log(url, SystemClock())
    with pytest.raises(SchemaError, match="ksql migrate --database"):
        await log.open()
    await log.aclose()


async def test_an_older_schema_names_the_command_and_a_newer_one_the_cure(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    migrate.migrate(url)
    engine = engine_of(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    log = open_log(url, SystemClock())
    with pytest.raises(SchemaError, match="later version"):
        await log.open()
    await log.aclose()
    assert migrate.schema_state(url) is SchemaState.NEWER
    with pytest.raises(SchemaError, match="later version"):
        migrate.migrate(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    engine.dispose()

    later = tmp_path / "migrations"
    (later / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/0001_the_log.py"):
        (later / name).write_text((ROOT / "migrations" / name).read_text())
    (later / "versions" / "0002_next.py").write_text(
        "from alembic import op\nrevision = '0002'\ndown_revision = '0001'\n"
        "def upgrade():\n    op.execute('CREATE TABLE novelty (id INTEGER)')\n"
    )
    monkeypatch.setattr(migrate, "_folder", lambda: later)
    assert migrate.schema_state(url) is SchemaState.OLDER
    log = open_log(url, SystemClock())
    with pytest.raises(SchemaError, match=r"older schema.*ksql migrate --database"):
        await log.open()
    await log.aclose()
    migrate.migrate(url)
    log = open_log(url, SystemClock())
    await log.open()
    await log.aclose()


def test_a_password_is_not_shown(postgresql_url: str) -> None:
    url = sa.make_url(postgresql_url).set(password="hush")
    engine = engine_of(postgresql_url)
    with engine.connect() as connection, pytest.raises(SchemaError) as caught:
        migrate.require(connection, url)
    engine.dispose()
    assert "hush" not in str(caught.value)


def test_the_plain_alembic_command_works(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-x", f"database={url}", "upgrade", "head"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert migrate.schema_state(url) is SchemaState.CURRENT


def test_the_migrations_are_found_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ksql"
    (package / "log").mkdir(parents=True)
    (package / "_migrations").mkdir()
    monkeypatch.setattr(migrate, "__file__", str(package / "log" / "migrate.py"))
    assert migrate._folder() == package / "_migrations"


def test_the_names_in_the_headers_are_what_alembic_knows() -> None:
    """An ordinary start reads the headers alone, so they must say the same as alembic would."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(migrate._config())
    newest, known = migrate._known(migrate._folder())
    assert newest == script.get_current_head()
    assert known == {revision.revision for revision in script.walk_revisions()}
