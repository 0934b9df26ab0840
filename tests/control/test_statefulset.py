"""StatefulSets: who the pods are, and in which order they are made, ended and rolled."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.control import revisions
from ksql.control import statefulset_identity as identity
from ksql.control.plan import Amend, Create, Plan, Remove, Replace
from ksql.control.statefulset import Observed, plan
from tests.control.objects import NOW, metadata, pod, template

UNREADY: dict[str, Any] = {"ready_since": None}


def statefulset(replicas: int = 3, image: str = "db:1", **spec: Any) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata("db", generation=1),
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            **spec,
        },
    }


def revision(owner: Document, number: int = 1) -> Document:
    made = revisions.arrange(owner, "statefulsets.apps", (), lambda _: False, lambda _, letters: {})
    (create,) = made.changes
    assert isinstance(create, Create)
    return {**create.document, "metadata": metadata(create.document["metadata"]["name"], owner), "revision": number}


def member(owner: Document, ordinal: int, of: Document | None = None, **more: Any) -> Document:
    name = f"db-{ordinal}"
    labels = {
        "app": "web", identity.POD_NAME_LABEL: name, identity.POD_INDEX_LABEL: str(ordinal),
        identity.REVISION_LABEL: (of or revision(owner))["metadata"]["name"],
    }  # fmt: skip
    return pod(name, owner, labels=labels, **more)


def seen(owner: Document, pods: list[Document], old: Document | None = None, **more: Any) -> Plan:
    """The plan when the set rolls from the revision `old` (which its status names) to its own."""
    kept = [*([old] if old is not None else []), revision(owner, 2)]
    if old is not None:
        status = {"currentRevision": old["metadata"]["name"], "currentReplicas": len(pods)}
        owner = {**owner, "status": {**status, **owner.get("status", {})}}
    return plan(Observed(owner, pods, revisions=kept, **more), NOW)


def created(made: Plan) -> list[str]:
    return [change.document["metadata"]["name"] for change in made.changes() if isinstance(change, Create)]


def removed(made: Plan) -> list[str]:
    return [change.name for change in made.changes() if isinstance(change, Remove)]


def status_of(made: Plan) -> Document:
    return next(
        change.patch["status"] for change in made.changes() if isinstance(change, Amend) and change.subresource
    )  # fmt: skip


def test_pods_are_made_from_the_lowest_up_each_when_the_one_before_is_available() -> None:
    owner = statefulset()
    assert created(seen(owner, [])) == ["db-0"]
    assert created(seen(owner, [member(owner, 0, **UNREADY)])) == []
    assert created(seen(owner, [member(owner, 0)])) == ["db-1"]
    patient = statefulset(minReadySeconds=30)
    waiting = seen(patient, [member(patient, 0, ready_since=-10)])
    assert created(waiting) == [] and waiting.again_seconds == 20


def test_a_gap_is_filled_before_anything_else_happens() -> None:
    owner = statefulset()
    assert created(seen(owner, [member(owner, 0), member(owner, 2)])) == ["db-1"]


def test_in_parallel_all_are_made_and_ended_at_once() -> None:
    owner = statefulset(podManagementPolicy="Parallel")
    assert created(seen(owner, [])) == ["db-0", "db-1", "db-2"]
    small = statefulset(1, podManagementPolicy="Parallel")
    assert sorted(removed(seen(small, [member(small, n, **UNREADY) for n in range(3)]))) == ["db-1", "db-2"]


def test_pods_are_ended_from_the_highest_down_one_at_a_time() -> None:
    owner = statefulset(1)
    pods = [member(owner, n) for n in range(3)]
    assert removed(seen(owner, pods)) == ["db-2"]
    assert removed(seen(owner, [*pods[:2], member(owner, 2, ending=True)])) == []
    assert removed(seen(owner, [pods[0], member(owner, 1, **UNREADY), member(owner, 2, **UNREADY)])) == []
    assert removed(seen(owner, [pods[0], member(owner, 1, **UNREADY)])) == ["db-1"]


def test_ordinals_may_start_elsewhere() -> None:
    owner = statefulset(2, ordinals={"start": 5})
    assert created(seen(owner, [])) == ["db-5"]
    assert removed(seen(owner, [member(owner, 5), member(owner, 6), member(owner, 0)])) == ["db-0"]


def test_a_pod_is_somebody() -> None:
    owner = statefulset(
        volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    )
    first = seen(owner, [])
    assert created(first) == ["data-db-0"]
    claim = next(change.document for change in first.changes() if isinstance(change, Create))
    assert claim["metadata"]["labels"] == {"app": "web"} and "ownerReferences" not in claim["metadata"]
    second = seen(owner, [], claims={"data-db-0": claim})
    (made,) = [change.document for change in second.changes() if isinstance(change, Create)]
    assert made["spec"]["hostname"] == "db-0" and made["spec"]["subdomain"] == "db"
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]
    labels = made["metadata"]["labels"]
    assert (labels[identity.POD_NAME_LABEL], labels[identity.POD_INDEX_LABEL]) == ("db-0", "0")


@pytest.mark.parametrize(
    ("name", "ordinal"), [("db-0", 0), ("db-12", 12), ("db-01", None), ("db-x", None), ("dbx-1", None)]
)
def test_each_ordinal_has_one_name(name: str, ordinal: int | None) -> None:
    assert identity.ordinal_of(statefulset(), {"metadata": {"name": name}}) == ordinal


def test_a_pod_that_has_run_its_course_is_made_anew() -> None:
    owner = statefulset(1)
    made = seen(owner, [member(owner, 0, phase="Failed", ready_since=None)])
    assert removed(made) == ["db-0"] and created(made) == []


def test_labels_that_say_who_a_pod_is_are_put_back() -> None:
    owner = statefulset(1)
    lost = member(owner, 0)
    del lost["metadata"]["labels"][identity.POD_NAME_LABEL]
    (mended,) = [each for each in seen(owner, [lost]).changes() if isinstance(each, Amend) and not each.subresource]
    assert mended.patch["metadata"]["labels"] == {identity.POD_NAME_LABEL: "db-0"}


def test_a_rollout_goes_from_the_highest_down_and_waits() -> None:
    old, owner = revision(statefulset()), statefulset(image="db:2")
    pods = [member(owner, n, old) for n in range(3)]
    assert removed(seen(owner, pods, old)) == ["db-2"]
    new = member(owner, 2)
    assert removed(seen(owner, [*pods[:2], new], old)) == ["db-1"]
    assert removed(seen(owner, [*pods[:2], member(owner, 2, **UNREADY)], old)) == []


def test_a_rollout_stops_at_the_partition_and_a_lost_pod_below_it_comes_back_as_it_was() -> None:
    old = revision(statefulset())
    owner = statefulset(image="db:2", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    pods = [member(owner, n, old) for n in range(3)]
    assert removed(seen(owner, pods, old)) == ["db-2"]
    assert removed(seen(owner, [*pods[:2], member(owner, 2)], old)) == []
    made = seen(owner, [pods[0], member(owner, 2)], old)
    (again,) = [change.document for change in made.changes() if isinstance(change, Create)]
    assert again["metadata"]["labels"][identity.REVISION_LABEL] == old["metadata"]["name"]
    assert again["spec"]["containers"][0]["image"] == "db:1"


def test_as_many_roll_at_once_as_may_be_missing() -> None:
    old = revision(statefulset())
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    owner = statefulset(4, "db:2", updateStrategy=strategy, podManagementPolicy="Parallel")
    pods = [member(owner, n, old) for n in range(4)]
    assert removed(seen(owner, pods, old)) == ["db-3", "db-2"]
    assert removed(seen(owner, [*pods[:3], member(owner, 3, **UNREADY)], old)) == ["db-2"]


def test_nothing_rolls_on_delete_and_what_is_made_is_new() -> None:
    old = revision(statefulset())
    owner = statefulset(2, "db:2", updateStrategy={"type": "OnDelete"})
    assert removed(seen(owner, [member(owner, n, old) for n in range(2)], old)) == []
    made = seen(owner, [member(owner, 0, old)], old)
    (again,) = [change.document for change in made.changes() if isinstance(change, Create)]
    assert again["spec"]["containers"][0]["image"] == "db:2"


def test_the_counts_and_the_end_of_a_rollout_are_reported() -> None:
    old, owner = revision(statefulset()), statefulset(2, "db:2")
    rolling = status_of(seen(owner, [member(owner, 0, old), member(owner, 1)], old))
    assert (rolling["readyReplicas"], rolling["updatedReplicas"], rolling["replicas"]) == (2, 1, 2)
    done = status_of(seen(owner, [member(owner, 0), member(owner, 1)], old))
    assert done["currentRevision"] == done["updateRevision"] == revision(owner)["metadata"]["name"]
    assert done["availableReplicas"] == 2


def test_claims_follow_the_retention_policy() -> None:
    templates = [{"metadata": {"name": "data"}, "spec": {}}]
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    owner = statefulset(1, volumeClaimTemplates=templates, persistentVolumeClaimRetentionPolicy=policy)
    claims = {
        name: {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata(name)}
        for name in ("data-db-0", "data-db-1")
    }
    pods = [member(owner, 0), member(owner, 1)]
    made = seen(owner, pods, claims=claims)
    owners = {
        change.document["metadata"]["name"]: change.document["metadata"]["ownerReferences"][0]["kind"]
        for change in made.changes()
        if isinstance(change, Replace) and change.resource == "persistentvolumeclaims"
    }
    assert owners == {"data-db-0": "StatefulSet", "data-db-1": "Pod"} and removed(made) == []


def test_only_pods_with_the_sets_names_are_taken_in() -> None:
    owner = statefulset(1)
    (change,) = seen(owner, [], strays=[pod("db-0"), pod("other")]).changes()
    assert isinstance(change, Amend) and change.name == "db-0"


def test_a_claim_that_went_under_a_pod_that_waits_is_made_anew() -> None:
    templates = [{"metadata": {"name": "data"}, "spec": {}}]
    owner = statefulset(1, volumeClaimTemplates=templates)
    waiting = member(owner, 0)
    waiting["status"] = {"phase": "Pending"}
    (change,) = (each for each in seen(owner, [waiting], claims={}).changes() if isinstance(each, Create))
    assert (change.resource, change.document["metadata"]["name"]) == ("persistentvolumeclaims", "data-db-0")
