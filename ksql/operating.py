"""What the commands share that work on a cluster's own files: their options, and how they fail.

What an operator can mend is said in one line without a trace: exit code 2 for arguments that cannot be, 1 for
what failed while running.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ksql.settings import Settings, SettingsError

Data = Annotated[Path, typer.Option("--data", help="Directory of the cluster: database, keys, kubeconfig.")]
Database = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        help="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME. Default: SQLite in the data directory.",
    ),
]


def fail(message: str, code: int = 1) -> typer.Exit:
    typer.echo(f"ksql: {message}", err=True)
    return typer.Exit(code)


def checked(wanted: Settings) -> Settings:
    wanted.check()
    return wanted


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Failures as one line."""
    import sqlalchemy as sa

    from ksql.auth.pki import PkiError
    from ksql.hold import HeldError
    from ksql.log.migrate import SchemaError
    from ksql.log.proofs import NoProofError
    from ksql.log.protocol import HorizonError, LogUnavailableError
    from ksql.log.roots import RootError
    from ksql.log.sealkeys import KeyFileError
    from ksql.log.witnesses import WitnessError

    try:
        yield
    except (SettingsError, PkiError, KeyFileError, RootError, WitnessError, NoProofError) as error:
        raise fail(str(error), 2) from None
    except BrokenPipeError:
        raise  # whoever read the output has seen enough: typer ends without a word
    except (HeldError, HorizonError, LogUnavailableError, SchemaError, OSError, sa.exc.DBAPIError) as error:
        raise fail(str(error).partition("\n")[0]) from None
