"""Which schema a database has, and how it gets the one this version needs.

The migrations lie in `migrations/` of a checkout and in `ksql/_migrations` of an installed wheel. Upgrading
is one transaction on both databases, under a lock, so that two servers starting together do it once.

Alembic does the work but is imported only when there is some: an ordinary start compares one row with the
names in the migrations' headers, and is a third of a second faster for it.
"""

import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ksql.log.database import dialect_of

if TYPE_CHECKING:
    from alembic.config import Config

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


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


_REVISION = re.compile(r"""^revision = ['"](\w+)['"]$""", re.MULTILINE)
_DOWN_REVISION = re.compile(r"""^down_revision = ['"](\w+)['"]$""", re.MULTILINE)


@cache
def _known(folder: Path) -> tuple[str, frozenset[str]]:
    """The newest revision of this version, and all that it knows."""
    texts = [path.read_text() for path in sorted((folder / "versions").glob("*.py"))]
    known = [found for text in texts for found in _REVISION.findall(text)]
    followed = [found for text in texts for found in _DOWN_REVISION.findall(text)]
    (newest,) = [revision for revision in known if revision not in followed]
    return newest, frozenset(known)


def state_of(connection: sa.Connection) -> SchemaState:
    """What schema this connection finds."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return SchemaState.EMPTY
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    newest, known = _known(_folder())
    if found is None:
        return SchemaState.EMPTY
    if found == newest:
        return SchemaState.CURRENT
    # A revision this version has never heard of was made by a later one.
    return SchemaState.OLDER if found in known else SchemaState.NEWER


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
        state = state_of(connection)
        if state is SchemaState.NEWER:
            raise SchemaError(_NEWER)
        if state is SchemaState.CURRENT:
            connection.rollback()
            return
        from alembic import command

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
