"""Garbage collection: what becomes of one object, and stories over the real pipeline."""

from dataclasses import replace

from ksql.control.garbage import Observed, State, plan
from ksql.control.plan import Amend, Burst, Remove
from tests.control.objects import at, metadata, pod, reference, replicaset

OWNER = replicaset(1, "owner")
OTHER = replicaset(1, "other")


def owned(*states: State, **more: object) -> Observed:
    owners = [OWNER, OTHER][: len(states)]
    document = pod("a")
    document["metadata"]["ownerReferences"] = [reference(each, controller=each is OWNER) for each in owners]
    pairs = list(zip(document["metadata"]["ownerReferences"], states, strict=True))
    return Observed("pods", document, pairs, **more)


def ending(finalizer: str, dependents: list) -> Observed:
    document = replicaset(1, "owner")
    document["metadata"] |= {"deletionTimestamp": at(0), "finalizers": [finalizer, "keep.example/me"]}
    return Observed("replicasets.apps", document, (), dependents)


def test_an_object_with_a_living_owner_stays() -> None:
    assert not plan(owned(State.THERE)).steps


def test_an_object_whose_only_owner_is_gone_goes_in_the_background() -> None:
    [change] = plan(owned(State.GONE)).steps
    assert isinstance(change, Remove)
    assert (change.uid, change.propagation_policy) == ("uid-a", "Background")
    assert change.resource_version is not None


def test_of_several_owners_the_gone_ones_are_forgotten() -> None:
    [change] = plan(owned(State.GONE, State.THERE)).steps
    assert isinstance(change, Amend)
    assert [each["uid"] for each in change.patch["metadata"]["ownerReferences"]] == ["uid-other"]


def test_an_owner_of_an_unknown_kind_is_never_a_reason_to_delete() -> None:
    assert not plan(owned(State.UNKNOWN)).steps
    [change] = plan(owned(State.UNKNOWN, State.GONE)).steps
    assert isinstance(change, Amend)


def test_under_a_waiting_owner_an_object_with_dependents_goes_in_the_foreground() -> None:
    [change] = plan(owned(State.WAITING, dependents=[("pods", pod("below"))])).steps
    assert isinstance(change, Remove)
    assert change.propagation_policy == "Foreground"


def test_a_circle_of_waiting_objects_is_broken() -> None:
    below = pod("below")
    below["metadata"] |= {"deletionTimestamp": at(0), "finalizers": ["foregroundDeletion"]}
    amend, remove = plan(owned(State.WAITING, dependents=[("pods", below)])).steps
    assert isinstance(amend, Amend)
    assert not any(each["blockOwnerDeletion"] for each in amend.patch["metadata"]["ownerReferences"])
    assert isinstance(remove, Remove)
    assert remove.resource_version is None


def test_a_finalizer_on_the_object_keeps_its_policy() -> None:
    observed = owned(State.GONE)
    observed.document["metadata"]["finalizers"] = ["orphan"]
    [change] = plan(observed).steps
    assert change.propagation_policy == "Orphan"


def test_foreground_waits_for_those_that_block_and_for_no_others() -> None:
    blocking, free = pod("a", OWNER), pod("b", OWNER)
    free["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = False
    assert not plan(ending("foregroundDeletion", [("pods", blocking), ("pods", free)])).steps
    [change] = plan(ending("foregroundDeletion", [("pods", free)])).steps
    assert change.patch["metadata"]["finalizers"] == ["keep.example/me"]


def test_orphaning_frees_the_dependents_before_the_owner() -> None:
    burst, change = plan(ending("orphan", [("pods", pod("a", OWNER)), ("pods", pod("b", OWNER))])).steps
    assert isinstance(burst, Burst)
    assert [each.patch["metadata"]["ownerReferences"] for each in burst.changes] == [None, None]
    assert change.patch["metadata"]["finalizers"] == ["keep.example/me"]


def test_an_object_that_already_ends_is_left_to_end() -> None:
    observed = owned(State.GONE)
    observed.document["metadata"]["deletionTimestamp"] = at(0)
    assert not plan(observed).steps


def test_an_object_without_owners_is_nobodys_garbage() -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("free")}
    assert not plan(Observed("configmaps", document)).steps


def test_who_waits_for_itself_by_way_of_others_lets_them_go_first() -> None:
    blocking = pod("a", OWNER)
    observed = ending("foregroundDeletion", [("pods", blocking)])
    observed.document["metadata"]["ownerReferences"] = [reference(OTHER)]
    assert not plan(observed).steps
    [change] = plan(replace(observed, is_circular=True)).steps
    assert change.patch["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] is False


def test_an_owner_in_another_namespace_is_none_and_that_is_said() -> None:
    observed = owned(State.GONE)
    ref = observed.document["metadata"]["ownerReferences"][0]
    made = plan(replace(observed, foreign=(ref,)))
    assert isinstance(made.steps[0], Remove)
    [remark] = made.remarks
    assert (remark.type, remark.reason, remark.regarding) == ("Warning", "OwnerRefInvalidNamespace", observed.document)
    namespace = observed.document["metadata"]["namespace"]
    assert remark.message == (
        f"ownerRef [apps/v1/ReplicaSet, namespace: {namespace}, name: owner, uid: uid-owner] "
        f'does not exist in namespace "{namespace}"'
    )
    assert plan(replace(owned(State.UNKNOWN), foreign=(ref,))).remarks
