"""Who leaves for whom: the choice one rule at a time, and the whole of it on simulated nodes."""

from random import Random

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import demand_of
from ksql.control.scheduling.placement import place
from ksql.control.scheduling.preemption import LOOKS_AT_ONCE, NEVER, budget_of, preempt
from tests.control.test_placement import HOSTNAME, node, pod
from tests.node.small import told


def running(name, on, *, priority=0, cpu="1", started="2026-01-01T00:00:00Z", **more):
    document = pod(name, cpu=cpu, on=on, priority=priority, **more)
    return {**document, "status": {"phase": "Running", "startTime": started}}


def budget(allowed, **labels):
    return budget_of(
        {
            "metadata": {"name": "b", "namespace": "default"},
            "spec": {"selector": {"matchLabels": labels}},
            "status": {"disruptionsAllowed": allowed},
        }
    )


def choose(wanted, nodes, pods, budgets=(), seed=0):
    cluster = Cluster.of(nodes, pods)
    found = preempt(demand_of(wanted), cluster, budgets, Random(seed))
    assert sum(len(view.pods) for view in cluster.nodes) == len(pods), "nothing is changed by thinking"
    return found.node, sorted(victim.name for victim in found.victims), found.message


HIGH = {"priority": 100}


def test_only_as_many_as_needed_leave_and_the_lightest_first():
    pods = [running("a", "n", priority=1), running("b", "n", priority=2), running("c", "n", priority=3)]
    assert choose(pod(cpu="2", **HIGH), [node("n", cpu="4")], pods) == ("n", ["a"], "")
    assert choose(pod(cpu="3", **HIGH), [node("n", cpu="4")], pods) == ("n", ["a", "b"], "")


def test_equals_and_the_weightier_never_leave():
    pods = [running("a", "n", priority=100), running("b", "n", priority=200)]
    told = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    assert choose(pod(cpu="3", **HIGH), [node("n", cpu="4")], pods) == (None, [], told)


def test_a_node_that_no_departure_would_help_is_left_out():
    pods = [running("a", "n"), running("b", "m")]
    nodes = [node("n", cpu="1", labels={"disk": "hdd"}), node("m", cpu="1", labels={"disk": "ssd"})]
    assert choose(pod(cpu="1", nodeSelector={"disk": "ssd"}, **HIGH), nodes, pods)[0] == "m"
    message = choose(pod(cpu="1", nodeSelector={"disk": "none"}, **HIGH), nodes, pods)[2]
    assert message == "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."


def test_a_policy_of_never_is_kept():
    wanted = pod(cpu="1", preemptionPolicy="Never", **HIGH)
    assert choose(wanted, [node("n", cpu="1")], [running("a", "n")]) == (None, [], NEVER)


def test_the_node_with_the_lighter_victim_is_taken():
    pods = [running("a", "n", priority=5), running("b", "m", priority=4)]
    assert choose(pod(cpu="1", **HIGH), [node("n", cpu="1"), node("m", cpu="1")], pods)[:2] == ("m", ["b"])


def test_of_equal_weights_fewer_victims_are_better():
    pods = [running("a", "n", cpu="500m"), running("b", "n", cpu="500m"), running("c", "m")]
    assert choose(pod(cpu="1", **HIGH), [node("n", cpu="1"), node("m", cpu="1")], pods)[:2] == ("m", ["c"])


def test_the_youngest_victim_is_taken():
    pods = [
        running("old", "n", started="2026-01-01T00:00:00Z"), running("new", "m", started="2026-01-02T00:00:00Z"),
    ]  # fmt: skip
    for seed in range(5):
        wanted = pod(cpu="1", **HIGH)
        assert choose(wanted, [node("n", cpu="1"), node("m", cpu="1")], pods, seed=seed)[:2] == ("m", ["new"])


def test_a_spent_budget_is_spared_where_another_node_will_do():
    pods = [running("kept", "n", labels={"app": "db"}), running("other", "m", priority=50)]
    nodes = [node("n", cpu="1"), node("m", cpu="1")]
    assert choose(pod(cpu="1", **HIGH), nodes, pods, [budget(0, app="db")])[:2] == ("m", ["other"])
    assert choose(pod(cpu="1", **HIGH), nodes, pods, [budget(1, app="db")])[:2] == ("n", ["kept"])


def test_a_spent_budget_is_broken_only_when_nothing_else_helps():
    pods = [running("kept", "n", labels={"app": "db"})]
    assert choose(pod(cpu="1", **HIGH), [node("n", cpu="1")], pods, [budget(0, app="db")])[:2] == ("n", ["kept"])


def test_more_nodes_than_are_looked_at_at_once_are_searched_for_one_without_a_broken_budget():
    names = [f"n{i:02d}" for i in range(3 * LOOKS_AT_ONCE)]
    pods = [running(f"p{name}", name, labels={"app": "db"}) for name in names[:-1]]
    pods.append(running("free", names[-1]))
    found = choose(pod(cpu="1", **HIGH), [node(n, cpu="1") for n in names], pods, [budget(0, app="db")])
    assert found[:2] == (names[-1], ["free"])


def test_host_ports_and_anti_affinity_are_made_free_too():
    port = {"containerPort": 80, "hostPort": 80}
    with_port = [{"name": "c", "ports": [port]}]
    holder = {**pod("holder", containers=with_port, on="n"), "status": {"phase": "Running"}}
    assert choose(pod(containers=with_port, **HIGH), [node("n")], [holder])[:2] == ("n", ["holder"])
    term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "db"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pods = [running("db", "n", labels={"app": "db"}), running("web", "n", labels={"app": "web"})]
    assert choose(pod(affinity=affinity, **HIGH), [node("n")], pods)[:2] == ("n", ["db"])


def test_room_made_is_kept_for_whom_it_was_made():
    cluster = Cluster.of([node("n", cpu="1")])
    heavy, light = demand_of(pod("heavy", cpu="1", priority=10)), demand_of(pod("light", cpu="1", priority=1))
    heaviest = demand_of(pod("heaviest", cpu="1", priority=20))
    cluster.nominate(heavy, "n")
    assert place(light, cluster, Random(0)).refused == {"Insufficient cpu": 1}
    assert place(heaviest, cluster, Random(0)).chosen == "n"
    assert cluster.denominate(heavy.uid) == "n"
    assert place(light, cluster, Random(0)).chosen == "n"


async def classes(cluster):
    for name, value in (("high", 1000), ("low", 1)):
        await cluster.client.create(
            "priorityclasses.scheduling.k8s.io",
            {
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
                "value": value,
            },
        )  # fmt: skip


def cpu(amount):
    return [{"name": "c", "image": "i", "resources": {"requests": {"cpu": amount}}}]


def test_a_weightier_pod_gets_the_room_of_a_lighter_one_that_leaves_with_grace():
    async def story(cluster):
        await classes(cluster)
        await cluster.create_pod("low", containers=cpu("15"), priorityClassName="low")
        await cluster.until(lambda: cluster.phase("low") == "Running")
        await cluster.create_pod("high", containers=cpu("15"), priorityClassName="high")
        await cluster.until(lambda: cluster.pod("high")["status"].get("nominatedNodeName"))
        await cluster.until(lambda: cluster.phase("high") == "Running", within=60)
        await cluster.clock.sleep(5)
        notes = [*cluster.notes("high"), *cluster.notes("low")]
        return await cluster.history("low"), await cluster.history("high"), notes

    low, high, notes = told(story)
    marked = next(e for e in low if e.subresource == "status" and e.actor.user == "system:kube-scheduler")
    condition = next(c for c in marked.document["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert condition["reason"] == "PreemptionByScheduler"
    asked = next(e for e in low if e.verb == "delete" and e.actor.user == "system:kube-scheduler")
    # The one who came is the cause that the other had to go.
    assert asked.cause == marked.cause == high[0].revision
    assert {"FailedScheduling", "Preempted", "Scheduled"} <= set(notes)


def test_many_preemptors_drive_out_no_more_than_they_need():
    async def story(cluster):
        await classes(cluster)
        for number in range(12):
            await cluster.create_pod(f"low{number}", containers=cpu("4"), priorityClassName="low")
        names = [f"low{n}" for n in range(9)]
        await cluster.until(lambda: sum(cluster.phase(f"low{n}") == "Running" for n in range(12)) == 9)
        for number in range(4):
            await cluster.create_pod(f"high{number}", containers=cpu("4"), priorityClassName="high")
        await cluster.until(lambda: all(cluster.phase(f"high{n}") == "Running" for n in range(4)), within=120)
        await cluster.clock.sleep(40)
        left = [p for p in (cluster.objects.get("pods", "default", f"low{n}") for n in range(12)) if p is not None]
        return len(names), sum(p.document["status"].get("phase") == "Running" for p in left)

    # 15.8 cores a node: three pods each; four of nine had to go, and only those.
    assert told(story, nodes=3) == (9, 5)
