"""Markers are planted in Secrets, and every file and every output is searched for them: the database and its log, the
server's own lines, the audit's file, bundles, proofs, histories, differences, metrics and refusals."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conformance.shell import Shell, opened
from tests.support import kubectl as kubectls
from tests.support.server import Server, running

MARKERS = ("first-planted-value-73", "second-planted-value-91", "third-planted-value-58", "refused-planted-value-17")
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "RequestResponse"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("markers")
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    with running(
        folder / "data", "--nodes", "1", "--no-dns", "--log-level", "debug", "--audit-policy",
        str(folder / "policy.yaml"), "--audit-log", str(folder / "audit.log"),
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def kubectl(server: Server) -> Shell:
    newest = kubectls.newest()
    if newest is None:
        pytest.skip(kubectls.WHY_NOT)
    return opened(server, newest, "markers")


def forms() -> list[bytes]:
    """A marker as it is, and as base64 has it in each of its three places."""
    found = []
    for marker in MARKERS:
        found.append(marker.encode())
        for before in range(3):
            text = base64.b64encode(b"x" * before + marker.encode()).decode()
            found.append(text[4 if before else 0 : -4].encode())
    return found


def planted(server: Server) -> None:
    """Secrets made, applied, changed, patched, refused and deleted."""
    with server.http() as http:
        path = "/api/v1/namespaces/default/secrets"
        secret = {"metadata": {"name": "db"}, "stringData": {"password": MARKERS[0]}}
        assert http.post(path, json=secret).status_code == 201
        patch = {"stringData": {"password": MARKERS[1]}}
        kind = {"content-type": "application/merge-patch+json"}
        assert http.patch(f"{path}/db", json=patch, headers=kind).status_code == 200
        value = base64.b64encode(MARKERS[2].encode()).decode()
        steps = [{"op": "add", "path": "/data/more", "value": value}]
        kind = {"content-type": "application/json-patch+json"}
        assert http.patch(f"{path}/db", json=steps, headers=kind).status_code == 200
        wrong = [
            {"metadata": {"name": "bad"}, "data": {"password": MARKERS[3] + "!"}},
            {"metadata": {"name": "bad"}, "stringData": {"not a key!": MARKERS[3]}},
            {"metadata": {"name": "bad"}, "stringData": [MARKERS[3]]},
            {"metadata": {"name": "bad"}, "type": "kubernetes.io/tls", "stringData": {"x": MARKERS[3]}},
        ]
        for one in wrong:
            assert http.post(path, json=one).status_code in (400, 422)
        applied = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": value}}
        kind = {"content-type": "application/apply-patch+yaml"}
        conflict = http.patch(f"{path}/db?fieldManager=other", content=json.dumps(applied), headers=kind)
        assert conflict.status_code == 409
        found.update(refusals=conflict.content)


found: dict[str, bytes] = {}


def test_no_planted_value_is_in_any_file_or_output(server: Server, kubectl: Shell, tmp_path: Path) -> None:
    planted(server)
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "applied"}, "stringData": {"k": MARKERS[0]}}
    kubectl.kubectl.run("apply", "-n", "default", "-f", "-", input=json.dumps(manifest))
    manifest["stringData"] = {"k": MARKERS[1]}
    found["apply"] = kubectl.kubectl.run(
        "apply", "-n", "default", "-f", "-", input=json.dumps(manifest)
    ).stdout.encode()
    found["describe"] = kubectl.kubectl.run("describe", "secret", "-n", "default").stdout.encode()
    bundle = tmp_path / "bundle.ksql"
    for name, arguments in {
        "history": ("history", "secret/db", "-o", "yaml"), "events": ("events", "kind:Secret", "-o", "json"),
        "blame": ("blame", "secret/db"), "diff": ("diff", "secret/db", "--from", "r1", "--to", "now"),
        "whole diff": ("diff", "r1", "now"), "why": ("why", "secret/db"), "suspects": ("suspects", "secret/db"),
        "at": ("at", "now", "get", "secrets", "-o", "wide"),
        "audit": ("audit", "kind:Secret", "--bodies", "-o", "json"),
        "undo": ("undo", "--dry-run", "kind:Secret"), "export": ("export", str(bundle), "--data", str(server.data)),
        "stats": ("log", "stats", "--data", str(server.data)), "verify": ("log", "verify", "--data", str(server.data)),
        "status": ("encryption", "status", "--data", str(server.data)),
    }.items():  # fmt: skip
        done = server.ksql(*arguments, check=False)
        assert "Traceback" not in done.stderr, (name, done.stderr)
        found[name] = (done.stdout + done.stderr).encode()
    with server.http() as http:
        for path in ("/metrics", "/api/v1/events", "/debug/api_priority_and_fairness/dump_queues", "/openapi/v2"):
            found[path] = http.get(path).content
        query = (
            '{ object(kind: "Secret", namespace: "default", name: "db") { manifest history { nodes { sentence } } } }'
        )
        found["graphql"] = http.post("/graphql", json={"query": query}).content
        wrong = '{ object(kind: "Secret", namespace: "default", name: "db", at: "soon") { manifest } }'
        found["graphql error"] = http.post("/graphql", json={"query": wrong}).content
        assert b"masked" in found["graphql"] and b"masked" in found["audit"]
    # The journal of requests is written beside them.
    server.stop()
    found["server's own lines"] = server.text().encode()
    for path in [*server.data.rglob("*"), *server.data.parent.glob("*.log"), bundle]:
        if path.is_file():
            found[str(path)] = path.read_bytes()
    assert sum(path.endswith((".db", "audit.log", ".ksql")) for path in found) == 3
    leaks = [(name, form) for name, data in found.items() for form in forms() if form in data]
    assert leaks == []


def test_the_search_finds_what_is_there() -> None:
    text = base64.b64encode(b"abc" + MARKERS[0].encode())
    assert any(form in text for form in forms()) and any(form in MARKERS[3].encode() for form in forms())
