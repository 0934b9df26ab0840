"""Old events go from a running server's log, by its own hand; every answer about them says that they are gone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.shell import WEB, Shell
from tests.support import kubectl as kubectls
from tests.support.server import Server, running

CUT = r"up to r\d+ events were dropped of deployments.apps, configmaps in default \(r\d+\)"
ASKED = """{
  history(kind: "configmap", namespace: "default", name: "settings") {cuts nodes {revision}}
  blame(ref: {kind: "deployment", namespace: "default", name: "web"}) {cuts}
  suspects(ref: {kind: "deployment", namespace: "default", name: "web"}) {cuts}
  effects(revision: 1) {cuts}
  births: search(query: "kind:Pod ns:default verb:create", namespace: "default") {
    hits {event {subresource causes {root cuts}}}
  }
  cuts
}"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A cluster whose deployment was brought up by an earlier run: what that wrote is sealed."""
    newest = kubectls.newest()
    if newest is None:
        pytest.skip(kubectls.WHY_NOT)
    with running(tmp_path / "data", "--nodes", "1") as first:
        kubectl = Shell(newest.at(first.kubeconfig), "default")
        kubectl.settled(WEB)
        # An event stays where its page holds others that are needed: of several that are not, some go.
        for replicas in range(3, 9):
            kubectl("scale", "deployment", "web", f"--replicas={replicas}")
            kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        kubectl("create", "configmap", "settings", "--from-literal=a=1")
        for value in "23":
            kubectl("patch", "configmap", "settings", "-p", f'{{"data":{{"a":"{value}"}}}}')
        kubectl("create", "configmap", "gone")
        kubectl("delete", "configmap", "gone")
        first.stop()
    with running(tmp_path / "data", "--nodes", "1") as again:
        yield again


def test_a_running_server_lets_old_events_go_and_says_so_ever_after(server: Server) -> None:
    def asked() -> Any:
        found = server.graphql(ASKED)
        hits = [hit["event"] for hit in found["births"]["hits"]]
        return {**found, "births": [event["causes"] for event in hits if not event["subresource"]]}

    before = asked()
    assert len(before["history"]["nodes"]) == 3 and not re.search(CUT, str(before))
    assert [birth["root"] for birth in before["births"]] == ["PERSON"] * 8

    drop = ("log", "drop", "--older-than", "0s", "--kind", "deployments.apps", "--kind", "configmaps", "-n", "default")
    told = server.ksql(*drop, "--dry-run", "--data", str(server.data))
    assert re.match(r"would go up to r\d+: \d+ events", told.stdout), told
    done = server.ksql(*drop, "--data", str(server.data))
    assert re.match(r"up to r\d+: .*\d+ dropped; recorded as r\d+\n$", done.stdout), done

    after = asked()
    # What lives stays as it is, and what its image stands on.
    assert 1 <= len(after["history"]["nodes"]) < 3
    for words in ("history", "blame", "suspects", "effects"):
        assert re.fullmatch(CUT, *after[words]["cuts"]), words
    # What made the deployment is what its image stands on; what scaled it, of which other pods came, is not.
    ends = {(birth["root"], len(birth["cuts"])) for birth in after["births"]}
    assert ends == {("HORIZON", 1), ("PERSON", 0)}
    blame = server.ksql("blame", "deployment/web", "-n", "default")
    assert re.search(f"not whole: {CUT}", blame.stderr)
    # Of what went whole nobody knows any more whether it ever was.
    gone = server.ksql("history", "configmap/gone", "-n", "default", check=False)
    assert gone.returncode == 2 and re.search(rf"the log has never seen one \({CUT}\)", gone.stderr), gone
    assert "verified: " in server.ksql("log", "verify", "--data", str(server.data)).stdout
