"""Alembic's entry: runs the migrations on the connection that `ksql/log/migrate.py` hands over, or on the
URL of the command line (`alembic -x database=URL upgrade head`)."""

import sqlalchemy as sa
from alembic import context

from ksql.log.database import dialect_of
from ksql.log.schema import metadata


def _migrate(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    url = context.get_x_argument(as_dictionary=True).get("database") or context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise SystemExit("which database? alembic -x database=URL upgrade head, or: ksql migrate --database URL")
    parsed = sa.make_url(url)
    with dialect_of(parsed).create_engine(parsed).connect() as connection:
        _migrate(connection)
        connection.commit()


_run()
