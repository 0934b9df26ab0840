"""Which schema a database has, and how it gets the one this version needs.

The migrations lie in `migrations/` of a checkout and in `ksql/_migrations` of an installed wheel. Upgrading
is one transaction on both databases, under a lock, so that two servers starting together do it once.
"""

from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ksql.log.database import dialect_of

# Any number, the same in every version: PostgreSQL's advisory lock for migrating.
_LOCK = 5_173_001


class SchemaState(StrEnum):
    EMPTY = "empty"
    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"


class SchemaError(RuntimeError):
    """The database's schema is not the one this version works with; the message says what to do."""


def _folder() -> Path:
    """Where the migrations are: in the wheel, else in the checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def state_of(connection: sa.Connection) -> SchemaState:
    """What schema this connection finds."""
    script = ScriptDirectory.from_config(_config())
    found = MigrationContext.configure(connection).get_current_heads()
    if not found:
        return SchemaState.EMPTY
    if set(found) == set(script.get_heads()):
        return SchemaState.CURRENT
    try:
        script.get_revisions(found)
    except CommandError:
        # A revision this version has never heard of was made by a later one.
        return SchemaState.NEWER
    return SchemaState.OLDER


def schema_state(url: str) -> SchemaState:
    """What schema the database has. Blocking."""
    parsed = sa.make_url(url)
    engine = dialect_of(parsed).create_engine(parsed)
    try:
        with engine.connect() as connection:
            return state_of(connection)
    finally:
        engine.dispose()


def migrate(url: str) -> None:
    """Bring the database to this version's schema. Blocking; repeating it changes nothing."""
    parsed = sa.make_url(url)
    engine = dialect_of(parsed).create_engine(parsed)
    try:
        with engine.connect() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def upgrade(connection: sa.Connection) -> None:
    """`migrate` on a connection of the caller's; `SchemaError` for a database of a later version."""
    _lock(connection)
    try:
        if state_of(connection) is SchemaState.NEWER:
            raise SchemaError(_NEWER)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _lock(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


_NEWER = "the database was written by a later version of ksql: use that version or a newer one"


def require(connection: sa.Connection, url: sa.URL) -> None:
    """Raise `SchemaError` with the way out unless the schema is current."""
    state = state_of(connection)
    if state is SchemaState.CURRENT:
        return
    if state is SchemaState.NEWER:
        raise SchemaError(_NEWER)
    what = "has no tables yet" if state is SchemaState.EMPTY else "has an older schema"
    shown = url.render_as_string(hide_password=True)
    raise SchemaError(f"the database {what}; run: ksql migrate --database '{shown}'")
