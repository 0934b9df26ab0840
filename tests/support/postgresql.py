"""A PostgreSQL server for the tests: one given, one started from Debian's binaries, or none with a reason.

`KSQL_TEST_POSTGRESQL` names a server to use (a SQLAlchemy URL whose user may create databases). Otherwise
the newest binaries below /usr/lib/postgresql are started in a directory of their own on a free port.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

START_SECONDS = 30.0


def binaries() -> Path | None:
    """The newest server binaries on this machine."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda p: float(p.parent.name), default=None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A running server; `database()` makes an empty database that is dropped afterwards."""

    url: sa.URL

    def _admin(self, statement: str) -> None:
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement))

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        name = f"ksql_test_{uuid.uuid4().hex[:12]}"
        self._admin(f'CREATE DATABASE "{name}"')
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def running() -> Iterator[Server | str]:
    """A server, or the sentence that says why there is none."""
    if given := os.environ.get("KSQL_TEST_POSTGRESQL"):
        yield Server(sa.make_url(given))
        return
    folder = binaries()
    if folder is None:
        yield "no PostgreSQL: apt-get install postgresql, or set KSQL_TEST_POSTGRESQL"
        return
    home = Path(tempfile.mkdtemp(prefix="ksql-postgresql-", dir="/tmp"))
    # PostgreSQL refuses to run as root, so root lends it the account that Debian's package made.
    account = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    identity = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
    if identity:
        os.chown(home, account.pw_uid, account.pw_gid)
    data, port = home / "data", free_port()
    server: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [folder / "initdb", "-D", data, "-U", "ksql", "-A", "trust", "--no-sync", "-E", "UTF8",
             "--locale=C"],
            check=True, capture_output=True, cwd=home, **identity,
        )  # fmt: skip
        with (home / "log").open("wb") as output:
            server = subprocess.Popen(
                [folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", home,
                 "-c", "max_connections=200"],
                stdout=output, stderr=output, cwd=home, **identity,
            )  # fmt: skip
        found = Server(sa.make_url(f"postgresql+psycopg://ksql@127.0.0.1:{port}/postgres"))
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                found._admin("SELECT 1")
                break
            except sa.exc.OperationalError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.02)
        yield found
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=START_SECONDS)
        shutil.rmtree(home, ignore_errors=True)
