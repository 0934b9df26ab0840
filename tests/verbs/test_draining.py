"""Which pods of a drained node go, stay, or stand against it."""

from typing import Any

import pytest

from ksql.verbs.draining import MIRROR, Fate, Leave, judge, judged


def pod(owner: str = "ReplicaSet", phase: str = "Running", **more: Any) -> dict[str, Any]:
    owners = [{"kind": owner, "name": "owner", "controller": True}] if owner else []
    metadata = {"name": "web", "namespace": "shop", "ownerReferences": owners, **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": more, "status": {"phase": phase}}


LOCAL = {"volumes": [{"name": "x", "emptyDir": {}}]}
ALL = Leave(ignore_daemon_sets=True, delete_empty_dir_data=True, force=True)


@pytest.mark.parametrize(
    ("given", "leave", "fate"),
    [
        (pod(), Leave(), Fate.EVICT),
        (pod(""), Leave(), Fate.AGAINST),
        (pod(""), Leave(force=True), Fate.EVICT),
        (pod("DaemonSet"), Leave(), Fate.AGAINST),
        (pod("DaemonSet"), Leave(ignore_daemon_sets=True), Fate.STAY),
        (pod("DaemonSet"), ALL, Fate.STAY),
        (pod(**LOCAL), Leave(force=True), Fate.AGAINST),
        (pod(**LOCAL), Leave(delete_empty_dir_data=True), Fate.EVICT),
        (pod("", "Succeeded", **LOCAL), Leave(), Fate.EVICT),
        (pod("DaemonSet", "Failed"), Leave(), Fate.EVICT),
        (pod("", metadata={"annotations": {MIRROR: "x"}}), Leave(), Fate.STAY),
        (pod("", metadata={"deletionTimestamp": "x"}), Leave(), Fate.LEAVING),
    ],
)
def test_a_pod_goes_only_if_it_comes_back_or_may_be_lost(given: Any, leave: Leave, fate: Fate) -> None:
    assert judge(given, leave, lambda *_: True).fate is fate


def test_a_pod_whose_daemon_set_is_gone_needs_force() -> None:
    assert judge(pod("DaemonSet"), Leave(ignore_daemon_sets=True), lambda *_: False).fate is Fate.AGAINST
    assert judge(pod("DaemonSet"), Leave(force=True), lambda *_: False).fate is Fate.EVICT


def test_verdicts_come_by_namespace_and_name() -> None:
    pods = [pod(metadata={"name": name, "namespace": place}) for place, name in (("b", "x"), ("a", "z"), ("a", "y"))]
    order = [one.pod["metadata"] for one in judged(pods, Leave(), lambda *_: True)]
    assert [(one["namespace"], one["name"]) for one in order] == [("a", "y"), ("a", "z"), ("b", "x")]
