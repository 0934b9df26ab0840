"""`ksql encryption status`, `rotate-key` and `forget-keys`: what is encrypted, under what, and another key for it.

They work on a cluster's own files, running or stopped. A running server takes a new key in within seconds and wraps
the objects' keys anew; a stopped one does when it starts.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import typer

from ksql import settings
from ksql.commands import printing
from ksql.custody import existing, inspected
from ksql.operating import Data, Database, checked, told_plainly
from ksql.settings import Settings, SettingsError

if TYPE_CHECKING:
    from ksql.log.queries import Rows

encryption_app = typer.Typer(help="Encryption of payloads at rest.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang the group onto the program."""
    app.add_typer(encryption_app, name="encryption")


@encryption_app.command()
def status(data: Data = settings.DEFAULT_DATA, database: Database = "") -> None:
    """Which keys there are, how many objects lie under each, and how many were erased."""
    with told_plainly():
        wanted = existing(data, database)
        found = asyncio.run(inspected(wanted, _counted))
        rows = [("KEY", "SINCE", "OBJECTS"), *[(root, since, str(count)) for root, since, count in found["keys"]]]
        typer.echo("\n".join(printing.columns(rows)) if found["keys"] else "nothing is encrypted yet")
        typer.echo(f"{found['erased']} objects were erased")
        if wanted.encryption_file is None and wanted.encryption_keys.exists():
            unused = _unused(wanted, found)
            told = f"; no longer used: {', '.join(sorted(unused))} (ksql encryption forget-keys)" if unused else ""
            typer.echo(f"key file: {wanted.encryption_keys}{told}")


def _counted(rows: "Rows") -> dict[str, Any]:
    from ksql.base.clock import from_microseconds, rfc3339
    from ksql.log.objectkeys import erasures, object_keys, wrapping_keys

    query = (
        sa.select(wrapping_keys.c.root, wrapping_keys.c.time, sa.func.count(object_keys.c.stream))
        .select_from(wrapping_keys.outerjoin(object_keys, object_keys.c.wrapping == wrapping_keys.c.id))
        .group_by(wrapping_keys.c.id, wrapping_keys.c.root, wrapping_keys.c.time)
        .order_by(wrapping_keys.c.id)
    )
    keys = [
        (root, rfc3339(from_microseconds(time)), count) for root, time, count in rows.connection.execute(query)
    ]
    erased = rows.connection.execute(sa.select(sa.func.count()).select_from(erasures)).scalar_one()
    return {"keys": keys, "erased": erased}


def _unused(wanted: Settings, found: dict[str, Any]) -> set[str]:
    """Keys of the file that wrap nothing any more; the first is in use whether or not anything lies under it yet."""
    from ksql.log import roots

    _, *old = roots.read(wanted.encryption_keys)
    return {one.name for one in old} - {root for root, _, _ in found["keys"]}


@encryption_app.command("rotate-key")
def rotate_key(data: Data = settings.DEFAULT_DATA) -> None:
    """Put a new key before the others of the key file. Objects' keys are wrapped anew in the background."""
    from ksql.log import roots

    with told_plainly():
        wanted = _with_key_file(data)
        newest, *_ = roots.rotate(wanted.encryption_keys)
        typer.echo(f"the key is now {newest.name}; a running server wraps all objects' keys anew by itself")


@encryption_app.command("forget-keys")
def forget_keys(data: Data = settings.DEFAULT_DATA, database: Database = "") -> None:
    """Take keys that wrap nothing any more out of the key file. Backups from their time cannot be read after that."""
    from ksql.log import roots

    with told_plainly():
        wanted = _with_key_file(data, database)
        unused = _unused(wanted, asyncio.run(inspected(wanted, _counted)))
        roots.forget(wanted.encryption_keys, unused)
        typer.echo(f"forgotten: {', '.join(sorted(unused))}" if unused else "every key is still used")


def _with_key_file(data: Any, database: str = "") -> Settings:
    wanted = checked(Settings(data, database))
    if wanted.encryption_file is not None:
        raise SettingsError(f"the keys are those of {wanted.encryption_file}: change them there")
    if not wanted.encryption_keys.exists():
        raise SettingsError(f"no encryption keys at {wanted.encryption_keys}")
    return wanted
