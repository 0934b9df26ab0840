"""`ksql pki …` on files alone, and beside a running cluster with the real kubectl."""

import base64
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from ksql.auth import pki
from ksql.auth.pki import keeping
from ksql.base.clock import SystemClock
from ksql.cli import app
from ksql.kubeconfig import load
from tests.support import kubectl as kubectls
from tests.support.server import Server, running, until


class Later(SystemClock):
    def __init__(self, days: float) -> None:
        super().__init__(seed=1)
        self.ahead = timedelta(days=days)

    def now(self) -> Any:
        return super().now() + self.ahead


def ksql(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["pki", *arguments], env={"COLUMNS": "200"})


def test_keys_are_made_before_the_first_start_and_shown(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    nothing = ksql("status", *data)
    assert nothing.exit_code == 2 and "no keys at" in nothing.stderr
    assert ksql("init", *data, "--name", "ksql.example.test", "--database-host", "db.example.test").exit_code == 0
    shown = ksql("status", *data)
    assert shown.exit_code == 0, shown.output
    names = [line.split()[0] for line in shown.stdout.splitlines()[1:]]
    assert names == [
        "clients-ca", "serving-ca", "nodes-ca", "front-proxy-ca", "database-ca", "server", "admin",
        "front-proxy-client", "database-client", "database-server",
    ]  # fmt: skip
    rows = {row["name"]: row for row in json.loads(ksql("status", *data, "-o", "json").stdout)}
    assert rows["admin"]["issuer"] == "ksql-clients-ca" and rows["admin"]["state"] == "good"
    assert "BEGIN" not in shown.stdout + json.dumps(rows), "a table tells no keys"
    made = keeping.known(tmp_path / "pki", SystemClock())
    assert "ksql.example.test" in str(made.server.leaf.extensions)


def test_what_ends_soon_is_missing_or_broken_is_an_exit_code(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    pki.establish(tmp_path / "pki", "127.0.0.1", Later(-350))
    late = ksql("status", *data)
    assert late.exit_code == 1 and "expiring: a running server renews it" in late.stdout
    assert ksql("status", *data, "--within", "1d").exit_code == 0
    assert ksql("renew", *data).exit_code == 0 and ksql("status", *data).exit_code == 0
    (tmp_path / "pki" / "server.key").write_bytes((tmp_path / "pki" / "admin.key").read_bytes())
    broken = ksql("status", *data)
    assert broken.exit_code == 1 and "broken: certificate and key do not belong together" in broken.stdout
    (tmp_path / "pki" / "admin.crt").unlink()
    assert "missing" in ksql("status", *data).stdout


def test_rotation_is_told_and_shown(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    assert ksql("init", *data).exit_code == 0
    done = ksql("rotate", "all", *data, "--overlap", "30d")
    assert done.exit_code == 0 and done.stdout.count("signs now; the one before it is believed until") == 4
    shown = ksql("status", *data).stdout
    assert shown.count("believed: signs no more, is believed until") == 4 and "clients-ca-2" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rotate", "bob"), "'bob': expected all or some of clients, serving, nodes, front-proxy"),
        (("rotate", "database"), "'database': there is none yet"),
        (("rotate", "all", "--overlap", "soon"), "--overlap 'soon': \"soon\" is no age"),
        (("renew", "bob"), "'bob' cannot be renewed: it is none of server, admin, front-proxy-client, token"),
        (("status", "-o", "xml"), "--output 'xml': expected json or yaml"),
        (("init", "--given", "server"), "--given 'server': expected PART=CERTIFICATE[,KEY]"),
        (("init", "--given", "server=/no/such.crt,/no/such.key"), "server: /no/such.crt: [Errno 2]"),
        (("revoke",), "name a user (or a node), or a certificate by --serial"),
        (("revoke", "--serial", "xyz"), "--serial 'xyz': expected hexadecimal digits"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    pki.establish(tmp_path / "pki", "127.0.0.1", SystemClock())
    data = () if arguments[0] == "revoke" else ("--data", str(tmp_path))
    refused = ksql(*arguments, *data)
    assert refused.exit_code == 2 and said in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr


# --- beside a running cluster ---


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("pki") / "data", "--nodes", "0", "--no-dns") as server:
        yield server


def whoami(kubeconfig: Path) -> str:
    """The user's name by the kubeconfig alone, or the code of the refusal."""
    config = load(kubeconfig)
    with httpx.Client(base_url=config.server, verify=config.ssl_context(), timeout=30) as client:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=body)
        return answer.json()["status"]["userInfo"]["username"] if answer.status_code == 201 else str(answer.status_code)


def test_somebody_is_let_in_and_shut_out_again(server: Server, tmp_path: Path) -> None:
    alice, node = tmp_path / "alice", tmp_path / "node"
    server.ksql("pki", "kubeconfig", "alice", "--group", "dev", "--days", "7", "-o", str(alice))
    server.ksql("pki", "kubeconfig", "n1", "--node", "-o", str(node))
    assert alice.stat().st_mode & 0o777 == 0o600
    assert (whoami(alice), whoami(node)) == ("alice", "system:node:n1")
    server.ksql("pki", "revoke", "alice", "--reason", "left the company")
    server.ksql("pki", "revoke", "n1", "--node")
    assert (whoami(alice), whoami(node)) == ("401", "401")
    # The log tells who did it and why.
    assert "kubernetes-admin" in server.ksql("history", "configmap/ksql-revocations", "-n", "kube-system").stdout
    again = tmp_path / "again"
    server.ksql("pki", "kubeconfig", "alice", "-o", str(again))
    until(lambda: whoami(again) == "alice", within=10)
    assert whoami(alice) == "401"
    server.ksql("pki", "revoke", "alice", "--undo")
    assert whoami(alice) == "alice"
    refused = server.ksql("pki", "revoke", "bob", "--undo", check=False)
    assert (refused.returncode, refused.stderr) == (1, "ksql: user bob is not revoked\n")
    refused = server.ksql("pki", "kubeconfig", "eve", "--group", "system:masters", check=False)
    assert refused.returncode == 1 and "system:masters" in refused.stderr


def test_every_authority_is_rotated_while_the_cluster_runs(server: Server, tmp_path: Path) -> None:
    before, old = server.kubeconfig.read_text(), tmp_path / "old"
    old.write_text(before)
    server.ksql("pki", "rotate", "all", "--data", str(server.data))
    until(lambda: server.kubeconfig.read_text() != before, within=30)
    published = (server.data / "pki" / "ca.crt").read_text()
    assert published.count("BEGIN CERT") == 2
    # Both the kubeconfig handed on and the new one go on, and pods are told whom to trust.
    assert whoami(old) == whoami(server.kubeconfig) == "kubernetes-admin"

    def told() -> bool:
        with server.http() as http:
            path = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"
            return bool(http.get(path).json()["data"]["ca.crt"] == published)

    until(told, within=30)
    with server.http() as http:
        path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
        until(lambda: http.get(path).json()["data"]["client-ca-file"].count("BEGIN CERT") == 4, within=30)


@pytest.mark.kubectl
def test_kubectl_approves_and_gets_a_certificate(server: Server, tmp_path: Path) -> None:
    if not kubectls.found():
        pytest.skip(kubectls.WHY_NOT)
    kubectl = kubectls.found()[-1].at(server.kubeconfig)
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k", "-out", tmp_path / "r",
         "-subj", "/O=dev/CN=carol"], check=True, capture_output=True,
    )  # fmt: skip
    request = base64.b64encode((tmp_path / "r").read_bytes()).decode()
    manifest = tmp_path / "csr.yaml"
    manifest.write_text(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: carol}\nspec:\n"
        f"  request: {request}\n  signerName: kubernetes.io/kube-apiserver-client\n  usages: [client auth]\n"
        "  expirationSeconds: 86400\n"
    )
    kubectl.run("apply", "-f", str(manifest))
    assert "Pending" in kubectl.run("get", "csr", "carol").stdout
    kubectl.run("certificate", "approve", "carol")
    until(lambda: "Approved,Issued" in kubectl.run("get", "csr", "carol").stdout, within=30)
    text = kubectl.run("get", "csr", "carol", "-o", "jsonpath={.status.certificate}").stdout
    (tmp_path / "c").write_bytes(base64.b64decode(text))
    files = (f"--client-certificate={tmp_path}/c", f"--client-key={tmp_path}/k")
    kubectl.run("config", "set-credentials", "carol", *files)
    assert "carol" in kubectl.run("auth", "whoami", "--user", "carol").stdout
