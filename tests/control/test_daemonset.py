"""DaemonSets: which nodes are meant, the pure plans, and the steps of a rollout."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.control import revisions
from ksql.control.daemonset import HASH_LABEL, Observed, plan
from ksql.control.daemonset_nodes import Standing, pinned, standing, target
from ksql.control.plan import Create, Plan, Remove
from tests.control.objects import NOW, metadata, pod, template


def daemonset(image: str = "agent:1", strategy: Document | None = None, **spec: Any) -> Document:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata("agent", generation=1),
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "updateStrategy": strategy or rolling,
            **spec,
        },
    }


def node(name: str, *taints: Document, **labels: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(name, labels=labels),
        "spec": {"taints": list(taints)},
    }


def taint(key: str, effect: str) -> Document:
    return {"key": key, "effect": effect}


def revision(owner: Document, number: int = 1) -> Document:
    """The revision of the owner's present template, as the set itself would make it."""
    made = revisions.arrange(owner, "daemonsets.apps", (), lambda _: False, lambda _, letters: {HASH_LABEL: letters})
    (create,) = made.changes
    assert isinstance(create, Create)
    document = create.document
    return {
        **document,
        "metadata": metadata(document["metadata"]["name"], owner, labels=document["metadata"]["labels"]),
        "revision": number,
    }


def hash_of(owner: Document) -> str:
    return str(revision(owner)["metadata"]["labels"][HASH_LABEL])


def on(name: str, owner: Document, letters: str, **more: Any) -> Document:
    return pod(f"agent-{name}", owner, node=name, labels={"app": "web", HASH_LABEL: letters}, **more)


def seen(owner: Document, nodes: list[Document], pods: list[Document], **more: Any) -> Plan:
    return plan(Observed(owner, nodes, pods, revisions=[revision(owner)], **more), NOW)


def created(made: Plan) -> list[str]:
    return sorted(target(change.document) for change in made.changes() if isinstance(change, Create))


def removed(made: Plan) -> list[str]:
    return sorted(change.name for change in made.changes() if isinstance(change, Remove))


NODES = [node("a"), node("b"), node("c")]


def test_the_revision_of_the_template_comes_before_any_pod() -> None:
    (change,) = plan(Observed(daemonset(), NODES), NOW).changes()
    assert isinstance(change, Create) and change.resource == "controllerrevisions.apps"
    assert change.document["data"]["spec"]["template"]["$patch"] == "replace"
    assert change.document["revision"] == 1


def test_every_node_that_is_meant_gets_a_pod_pinned_to_it() -> None:
    owner = daemonset()
    made = seen(owner, NODES, [on("a", owner, hash_of(owner))])
    assert created(made) == ["b", "c"]
    creation = next(change for change in made.changes() if isinstance(change, Create))
    keys = [one["key"] for one in creation.document["spec"]["tolerations"]]
    assert "node.kubernetes.io/unschedulable" in keys and "node.kubernetes.io/not-ready" in keys


@pytest.mark.parametrize(
    ("spec", "found", "expected"),
    [
        ({}, node("n"), Standing(True, True)),
        ({}, node("n", taint("gpu", "NoSchedule")), Standing(False, True)),
        ({}, node("n", taint("gpu", "NoExecute")), Standing(False, False)),
        ({}, node("n", taint("node.kubernetes.io/not-ready", "NoExecute")), Standing(True, True)),
        ({}, node("n", taint("node.kubernetes.io/network-unavailable", "NoSchedule")), Standing(False, True)),
        (
            {"hostNetwork": True},
            node("n", taint("node.kubernetes.io/network-unavailable", "NoSchedule")),
            Standing(True, True),
        ),
        ({"nodeSelector": {"disk": "ssd"}}, node("n"), Standing(False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("n", disk="ssd"), Standing(True, True)),
        ({"nodeName": "other"}, node("n"), Standing(False, False)),
        ({"tolerations": [{"operator": "Exists"}]}, node("n", taint("gpu", "NoExecute")), Standing(True, True)),
    ],
)
def test_a_node_is_judged_as_the_scheduler_would(spec: Document, found: Document, expected: Standing) -> None:
    assert standing({"containers": [], **spec}, found) == expected


def test_the_pin_replaces_required_terms_and_keeps_the_rest() -> None:
    preferred = [{"weight": 1, "preference": {"matchExpressions": []}}]
    spec = {
        "containers": [],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
    }
    made = pinned(spec, "a")
    assert target({"metadata": {}, "spec": made}) == "a"
    assert made["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == preferred


def test_pods_go_from_where_none_may_stay_and_where_there_are_two() -> None:
    owner = daemonset()
    letters = hash_of(owner)
    nodes = [node("a"), node("b", taint("gpu", "NoExecute"))]
    double = pod("agent-a2", owner, node="a", labels={"app": "web", HASH_LABEL: letters}, created=-10)
    assert removed(seen(owner, nodes, [on("a", owner, letters), double, on("b", owner, letters)])) == [
        "agent-a2",
        "agent-b",
    ]


def test_a_failed_pod_is_replaced_when_its_node_has_been_left_alone_long_enough() -> None:
    owner = daemonset()
    pods = [on("a", owner, hash_of(owner), phase="Failed", ready_since=None)]
    assert removed(seen(owner, NODES[:1], pods)) == ["agent-a"]
    made = seen(owner, NODES[:1], pods, waits={"a": 4.0})
    assert removed(made) == [] and created(made) == [] and made.again_seconds == 4.0


def test_a_rollout_ends_as_many_old_pods_as_may_be_missing() -> None:
    owner = daemonset()
    pods = [on(name, owner, "old") for name in "abc"]
    assert len(removed(seen(owner, NODES, pods))) == 1
    two = daemonset(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}})
    assert len(removed(seen(two, NODES, [on(name, two, "old") for name in "abc"]))) == 2


def test_old_pods_that_do_not_serve_go_at_once_and_count() -> None:
    owner = daemonset()
    pods = [on("a", owner, "old", ready_since=None), on("b", owner, "old", ready_since=None), on("c", owner, "old")]
    assert removed(seen(owner, NODES, pods)) == ["agent-a", "agent-b"]


def test_a_rollout_waits_for_a_new_pod_that_is_not_available_yet() -> None:
    owner = daemonset(minReadySeconds=30)
    letters = hash_of(owner)
    made = seen(owner, NODES, [on("a", owner, letters, ready_since=-10), on("b", owner, "old"), on("c", owner, "old")])
    assert removed(made) == [] and made.again_seconds == 20


def test_nothing_rolls_on_delete() -> None:
    owner = daemonset(strategy={"type": "OnDelete"})
    made = seen(owner, NODES, [on(name, owner, "old") for name in "abc"])
    assert removed(made) == [] and created(made) == []


def test_a_surge_starts_beside_and_ends_whom_it_relieved() -> None:
    owner = daemonset(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    letters = hash_of(owner)
    old = [on(name, owner, "old") for name in "abc"]
    first = seen(owner, NODES, old)
    assert len(created(first)) == 1 and removed(first) == []
    beside = pod("agent-a-new", owner, node="a", labels={"app": "web", HASH_LABEL: letters}, ready_since=None)
    waiting = seen(owner, NODES, [*old, beside])
    assert created(waiting) == [] and removed(waiting) == []
    ready = pod("agent-a-new", owner, node="a", labels={"app": "web", HASH_LABEL: letters}, created=-5)
    relieved = seen(owner, NODES, [*old, ready])
    assert removed(relieved) == ["agent-a"] and len(created(relieved)) == 1


def test_the_counts_are_reported() -> None:
    owner = daemonset()
    letters = hash_of(owner)
    nodes = [*NODES, node("d", taint("gpu", "NoSchedule"))]
    pods = [
        on("a", owner, letters),
        on("b", owner, letters, ready_since=None),
        on("c", owner, letters),
        on("d", owner, letters),
    ]
    (change,) = seen(owner, nodes, pods).changes()
    assert change.patch["status"] == {  # type: ignore[union-attr]
        "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberMisscheduled": 1, "numberReady": 2,
        "updatedNumberScheduled": 3, "numberAvailable": 2, "numberUnavailable": 1, "observedGeneration": 1,
    }  # fmt: skip


def test_an_old_template_put_back_finds_its_revision_and_gives_it_the_next_number() -> None:
    first, second = daemonset("agent:1"), daemonset("agent:2")
    kept = [revision(first, 1), revision(second, 2)]
    made = revisions.arrange(first, "daemonsets.apps", kept, lambda _: False, lambda _, letters: {})
    (bump,) = made.changes
    assert bump.patch["revision"] == 3 and bump.name == kept[0]["metadata"]["name"]  # type: ignore[union-attr]


def test_a_name_that_is_taken_counts_a_collision() -> None:
    made = revisions.arrange(daemonset(), "daemonsets.apps", (), lambda _: True, lambda _, letters: {})
    (count,) = made.changes
    assert count.patch["status"] == {"collisionCount": 1}  # type: ignore[union-attr]


def test_revisions_beyond_the_limit_go_but_never_one_that_lives() -> None:
    owner = daemonset(revisionHistoryLimit=1)
    old = [revision(daemonset(f"agent:0.{number}"), number) for number in range(1, 5)]
    history = revisions.History([*old, revision(owner, 9)], revision(owner, 9), ())
    living = {old[0]["metadata"]["name"], revision(owner)["metadata"]["name"]}
    gone = [change.name for change in revisions.obsolete(owner, history, living)]  # type: ignore[union-attr]
    assert gone == [old[1]["metadata"]["name"], old[2]["metadata"]["name"]]
