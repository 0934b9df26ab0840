"""What people read: tables, descriptions, explanations and the server's own pages, through the newest kubectl."""

import json
import re

import pytest
import yaml

from tests.conformance.shell import SETTINGS, WEB, Shell, table

pytestmark = pytest.mark.kubectl

AGE = re.compile(r"\d+[smhd](\d+[smh])?")


def headers(text: str) -> list[str]:
    return list(table(text)[0])


def test_pods_show_the_columns_people_know(kubectl: Shell) -> None:
    kubectl.settled()
    pods = kubectl("get", "pods")
    assert headers(pods) == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    for row in table(pods):
        assert re.fullmatch(r"web-[a-z0-9]{9,10}-[a-z0-9]{5}", row["NAME"])
        assert (row["READY"], row["STATUS"], row["RESTARTS"]) == ("1/1", "Running", "0")
        assert AGE.fullmatch(row["AGE"])
    wide = kubectl("get", "pods", "-o", "wide")
    assert headers(wide)[5:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    for row in table(wide):
        assert row["IP"].startswith("10.") and row["NODE"].startswith("node-")
        assert (row["NOMINATED NODE"], row["READINESS GATES"]) == ("<none>", "<none>")
    assert "LABELS" in headers(kubectl("get", "pods", "--show-labels"))
    assert headers(kubectl("get", "pods", "-L", "app"))[-1] == "APP"


def test_workloads_show_the_columns_people_know(kubectl: Shell) -> None:
    kubectl.settled()
    (deployment,) = kubectl.rows("get", "deploy", "-o", "wide")
    assert list(deployment) == [
        "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR",
    ]  # fmt: skip
    deployment.pop("AGE")
    assert list(deployment.values()) == ["web", "2/2", "2", "2", "nginx", "example.com/web:1", "app=web"]
    (replicas,) = kubectl.rows("get", "rs")
    assert list(replicas) == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert list(replicas.values())[1:4] == ["2", "2", "2"]
    kubectl("create", "job", "once", "--image=busybox", "--", "true")
    (job,) = kubectl.rows("get", "jobs")
    assert list(job) == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert job["COMPLETIONS"] == "0/1"


def test_the_rest_of_the_tables(kubectl: Shell) -> None:
    kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    (service,) = kubectl.rows("get", "svc")
    assert list(service) == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert (service["TYPE"], service["EXTERNAL-IP"], service["PORT(S)"]) == ("ClusterIP", "<none>", "80/TCP")
    kubectl.apply(SETTINGS)
    maps = {row["NAME"]: row["DATA"] for row in kubectl.rows("get", "cm")}
    assert maps["settings"] == "2" and kubectl.until(lambda: "kube-root-ca.crt" in kubectl("get", "cm"))
    kubectl("create", "secret", "generic", "password", "--from-literal=key=s3cret")
    (secret,) = kubectl.rows("get", "secrets")
    assert list(secret.items())[:3] == [("NAME", "password"), ("TYPE", "Opaque"), ("DATA", "1")]
    namespaces = {row["NAME"]: row["STATUS"] for row in kubectl.rows("get", "ns")}
    assert namespaces["default"] == namespaces["kube-system"] == namespaces[kubectl.namespace] == "Active"
    nodes = kubectl.rows("get", "nodes", "-o", "wide")
    assert list(nodes[0]) == [
        "NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION",
        "CONTAINER-RUNTIME",
    ]  # fmt: skip
    assert [(n["NAME"], n["STATUS"], n["ROLES"]) for n in nodes] == [
        (f"node-{i}", "Ready", "<none>") for i in (1, 2, 3)
    ]


def test_every_way_to_print(kubectl: Shell) -> None:
    kubectl.apply(SETTINGS)
    assert kubectl("get", "cm", "settings", "-o", "name") == "configmap/settings\n"
    as_json = kubectl.json("get", "cm", "settings")
    as_yaml = yaml.safe_load(kubectl("get", "cm", "settings", "-o", "yaml"))
    assert as_json == as_yaml and as_json["data"] == {"colour": "blue", "size": "large"}
    assert list(as_yaml) == ["apiVersion", "data", "kind", "metadata"]
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "blue"
    assert kubectl("get", "cm", "settings", "-o", "go-template={{.data.size}}") == "large"
    columns = "custom-columns=NAME:.metadata.name,COLOUR:.data.colour"
    assert kubectl.rows("get", "cm", "settings", "-o", columns) == [{"NAME": "settings", "COLOUR": "blue"}]
    listed = kubectl.json("get", "cm,sa", "-l", "app=web")
    assert (listed["kind"], [o["kind"] for o in listed["items"]]) == ("List", ["ConfigMap"])


def test_selectors_sorting_and_chunks_choose_and_order(kubectl: Shell) -> None:
    for name, label, order in (("c", "x", "3"), ("a", "x", "2"), ("b", "y", "1")):
        kubectl("create", "cm", name, f"--from-literal=order={order}")
        kubectl("label", "cm", name, f"set={label}")

    def names(*arguments: str) -> str:
        return kubectl("get", "cm", "-l", "set", "-o", "jsonpath={.items[*].metadata.name}", *arguments)

    assert names() == "a b c"
    assert names("--sort-by=.data.order") == "b a c"
    assert names("--chunk-size=1") == "a b c"
    assert names("--field-selector=metadata.name!=a") == "b c"
    assert kubectl("get", "cm", "-l", "set in (x),set!=y", "-o", "name") == "configmap/a\nconfigmap/c\n"
    everywhere = kubectl.rows("get", "cm", "-A", "-l", "set=y")
    assert [(row["NAMESPACE"], row["NAME"]) for row in everywhere] == [(kubectl.namespace, "b")]
    unknown = '"data.order" is not a known field selector: only "metadata.name", "metadata.namespace"'
    assert unknown in kubectl.refused("get", "cm", "--field-selector=data.order=1")
    assert "field label not supported: spec.x" in kubectl.refused("get", "pods", "--field-selector=spec.x=1")
    assert "unable to parse requirement: found 'b' expected: '('" in kubectl.refused("get", "cm", "-l", "a in b")


def test_get_all_groups_what_belongs_to_an_application(kubectl: Shell) -> None:
    kubectl.settled()
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    shown = kubectl("get", "all")
    assert re.findall(r"^([a-z.]+)/", shown, re.MULTILINE) == [
        "pod", "pod", "service", "deployment.apps", "replicaset.apps",
    ]  # fmt: skip


def test_what_is_not_there_is_said_in_the_known_words(kubectl: Shell) -> None:
    assert kubectl.refused("get", "pods", "x") == 'Error from server (NotFound): pods "x" not found\n'
    assert 'deployments.apps "x" not found' in kubectl.refused("get", "deploy", "x")
    assert 'the server doesn\'t have a resource type "gizmos"' in kubectl.refused("get", "gizmos")
    assert kubectl.run("get", "pods").stderr == f"No resources found in {kubectl.namespace} namespace.\n"
    assert kubectl.run("get", "pods", "-A", "-l", "no=body").stderr == "No resources found\n"


def test_a_watch_prints_rows_as_they_change(kubectl: Shell) -> None:
    kubectl.apply(SETTINGS)
    watching = kubectl.kubectl.start(
        "-n", kubectl.namespace, "get", "cm", "-l", "app=web", "-w", "--output-watch-events"
    )
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().split() == ["EVENT", "NAME", "DATA", "AGE"]
        assert watching.stdout.readline().split()[:3] == ["ADDED", "settings", "2"]
        kubectl("patch", "cm", "settings", "-p", '{"data":{"extra":"1"}}')
        assert watching.stdout.readline().split()[:3] == ["MODIFIED", "settings", "3"]
        kubectl("label", "cm", "settings", "app-")
        assert watching.stdout.readline().split()[:2] == ["DELETED", "settings"]
    finally:
        watching.kill()
        watching.wait()


def test_a_pod_and_its_deployment_are_described(kubectl: Shell) -> None:
    kubectl.settled()
    pod = kubectl("describe", "pod", "-l", "app=web")
    for line in (
        r"^Priority: +0$", r"^Service Account: +default$", r"^Node: +node-\d/", r"^Status: +Running$",
        r"^Controlled By: +ReplicaSet/web-", r"^    Image: +example.com/web:1$", r"^    State: +Running$",
        r"^  Ready +True ?$", r"^QoS Class: +Burstable$", r"^Tolerations: +node.kubernetes.io/not-ready:NoExecute",
    ):  # fmt: skip
        assert re.search(line, pod, re.MULTILINE), line
    said = re.findall(r"^  Normal +(\w+) ", pod, re.MULTILINE)
    assert {"Scheduled", "Pulled", "Created", "Started"} <= set(said)
    assert f"Successfully assigned {kubectl.namespace}/web-" in pod
    deployment = kubectl("describe", "deployment", "web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in deployment
    assert "25% max unavailable, 25% max surge" in deployment
    assert re.search(r"Available +True +MinimumReplicasAvailable", deployment)
    assert re.search(r"Progressing +True +NewReplicaSetAvailable", deployment)
    assert re.search(r"NewReplicaSet: +web-\w+ \(2/2 replicas created\)", deployment)
    assert re.search(r"Scaled up replica set web-\w+ from 0 to 2", deployment)


def test_a_service_a_node_and_a_namespace_are_described(kubectl: Shell) -> None:
    kubectl.settled()
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    endpoints = re.compile(r"Endpoints: +(10\S+:8080,10\S+:8080)\n")
    found = kubectl.until(lambda: endpoints.search(kubectl("describe", "service", "web")))
    addresses = kubectl("get", "pods", "-o", "jsonpath={.items[*].status.podIP}").split()
    assert sorted(found[1].split(",")) == sorted(f"{address}:8080" for address in addresses)
    node = kubectl("describe", "node", "node-1")
    for line in (
        r"^Taints: +<none>$", r"^Unschedulable: +false$", r"^  HolderIdentity: +node-1$",
        r"^  Ready +True .*KubeletReady", r"^  InternalIP: ", r"^  cpu: +\d+", r"^Non-terminated Pods: ",
        r"^PodCIDR: +10\.",
    ):  # fmt: skip
        assert re.search(line, node, re.MULTILINE), line
    namespace = kubectl("describe", "namespace", kubectl.namespace)
    assert f"kubernetes.io/metadata.name={kubectl.namespace}" in namespace
    assert re.search(r"^Status: +Active$", namespace, re.MULTILINE)


def test_a_pod_that_fits_nowhere_says_why(kubectl: Shell) -> None:
    kubectl("run", "huge", "--image=x", "--overrides", json.dumps(
        {"spec": {"containers": [{"name": "huge", "image": "x", "resources": {"requests": {"cpu": "999"}}}]}}
    ))  # fmt: skip
    kubectl.until(lambda: "FailedScheduling" in kubectl("describe", "pod", "huge"))
    described = kubectl("describe", "pod", "huge")
    refusal = r"Warning +FailedScheduling .*default-scheduler +0/3 nodes are available: 3 Insufficient cpu"
    assert re.search(refusal, described)
    assert kubectl.rows("get", "pods")[0]["STATUS"] == "Pending"


def test_events_are_listed_in_both_ways(kubectl: Shell) -> None:
    kubectl.settled()
    rows = kubectl.rows("get", "events", "--sort-by=.lastTimestamp")
    assert list(rows[0]) == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert ("Normal", "ScalingReplicaSet", "deployment/web") in {
        (r["TYPE"], r["REASON"], r["OBJECT"]) for r in rows
    }
    told = kubectl("events", "--for", "deployment/web")
    assert "ScalingReplicaSet" in told and "Pulled" not in told
    chosen = kubectl.rows("get", "events", "--field-selector", "involvedObject.kind=Pod,reason=Scheduled")
    assert len(chosen) == 2


def test_the_catalogue_of_resources_is_that_of_kubernetes(kubectl: Shell) -> None:
    rows = {(r["NAME"], r["APIVERSION"]): r for r in kubectl.rows("api-resources")}
    assert rows["deployments", "apps/v1"] == {
        "NAME": "deployments", "SHORTNAMES": "deploy", "APIVERSION": "apps/v1", "NAMESPACED": "true",
        "KIND": "Deployment",
    }  # fmt: skip
    assert rows["nodes", "v1"]["NAMESPACED"] == "false" and rows["ingresses", "networking.k8s.io/v1"]
    assert len(rows) > 55
    verbs = kubectl("api-resources", "--api-group=apps", "--verbs=list,watch", "-o", "wide")
    assert "create,delete,deletecollection,get,list,patch,update,watch" in verbs
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "autoscaling/v2", "rbac.authorization.k8s.io/v1"} <= set(versions)


def test_fields_are_explained(kubectl: Shell) -> None:
    assert "replicas\t<integer>" in kubectl("explain", "deployment.spec")
    told = kubectl("explain", "pod.spec.containers.image")
    assert "KIND:       Pod" in told and "FIELD: image <string>" in told
    tree = kubectl("explain", "deployment.spec.strategy", "--recursive")
    assert "rollingUpdate\t<RollingUpdateDeployment>" in tree and "    maxSurge\t<IntOrString>" in tree
    assert 'field "nosuch" does not exist' in kubectl.refused("explain", "pods.spec.nosuch")


def test_the_servers_own_pages(kubectl: Shell) -> None:
    assert kubectl("get", "--raw", "/healthz") == "ok"
    ready = kubectl("get", "--raw", "/readyz?verbose")
    assert "[+]ping ok\n" in ready and ready.endswith("readyz check passed\n")
    assert "# TYPE apiserver_request_total counter" in kubectl("get", "--raw", "/metrics")
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "35")
    assert "Kubernetes control plane" in kubectl("cluster-info")
    assert json.loads(kubectl("get", "--raw", "/api/v1/namespaces/default"))["kind"] == "Namespace"
    assert "NotFound" in kubectl.refused("get", "--raw", "/nosuch")


def test_waiting_ends_when_what_is_waited_for_is_there(kubectl: Shell) -> None:
    kubectl.apply(WEB)
    waited = kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=60s")
    assert waited == "deployment.apps/web condition met\n"
    pods = kubectl("wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=60s")
    assert pods.count("condition met") == 2
    kubectl("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=60s")
    refused = kubectl.refused("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=9", "--timeout=1s")
    assert "timed out waiting for the condition on deployments/web" in refused
    kubectl("delete", "deployment", "web", "--wait=false")
    kubectl("wait", "deployment/web", "--for=delete", "--timeout=60s")


def test_who_am_i_and_may_i(kubectl: Shell) -> None:
    who = {row["ATTRIBUTE"]: row["VALUE"] for row in kubectl.rows("auth", "whoami")}
    assert who["Username"] == "kubernetes-admin" and "system:masters" in who["Groups"]
    assert kubectl("auth", "can-i", "create", "deployments.apps") == "yes\n"
    denied = kubectl.run("auth", "can-i", "create", "pods", "--as=bob", check=False)
    assert (denied.returncode, denied.stdout) == (1, "no\n")
    everything = kubectl("auth", "can-i", "--list")
    assert re.search(r"^\*\.\* +\[\] +\[\] +\[\*\]$", everything, re.MULTILINE)
    assert "/healthz" in kubectl("auth", "can-i", "--list", "--as=bob")
    forbidden = kubectl.refused("get", "pods", "--as=bob")
    assert (
        'Error from server (Forbidden): pods is forbidden: User "bob" cannot list resource "pods" '
        f'in API group "" in the namespace "{kubectl.namespace}"'
    ) in forbidden
