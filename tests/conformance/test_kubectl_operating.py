"""What people do to a running cluster: roll out, scale, expose, drain, taint, through the newest kubectl."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.conformance.shell import WEB, Shell, opened
from tests.support import kubectl as kubectls
from tests.support.server import Server

pytestmark = pytest.mark.kubectl

WELL = 'deployment "web" successfully rolled out\n'


def image(kubectl: Shell) -> str:
    return kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")


def revisions(kubectl: Shell) -> list[str]:
    return re.findall(r"^(\d+) ", kubectl("rollout", "history", "deployment/web"), re.MULTILINE)


def test_a_rollout_is_followed_remembered_and_undone(kubectl: Shell) -> None:
    kubectl.settled()
    assert kubectl("set", "image", "deployment/web", "nginx=example.com/web:2") == "deployment.apps/web image updated\n"
    assert kubectl("rollout", "status", "deployment/web", "--timeout=60s").endswith(WELL)
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second")
    kubectl.until(lambda: re.search(r"^2 +second$", kubectl("rollout", "history", "deployment/web"), re.MULTILINE))
    history = kubectl("rollout", "history", "deployment/web")
    assert history.startswith("deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n")
    second = kubectl("rollout", "history", "deployment/web", "--revision=2")
    assert "deployment.apps/web with revision #2" in second and "example.com/web:2" in second
    assert kubectl("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert image(kubectl) == "example.com/web:1" and revisions(kubectl) == ["2", "3"]
    kubectl("rollout", "undo", "deployment/web", "--to-revision=2")
    assert kubectl("rollout", "status", "deployment/web", "--timeout=60s").endswith(WELL)
    assert image(kubectl) == "example.com/web:2" and revisions(kubectl) == ["3", "4"]
    absent = kubectl.refused("rollout", "undo", "deployment/web", "--to-revision=77")
    assert "unable to find specified revision 77 in history" in absent
    kubectl("rollout", "pause", "deployment/web")
    assert "you cannot rollback a paused deployment" in kubectl.refused("rollout", "undo", "deployment/web")
    shown = {row["NAME"]: row["DESIRED"] for row in kubectl.rows("get", "rs")}
    assert sorted(shown.values()) == ["0", "2"]


def test_a_paused_rollout_waits_until_it_is_resumed(kubectl: Shell) -> None:
    kubectl.settled()
    assert kubectl("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert 'deployments.apps "web" is already paused' in kubectl.refused("rollout", "pause", "deployment/web")
    assert kubectl("set", "env", "deployment/web", "COLOUR=red") == "deployment.apps/web env updated\n"
    waiting = kubectl.run("rollout", "status", "deployment/web", "--timeout=1s", check=False)
    assert waiting.returncode == 1 and "timed out waiting for the condition" in waiting.stderr
    unfinished = 'Waiting for deployment "web" rollout to finish: 0 out of 2 new replicas have been updated...'
    assert unfinished in waiting.stdout
    assert len(kubectl.rows("get", "rs")) == 1
    assert kubectl("rollout", "resume", "deployment/web") == "deployment.apps/web resumed\n"
    assert kubectl("rollout", "status", "deployment/web", "--timeout=60s").endswith(WELL)
    assert "# Deployment web, container nginx\nCOLOUR=red" in kubectl("set", "env", "deployment/web", "--list")
    before = kubectl("get", "pods", "-o", "name")
    assert kubectl("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl.until(lambda: not set(before.split()) & set(kubectl("get", "pods", "-o", "name").split()))


def test_scaling_up_down_and_only_from_what_is_expected(kubectl: Shell) -> None:
    kubectl.settled()
    assert kubectl("scale", "deployment/web", "--replicas=4") == "deployment.apps/web scaled\n"
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert kubectl.rows("get", "deploy")[0]["READY"] == "4/4"
    expected = kubectl.refused("scale", "deployment/web", "--current-replicas=9", "--replicas=1")
    assert "Expected replicas to be 9, was 4" in expected
    kubectl("scale", "deploy", "--all", "--replicas=0")
    kubectl.until(lambda: not kubectl("get", "pods", "-o", "name"))
    negative = kubectl.run("scale", "deployment/web", "--replicas=-1", check=False)
    assert negative.returncode == 1 and "replicas" in negative.stderr
    (replicas,) = kubectl.rows("get", "rs")
    assert (replicas["DESIRED"], replicas["CURRENT"], replicas["READY"]) == ("0", "0", "0")


def test_a_service_is_exposed_and_finds_the_pods(kubectl: Shell) -> None:
    kubectl.settled()
    arguments = ("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    assert kubectl(*arguments) == "service/web exposed\n"
    (service,) = kubectl.rows("get", "svc", "-o", "wide")
    assert service["SELECTOR"] == "app=web" and re.fullmatch(r"80:3[0-2]\d{3}/TCP", service["PORT(S)"])
    kubectl.until(lambda: kubectl("get", "endpoints", "web").count(":8080") == 2)
    (row,) = kubectl.rows("get", "endpointslices", "-l", "kubernetes.io/service-name=web")
    assert (row["ADDRESSTYPE"], row["PORTS"], row["ENDPOINTS"].count(",")) == ("IPv4", "8080", 1)
    assert 'services "web" already exists' in kubectl.refused(*arguments)
    taken = kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    other = kubectl.refused("create", "service", "nodeport", "other", "--tcp=80", f"--node-port={taken}")
    assert f"spec.ports[0].nodePort: Invalid value: {taken}: provided port is already allocated" in other


def test_the_autoscaler_and_the_queue_of_jobs_are_kept(kubectl: Shell) -> None:
    kubectl.apply(WEB)
    made = kubectl("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=80")
    assert made == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    (row,) = kubectl.rows("get", "hpa")
    assert list(row) == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    assert (row["REFERENCE"], row["TARGETS"]) == ("Deployment/web", "cpu: <unknown>/80%")


@pytest.fixture
def node(kubectl: Shell) -> Iterator[str]:
    """A node that is given back as it was."""
    yield "node-2"
    kubectl("uncordon", "node-2")
    kubectl.run("taint", "nodes", "node-2", "only:NoSchedule-", check=False)


def test_a_node_is_cordoned_drained_and_comes_back(kubectl: Shell, node: str) -> None:
    kubectl.settled(WEB.replace("replicas: 2", "replicas: 6"))
    alone = json.dumps({"spec": {"nodeName": node}})
    kubectl("run", "alone", "--image=x", "--overrides", alone)
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"
    assert {r["NAME"]: r["STATUS"] for r in kubectl.rows("get", "nodes")}[node] == "Ready,SchedulingDisabled"
    refused = kubectl.refused("drain", node)
    assert "cannot delete Pods that declare no controller (use --force to override)" in refused
    drained = kubectl("drain", node, "--force", "--ignore-daemonsets", "--timeout=60s")
    assert f"evicting pod {kubectl.namespace}/alone" in drained and drained.endswith(f"node/{node} drained\n")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    places = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert len(places) == 6 and node not in places
    assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"


def test_a_drain_waits_for_the_disruption_budget(kubectl: Shell, node: str) -> None:
    kubectl.settled(WEB.replace("replicas: 2", "replicas: 3"))
    kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=3")

    def allowed() -> str:
        (budget,) = kubectl.rows("get", "pdb")
        return budget["ALLOWED DISRUPTIONS"]

    kubectl.until(lambda: allowed() == "0")
    refused = kubectl.refused("drain", node, "--timeout=2s", "--pod-selector=app=web")
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
    assert "pod/web-" in kubectl("get", "pods", "--field-selector", f"spec.nodeName={node}", "-o", "name")
    # One more than the budget needs: one may go, and when its successor is up, the next.
    kubectl("scale", "deployment/web", "--replicas=4")
    kubectl.until(lambda: allowed() == "1")
    kubectl("drain", node, "--timeout=60s", "--pod-selector=app=web")
    kubectl.until(lambda: allowed() == "1")
    places = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert len(places) == 4 and node not in places


def test_taints_keep_pods_away(kubectl: Shell, node: str) -> None:
    assert kubectl("taint", "nodes", node, "only=batch:NoSchedule") == f"node/{node} tainted\n"
    again = kubectl.refused("taint", "nodes", node, "only=batch:NoSchedule")
    assert f"node {node} already has only taint(s) with same effect(s) and --overwrite is false" in again
    assert "Taints:             only=batch:NoSchedule" in kubectl("describe", "node", node)
    kubectl.settled(WEB.replace("replicas: 2", "replicas: 4"))
    places = kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert len(places) == 4 and node not in places
    assert kubectl("taint", "nodes", node, "only:NoSchedule-") == f"node/{node} untainted\n"


def test_pods_follow_the_labels_of_nodes(kubectl: Shell) -> None:
    picky = json.dumps({"spec": {"nodeSelector": {"disk": kubectl.namespace}}})
    kubectl("run", "picky", "--image=x", "--overrides", picky)
    kubectl.until(lambda: "didn't match Pod's node affinity/selector" in kubectl("describe", "pod", "picky"))
    kubectl("label", "node", "node-3", f"disk={kubectl.namespace}")
    kubectl("wait", "pod/picky", "--for=condition=Ready", "--timeout=60s")
    assert kubectl.rows("get", "pods", "-o", "wide")[0]["NODE"] == "node-3"
    kubectl("label", "node", "node-3", "disk-")


@pytest.mark.parametrize("old", [k for k in kubectls.found() if k.minor == kubectls.OLDEST], ids=str)
def test_the_oldest_supported_kubectl_does_a_days_work(server: Server, old: kubectls.Kubectl) -> None:
    kubectl = opened(server, old, "oldest")
    kubectl.settled()
    assert kubectl.apply(WEB) == "deployment.apps/web unchanged\n"
    assert kubectl.rows("get", "deploy")[0]["READY"] == "2/2"
    assert kubectl("create", "cm", "c", "--from-literal=a=b") == "configmap/c created\n"
    assert kubectl("label", "cm", "c", "x=y") == "configmap/c labeled\n"
    assert kubectl("get", "cm", "-l", "x=y", "-o", "name") == "configmap/c\n"
    assert "strict decoding error" in kubectl.refused("create", "-f", "-", input=WEB.replace("replicas", "replicsa"))
    kubectl("set", "image", "deployment/web", "nginx=example.com/web:2")
    assert kubectl("rollout", "status", "deployment/web", "--timeout=60s").endswith(WELL)
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert image(kubectl) == "example.com/web:1"
    assert "2 desired" in kubectl("describe", "deployment", "web")
    assert "KIND:       Deployment" in kubectl("explain", "deployment.spec.replicas")
    diff = kubectl.run("diff", "-f", "-", input=WEB.replace("web:1", "web:3"), check=False)
    assert diff.returncode == 1 and "example.com/web:3" in diff.stdout
    kubectl("scale", "deployment/web", "--replicas=1")
    kubectl("delete", "deployment", "web")
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=60s")


GADGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.older.example.com}
spec:
  group: older.example.com
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, required: [size], properties: {size: {type: integer}}}
"""


@pytest.mark.parametrize("old", [k for k in kubectls.found() if k.minor in (27, 28)], ids=str)
def test_an_old_kubectl_reads_the_older_openapi(server: Server, old: kubectls.Kubectl) -> None:
    kubectl = opened(server, old, "older")
    told = kubectl("explain", "deployments.spec.template.spec.containers.resources", "--output=plaintext-openapiv2")
    assert "VERSION:  apps/v1" in told and "requests\t<map[string]string>" in told
    assert kubectl("create", "-f", "-", input=WEB) == "deployment.apps/web created\n"
    wrong = WEB.replace("replicas: 2", "replicas: many")
    assert "replicas" in kubectl.refused("apply", "-f", "-", input=wrong)
    kubectl.apply(GADGETS)
    gadget = "apiVersion: older.example.com/v1\nkind: Gadget\nmetadata: {name: a}\nspec: {size: %d}\n"
    kubectl.until(lambda: "created" in kubectl.run("apply", "-f", "-", input=gadget % 1, check=False).stdout)
    assert "size\t<integer> -required-" in kubectl("explain", "gadgets.spec", "--output=plaintext-openapiv2")
    # A custom resource has no strategic merge, which an old kubectl can only know from here.
    assert kubectl.apply(gadget % 2).endswith(" configured\n")
    assert kubectl.json("get", "gadget", "a")["spec"] == {"size": 2}
    kubectl("delete", "crd", "gadgets.older.example.com")
    # Lists are merged by their keys only where the schema was understood.
    assert "deployment.apps/web configured" in kubectl.apply(WEB.replace("web:1", "web:2"))
    assert image(kubectl) == "example.com/web:2"
