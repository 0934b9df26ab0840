"""A Secret's value, wherever the past is told: in no output of any command unless it was asked for by its own word."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.shell import Shell
from tests.support.server import Server

MARKS = ("marker-one-of-the-secret", "marker-two-of-the-secret")
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: "%s"}
"""
COMMANDS = (
    "history secret/login --diff", "history secret/login --diff -o json", "history field:data.password --diff -o yaml",
    "events kind:Secret -o json", "blame secret/login --show-managed-fields", "blame secret/login -o json",
    "diff r1 now -o yaml", "diff r{created} now secret/login", "diff r{created} now secret/login -o json",
    "why secret/login -o json", "then r{created} -o json", "suspects secret/login -o yaml",
    "undo r{changed} --dry-run", "undo r{changed} --dry-run -o json", "restore secret/login --at r{created} --dry-run",
    "restore secret/login --at r{created} --dry-run -o yaml", "at r{created} get secret login -o yaml",
    "at now get secrets", "audit -o json", "audit -o csv", "log stats --data {data}",
)  # fmt: skip


def spellings() -> list[bytes]:
    """How the values could be spelled: as they are, and in base64 at each of its three offsets."""
    found = []
    for mark in MARKS:
        found.append(mark.encode())
        for offset in range(3):
            # What depends on the bytes around it is cut off.
            found.append(base64.b64encode(b" " * offset + mark.encode())[4:-4])
    return found


def test_the_values_of_secrets_are_in_no_output(kubectl: Shell, server: Server, tmp_path: Path) -> None:
    # kubectl apply leaves a copy of the values in an annotation, too.
    kubectl.apply(SECRET % MARKS[0])
    kubectl.apply(SECRET % MARKS[1])
    nodes = server.graphql(
        f'{{history(kind: "secret", namespace: "{kubectl.namespace}", name: "login") {{nodes {{revision}}}}}}'
    )["history"]["nodes"]
    changed, created = (str(node["revision"]).removeprefix("r") for node in nodes)

    def output(command: str) -> tuple[str, str]:
        words = command.format(created=created, changed=changed, data=server.data).split()
        here = [] if words[0] in ("log", "proof", "audit") else ["-n", kubectl.namespace]
        done = server.ksql(*words, *here, check=False)
        return command, f"{done.returncode} {done.stdout}{done.stderr}"

    with ThreadPoolExecutor(4) as pool:
        told = dict(pool.map(output, COMMANDS))
    redacted, whole = tmp_path / "redacted.ksql", tmp_path / "whole.ksql"
    server.ksql("export", str(redacted), "--redact", "--data", str(server.data))
    server.ksql("export", str(whole), "--reveal", "--data", str(server.data))
    for command, text in told.items():
        # The answer is there, with its words about the Secret, not a refusal that could not hold a value.
        assert text.startswith("0 "), (command, text)
        for spelled in spellings():
            assert spelled not in text.encode(), (command, text)
    assert "data.password: changed, 24 bytes" in told["history secret/login --diff"]
    inside = {path: _payloads(path) for path in (redacted, whole)}
    assert not any(spelled in inside[redacted] for spelled in spellings())
    assert all(any(spelled in inside[whole] for spelled in spellings()[at : at + 4]) for at in (0, 4))
    # By its own word it is told, or the test would pass on a cluster without Secrets.
    reveal = f"at r{created} get secret login -o json --reveal -n {kubectl.namespace}"
    shown = server.ksql(*reveal.split())
    assert base64.b64encode(MARKS[0].encode()).decode() in shown.stdout


def _payloads(bundle: Path) -> bytes:
    from ksql.log.bundle import CHECKPOINT, EVENTS, Reader

    with Reader(bundle) as reader:
        return b"".join(
            event.payload
            for kind, body in reader.frames()
            if kind in (CHECKPOINT, EVENTS)
            for event in reader.events(body)
        )
