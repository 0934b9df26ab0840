"""Placement over arrays against a plain reference: every filter and score told from the documentation, node by node.

The reference is slow and has no memory: it looks at documents alone, one node and one pod at a time. Generated clusters
have labels, taints, cordons, host ports, extended resources, spreading, affinity between pods both ways and across
namespaces, images, owners, and pods that leave. What must agree: which nodes are candidates, how many are refused for
each reason, and every view's score of every node that is recorded.
"""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import demand_of
from ksql.control.scheduling.filters import (
    AFFINITY,
    ANTI_AFFINITY,
    EXISTING_ANTI_AFFINITY,
    PORTS,
    SPREAD,
    SPREAD_LABEL,
)
from ksql.control.scheduling.placement import fitting, place
from ksql.schema import selectors

HOSTNAME, ZONE, DISK = "kubernetes.io/hostname", "topology.kubernetes.io/zone", "disk"
NAMESPACES = {"default": {"team": "a"}, "other": {"team": "b"}}
GPU = "example.com/gpu"
MEGABYTE = 1024 * 1024
NEAR = 0.02  # scores are rounded to hundredths, part by part

# --- clusters

labels = st.fixed_dictionaries({}, optional={ZONE: st.sampled_from("xyz"), DISK: st.sampled_from(["ssd", "hdd"])})
taints = st.lists(
    st.builds(
        lambda key, effect: {"key": key, "effect": effect},
        st.sampled_from(["a", "b"]), st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ),
    max_size=2,
)  # fmt: skip
images = st.lists(
    st.builds(lambda name, size: {"names": [f"{name}:1"], "sizeBytes": size * MEGABYTE},
              st.sampled_from(["web", "db"]), st.integers(10, 900)),
    max_size=2,
)  # fmt: skip


@st.composite
def node_lists(draw):
    found = []
    for number in range(draw(st.integers(1, 6))):
        name = f"n{number}"
        spec = {"taints": draw(taints)} if draw(st.integers(0, 3)) == 0 else {}
        if draw(st.integers(0, 5)) == 0:
            spec["unschedulable"] = True
        status = {
            "allocatable": {
                "cpu": f"{draw(st.integers(1, 8)) * 500}m", "memory": f"{draw(st.integers(1, 8))}Gi",
                "pods": str(draw(st.integers(1, 6))), GPU: str(draw(st.integers(0, 2))),
            },
            "images": draw(images),
        }  # fmt: skip
        found.append(
            {"metadata": {"name": name, "labels": {**draw(labels), HOSTNAME: name}}, "spec": spec, "status": status}
        )
    return found


apps = st.sampled_from(["web", "db"])
selecting = st.one_of(
    st.builds(lambda app: {"matchLabels": {"app": app}}, apps),
    st.builds(lambda op, app: {"matchExpressions": [{"key": "app", "operator": op, "values": [app]}]},
              st.sampled_from(["In", "NotIn"]), apps),
)  # fmt: skip
terms = st.builds(
    lambda key, selector, where: {"topologyKey": key, "labelSelector": selector, **where},
    st.sampled_from([HOSTNAME, ZONE]), selecting,
    st.sampled_from([{}, {"namespaces": ["other"]}, {"namespaceSelector": {}},
                     {"namespaceSelector": {"matchLabels": {"team": "b"}}}]),
)  # fmt: skip
spreads = st.builds(
    lambda key, skew, when, selector, more: {
        "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": when, "labelSelector": selector, **more,
    },
    st.sampled_from([HOSTNAME, ZONE]), st.integers(1, 2), st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    selecting,
    st.sampled_from([{}, {"nodeTaintsPolicy": "Honor"}, {"nodeAffinityPolicy": "Ignore"}]),
)  # fmt: skip


def maybe(strategy, most=1):
    return st.lists(strategy, max_size=most)


@st.composite
def pods(draw, number):
    requests = {"cpu": f"{draw(st.integers(0, 4)) * 250}m", "memory": f"{draw(st.integers(0, 3)) * 512}Mi"}
    if draw(st.integers(0, 4)) == 0:
        requests[GPU] = "1"
    container = {"name": "c", "image": draw(st.sampled_from(["web:1", "db:1", "web"])), "resources": {
        "requests": requests}}  # fmt: skip
    if draw(st.integers(0, 4)) == 0:
        address = draw(st.sampled_from(["", "10.0.0.1"]))
        container["ports"] = [{"containerPort": 80, "hostPort": 80, "hostIP": address}]
    spec = {"containers": [container]}
    affinity = {}
    node_terms = st.builds(
        lambda op, values: {"matchExpressions": [{"key": DISK, "operator": op, **values}]},
        st.sampled_from(["Exists", "DoesNotExist"]), st.just({}),
    )  # fmt: skip
    if draw(st.integers(0, 3)) == 0:
        preferred = [{"weight": draw(st.integers(1, 100)), "preference": draw(node_terms)}]
        affinity["nodeAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
    if draw(st.integers(0, 4)) == 0:
        spec["nodeSelector"] = {DISK: "ssd"}
    for kind in ("podAffinity", "podAntiAffinity"):
        required, preferred = draw(maybe(terms)), draw(maybe(terms))
        rules = {}
        if required and draw(st.booleans()):
            rules["requiredDuringSchedulingIgnoredDuringExecution"] = required
        if preferred:
            weighted = [{"weight": draw(st.integers(1, 100)), "podAffinityTerm": term} for term in preferred]
            rules["preferredDuringSchedulingIgnoredDuringExecution"] = weighted
        if rules and draw(st.booleans()):
            affinity[kind] = rules
    if affinity:
        spec["affinity"] = affinity
    if found := draw(maybe(spreads, 2)):
        spec["topologySpreadConstraints"] = found
    if draw(st.booleans()):
        spec["tolerations"] = [{"key": draw(st.sampled_from("ab")), "operator": "Exists"}]
    metadata = {
        "name": f"p{number}", "namespace": draw(st.sampled_from(sorted(NAMESPACES))), "uid": f"u{number}",
        "labels": {"app": draw(apps)},
    }  # fmt: skip
    if draw(st.booleans()):
        metadata["ownerReferences"] = [{"uid": draw(st.sampled_from(["rs1", "rs2"])), "controller": True}]
    return {"metadata": metadata, "spec": spec}


# --- the reference


def cpu(text):
    return int(text.removesuffix("m"))


def memory(text):
    return int(text[:-2]) * {"Mi": MEGABYTE, "Gi": 1024 * MEGABYTE}[text[-2:]]


def asked(pod, name):
    return pod["spec"]["containers"][0]["resources"]["requests"].get(name)


def tolerated(pod, taint):
    return any(one["key"] == taint["key"] for one in pod["spec"].get("tolerations") or ())


def repelled(pod, node):
    hard = [t for t in node["spec"].get("taints") or () if t["effect"] in ("NoSchedule", "NoExecute")]
    return next((taint for taint in hard if not tolerated(pod, taint)), None)


def selected(pod, node):
    chosen = pod["spec"].get("nodeSelector") or {}
    return all(node["metadata"]["labels"].get(key) == value for key, value in chosen.items())


def matches(selector, pod):
    return selectors.from_document(selector).matches(pod["metadata"]["labels"])


def meant(term, owner, other):
    """Whether a term of `owner` is about `other`."""
    named, chooser = term.get("namespaces") or [], term.get("namespaceSelector")
    space = other["metadata"]["namespace"]
    if chooser is None:
        inside = space in (named or [owner["metadata"]["namespace"]])
    else:
        inside = space in named or selectors.from_document(chooser).matches(NAMESPACES[space])
    return inside and matches(term["labelSelector"], other)


def required(pod, kind):
    rules = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def preferred(pod, kind):
    rules = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return rules.get("preferredDuringSchedulingIgnoredDuringExecution") or []


def ports(pod):
    return [(p["hostPort"], p["hostIP"] or "0.0.0.0") for p in pod["spec"]["containers"][0].get("ports") or ()]


class Reference:
    """A cluster as documents: nodes, and pods with the node they are on."""

    def __init__(self, nodes):
        self.nodes, self.placed = nodes, []

    def on(self, node):
        return [pod for pod, name in self.placed if name == node["metadata"]["name"]]

    def same_domain(self, key, node):
        """Pods on nodes with this node's value of a label."""
        value = node["metadata"]["labels"].get(key)
        near = [n["metadata"]["name"] for n in self.nodes if n["metadata"]["labels"].get(key) == value]
        return [] if value is None else [pod for pod, name in self.placed if name in near]

    def lacking(self, pod, node):
        room, there = node["status"]["allocatable"], self.on(node)
        reasons = ["Too many pods"] if len(there) + 1 > int(room["pods"]) else []
        for name, size in (("cpu", cpu), ("memory", memory), (GPU, int)):
            wanted = size(asked(pod, name) or ("0m" if name == "cpu" else "0Mi" if name == "memory" else "0"))
            used = sum(size(asked(one, name)) for one in there if asked(one, name))
            if wanted and wanted > size(room[name]) - used:
                reasons.append(f"Insufficient {name}")
        return reasons

    def clash(self, pod, node):
        taken = [port for one in self.on(node) for port in ports(one)]
        return any(
            number == other and (address == there or "0.0.0.0" in (address, there))
            for number, address in ports(pod) for other, there in taken
        )  # fmt: skip

    def counts(self, pod, spread, among):
        """Matching pods of the pod's namespace by value of the topology label, over the nodes given."""
        totals = {}
        for node in among:
            value = node["metadata"]["labels"][spread["topologyKey"]]
            mine = [
                one for one in self.on(node)
                if one["metadata"]["namespace"] == pod["metadata"]["namespace"]
                and matches(spread["labelSelector"], one)
            ]  # fmt: skip
            totals[value] = totals.get(value, 0) + len(mine)
        return totals

    def counted(self, pod, spread):
        """Nodes that make up a constraint's domains."""
        hard = spread["whenUnsatisfiable"] == "DoNotSchedule"
        keys = [
            s["topologyKey"] for s in pod["spec"].get("topologySpreadConstraints") or ()
            if (s["whenUnsatisfiable"] == "DoNotSchedule") == hard
        ]  # fmt: skip
        return [
            n for n in self.nodes
            if all(key in n["metadata"]["labels"] for key in keys)
            and (spread.get("nodeAffinityPolicy") == "Ignore" or selected(pod, n))
            and (spread.get("nodeTaintsPolicy") != "Honor" or repelled(pod, n) is None)
        ]  # fmt: skip

    def spread_refusal(self, pod, node):
        for spread in pod["spec"].get("topologySpreadConstraints") or ():
            if spread["whenUnsatisfiable"] != "DoNotSchedule":
                continue
            value = node["metadata"]["labels"].get(spread["topologyKey"])
            if value is None:
                return SPREAD_LABEL
            totals = self.counts(pod, spread, self.counted(pod, spread))
            own = 1 if matches(spread["labelSelector"], pod) else 0
            if totals.get(value, 0) + own - min(totals.values(), default=0) > spread["maxSkew"]:
                return SPREAD
        return ""

    def company_refusal(self, pod, node):
        wanted = required(pod, "podAffinity")
        if wanted:
            near = [[o for o in self.same_domain(t["topologyKey"], node) if meant(t, pod, o)] for t in wanted]
            has_labels = all(t["topologyKey"] in node["metadata"]["labels"] for t in wanted)
            nobody = not any(
                t["topologyKey"] in n["metadata"]["labels"] and any(meant(t, pod, o) for o in self.on(n))
                for t in wanted for n in self.nodes
            )  # fmt: skip
            first = nobody and all(meant(t, pod, pod) for t in wanted)
            if not has_labels or not (first or all(near)):
                return AFFINITY
        for term in required(pod, "podAntiAffinity"):
            if any(meant(term, pod, o) for o in self.same_domain(term["topologyKey"], node)):
                return ANTI_AFFINITY
        for other, name in self.placed:
            for term in required(other, "podAntiAffinity"):
                key = term["topologyKey"]
                there = next(n for n in self.nodes if n["metadata"]["name"] == name)["metadata"]["labels"].get(key)
                same = there is not None and there == node["metadata"]["labels"].get(key)
                if same and meant(term, other, pod):
                    return EXISTING_ANTI_AFFINITY
        return ""

    def refusals(self, pod, node):
        if node["spec"].get("unschedulable"):
            return ["node(s) were unschedulable"]
        if (taint := repelled(pod, node)) is not None:
            return [f"node(s) had untolerated taint {{{taint['key']}: }}"]
        if not selected(pod, node):
            return ["node(s) didn't match Pod's node affinity/selector"]
        if lacks := self.lacking(pod, node):
            return lacks
        if self.clash(pod, node):
            return [PORTS]
        found = self.spread_refusal(pod, node) or self.company_refusal(pod, node)
        return [found] if found else []

    # Scores, each 0 to 100 before its weight; None where a view says the same of all.

    def scores(self, pod, feasible):
        found = {"room": {}, "balance": {}}
        for node in feasible:
            room, balance = self.room(pod, node)
            found["room"][node["metadata"]["name"]] = room
            found["balance"][node["metadata"]["name"]] = balance
        views = {
            "affinity": (2, self.by_preference(pod, feasible)), "taints": (3, self.by_taints(pod, feasible)),
            "spread": (2, self.by_spreading(pod, feasible)), "company": (2, self.by_company(pod, feasible)),
            "images": (1, self.by_images(pod, feasible)),
        }  # fmt: skip
        for view, (weight, likes) in views.items():
            if likes is not None:
                found[view] = {name: weight * like for name, like in likes.items()}
        return found

    def room(self, pod, node):
        there = [*self.on(node), pod]
        used_cpu = sum(cpu(asked(one, "cpu")) for one in there)
        used_memory = sum(memory(asked(one, "memory")) for one in there)
        shares = (
            min(1, used_cpu / cpu(node["status"]["allocatable"]["cpu"])),
            min(1, used_memory / memory(node["status"]["allocatable"]["memory"])),
        )
        return 100 * (1 - sum(shares) / 2), 100 * (1 - abs(shares[0] - shares[1]) / 2)

    def by_preference(self, pod, feasible):
        rules = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
            "preferredDuringSchedulingIgnoredDuringExecution"
        ) or []
        sums = {}
        for node in feasible:
            has = DISK in node["metadata"]["labels"]
            ops = {"Exists": has, "DoesNotExist": not has}
            sums[node["metadata"]["name"]] = sum(
                rule["weight"] for rule in rules if ops[rule["preference"]["matchExpressions"][0]["operator"]]
            )
        most = max(sums.values())
        return {name: 100 * total / most for name, total in sums.items()} if most else None

    def by_taints(self, pod, feasible):
        counts = {
            n["metadata"]["name"]: sum(
                1 for t in n["spec"].get("taints") or () if t["effect"] == "PreferNoSchedule" and not tolerated(pod, t)
            )
            for n in feasible
        }
        worst = max(counts.values())
        return {name: 100 * (1 - count / worst) for name, count in counts.items()} if worst else None

    def by_spreading(self, pod, feasible):
        constraints = pod["spec"].get("topologySpreadConstraints") or []
        soft = [one for one in constraints if one["whenUnsatisfiable"] == "ScheduleAnyway"]
        if soft:
            among = [n for n in feasible if all(s["topologyKey"] in n["metadata"]["labels"] for s in soft)]
            crowd = {}
            for node in among:
                crowd[node["metadata"]["name"]] = sum(self.crowd(pod, s, node, among) for s in soft)
        else:
            among, crowd = feasible, self.crowd_of_owner(pod, constraints, feasible)
        if crowd is None or not crowd:
            return None
        crowd = {name: round(value) for name, value in crowd.items()}
        low, high = min(crowd.values()), max(crowd.values())
        likes = {name: 100 if high == 0 else 100 * (high + low - value) / high for name, value in crowd.items()}
        return {n["metadata"]["name"]: likes.get(n["metadata"]["name"], 0) for n in feasible}

    def crowd(self, pod, spread, node, among):
        key = spread["topologyKey"]
        if key == HOSTNAME:
            size = len(among)
            near = sum(
                1 for one in self.on(node)
                if one["metadata"]["namespace"] == pod["metadata"]["namespace"]
                and matches(spread["labelSelector"], one)
            )  # fmt: skip
        else:
            size = len({n["metadata"]["labels"][key] for n in among})
            near = self.counts(pod, spread, self.counted(pod, spread)).get(node["metadata"]["labels"][key], 0)
        return near * math.log(size + 2) + spread["maxSkew"] - 1

    def crowd_of_owner(self, pod, constraints, feasible):
        owner = pod["metadata"].get("ownerReferences")
        siblings = [name for one, name in self.placed if owner and one["metadata"].get("ownerReferences") == owner]
        if constraints or not siblings:
            return None
        crowd = {}
        zone_of = {n["metadata"]["name"]: n["metadata"]["labels"].get(ZONE) for n in self.nodes}
        zones = {zone_of[n["metadata"]["name"]] for n in feasible} - {None}
        for node in feasible:
            name = node["metadata"]["name"]
            total = siblings.count(name) * math.log(len(feasible) + 2) + 3 - 1
            if zone_of[name] is not None:
                total += sum(zone_of[s] == zone_of[name] for s in siblings) * math.log(len(zones) + 2) + 5 - 1
            crowd[name] = total
        return crowd

    def by_company(self, pod, feasible):
        raw = dict.fromkeys((n["metadata"]["name"] for n in feasible), 0.0)
        for node in feasible:
            for sign, kind in ((1, "podAffinity"), (-1, "podAntiAffinity")):
                for rule in preferred(pod, kind):
                    term = rule["podAffinityTerm"]
                    near = [o for o in self.same_domain(term["topologyKey"], node) if meant(term, pod, o)]
                    raw[node["metadata"]["name"]] += sign * rule["weight"] * len(near)
                for other in {id(one): one for one, _ in self.placed}.values():
                    rules = [(r["weight"], r["podAffinityTerm"]) for r in preferred(other, kind)]
                    if kind == "podAffinity":
                        rules += [(1, term) for term in required(other, kind)]
                    for weight, term in rules:
                        if meant(term, other, pod) and other in self.same_domain(term["topologyKey"], node):
                            raw[node["metadata"]["name"]] += sign * weight
        low, high = min(raw.values()), max(raw.values())
        return {name: 100 * (value - low) / (high - low) for name, value in raw.items()} if low < high else None

    def by_images(self, pod, feasible):
        image = pod["spec"]["containers"][0]["image"]
        named = image if ":" in image else f"{image}:latest"

        def size(node):
            return max((i["sizeBytes"] for i in reversed(node["status"]["images"]) if named in i["names"]), default=0)

        def last(node):
            return next((i["sizeBytes"] for i in reversed(node["status"]["images"]) if named in i["names"]), 0)

        share = sum(1 for node in self.nodes if size(node)) / len(self.nodes)
        least, most = 23 * MEGABYTE, 1000 * MEGABYTE
        likes = {
            n["metadata"]["name"]: 100 * (min(max(last(n) * share, least), most) - least) / (most - least)
            for n in feasible
        }
        return likes if any(likes.values()) else None


# --- the law


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_arrays_and_the_reference_agree(data):
    nodes = data.draw(node_lists())
    reference, cluster = Reference(nodes), Cluster()
    for name, found in NAMESPACES.items():
        cluster.set_namespace({"metadata": {"name": name, "labels": found}})
    for node in nodes:
        cluster.set_node(node)
    for number in range(data.draw(st.integers(1, 7))):
        pod = data.draw(pods(number))
        if reference.placed and data.draw(st.integers(0, 4)) == 0:
            gone = reference.placed.pop(data.draw(st.integers(0, len(reference.placed) - 1)))
            cluster.remove_pod(gone[0]["metadata"]["uid"])
        demand = demand_of(pod)
        told = {n["metadata"]["name"]: reference.refusals(pod, n) for n in nodes}
        feasible = [n for n in nodes if not told[n["metadata"]["name"]]]
        counted = {}
        for reasons in told.values():
            for reason in reasons:
                counted[reason] = counted.get(reason, 0) + 1
        mask, refused = fitting(demand.shape, cluster)
        names = {cluster.table.views[row].name for row in mask.nonzero()[0]}
        assert names == {n["metadata"]["name"] for n in feasible}
        assert refused == counted
        decision = place(demand, cluster, Random(data.draw(st.integers(0, 3))))
        assert decision.candidates == len(feasible)
        if decision.chosen is None:
            continue
        compare(decision, reference.scores(pod, feasible))
        cluster.assume(demand, decision.chosen)
        reference.placed.append((pod, decision.chosen))


def compare(decision, wanted):
    totals = {}
    for likes in wanted.values():
        for name, like in likes.items():
            totals[name] = totals.get(name, 0) + like
    for score in decision.scores:
        for view, likes in wanted.items():
            constant = len(set(likes.values())) == 1
            if view not in score.parts:
                assert constant, (view, likes)
                totals = {name: total - likes[name] for name, total in totals.items()}
            else:
                assert score.parts[view] == pytest.approx(likes[score.node], abs=NEAR), view
        assert set(score.parts) <= set(wanted)
        wanted = {view: likes for view, likes in wanted.items() if view in score.parts}
    best = max(totals.values())
    assert totals[decision.chosen] == pytest.approx(best, abs=NEAR * 8)
