"""Relations lead both ways, at the moment that a row is seen from, and cost a read a resource, never one a row."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.history.story import ALICE, Story
from tests.serve.gql_door import Door, opened
from tests.serve.test_gql_authorization import CAROL, Only

Q = dict[str, Any]


async def shop(told: Story) -> None:
    """A namespace in which everything leads to everything else."""

    async def make(resource: str, api: str, kind: str, name: str, *, namespace: str = "shop", **more: Any) -> Any:
        return await told.create(resource, api, kind, name, ALICE, namespace=namespace, **more)

    pod: Q = {
        "nodeName": "node-1", "serviceAccountName": "runner", "containers": [
            {"name": "main", "envFrom": [{"configMapRef": {"name": "env"}}],
             "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}]}],
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}},
                    {"name": "c", "configMap": {"name": "files"}}],
    }  # fmt: skip
    job = await make("jobs.batch", "batch/v1", "Job", "once", spec={})
    await make("pods", "v1", "Pod", "once-1", owner=job, labels={"app": "shop"}, spec=pod)
    await make("pods", "v1", "Pod", "loose", labels={"app": "other"}, spec={"nodeName": "node-2"})
    await make("services", "v1", "Service", "shop", spec={"selector": {"app": "shop"}})
    await make("services", "v1", "Service", "outside", spec={})
    for name in ("env", "files", "unused"):
        await make("configmaps", "v1", "ConfigMap", name, data={})
    await make("secrets", "v1", "Secret", "keys", data={"a": "YQ=="})
    await make("serviceaccounts", "v1", "ServiceAccount", "runner")
    await make("persistentvolumeclaims", "v1", "PersistentVolumeClaim", "disk", spec={"volumeName": "pv-1"})
    claim = {"namespace": "shop", "name": "disk"}
    await make("persistentvolumes", "v1", "PersistentVolume", "pv-1", namespace="", spec={"claimRef": claim})
    everyone: Q = {"podSelector": {}}
    some = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}}
    for name, spec in (("all", everyone), ("others", some)):
        await make("networkpolicies.networking.k8s.io", "networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)
    slice_: Q = {"endpoints": [{"targetRef": {"kind": "Pod", "name": "once-1", "namespace": "shop"}}]}
    await make(
        "endpointslices.discovery.k8s.io", "discovery.k8s.io/v1", "EndpointSlice", "shop-x",
        labels={"kubernetes.io/service-name": "shop"}, **slice_,
    )  # fmt: skip
    await make(
        "rolebindings.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "RoleBinding", "reads",
        namespace="default", roleRef={"kind": "ClusterRole", "name": "view"},
        subjects=[{"kind": "ServiceAccount", "name": "runner", "namespace": "shop"}],
    )  # fmt: skip
    await make(
        "clusterroles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "ClusterRole", "view", namespace=""
    )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with opened() as found:
        await shop(found.story)
        yield found


def one(kind: str, name: str, selection: str, namespace: str = "shop", at: str = "") -> str:
    where = f'namespace: "{namespace}", ' if namespace else ""
    return f'{{ {kind}({where}name: "{name}"{at}) {{ {selection} }} }}'


def names(found: Any) -> Any:
    return [node["name"] for node in found["nodes"]]


POD = """node { name } serviceAccount { name } configMaps { nodes { name } } secrets { nodes { name } }
  persistentVolumeClaims { nodes { name volume { name claim { name } } } } services { nodes { name } }
  networkPolicies { nodes { name } } job { name } deployment { name } endpointSlices { nodes { service { name } } }"""


async def test_a_pod_leads_to_all_that_it_uses_and_that_means_it(door: Door) -> None:
    found = (await door.ask(one("pod", "once-1", POD)))["pod"]
    assert found["node"] == {"name": "node-1"}
    assert found["serviceAccount"] == {"name": "runner"}
    assert names(found["configMaps"]) == ["env", "files"]
    assert names(found["secrets"]) == ["keys"]
    (claim,) = found["persistentVolumeClaims"]["nodes"]
    assert claim == {"name": "disk", "volume": {"name": "pv-1", "claim": {"name": "disk"}}}
    assert names(found["services"]) == ["shop"]
    assert names(found["networkPolicies"]) == ["all"]
    assert (found["job"], found["deployment"]) == ({"name": "once"}, None)
    assert found["endpointSlices"]["nodes"] == [{"service": {"name": "shop"}}]


@pytest.mark.parametrize(
    ("kind", "name", "selection", "expected"),
    [
        ("configMap", "env", "pods { nodes { name } }", ["once-1"]),
        ("configMap", "unused", "pods { nodes { name } }", []),
        ("secret", "keys", "pods { nodes { name } }", ["once-1"]),
        ("serviceAccount", "runner", "pods { nodes { name } }", ["once-1"]),
        ("persistentVolumeClaim", "disk", "pods { nodes { name } }", ["once-1"]),
        ("service", "shop", "pods { nodes { name } }", ["once-1"]),
        ("service", "outside", "pods { nodes { name } }", []),
        ("networkPolicy", "all", "pods { nodes { name } }", ["loose", "once-1"]),
        ("networkPolicy", "others", "pods { nodes { name } }", ["loose"]),
        ("job", "once", "pods { nodes { name } }", ["once-1"]),
        ("service", "shop", "endpointSlices { nodes { name } }", ["shop-x"]),
        ("serviceAccount", "runner", "roleBindings { nodes { name } }", ["reads"]),
    ],
)
async def test_the_way_back(door: Door, kind: str, name: str, selection: str, expected: list[str]) -> None:
    (found,) = (await door.ask(one(kind, name, selection)))[kind].values()
    assert names(found) == expected


async def test_of_the_whole_cluster_and_over_several_steps(door: Door) -> None:
    found = await door.ask(
        """{ kubeNode(name: "node-2") { pods { nodes { name namespace } totalCount } }
             deployment(namespace: "default", name: "web") {
               replicaSets { nodes { name deployment { name } } }
               pods(orderBy: [{path: "metadata.name", direction: DESC}], first: 1) {
                 nodes { name deployment { name } replicaSet { name } } totalCount pageInfo { hasNextPage } } }
             clusterRole(name: "view") { roleBindings { nodes { name serviceAccounts { nodes { namespace } } } } }
             persistentVolume(name: "pv-1") { claim { namespace name } } }"""
    )
    assert [(n["namespace"], n["name"]) for n in found["kubeNode"]["pods"]["nodes"]] == [
        ("default", "web-abc-2"), ("default", "web-abc-3"), ("shop", "loose"),
    ]  # fmt: skip
    web = found["deployment"]
    assert web["replicaSets"]["nodes"] == [{"name": "web-abc", "deployment": {"name": "web"}}]
    (last,) = web["pods"]["nodes"]
    assert last == {"name": "web-abc-3", "deployment": {"name": "web"}, "replicaSet": {"name": "web-abc"}}
    assert (web["pods"]["totalCount"], web["pods"]["pageInfo"]["hasNextPage"]) == (2, True)
    (binding,) = found["clusterRole"]["roleBindings"]["nodes"]
    assert binding["serviceAccounts"]["nodes"] == [{"namespace": "shop"}]
    assert found["persistentVolume"]["claim"] == {"namespace": "shop", "name": "disk"}


async def test_relations_are_chosen_from_as_lists_are(door: Door) -> None:
    selection = """pods(where: {metadata: {name: {like: "l*"}}}, phases: []) { totalCount }
      other: pods(namePattern: "l*") { totalCount }"""
    found = (await door.ask(one("networkPolicy", "all", selection)))["networkPolicy"]
    assert (found["pods"]["totalCount"], found["other"]["totalCount"]) == (0, 1)


async def test_relations_hold_at_the_moment_that_a_row_is_seen_from(door: Door) -> None:
    up = door.story.marks["up"]
    query = "{ kubeNodes(at: %d) { nodes { name pods { nodes { name replicaSet { spec { replicas } } } } } } }"
    then = (await door.ask(query % up))["kubeNodes"]["nodes"]
    assert [(n["name"], names(n["pods"])) for n in then] == [("node-1", ["web-abc-1"]), ("node-2", ["web-abc-2"])]
    assert then[0]["pods"]["nodes"][0]["replicaSet"]["spec"] == {"replicas": 2}, "as it was, not as it is"


async def test_a_thousand_rows_cost_one_read_a_resource(door: Door) -> None:
    told = door.story
    for at in range(40):
        await told.create(
            "pods", "v1", "Pod", f"many-{at:02}", ALICE, namespace="shop", labels={"app": "shop"},
            spec={"nodeName": f"node-{at % 2 + 1}", "serviceAccountName": "runner"},
        )  # fmt: skip
    at = told.log.head
    await told.create("pods", "v1", "Pod", "later", ALICE, namespace="shop", spec={"nodeName": "node-1"})
    for resource in ("nodes", "serviceaccounts", "services"):  # what changed since cannot be taken from memory
        namespace = "" if resource == "nodes" else "shop"
        kind = {"nodes": "Node", "serviceaccounts": "ServiceAccount", "services": "Service"}[resource]
        await told.create(resource, "v1", kind, "later", ALICE, namespace=namespace)
    reads = counted(told)
    query = """{ pods(at: %d, namespace: "shop", first: 100) { totalCount nodes {
      name node { name pods { totalCount } } serviceAccount { name } services { nodes { name } } } } }"""
    found = (await door.ask(query % at))["pods"]
    assert found["totalCount"] == 42
    assert all(n["node"]["name"] in ("node-1", "node-2") for n in found["nodes"])
    assert reads() <= 6, "pods of the namespace and of all, nodes, accounts, services"


def counted(told: Story) -> Callable[[], int]:
    """How often the log was read from now on."""
    calls = 0
    log: Any = told.log

    def counting(name: str) -> None:
        read = getattr(log, name)

        async def called(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            return await read(*args, **options)

        setattr(log, name, called)

    for name in ("at", "read", "event", "events", "preceding", "chain"):
        counting(name)
    return lambda: calls


async def test_who_may_not_see_what_a_relation_leads_to_is_told_how_many_at_most() -> None:
    async with opened(CAROL, Only(("pods", "services"), "shop")) as door:
        await shop(door.story)
        more = " configMapsToo: configMaps { totalCount hiddenCount }"
        found = (await door.ask(one("pod", "once-1", POD + more)))["pod"]
        assert (found["node"], found["serviceAccount"], found["job"]) == (None, None, None)
        assert found["configMapsToo"] == {"totalCount": 0, "hiddenCount": 2}
        assert (names(found["secrets"]), names(found["services"])) == ([], ["shop"])


async def test_names_that_lead_nowhere_lead_to_nothing(door: Door) -> None:
    await door.story.create("pods", "v1", "Pod", "lost", ALICE, namespace="shop", spec={"nodeName": "gone"})
    found = (await door.ask(one("pod", "lost", POD)))["pod"]
    assert (found["node"], found["serviceAccount"]) == (None, None)
    assert names(found["services"]) == []


# --- what every object has


async def test_any_object_tells_its_owner_its_tree_and_what_was_reported_of_it(door: Door) -> None:
    told = door.story
    rs = told.objects.get("replicasets.apps", "default", "web-abc")
    assert rs is not None
    about = {"involvedObject": {"uid": rs.stream.uid, "kind": "ReplicaSet"}, "reason": "Scaled"}
    await told.create("events", "v1", "Event", "web-abc.1", ALICE, **about)
    query = """{ object(resource: "deployments", namespace: "default", name: "web") {
      owner { name } owned { nodes { name owner { __typename name }
        kubeEvents { nodes { name ... on KubeEvent { reason } } totalCount } } }
      descendants { nodes { kind name } totalCount } pods: descendants(resource: "pods", first: 1) {
        nodes { name } pageInfo { hasNextPage } }
      causes { root events { revision } } blame { lines { text } } } }"""
    web = (await door.ask(query))["object"]
    assert web["owner"] is None
    (owned,) = web["owned"]["nodes"]
    assert (owned["name"], owned["owner"]) == ("web-abc", {"__typename": "Deployment", "name": "web"})
    assert owned["kubeEvents"] == {"nodes": [{"name": "web-abc.1", "reason": "Scaled"}], "totalCount": 1}
    assert [node["name"] for node in web["descendants"]["nodes"]] == ["web-abc-2", "web-abc-3", "web-abc"]
    assert web["pods"] == {"nodes": [{"name": "web-abc-2"}], "pageInfo": {"hasNextPage": True}}
    assert web["causes"]["events"][0]["revision"] == told.marks["updated"]
    assert "    image: nginx:1.28" in "".join(line["text"] for line in web["blame"]["lines"])


async def test_the_tree_of_the_past_costs_a_read_a_namespace(door: Door) -> None:
    told = door.story
    up = told.marks["up"]
    reads = counted(told)
    query = """{ objects(resource: "pods", namespace: "default", at: %d) { nodes {
      name owner { name owner { name } } owned { totalCount } } } }"""
    found = (await door.ask(query % up))["objects"]["nodes"]
    assert [(n["name"], n["owner"]["owner"]["name"]) for n in found] == [("web-abc-1", "web"), ("web-abc-2", "web")]
    assert reads() <= 4, "pods, sets, deployments, and what is owned"


async def test_a_list_of_any_resource_hides_and_counts_as_a_typed_one_does() -> None:
    async with opened(CAROL, Only(("configmaps",), "default")) as door:
        await shop(door.story)
        query = '{ objects(resource: "configmaps") { nodes { name } totalCount hiddenCount } }'
        found = (await door.ask(query))["objects"]
        assert (names(found), found["totalCount"], found["hiddenCount"]) == (["settings"], 1, 3)


async def test_nodes_are_found_by_their_ids_in_that_order(door: Door) -> None:
    found = await door.ask('{ pods(namespace: "shop") { nodes { id } } event(revision: 3) { id } }')
    ids = [*(node["id"] for node in found["pods"]["nodes"]), found["event"]["id"]]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Pod { name spec { nodeName } } } }"
    nodes = (await door.ask(query, ids=[ids[2], ids[0], ids[1]]))["nodes"]
    assert [node["id"] for node in nodes] == [ids[2], ids[0], ids[1]]
    assert [node["__typename"] for node in nodes] == ["Event", "Pod", "Pod"]
    assert nodes[2]["spec"] == {"nodeName": "node-1"}
    error = await door.error(query, ids=[ids[0]] * 101)
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
