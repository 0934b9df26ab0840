"""The patches of a restart and a rollback, and kubectl's words where there is none."""

from typing import Any

import pytest

from ksql.verbs import rollouts
from ksql.verbs.rollouts import RolloutError, restart, rollback

DEPLOYMENTS, SETS = "deployments.apps", "statefulsets.apps"


def workload(image: str = "web:3", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}
    metadata = {"name": "web", "uid": "u", "annotations": {"note": "new", rollouts.REVISION: "3"}}
    return {"metadata": metadata, "spec": {"template": template, **spec}}


def replica_set(number: int, image: str, uid: str = "u") -> dict[str, Any]:
    made = workload(image)
    made["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = f"hash{number}"
    made["metadata"] = {
        "name": f"web-{number}", "annotations": {rollouts.REVISION: str(number), "note": f"old {number}"},
        "ownerReferences": [{"uid": uid, "controller": True}],
    }  # fmt: skip
    return made


def revision(number: int, image: str) -> dict[str, Any]:
    template = workload(image)["spec"]["template"]
    return {"metadata": {"name": f"web-{number}"}, "revision": number,
            "data": {"spec": {"template": {**template, "$patch": "replace"}}}}  # fmt: skip


KEPT = [replica_set(3, "web:3"), replica_set(1, "web:1"), replica_set(2, "web:2")]


@pytest.mark.parametrize(("to", "image", "number"), [(None, "web:2", 2), (1, "web:1", 1)])
def test_a_deployment_gets_an_old_template_and_its_notes_back(to: int | None, image: str, number: int) -> None:
    back = rollback(DEPLOYMENTS, workload(), KEPT, to)
    template, annotations = (operation["value"] for operation in back.patch)
    assert (back.kind, back.to) == ("json", number)
    assert template["spec"]["containers"][0]["image"] == image
    assert template["metadata"]["labels"] == {"app": "web"}, "the hash is the ReplicaSet's own"
    assert annotations == {rollouts.REVISION: "3", "note": f"old {number}"}


def test_a_stateful_set_gets_back_what_its_revision_keeps() -> None:
    back = rollback(SETS, workload(), [revision(2, "web:2"), revision(3, "web:3")], None)
    assert (back.kind, back.to) == ("strategic", 2)
    assert back.patch["spec"]["template"]["$patch"] == "replace"


@pytest.mark.parametrize(
    ("resource", "kept", "to", "message"),
    [
        (DEPLOYMENTS, KEPT, 9, "unable to find specified revision 9 in history"),
        (DEPLOYMENTS, KEPT, 0, "unable to find specified revision 0 in history"),
        (DEPLOYMENTS, KEPT, 3, "skipped rollback (current template already matches revision 3)"),
        (DEPLOYMENTS, KEPT[:1], None, 'no rollout history found for deployment "web"'),
        (SETS, [revision(3, "web:3")], None, 'no rollout history found for statefulset "web"'),
        (SETS, [revision(3, "web:3")], 3, "skipped rollback (current template already matches revision 3)"),
        ("pods", [], None, "pods cannot roll back: only deployments.apps, daemonsets.apps, statefulsets.apps can"),
    ],
)
def test_where_there_is_no_way_back_kubectls_words_say_so(resource: str, kept: Any, to: Any, message: str) -> None:
    with pytest.raises(RolloutError) as caught:
        rollback(resource, workload(), kept, to)
    assert str(caught.value) == message


@pytest.mark.parametrize("paused", [True, False])
def test_what_is_paused_neither_restarts_nor_rolls_back(paused: bool) -> None:
    if not paused:
        patch = restart(DEPLOYMENTS, workload(), "2026-01-01T00:00:00Z")
        annotations = patch["spec"]["template"]["metadata"]["annotations"]
        assert annotations == {rollouts.RESTARTED_AT: "2026-01-01T00:00:00Z"}
        return
    for attempt in (lambda: restart(DEPLOYMENTS, workload(paused=True), ""),
                    lambda: rollback(DEPLOYMENTS, workload(paused=True), KEPT, None)):  # fmt: skip
        with pytest.raises(RolloutError, match="paused deployment"):
            attempt()


def test_only_what_it_controls_is_a_workloads_history() -> None:
    others = [replica_set(5, "web:5", uid="another"), {"metadata": {"name": "x"}}]
    assert rollouts.owned(workload(), [*KEPT, *others]) == KEPT
