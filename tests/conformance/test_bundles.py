"""An incident in a file, as a person uses it: exported, opened, played again, and refused when it is broken."""

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.shell import Shell
from tests.support.kubectl import Kubectl
from tests.support.server import KSQL, Server, until

pytestmark = pytest.mark.kubectl

AGE = re.compile(r"\b(\d+[smhdy]){1,2}\b( ago)? *")


def ksql(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200", **options}
    return subprocess.run([str(KSQL), *arguments], capture_output=True, text=True, timeout=60, env=environment)


@contextlib.contextmanager
def shown(kubectl: Shell, *arguments: str) -> Iterator[Shell]:
    """`ksql open` or `ksql replay` as a process of its own, and a kubectl that looks at it."""
    command = [str(KSQL), *arguments, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert process.stdout is not None
    output = process.stdout
    reader = threading.Thread(target=lambda: lines.extend(iter(output.readline, "")), daemon=True)
    reader.start()
    try:
        until(lambda: any("KUBECONFIG=" in line for line in lines) or process.poll() is not None)
        found = re.search(r"KUBECONFIG=(\S+)", "".join(lines))
        assert found is not None, lines
        kubeconfig = Path(found[1])
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        own = Kubectl(kubectl.kubectl.path, kubectl.kubectl.minor, kubeconfig)
        yield Shell(own, kubectl.namespace)
        process.terminate()
        assert process.wait(30) == 0
        assert not kubeconfig.parent.exists(), "nothing is left behind"
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        output.close()


def graphql(shell: Shell, query: str) -> dict[str, object]:
    import httpx

    from ksql.kubeconfig import load

    assert shell.kubectl.kubeconfig is not None
    config = load(shell.kubectl.kubeconfig)
    with httpx.Client(base_url=config.server, verify=config.ssl_context(), timeout=30) as client:
        answer: dict[str, object] = client.post("/graphql", json={"query": query}).json()
        return answer


@pytest.fixture
def incident(server: Server, kubectl: Shell, tmp_path: Path) -> Path:
    """A bundle of a deployment's life and death, and of a Secret's."""
    kubectl("create", "secret", "generic", "login", "--from-literal=password=hunter22")
    kubectl.settled()
    kubectl("delete", "deploy", "web", "--cascade=foreground", "--wait")
    done = ksql("export", str(tmp_path / "incident.ksql"), "--data", str(server.data), "--redact")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {tmp_path / 'incident.ksql'}: ")
    return tmp_path / "incident.ksql"


def test_a_bundle_is_opened_like_a_cluster_that_only_reads(kubectl: Shell, incident: Path) -> None:
    questions = (("get", "events"), ("get", "cm,sa,secret"), ("get", "nodes"), ("describe", "secret", "login"))
    before = {question: kubectl(*question) for question in questions}
    with shown(kubectl, "open", str(incident)) as opened:
        for question, said in before.items():
            if question != ("describe", "secret", "login"):
                assert AGE.sub("<age>", opened(*question)) == AGE.sub("<age>", said), question
        assert "password:  31 bytes" in opened("describe", "secret", "login")
        secret = opened("get", "secret", "login", "-o", "yaml")
        assert "hunter22" not in secret and "aHVudGVyMjI" not in secret
        refused = opened.refused("delete", "secret", "login")
        assert refused.startswith("Error from server (MethodNotAllowed): this is the recording incident.ksql")
        measured = opened.refused("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
        assert "what metrics.k8s.io answers is measured or kept elsewhere, and not recorded" in measured
        told = str(opened.kubectl.kubeconfig)
        history = ksql("history", "deployment/web", "-n", opened.namespace, KUBECONFIG=told)
        assert "kubernetes-admin created deployment" in history.stdout, history
        line = next(line for line in history.stdout.splitlines() if "2 of 2 replicas ready" in line)
        path = [str(kubectl.kubectl.path), "-n", opened.namespace, "get", "pods"]
        pods = ksql("at", line.split()[0], "--", *path, KUBECONFIG=told, HOME=str(incident.parent))
        assert pods.stdout.count("Running") == 2, pods
        answer = graphql(opened, "mutation { play { revision } }")
        assert "this server plays no recording" in str(answer["errors"])


def test_a_bundle_is_played_again_and_stands_still_when_told(kubectl: Shell, incident: Path) -> None:
    with shown(kubectl, "replay", str(incident), "--paused", "--speed", "20x") as played:
        assert "No resources found" in played.run("get", "deploy").stderr
        watch = played.kubectl.start("-n", played.namespace, "get", "deploy", "-w", "--no-headers")
        lines: list[str] = []
        assert watch.stdout is not None
        output = watch.stdout
        reader = threading.Thread(target=lambda: lines.extend(iter(output.readline, "")), daemon=True)
        reader.start()
        try:
            stepped = graphql(played, "mutation { step(events: 3) { revision playing first last } }")["data"]
            assert stepped["step"]["revision"] == stepped["step"]["first"] + 3  # type: ignore[index]
            graphql(played, "mutation { play { playing } }")
            until(lambda: any("2/2" in line for line in lines))
            until(lambda: graphql(played, "{ playback { ended } }")["data"]["playback"]["ended"])  # type: ignore[index]
            assert "No resources found" in played.run("get", "deploy").stderr
            back = graphql(played, 'mutation { seek(to: "r2") { revision ended } pause { playing } }')["data"]
            assert back["seek"] == {"revision": 2, "ended": False}  # type: ignore[index]
            wrong = graphql(played, 'mutation { seek(to: "r99999") { revision } }')
            assert "r99999 is not in this recording: it goes from r0 to r" in str(wrong["errors"])
            assert graphql(played, "mutation { setSpeed(times: 0) { speed } }")["errors"]
        finally:
            watch.terminate()
            watch.wait()
            reader.join(5)
            output.close()


def test_what_is_no_bundle_any_more_is_refused_and_leaves_nothing(incident: Path) -> None:
    data = incident.read_bytes()
    broken = incident.with_name("broken.ksql")
    for content, message in (
        (data[: len(data) // 2], "broken.ksql is cut off, or damaged: the frame at byte "),
        (data[:500] + bytes([data[500] ^ 1]) + data[501:], "broken.ksql is damaged: the frame at byte "),
        (data[:8] + b"\x00\x09" + data[10:], "of version 9: this ksql reads versions up to 2, use a newer one\n"),
        (b"hello", "broken.ksql is no ksql bundle\n"),
        (b"", "broken.ksql is no ksql bundle\n"),
    ):
        broken.write_bytes(content)
        for command in ("open", "replay"):
            done = ksql(command, str(broken), "--listen", "127.0.0.1:0", TMPDIR=str(incident.parent))
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.startswith(f"ksql: {broken} ") or "broken.ksql" in done.stderr
            assert message in done.stderr
    assert sorted(path.name for path in incident.parent.iterdir() if path.name.startswith("ksql-")) == []


def test_a_bundle_of_another_minor_is_opened_as_that_or_refused(kubectl: Shell, server: Server, tmp_path: Path) -> None:
    from ksql.log.bundle import END, Header, Reader, Writer

    path = tmp_path / "older.ksql"
    assert ksql("export", str(path), "--data", str(server.data), "--kubernetes-version", "1.34").returncode == 0
    with shown(kubectl, "open", str(path)) as opened:
        assert json.loads(opened("version", "-o", "json"))["serverVersion"]["minor"] == "34"
    with Reader(path) as reader:
        frames, header, end = list(reader.frames()), reader.header, reader.end
    with Writer(path) as writer:
        writer.header(Header(header.first, header.last, header.since, header.until, "9.99", header.written, header.by))
        for kind, body in frames:
            writer._write(kind, body)
        writer._write(END, json.dumps(end).encode())
    done = ksql("open", str(path), "--listen", "127.0.0.1:0")
    assert done.returncode == 2 and f"{path} is of a Kubernetes '9.99': this ksql serves " in done.stderr, done


def test_an_export_that_cannot_be_is_refused(server: Server, tmp_path: Path) -> None:
    file, data = str(tmp_path / "x.ksql"), str(server.data)
    for arguments, message in (
        (("--from", "5s", "--to", "r1"), "--to (r1) is before --from (r"),
        (("--from", "r9999999"), "r9999999 is after the head: the newest revision is r"),
        (("--from", "soon"), '"soon" is no moment: give a revision'),
        (("--redact-field", "data"), '"data" is no rule: write KIND:PATH, such as ConfigMap:data.password'),
    ):
        done = ksql("export", file, "--data", data, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert message in done.stderr
    (tmp_path / "there.ksql").write_text("mine")
    done = ksql("export", str(tmp_path / "there.ksql"), "--data", data)
    assert done.returncode == 2 and "is there already: --force writes over it" in done.stderr
    done = ksql("export", str(tmp_path / "nowhere" / "x.ksql"), "--data", data)
    assert done.returncode == 2 and "is no directory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there.ksql"]
