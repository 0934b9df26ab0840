"""The connection to PostgreSQL over TLS with certificates of `ksql pki`: both ends prove who they are."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from ksql.cli import app
from ksql.settings import Settings
from tests.support import postgresql
from tests.support.server import running


def own(path: Path) -> dict[str, int]:
    """PostgreSQL refuses to run as root, and to read a key that is not its own."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    os.chown(path, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    done = CliRunner().invoke(app, ["pki", "init", "--data", str(tmp_path / "data"), "--database-host", "localhost"])
    assert done.exit_code == 0, done.output
    return tmp_path / "data"


@pytest.fixture
def port(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that lets in who shows a certificate of the database's authority, in his own name, and nobody else."""
    folder = postgresql.binaries()
    if folder is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    import shutil
    import tempfile

    home = Path(tempfile.mkdtemp(prefix="ksql-postgresql-tls-", dir="/tmp"))
    identity = own(home)
    subprocess.run(
        [folder / "initdb", "-D", home / "d", "-U", "ksql", "-A", "trust", "--no-sync"], check=True,
        capture_output=True, cwd=home, **identity,
    )  # fmt: skip
    for name in ("database-server.crt", "database-server.key", "database-trust.crt"):
        (home / name).write_bytes((data / "pki" / name).read_bytes())
        (home / name).chmod(0o600)
        own(home / name)
    (home / "d" / "pg_hba.conf").write_text("hostssl all all all cert\n")
    free = postgresql.free_port()
    options = {
        "ssl": "on", "ssl_cert_file": f"{home}/database-server.crt", "ssl_key_file": f"{home}/database-server.key",
        "ssl_ca_file": f"{home}/database-trust.crt", "fsync": "off",
    }  # fmt: skip
    given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [folder / "postgres", "-D", home / "d", "-h", "127.0.0.1", "-p", str(free), "-k", home, *given],
            stdout=log, stderr=log, cwd=home, **identity,
        )  # fmt: skip
    try:
        yield free
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


def connected(url: str, within: float = 20.0) -> tuple[str, str]:
    """Who is connected, and by which version of TLS."""
    engine, deadline = sa.create_engine(url, poolclass=sa.NullPool), time.monotonic() + within
    while True:
        try:
            with engine.connect() as connection:
                row = connection.exec_driver_sql(
                    "SELECT usename, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                    " WHERE pid = pg_backend_pid()"
                ).one()
                return str(row[0]), str(row[1])
        except sa.exc.OperationalError as error:
            if time.monotonic() > deadline or ("refused" not in str(error) and "starting up" not in str(error)):
                raise
            time.sleep(0.05)


def test_both_ends_prove_who_they_are(data: Path, port: int) -> None:
    plain = f"postgresql+psycopg://ksql@localhost:{port}/postgres?sslmode=verify-full"
    secured = Settings(data, plain).url
    assert "sslcert=" in secured and Settings(data, plain.replace("verify-full", "prefer")).url.count("ssl") == 1
    user, version = connected(secured)
    assert user == "ksql" and version.startswith("TLSv1.")
    # Without the certificate, or as somebody else, nobody comes in; another name of the server is not believed.
    trust = f"{plain}&sslrootcert={data}/pki/database-trust.crt"
    for url, why in (
        (trust, "certificate"), (secured.replace("ksql@", "postgres@"), "certificate authentication failed"),
        (secured.replace("localhost", "127.0.0.1"), "does not match"),
    ):  # fmt: skip
        with pytest.raises(sa.exc.OperationalError, match=why):
            connected(url, within=0)


def test_a_cluster_keeps_its_log_over_that_connection(data: Path, port: int) -> None:
    url = f"postgresql+psycopg://ksql@localhost:{port}/postgres?sslmode=verify-full"
    connected(Settings(data, url).url)
    with running(data, "--database", url, "--migrate", "--nodes", "0", "--no-dns") as server:
        assert server.graphql("{ head }")["head"] > 0
        engine = sa.create_engine(Settings(data, url).url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            ways = connection.exec_driver_sql(
                "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'ksql'"
            ).scalars()
            assert list(ways) == [True]
