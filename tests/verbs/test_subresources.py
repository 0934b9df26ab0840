"""The other doors to an object: scale, binding, eviction, and the parts that each may change."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksql.auth.pki import make_authority
from ksql.base.documents import Document
from ksql.schema.errors import (
    BadRequestError,
    ConflictError,
    InternalError,
    InvalidError,
    NotFoundError,
    TooManyRequestsError,
)
from tests.verbs.room import Room, deployment, pod, shown


async def test_a_scale_shows_replicas_and_selector(room: Room) -> None:
    made = await room.create("deployments.apps", deployment(replicas=2))
    scale = await room.get("deployments.apps", "shop", "web", subresource="scale")
    metadata = made["metadata"]
    kept = {
        key: metadata[key] for key in ("name", "namespace", "uid", "creationTimestamp", "resourceVersion")
    }
    assert scale == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": {"replicas": 2},
        "status": {"replicas": 0, "selector": "app=web"},
    }


async def test_a_scale_changes_the_replicas_and_nothing_else(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    patch = {"spec": {"replicas": 3}, "metadata": {"labels": {"a": "b"}}}
    scale = await room.patch("deployments.apps", "shop", "web", patch, subresource="scale")
    assert scale["spec"] == {"replicas": 3} and scale["metadata"]["resourceVersion"] == str(room.log.head)
    found = await room.get("deployments.apps", "shop", "web")
    assert found["spec"]["replicas"] == 3 and "labels" not in found["metadata"]
    scale["spec"]["replicas"] = 0
    answer = await room.update("deployments.apps", scale, subresource="scale")
    assert answer["spec"] == {}
    assert (await room.get("deployments.apps", "shop", "web"))["spec"]["replicas"] == 0


async def test_a_stale_scale_conflicts(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    scale = await room.get("deployments.apps", "shop", "web", subresource="scale")
    await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": 3}})
    with pytest.raises(ConflictError):
        await room.update("deployments.apps", scale, subresource="scale")


async def test_negative_replicas_are_invalid(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    with pytest.raises(InvalidError) as caught:
        await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": -1}}, subresource="scale")
    assert caught.value.status()["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0",
            "field": "spec.replicas",
        }
    ]


async def test_a_scale_of_another_object_is_refused(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    with pytest.raises(BadRequestError, match="the namespace of the provided object does not match"):
        await rescale(room, namespace="other")
    with pytest.raises(ConflictError, match="Precondition failed: UID in precondition: another, UID in object"):
        await rescale(room, uid="another")


async def rescale(room: Room, **metadata: Any) -> Document:
    body = {"metadata": {"name": "web", **metadata}, "spec": {"replicas": 5}}
    result = await room.perform("update", "deployments.apps", "shop", "web", subresource="scale", body=body)
    return shown(result)


async def test_a_status_that_leaves_out_the_quality_of_service_leaves_it(room: Room) -> None:
    made = await room.create("pods", pod(node="node-1"))
    assert made["status"]["qosClass"] == "BestEffort"
    answer = await room.update("pods", {**made, "status": {"phase": "Running"}}, subresource="status")
    assert answer["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    with pytest.raises(InvalidError, match=r"status.qosClass: Invalid value"):
        await room.update("pods", {**answer, "status": {"qosClass": "Burstable"}}, subresource="status")


def binding(node: str = "node-1", **metadata: Any) -> Document:
    return {
        "metadata": {"name": "web-1", "namespace": "shop", **metadata},
        "target": {"kind": "Node", "name": node},
    }


async def bind(room: Room, body: Document) -> Document:
    return shown(await room.perform("create", "pods", "shop", "web-1", subresource="binding", body=body))


async def test_a_binding_sets_the_node_and_says_so(room: Room) -> None:
    await room.create("pods", pod(annotations={"a": "1"}))
    answer = await bind(room, binding(annotations={"why": "fits"}, labels={"zone": "z1"}))
    assert answer == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    found = await room.get("pods", "shop", "web-1")
    assert found["spec"]["nodeName"] == "node-1"
    assert found["metadata"]["annotations"] == {"a": "1", "why": "fits"}
    assert found["metadata"]["labels"] == {"zone": "z1"}
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    assert found["status"]["phase"] == "Pending"
    event = (await room.events(resources=("pods",)))[-1]
    assert (event.subresource, event.verb) == ("binding", "create")


async def test_a_pod_is_bound_once(room: Room) -> None:
    await room.create("pods", pod())
    await bind(room, binding())
    with pytest.raises(ConflictError) as caught:
        await bind(room, binding("node-2"))
    assert caught.value.message == (
        'Operation cannot be fulfilled on pods/binding "web-1": '
        'pod web-1 is already assigned to node "node-1"'
    )


async def test_a_pod_that_goes_is_not_bound(room: Room) -> None:
    await room.create("pods", pod(finalizers=["example.com/a"]))
    await room.delete("pods", "shop", "web-1")
    with pytest.raises(ConflictError, match="pod web-1 is being deleted, cannot be assigned to a host"):
        await bind(room, binding())


async def test_a_binding_needs_a_pod_and_a_target(room: Room) -> None:
    with pytest.raises(NotFoundError):
        await bind(room, binding())
    await room.create("pods", pod())
    with pytest.raises(InvalidError, match=r"target.name: Required value"):
        await bind(room, {**binding(), "target": {"name": ""}})


async def test_a_binding_is_of_the_pod_that_its_author_saw(room: Room) -> None:
    made = await room.create("pods", pod())
    stale = str(int(made["metadata"]["resourceVersion"]) - 1)
    with pytest.raises(ConflictError, match=f"ResourceVersion in precondition: {stale}, "):
        await bind(room, binding(resourceVersion=stale))
    await bind(room, binding(resourceVersion=made["metadata"]["resourceVersion"]))
    assert (await room.get("pods", "shop", "web-1"))["spec"]["nodeName"] == "node-1"


async def test_a_binding_is_no_new_generation(room: Room) -> None:
    made = await room.create("pods", pod())
    await bind(room, binding())
    found = await room.get("pods", "shop", "web-1")
    assert found["metadata"]["generation"] == made["metadata"]["generation"] == 1


# --- eviction


async def evict(room: Room, **options: Any) -> Document:
    body = {"metadata": {"name": "web-1", "namespace": "shop"}, "deleteOptions": options}
    return shown(await room.perform("create", "pods", "shop", "web-1", subresource="eviction", body=body))


async def running(room: Room, ready: str = "True") -> None:
    await room.create("pods", pod(node="node-1", labels={"app": "web"}))
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    await room.patch("pods", "shop", "web-1", {"status": status}, subresource="status")


async def budget(room: Room, name: str = "web", **status: Any) -> None:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    await room.create(
        "poddisruptionbudgets.policy", {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}
    )
    status = {"observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2, **status}
    await room.patch("poddisruptionbudgets.policy", "shop", name, {"status": status}, subresource="status")


async def test_an_eviction_without_a_budget_deletes(room: Room) -> None:
    await running(room)
    assert (await evict(room))["status"] == "Success"
    found = await room.get("pods", "shop", "web-1")
    assert found["metadata"]["deletionGracePeriodSeconds"] == 30
    assert "DisruptionTarget" in [one["type"] for one in found["status"]["conditions"]]


async def test_an_eviction_charges_the_budget_in_the_same_transaction(room: Room) -> None:
    await running(room)
    await budget(room, disruptionsAllowed=1, currentHealthy=3)
    head = room.log.head
    await evict(room, gracePeriodSeconds=0)
    assert room.log.head == head + 2
    status = (await room.get("poddisruptionbudgets.policy", "shop", "web"))["status"]
    assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["web-1"]
    assert room.objects.get("pods", "shop", "web-1") is None


async def test_a_spent_budget_refuses_the_eviction(room: Room) -> None:
    await running(room)
    await budget(room, disruptionsAllowed=0)
    head = room.log.head
    with pytest.raises(TooManyRequestsError) as caught:
        await evict(room)
    assert room.log.head == head
    status = caught.value.status()
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert status["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
        }
    ]


async def test_a_budget_that_was_not_counted_yet_asks_for_patience(room: Room) -> None:
    await running(room)
    await budget(room, disruptionsAllowed=1, observedGeneration=0)
    with pytest.raises(TooManyRequestsError) as caught:
        await evict(room)
    assert caught.value.status()["details"]["retryAfterSeconds"] == 10


async def test_a_pod_under_two_budgets_cannot_be_evicted(room: Room) -> None:
    await running(room)
    await budget(room, "one", disruptionsAllowed=1)
    await budget(room, "two", disruptionsAllowed=1)
    with pytest.raises(InternalError, match="more than one PodDisruptionBudget"):
        await evict(room)


async def test_a_pod_that_serves_nobody_needs_no_permission(room: Room) -> None:
    await running(room, ready="False")
    await budget(room, disruptionsAllowed=0)
    await evict(room, gracePeriodSeconds=0)
    assert room.objects.get("pods", "shop", "web-1") is None


async def test_an_eviction_in_a_dry_run_leaves_everything(room: Room) -> None:
    await running(room)
    await budget(room, disruptionsAllowed=1)
    head = room.log.head
    body = {"metadata": {"name": "web-1", "namespace": "shop"}}
    await room.perform(
        "create", "pods", "shop", "web-1", subresource="eviction", body=body, options={"dry_run": True}
    )
    assert room.log.head == head
    await evict(room, dryRun=["All"])
    assert room.log.head == head


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dryRun": ["Some"]}, r'dryRun: Unsupported value: \["Some"\]: supported values: "All"'),
        ({"propagationPolicy": "Slow"}, 'propagationPolicy: Unsupported value: "Slow"'),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            "orphanDependents and deletionPropagation cannot be both set",
        ),
    ],
)
async def test_options_of_an_eviction_are_judged_as_those_of_a_deletion(
    room: Room, options: Document, words: str
) -> None:
    await running(room)
    head = room.log.head
    with pytest.raises(InvalidError, match=words) as caught:
        await evict(room, **options)
    assert caught.value.status()["details"]["kind"] == "DeleteOptions"
    assert room.log.head == head


async def test_an_eviction_may_come_in_its_older_version(room: Room) -> None:
    await running(room)
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "web-1"}}
    await room.perform("create", "pods", "shop", "web-1", subresource="eviction", body=body)
    assert (await room.get("pods", "shop", "web-1"))["metadata"]["deletionGracePeriodSeconds"] == 30


def asking(**resources: str) -> Document:
    """A pod whose container asks for this much."""
    made = pod()
    made["spec"]["containers"][0]["resources"] = {"requests": resources}
    return made


async def resized(room: Room, *containers: Document, **more: object) -> Document:
    patch = {"spec": {"containers": list(containers), **more}}
    return await room.patch("pods", "shop", "web-1", patch, kind="strategic", subresource="resize")


async def test_only_their_resources_change_when_containers_are_resized(room: Room) -> None:
    made = await room.create("pods", asking(cpu="50m", memory="1Gi"))
    container = {"name": "web", "image": "other", "resources": {"requests": {"cpu": "100m"}}}
    changed = await resized(room, container, hostname="x")
    assert changed["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m", "memory": "1Gi"}}
    assert changed["spec"]["containers"][0]["image"] == "web:1" and "hostname" not in changed["spec"]
    assert changed["metadata"]["generation"] == made["metadata"]["generation"] + 1


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"name": "web", "resources": {"requests": {"cpu": None, "memory": None}}}, "Pod QOS Class may not change"),
        ({"name": "web", "resources": {"requests": {"cpu": None}}}, "resource requests cannot be removed"),
        ({"name": "web", "resources": {"requests": {"ephemeral-storage": "1Gi"}}}, "only cpu and memory resources are"),
        ({"name": "new", "image": "new"}, "containers may not be added or removed on resize"),
    ],
)
async def test_what_cannot_be_resized_is_refused(room: Room, container: Document, words: str) -> None:
    await room.create("pods", asking(cpu="50m", memory="1Gi"))
    with pytest.raises(InvalidError) as refusal:
        await resized(room, container)
    assert words in refusal.value.message


async def test_pods_that_their_node_has_of_itself_are_left_alone(room: Room) -> None:
    made = asking(cpu="50m")
    made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    made["spec"]["nodeName"] = "node-1"
    await room.create("pods", made)
    with pytest.raises(InvalidError, match="static pods cannot be resized"):
        await resized(room, {"name": "web", "resources": {"requests": {"cpu": "1"}}})
    with pytest.raises(InvalidError, match="static pods do not support ephemeral containers"):
        added = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}}
        await room.patch("pods", "shop", "web-1", added, kind="strategic", subresource="ephemeralcontainers")


async def test_containers_for_debugging_are_added_and_stay(room: Room) -> None:
    await room.create("pods", pod())
    debugger = {"name": "debugger", "image": "busybox"}
    added = {"spec": {"ephemeralContainers": [debugger]}}
    fields = {"kind": "strategic", "subresource": "ephemeralcontainers"}
    changed = await room.patch("pods", "shop", "web-1", added, **fields)
    assert [one["name"] for one in changed["spec"]["ephemeralContainers"]] == ["debugger"]
    with pytest.raises(InvalidError, match="existing ephemeral containers"):
        other = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "other"}]}}
        await room.patch("pods", "shop", "web-1", other, **fields)
    with pytest.raises(InvalidError, match="pod updates may not change fields"):
        await room.patch("pods", "shop", "web-1", {"spec": {"hostname": "x"}})


# --- certificates


def signing_request() -> Document:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bob")])
    pem = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    request = b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": request, "signerName": "example.com/people", "usages": ["client auth"]}
    return {"metadata": {"name": "bob"}, "spec": spec}


def verdict(kind: str, reason: str = "") -> Document:
    return {"status": {"conditions": [{"type": kind, "status": "True", "reason": reason}]}}


REQUESTS = "certificatesigningrequests.certificates.k8s.io"


async def test_a_request_is_approved_and_its_certificate_given_once(room: Room) -> None:
    made = await room.create(REQUESTS, signing_request())
    assert made["spec"]["username"] == "alice" and "certificate" not in made["status"]
    noted = {**verdict("Approved", "Known"), "metadata": {"annotations": {"seen": "yes"}}}
    approved = await room.patch(REQUESTS, "", "bob", noted, subresource="approval")
    assert approved["metadata"]["annotations"] == {"seen": "yes"}
    (condition,) = approved["status"]["conditions"]
    assert condition["lastUpdateTime"] == condition["lastTransitionTime"] != ""
    issued = b64encode(make_authority(room.clock).certificate).decode()
    # Whoever signs cannot reword the verdict.
    reworded = {"status": {"certificate": issued, **verdict("Approved", "Other")["status"]}}
    given = await room.patch(REQUESTS, "", "bob", reworded, subresource="status")
    assert given["status"]["certificate"] == issued
    assert given["status"]["conditions"] == approved["status"]["conditions"]
    with pytest.raises(InvalidError, match="updates may not modify existing certificate content"):
        other = {"status": {"certificate": b64encode(make_authority(room.clock).certificate).decode()}}
        await room.patch(REQUESTS, "", "bob", other, subresource="status")
    # What was asked stays as it was asked.
    patch = {"spec": {"username": "mallory"}, "metadata": {"labels": {"a": "b"}}}
    changed = await room.patch(REQUESTS, "", "bob", patch)
    assert changed["spec"] == made["spec"] and changed["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("subresource", "patch", "words"),
    [
        ("approval", verdict("Denied"), "Approved and Denied conditions are mutually exclusive"),
        ("approval", {"status": {"conditions": []}}, 'updates may not remove a condition of type "Approved"'),
        ("status", {"status": {"certificate": "aGk="}}, "must contain at least one CERTIFICATE PEM block"),
        ("status", verdict("Denied"), 'updates may not add a condition of type "Denied"'),
        ("approval", {"status": {"conditions": [{"type": "Approved", "status": "False"}]}}, 'supported values: "True"'),
    ],
)
async def test_an_answer_is_kept_and_given_through_its_own_door(
    room: Room, subresource: str, patch: Document, words: str
) -> None:
    await room.create(REQUESTS, signing_request())
    await room.patch(REQUESTS, "", "bob", verdict("Approved"), subresource="approval")
    if patch == verdict("Denied") and subresource == "approval":
        both = [one["status"]["conditions"][0] for one in (verdict("Approved"), patch)]
        patch = {"status": {"conditions": both}}
    with pytest.raises(InvalidError) as refusal:
        await room.patch(REQUESTS, "", "bob", patch, subresource=subresource)
    assert words in refusal.value.message


async def test_a_request_that_is_none_is_refused(room: Room) -> None:
    document = signing_request()
    document["spec"] |= {"request": "aGk=", "signerName": "people", "usages": ["any", "any", "dig"]}
    with pytest.raises(InvalidError) as refusal:
        await room.create(REQUESTS, document)
    assert [(cause.field, cause.reason) for cause in refusal.value.causes] == [
        ("spec.request", "FieldValueInvalid"),
        ("spec.usages[2]", "FieldValueNotSupported"),
        ("spec.usages[1]", "FieldValueDuplicate"),
        ("spec.signerName", "FieldValueInvalid"),
    ]
