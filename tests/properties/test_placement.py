"""Laws of placement, on arrays of small clusters, against a reference that counts everything anew."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import demand_of
from ksql.control.scheduling.placement import place

NAMES = ["a", "b", "c", "d"]
TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}

nodes = st.lists(
    st.builds(
        lambda name, cpu, pods, zone, tainted, cordoned: {
            "metadata": {"name": name, "labels": {"zone": zone} if zone else {}},
            "spec": {
                **({"taints": [TAINT]} if tainted else {}), **({"unschedulable": True} if cordoned else {}),
            },
            "status": {"allocatable": {"cpu": f"{cpu}m", "memory": "1Gi", "pods": str(pods)}},
        },
        st.sampled_from(NAMES), st.integers(0, 4), st.integers(0, 4), st.sampled_from(["", "x", "y"]),
        st.booleans(), st.integers(0, 4).map(lambda n: n == 0),
    ),
    max_size=4, unique_by=lambda node: node["metadata"]["name"],
)  # fmt: skip

specs = st.builds(
    lambda cpu, zone, tolerates, port: {
        "containers": [
            {
                "name": "c", "resources": {"requests": {"cpu": f"{cpu}m"}},
                **({"ports": [{"containerPort": 80, "hostPort": 80}]} if port else {}),
            }
        ],
        **({"nodeSelector": {"zone": zone}} if zone else {}),
        **({"tolerations": [{"key": "dedicated", "operator": "Exists"}]} if tolerates else {}),
    },
    st.integers(0, 3), st.sampled_from(["", "", "x"]), st.booleans(), st.integers(0, 3).map(lambda n: n == 0),
)  # fmt: skip


def pod(number, spec, node=None):
    metadata = {"name": f"p{number}", "namespace": "d", "uid": f"u{number}", "labels": {}}
    return {"metadata": metadata, "spec": {**spec, **({"nodeName": node} if node else {})}}


def cpu_of(document):
    return int(document["spec"]["containers"][0]["resources"]["requests"]["cpu"].removesuffix("m"))


def has_port(document):
    return "ports" in document["spec"]["containers"][0]


def takes(node, placed, wanted):
    """The reference: whether a node takes a pod, from the documents alone."""
    name, allocatable = node["metadata"]["name"], node["status"]["allocatable"]
    there = [p for p in placed if p["spec"]["nodeName"] == name]
    spec = wanted["spec"]
    room = int(allocatable["cpu"].removesuffix("m")) - sum(cpu_of(p) for p in there)
    return (
        not node["spec"].get("unschedulable")
        and (not node["spec"].get("taints") or "tolerations" in spec)
        and all(node["metadata"]["labels"].get(k) == v for k, v in spec.get("nodeSelector", {}).items())
        and len(there) < int(allocatable["pods"])
        and (cpu_of(wanted) == 0 or cpu_of(wanted) <= room)
        and not (has_port(wanted) and any(has_port(p) for p in there))
    )


@settings(max_examples=300, deadline=None)
@given(nodes, st.lists(specs, max_size=10), st.integers(0, 3))
def test_placement_agrees_with_counting_everything_anew(found, wanted, seed):
    cluster, random, placed = Cluster.of(found), Random(seed), []
    for number, spec in enumerate(wanted):
        document = pod(number, spec)
        fitting = [node["metadata"]["name"] for node in found if takes(node, placed, document)]
        demand = demand_of(document)
        decision = place(demand, cluster, random)
        assert decision.candidates == len(fitting)
        assert (decision.chosen in fitting) if fitting else decision.chosen is None
        # An explanation exists exactly when a node was refused.
        assert bool(decision.refused) == (len(fitting) < len(found))
        if decision.chosen is not None:
            cluster.assume(demand, decision.chosen)
            placed.append(pod(number, spec, decision.chosen))
            cluster.set_pod(placed[-1])


@settings(max_examples=200, deadline=None)
@given(nodes, st.lists(specs, max_size=12), st.integers(0, 3), st.data())
def test_placement_never_exceeds_allocatable(found, wanted, seed, data):
    cluster, random = Cluster.of(found), Random(seed)
    alive = []
    for number, spec in enumerate(wanted):
        demand = demand_of(pod(number, spec))
        decision = place(demand, cluster, random)
        if decision.chosen is not None:
            cluster.assume(demand, decision.chosen)
            alive.append(demand.uid)
        if alive and data.draw(st.booleans()):
            cluster.remove_pod(alive.pop(data.draw(st.integers(0, len(alive) - 1))))
        for view in cluster.nodes:
            asking = [p for p in view.pods.values() if p.shape.cpu]
            assert not asking or view.cpu_used <= view.cpu
            assert len(view.pods) <= view.pods_max


@settings(max_examples=100, deadline=None)
@given(nodes, st.lists(specs, max_size=8), st.permutations(NAMES))
def test_sums_kept_step_by_step_equal_sums_made_anew(found, wanted, order):
    kept, placed = Cluster.of(found), []
    for number, spec in enumerate(wanted):
        placed.append(pod(number, spec, order[number % len(order)]))
        kept.set_pod(placed[-1])
    for gone in placed[::2]:
        kept.remove_pod(gone["metadata"]["uid"])
    anew = Cluster.of(found, placed[1::2])
    for one, other in zip(kept.nodes, anew.nodes, strict=True):
        assert (one.cpu_used, one.memory_used, one.ports, list(one.pods)) == (
            other.cpu_used, other.memory_used, other.ports, list(other.pods),
        )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 4), st.integers(1, 12), st.integers(1, 2), st.integers(0, 5))
def test_hard_spreading_never_leaves_its_skew(zones, count, skew, seed):
    found = [
        {
            "metadata": {"name": f"n{i}", "labels": {"zone": f"z{i % zones}"}}, "spec": {},
            "status": {"allocatable": {"cpu": "8", "memory": "8Gi", "pods": "20"}},
        }
        for i in range(zones * 2)
    ]  # fmt: skip
    cluster, random = Cluster.of(found), Random(seed)
    constraint = {
        "topologyKey": "zone", "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }  # fmt: skip
    for number in range(count):
        document = pod(number, {"containers": [{"name": "c"}], "topologySpreadConstraints": [constraint]})
        document["metadata"]["labels"] = {"app": "web"}
        demand = demand_of(document)
        cluster.assume(demand, place(demand, cluster, random).chosen)
        totals = dict.fromkeys((f"z{i}" for i in range(zones)), 0)
        for view in cluster.nodes:
            totals[view.labels["zone"]] += len(view.pods)
        assert max(totals.values()) - min(totals.values()) <= skew
