"""What placement refuses, prefers and says, one rule at a time."""

from random import Random

import pytest

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import demand_of, requests_of
from ksql.control.scheduling.placement import Decision, place

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def node(name, *, cpu="4", memory="8Gi", pods="110", labels=None, taints=(), unschedulable=False, extra=None):
    spec = {"taints": list(taints)} if taints else {}
    if unschedulable:
        spec["unschedulable"] = True
    return {
        "metadata": {"name": name, "labels": {HOSTNAME: name, **(labels or {})}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **(extra or {})}},
    }


def pod(name="p", *, cpu=None, memory=None, on=None, labels=None, owner=None, namespace="default", **spec):
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v is not None}
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels or {}}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    containers = spec.pop("containers", [{"name": "c", "resources": {"requests": requests}}])
    document = {"metadata": metadata, "spec": {"containers": containers, **spec}}
    if on:
        document["spec"]["nodeName"] = on
    return document


def decide(wanted, nodes, pods=(), namespaces=(), seed=0) -> Decision:
    return place(demand_of(wanted), Cluster.of(nodes, pods, namespaces), Random(seed))


def required(*expressions, fields=()):
    term = {"matchExpressions": list(expressions)}
    if fields:
        term["matchFields"] = list(fields)
    terms = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def test_a_pod_goes_where_it_fits_and_the_others_say_why_not():
    decision = decide(pod(cpu="3"), [node("a", cpu="2"), node("b", cpu="4")])
    assert decision.chosen == "b"
    assert decision.refused == {"Insufficient cpu": 1}
    assert decision.candidates == 1


def test_the_message_counts_each_reason_in_kubernetes_words():
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    decision = decide(pod(cpu="8"), [node("a"), node("b"), node("c", taints=[taint])])
    assert decision.chosen is None
    assert decision.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 2 Insufficient cpu."
    )


def test_without_nodes_the_message_says_so():
    assert decide(pod(), []).message == "no nodes available to schedule pods"


def test_one_node_may_lack_several_things_at_once():
    decision = decide(pod(cpu="9", memory="9Gi"), [node("a", pods="0")])
    assert decision.refused == {"Too many pods": 1, "Insufficient cpu": 1, "Insufficient memory": 1}


def test_what_runs_on_a_node_takes_its_room():
    running = [pod("r", cpu="3", on="a")]
    assert decide(pod(cpu="2"), [node("a")], running).refused == {"Insufficient cpu": 1}


def test_a_pod_that_has_ended_takes_no_room():
    ended = {**pod("r", cpu="3", on="a"), "status": {"phase": "Succeeded"}}
    assert decide(pod(cpu="2"), [node("a")], [ended]).chosen == "a"


def test_extended_resources_are_counted():
    wanted = pod(containers=[{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}}])
    plain, gpus = node("a"), node("b", extra={"nvidia.com/gpu": "4"})
    decision = decide(wanted, [plain, gpus])
    assert decision.chosen == "b"
    assert decision.refused == {"Insufficient nvidia.com/gpu": 1}


def container(cpu, **more):
    return {"name": f"c{cpu}", "resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "milli"),
    [
        ({"containers": [container("1"), container("2")]}, 3000),
        ({"containers": [container("1")], "initContainers": [container("5")]}, 5000),
        ({"containers": [container("1")], "initContainers": [container("1", restartPolicy="Always")]}, 2000),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("2", restartPolicy="Always"), container("4")],
            },
            6000,  # the init container runs beside the sidecar that started before it
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}}, 3000),
    ],
)  # fmt: skip
def test_a_pod_needs_what_it_takes_at_its_widest_moment(spec, milli):
    assert requests_of(spec)["cpu"] == milli


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}, {"b"}),
        ({"key": "disk", "operator": "NotIn", "values": ["ssd"]}, {"a", "c"}),
        ({"key": "disk", "operator": "Exists"}, {"b", "c"}),
        ({"key": "disk", "operator": "DoesNotExist"}, {"a"}),
        ({"key": "size", "operator": "Gt", "values": ["4"]}, {"c"}),
        ({"key": "size", "operator": "Lt", "values": ["5"]}, {"b"}),
        ({"key": "disk", "operator": "Gt", "values": ["5"]}, set()),
    ],
)
def test_every_operator_of_node_affinity(expression, fits):
    nodes = [
        node("a"),
        node("b", labels={"disk": "ssd", "size": "4"}),
        node("c", labels={"disk": "hdd", "size": "8"}),
    ]
    found = {n["metadata"]["name"] for n in nodes if decide(pod(affinity=required(expression)), [n]).chosen}
    assert found == fits


def test_match_fields_name_a_node():
    field = {"key": "metadata.name", "operator": "In", "values": ["b"]}
    affinity = required(fields=[field])
    assert decide(pod(affinity=affinity), [node("a"), node("b"), node("c")]).chosen == "b"


def test_a_node_selector_refuses_in_kubernetes_words():
    decision = decide(pod(nodeSelector={"disk": "ssd"}), [node("a")])
    assert decision.refused == {"node(s) didn't match Pod's node affinity/selector": 1}


def test_preferred_affinity_outweighs_room():
    preferred = {"weight": 100, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
    nodes = [node("empty"), node("busy", labels={"disk": "ssd"})]
    assert decide(pod(affinity=affinity, cpu="1"), nodes, [pod("r", cpu="2", on="busy")]).chosen == "busy"


def test_a_cordoned_node_takes_nothing_unless_tolerated():
    cordoned = node("a", unschedulable=True)
    assert decide(pod(), [cordoned]).refused == {"node(s) were unschedulable": 1}
    toleration = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    assert decide(pod(tolerations=[toleration]), [cordoned]).chosen == "a"


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "other"}, False),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration, tolerated):
    tainted = node("a", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    assert (decide(pod(tolerations=[toleration]), [tainted]).chosen == "a") is tolerated


def test_prefer_no_schedule_only_dislikes():
    disliked = node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
    assert decide(pod(), [disliked]).chosen == "a"
    assert decide(pod(), [disliked, node("b")]).chosen == "b"


def test_host_ports_clash_by_protocol_and_address():
    def with_port(name, protocol="TCP", address="", on=None):
        port = {"containerPort": 80, "hostPort": 80, "protocol": protocol, "hostIP": address}
        return pod(name, containers=[{"name": "c", "ports": [port]}], on=on)

    taken = [with_port("r", on="a")]
    assert "free ports" in next(iter(decide(with_port("p"), [node("a")], taken).refused))
    assert decide(with_port("p", protocol="UDP"), [node("a")], taken).chosen == "a"
    assert decide(with_port("p", address="10.0.0.1"), [node("a")], taken).chosen is None
    elsewhere = [with_port("r", address="10.0.0.2", on="a")]
    assert decide(with_port("p", address="10.0.0.1"), [node("a")], elsewhere).chosen == "a"


def spread(topology=ZONE, skew=1, when="DoNotSchedule", **more):
    selector = {"matchLabels": {"app": "web"}}
    return {
        "topologyKey": topology, "maxSkew": skew, "whenUnsatisfiable": when, "labelSelector": selector,
        **more,
    }  # fmt: skip


ZONES = [node("a", labels={ZONE: "z1"}), node("b", labels={ZONE: "z1"}), node("c", labels={ZONE: "z2"})]


def test_spreading_keeps_within_the_skew():
    web = {"labels": {"app": "web"}}
    placed = [pod("r", on="a", **web)]
    decision = decide(pod("p", topologySpreadConstraints=[spread()], **web), ZONES, placed)
    assert decision.chosen == "c"
    assert decision.refused == {"node(s) didn't match pod topology spread constraints": 2}


def test_spreading_refuses_nodes_without_the_label():
    decision = decide(pod(topologySpreadConstraints=[spread()]), [*ZONES, node("d")])
    missing = "node(s) didn't match pod topology spread constraints (missing required label)"
    assert decision.refused == {missing: 1}


def test_spreading_counts_too_few_domains_as_empty_ones():
    web = {"labels": {"app": "web"}}
    placed = [pod("r1", on="a", **web), pod("r2", on="c", **web)]
    wide = spread(minDomains=3)
    assert decide(pod(topologySpreadConstraints=[wide], **web), ZONES, placed).chosen is None
    assert decide(pod(topologySpreadConstraints=[spread()], **web), ZONES, placed).chosen is not None


def test_soft_spreading_only_prefers():
    web = {"labels": {"app": "web"}}
    placed = [pod("r1", on="a", **web), pod("r2", on="b", **web)]
    wanted = pod(topologySpreadConstraints=[spread(when="ScheduleAnyway")], **web)
    assert decide(wanted, ZONES, placed).chosen == "c"
    assert decide(wanted, ZONES[:2], placed).chosen in ("a", "b")


def test_spreading_counts_only_nodes_the_pod_could_go_to():
    web = {"labels": {"app": "web"}}
    placed = [pod("r", on="a", **web)]
    # Without the second zone's node there is one domain, and nothing to be uneven with.
    wanted = pod(topologySpreadConstraints=[spread()], nodeSelector={ZONE: "z1"}, **web)
    assert decide(wanted, ZONES, placed).chosen in ("a", "b")


def pod_affinity(kind, topology=HOSTNAME, **more):
    term = {"topologyKey": topology, "labelSelector": {"matchLabels": {"app": "web"}}, **more}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_affinity_follows_the_company_it_wants():
    placed = [pod("r", on="c", labels={"app": "web"})]
    decision = decide(pod(affinity=pod_affinity("podAffinity")), ZONES, placed)
    assert decision.chosen == "c"
    assert decision.refused == {"node(s) didn't match pod affinity rules": 2}


def test_affinity_lets_the_first_of_its_own_group_go_anywhere():
    own = pod(affinity=pod_affinity("podAffinity"), labels={"app": "web"})
    stranger = pod(affinity=pod_affinity("podAffinity"))
    assert decide(own, ZONES).chosen is not None
    assert decide(stranger, ZONES).chosen is None


def test_anti_affinity_keeps_away_and_is_mutual():
    placed = [pod("r", on="a", labels={"app": "web"})]
    shy = pod(affinity=pod_affinity("podAntiAffinity"))
    assert decide(shy, ZONES[:1], placed).refused == {"node(s) didn't match pod anti-affinity rules": 1}
    guarding = [pod("r", on="a", affinity=pod_affinity("podAntiAffinity"))]
    decision = decide(pod(labels={"app": "web"}), ZONES[:1], guarding)
    assert decision.refused == {"node(s) didn't satisfy existing pods anti-affinity rules": 1}


def test_affinity_looks_into_its_own_namespace_unless_told():
    placed = [pod("r", on="a", labels={"app": "web"}, namespace="other")]
    assert decide(pod(affinity=pod_affinity("podAntiAffinity")), ZONES[:1], placed).chosen == "a"
    named = pod(affinity=pod_affinity("podAntiAffinity", namespaces=["other"]))
    assert decide(named, ZONES[:1], placed).chosen is None
    everywhere = pod(affinity=pod_affinity("podAntiAffinity", namespaceSelector={}))
    assert decide(everywhere, ZONES[:1], placed).chosen is None
    chosen = pod(affinity=pod_affinity("podAntiAffinity", namespaceSelector={"matchLabels": {"team": "x"}}))
    spaces = [{"metadata": {"name": "other", "labels": {"team": "x"}}}]
    assert decide(chosen, ZONES[:1], placed, spaces).chosen is None
    assert decide(chosen, ZONES[:1], placed).chosen == "a"


def test_replicas_of_one_owner_spread_over_nodes():
    cluster, random = Cluster.of([node(name) for name in "abcd"]), Random(3)
    for number in range(8):
        demand = demand_of(pod(f"p{number}", owner="rs", cpu="10m"))
        cluster.assume(demand, place(demand, cluster, random).chosen)
    assert [len(view.pods) for view in cluster.nodes] == [2, 2, 2, 2]


def test_what_is_not_supported_stays_pending_and_says_so():
    decision = decide(pod(resourceClaims=[{"name": "gpu", "resourceClaimName": "gpus"}]), [node("a")])
    assert decision.chosen is None
    assert "does not allocate resource claims yet" in decision.message


def test_ties_are_broken_by_the_seed_alone():
    nodes = [node(name) for name in "abcdef"]
    chosen = {seed: decide(pod(), nodes, seed=seed).chosen for seed in range(30)}
    assert chosen == {seed: decide(pod(), list(reversed(nodes)), seed=seed).chosen for seed in range(30)}
    assert len(set(chosen.values())) > 1


def test_an_assumed_pod_counts_until_it_is_forgotten():
    cluster = Cluster.of([node("a", cpu="1")])
    first, second = demand_of(pod("p1", cpu="1")), demand_of(pod("p2", cpu="1"))
    cluster.assume(first, "a")
    assert place(second, cluster, Random(0)).chosen is None
    cluster.forget(first.uid)
    assert place(second, cluster, Random(0)).chosen == "a"


def test_a_binding_seen_turns_an_assumption_into_a_fact():
    cluster = Cluster.of([node("a", cpu="1")])
    demand = demand_of(pod("p1", cpu="1"))
    cluster.assume(demand, "a")
    cluster.set_pod(pod("p1", cpu="1", on="a"))
    cluster.forget(demand.uid)  # the late failure of a binding that did succeed
    assert cluster.nodes[0].cpu_used == 1000
    assert cluster.remove_pod(demand.uid)
    assert cluster.nodes[0].cpu_used == 0


def test_a_node_that_comes_back_still_has_its_pods():
    cluster = Cluster.of([node("a", cpu="1")], [pod("p1", cpu="1", on="a")])
    cluster.remove_node("a")
    assert cluster.nodes == []
    cluster.set_node(node("a", cpu="1"))
    assert place(demand_of(pod("p2", cpu="1")), cluster, Random(0)).refused == {"Insufficient cpu": 1}


def test_a_heartbeat_of_a_node_changes_nothing_for_placement():
    cluster = Cluster.of([node("a")])
    beaten = node("a")
    beaten["status"]["conditions"] = [{"type": "Ready", "lastHeartbeatTime": "now"}]
    assert not cluster.set_node(beaten)
    assert cluster.set_node(node("a", unschedulable=True))
