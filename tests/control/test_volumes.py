"""The binder's rules on plain documents: which volume a claim gets, and every phase of both."""

import pytest

from ksql.control.plan import NOTHING
from ksql.control.volumes import binding, needs, protection, words
from ksql.control.volumes.binding import Observed, plan_claim, plan_volume
from ksql.control.volumes.matching import Place, best_match
from tests.control.objects import World, metadata

DEFAULT = {"metadata": {"name": "standard", "annotations": {words.DEFAULT_CLASS: "true"}}, "provisioner": "a.b/c"}


def claim(name="data", size="1Gi", annotations=None, status=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(name, **({"annotations": annotations} if annotations else {})),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": "",
            **spec,
        },
        "status": status or {"phase": "Pending"},
    }


def volume(name, size="1Gi", phase="Available", labels=None, annotations=None, **spec):
    more = {"labels": labels or {}, **({"annotations": annotations} if annotations else {})}
    about = {key: value for key, value in metadata(name, **more).items() if key != "namespace"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": about,
        "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": size}, **spec},
        "status": {"phase": phase},
    }


def reference(document, uid=None):
    about = document["metadata"]
    return {"namespace": about["namespace"], "name": about["name"], "uid": about["uid"] if uid is None else uid}


def on(node):
    term = {"matchExpressions": [{"key": "host", "operator": "In", "values": [node]}]}
    return {"required": {"nodeSelectorTerms": [term]}}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (volume("v", "512Mi"), "too small"),
        (volume("v", phase="Released"), "not available"),
        (volume("v", storageClassName="fast"), "another class"),
        (volume("v", volumeMode="Block"), "another mode"),
        (volume("v", accessModes=["ReadOnlyMany"]), "not writable"),
        (volume("v", claimRef={"namespace": "default", "name": "other"}), "reserved for another"),
        (volume("v", claimRef={"namespace": "default", "name": "data", "uid": "older"}), "a namesake's"),
        (volume("v", volumeAttributesClassName="gold"), "other attributes"),
        (volume("v", labels={"tier": "b"}), "not selected"),
    ],
)
def test_a_volume_that_does_not_suit_is_no_match(wrong, why):
    asked = claim(selector={"matchLabels": {"tier": "a"}} if why == "not selected" else None)
    assert best_match(asked, [wrong]) is None, why


def test_of_those_that_suit_the_smallest_is_taken_and_one_reserved_comes_before_all():
    free = [volume("large", "9Gi"), volume("b", "2Gi"), volume("a", "2Gi"), volume("tiny", "1Mi")]
    asked = claim()
    assert best_match(asked, free)["metadata"]["name"] == "a"
    reserved = volume("mine", "20Gi", claimRef=reference(asked, uid=""))
    assert best_match(asked, [*free, reserved])["metadata"]["name"] == "mine"


def test_with_a_node_only_what_is_reached_from_it_matches_and_without_one_a_waiting_claim_matches_nothing():
    here, there = volume("here", nodeAffinity=on("n1")), volume("there", nodeAffinity=on("n2"))
    place = Place("n2", {"host": "n2"})
    assert best_match(claim(), [here, there], waits=True, place=place)["metadata"]["name"] == "there"
    assert best_match(claim(), [here, there], waits=True) is None


def world_of(claim, *volumes):
    world = World()
    world.put(words.CLAIMS, claim)
    for each in volumes:
        world.put(words.VOLUMES, each)
    return world


def carried(world):
    """How many rounds of the binder until it is quiet; one plan of a round alone, as if the others had failed."""
    for rounds in range(10):
        asked, volumes = world.get(words.CLAIMS, "data"), world.all(words.VOLUMES)
        named = world.get(words.VOLUMES, asked["spec"].get("volumeName", ""))
        plans = [plan_claim(Observed(asked, volume=named, candidates=volumes))]
        plans += [plan_volume(one, asked if words.claim_key(one) == "default/data" else None) for one in volumes]
        plan = next((each for each in plans if each.steps), None)
        if plan is None:
            return rounds
        for change in plan.changes():
            world.execute(change)
    raise AssertionError("never settled")


@pytest.mark.parametrize("cut", range(5))
def test_binding_settles_with_both_ends_bound_wherever_it_was_cut(cut):
    world = world_of(claim(), volume("v"))
    asked, given = world.get(words.CLAIMS, "data"), world.get(words.VOLUMES, "v")
    for change in list(plan_claim(Observed(asked, candidates=[given])).changes())[:cut]:
        world.execute(change)
    carried(world)
    bound, taken = world.get(words.CLAIMS, "data"), world.get(words.VOLUMES, "v")
    assert bound["spec"]["volumeName"] == "v" and bound["status"]["phase"] == "Bound"
    assert bound["status"]["capacity"] == {"storage": "1Gi"}
    assert taken["spec"]["claimRef"]["uid"] == asked["metadata"]["uid"] and taken["status"]["phase"] == "Bound"
    assert taken["metadata"]["annotations"][words.BOUND_BY_CONTROLLER] == "yes"
    assert bound["metadata"]["annotations"] == {words.BIND_COMPLETED: "yes", words.BOUND_BY_CONTROLLER: "yes"}


def test_a_claim_without_a_class_gets_the_default_one_once_there_is_one():
    asked = claim(storageClassName=None)
    (change,) = plan_claim(Observed(asked, classes=[DEFAULT])).steps
    assert change.document["spec"]["storageClassName"] == "standard"
    # An empty class asks for none.
    assert not any("storageClassName" in str(step) for step in plan_claim(Observed(claim(), classes=[DEFAULT])).steps)


def test_a_volume_asked_for_by_name_is_refused_with_the_reason():
    asked = claim(size="2Gi", volumeName="v")
    (said,) = plan_claim(Observed(asked, volume=volume("v"))).remarks
    assert said.message == 'Cannot bind to requested volume "v": requested PV is too small'
    taken = volume("v", claimRef={"namespace": "default", "name": "other", "uid": "u"})
    (said,) = plan_claim(Observed(asked, volume=taken)).remarks
    assert said.message == 'volume "v" already bound to a different claim.'


def bound(**more):
    return claim(annotations={words.BIND_COMPLETED: "yes"}, volumeName="v", status={"phase": "Bound"}, **more)


@pytest.mark.parametrize(
    ("found", "reason"),
    [(None, "ClaimLost"), (volume("v", claimRef={"namespace": "x", "name": "y", "uid": "z"}), "ClaimMisbound")],
)
def test_a_bound_claim_whose_volume_is_gone_or_anothers_is_lost(found, reason):
    plan = plan_claim(Observed(bound(), volume=found))
    assert plan.remarks[0].reason == reason and plan.steps[0].patch["status"]["phase"] == "Lost"


def test_growth_that_nobody_here_makes_is_left_to_others_and_said():
    grown = bound(size="2Gi")
    grown["status"]["capacity"] = {"storage": "1Gi"}
    given = volume("v", phase="Bound", claimRef=reference(grown))
    plan = plan_claim(Observed(grown, volume=given))
    assert [one.reason for one in plan.remarks] == ["ExternalExpanding"] and not plan.steps


@pytest.mark.parametrize(
    ("policy", "provisioned", "phase"),
    [
        ("Retain", True, "Released"),
        ("Delete", True, "Released"),
        ("Delete", False, "Failed"),
        ("Recycle", True, "Failed"),
    ],
)
def test_a_volume_whose_claim_is_gone_is_released_or_failed(policy, provisioned, phase):
    marks = {words.PROVISIONED_BY: "a.b/c"} if provisioned else {}
    spec = {"claimRef": reference(claim()), "persistentVolumeReclaimPolicy": policy}
    plan = plan_volume(volume("v", phase="Bound", annotations=marks, **spec), None)
    assert plan.steps[-1].patch["status"]["phase"] == phase
    # A namesake is not the claim it was bound to.
    namesake = claim()
    namesake["metadata"]["uid"] = "younger"
    assert plan_volume(volume("v", phase="Bound", annotations=marks, **spec), namesake).steps


def test_a_volume_whose_claim_took_another_is_free_again():
    asked = bound()
    asked["spec"]["volumeName"] = "other"
    given = volume("v", claimRef=reference(asked), annotations={words.BOUND_BY_CONTROLLER: "yes"})
    untied, *_ = plan_volume(given, asked).steps
    assert "claimRef" not in untied.document["spec"]
    by_hand = volume("v", claimRef=reference(asked))
    untied, *_ = plan_volume(by_hand, asked).steps
    assert untied.document["spec"]["claimRef"] == {"namespace": "default", "name": "data"}


def pod(*volumes, node="", name="p"):
    spec = {"volumes": list(volumes), **({"nodeName": node} if node else {})}
    return {"metadata": metadata(name), "spec": spec}


USED = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}


def test_a_finalizer_is_lifted_from_what_goes_unused_and_put_on_what_stays():
    finalizer = words.CLAIM_PROTECTION
    staying, going = claim(), claim()
    going["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:00Z", "finalizers": ["other", finalizer]}
    (put,) = protection.plan(words.CLAIMS, finalizer, staying, False).steps
    assert put.document["metadata"]["finalizers"] == [finalizer]
    (lifted,) = protection.plan(words.CLAIMS, finalizer, going, False).steps
    assert lifted.document["metadata"]["finalizers"] == ["other"]
    assert protection.plan(words.CLAIMS, finalizer, going, True) is NOTHING
    for change in (put, lifted):
        assert protection.plan(words.CLAIMS, finalizer, change.document, False) is NOTHING


def test_only_pods_that_have_a_node_use_a_claim():
    assert not protection.is_claim_used(claim(), [pod(USED)])
    assert protection.is_claim_used(claim(), [pod(USED, node="n")])
    # A claim of that name made by hand is not the pod's ephemeral one.
    scratch = {"name": "d", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    assert not protection.is_claim_used(claim("p-d"), [pod(scratch, node="n")])


def known(*claims, volumes=(), classes=(), free=(), users=()):
    return needs.Known(
        {one["metadata"]["name"]: one for one in claims},
        {one["metadata"]["name"]: one for one in volumes},
        {one["metadata"]["name"]: one for one in classes},
        {one["metadata"]["name"]: free for one in claims},
        {one["metadata"]["name"]: users for one in claims},
    )


WAITING = {"metadata": {"name": "w"}, "provisioner": "a.b/c", "volumeBindingMode": "WaitForFirstConsumer"}


def test_a_bound_claim_keeps_its_pod_where_the_volume_is():
    given = volume("v", nodeAffinity=on("n1"), labels={"topology.kubernetes.io/zone": "z1__z2"})
    asked = needs.needs_of(pod(USED), known(bound(), volumes=[given]))
    assert asked.refuse("n1", {"host": "n1", "topology.kubernetes.io/zone": "z2"}) == ""
    assert asked.refuse("n1", {"host": "n1", "topology.kubernetes.io/zone": "z3"}) == needs.ZONE_CONFLICT
    assert asked.refuse("n2", {"host": "n2"}) == needs.NODE_CONFLICT


def test_a_claim_for_one_pod_alone_is_not_given_to_a_second():
    alone, given = bound(accessModes=["ReadWriteOncePod"]), volume("v")
    other = pod(USED, node="n", name="other")
    assert needs.needs_of(pod(USED), known(alone, volumes=[given], users=[other])).refusal == needs.ALONE
    assert not needs.needs_of(pod(USED), known(alone, volumes=[given], users=[pod(USED)])).refusal


def test_two_waiting_claims_never_share_a_volume():
    asked = [claim("a", storageClassName="w"), claim("b", storageClassName="w")]
    both = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in ("a", "b")]
    static = {**WAITING, "provisioner": words.NO_PROVISIONER}
    place = {"host": "n1"}
    one = needs.needs_of(pod(*both), known(*asked, classes=[static], free=[volume("v", storageClassName="w")]))
    assert one.refuse("n1", place) == needs.BIND_CONFLICT
    two = [volume("v", storageClassName="w"), volume("w", storageClassName="w")]
    enough = needs.needs_of(pod(*both), known(*asked, classes=[static], free=two))
    assert enough.refuse("n1", place) == ""
    assert sorted(change.document["metadata"]["name"] for change in enough.changes(Place("n1", place))) == ["v", "w"]


def test_a_volume_is_made_only_where_its_class_allows():
    allowed = [{"matchLabelExpressions": [{"key": "zone", "values": ["z1"]}]}]
    here = {**WAITING, "allowedTopologies": allowed}
    asked = needs.needs_of(pod(USED), known(claim(storageClassName="w"), classes=[here]))
    assert asked.refuse("n1", {"zone": "z1"}) == "" and asked.refuse("n2", {"zone": "z2"}) == needs.BIND_CONFLICT
    (change,) = asked.changes(Place("n1", {"zone": "z1"}))
    assert change.patch["metadata"]["annotations"] == {words.SELECTED_NODE: "n1"}


def test_binding_is_quiet_once_it_is_done():
    world = world_of(claim(), volume("v"))
    assert carried(world) >= 1 and carried(world) == 0
    assert binding.bind(world.get(words.VOLUMES, "v"), world.get(words.CLAIMS, "data")) == []
