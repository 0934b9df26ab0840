"""Claims and volumes in a whole cluster: bound, made, grown, kept while in use, and given back as the policy says."""

import pytest

from ksql import addons
from ksql.control.supervisor import Controllers
from ksql.schema.errors import ForbiddenError
from tests.simulation.stories import told

CLASS = "storage.k8s.io/v1"


def claim(name="data", size="1Gi", **spec):
    asked = {"requests": {"storage": size}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": asked, **spec},
    }


def volume(name, size="1Gi", **spec):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size},
            "hostPath": {"path": f"/srv/{name}"},
            **spec,
        },
    }


def storage_class(name, provisioner="volumes.ksql.dev", waits=True, **more):
    mode = "WaitForFirstConsumer" if waits else "Immediate"
    return {
        "apiVersion": CLASS,
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": mode,
        **more,
    }


def pod(name, *claims, volumes=(), **spec):
    named = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "containers": [{"name": "c", "image": "nginx"}],
            "volumes": [*named, *volumes],
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }


def phase(cluster, name="data"):
    found = cluster.get("persistentvolumeclaims", "default", name)
    return found and found["status"].get("phase")


def notes(cluster, reason):
    return [one["message"] for one in cluster.list("events", "default") if one["reason"] == reason]


def is_on_a_node(cluster, name):
    found = cluster.get("pods", "default", name)
    return found and found["spec"].get("nodeName")


def is_running(cluster, name):
    found = cluster.get("pods", "default", name)
    return found and found["status"].get("phase") == "Running"


def test_a_stateful_set_gets_a_volume_for_each_of_its_pods_from_the_default_class():
    async def story(cluster):
        await addons.add_storage(cluster.pipeline)
        labels = {"app": "db"}
        await cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "db", "namespace": "default"},
                "spec": {
                    "replicas": 3,
                    "serviceName": "db",
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "c", "image": "postgres"}]},
                    },
                    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim()["spec"]}],
                },
            }
        )
        await cluster.until(lambda: cluster.running("default") == 3)
        await cluster.settle()
        claims = cluster.list("persistentvolumeclaims", "default")
        volumes = {one["metadata"]["name"]: one for one in cluster.list("persistentvolumes")}
        assert [one["status"]["phase"] for one in claims] == ["Bound"] * 3
        assert {one["spec"]["storageClassName"] for one in claims} == {"standard"}
        for one in claims:
            found = volumes.pop(one["spec"]["volumeName"])
            assert found["spec"]["claimRef"]["uid"] == one["metadata"]["uid"]
            assert found["status"]["phase"] == "Bound" and one["status"]["capacity"] == {"storage": "1Gi"}
        assert not volumes

    told(story)


def test_a_claim_takes_the_smallest_volume_that_is_enough_and_no_other_gets_it():
    async def story(cluster):
        for name, size in (("small", "1Gi"), ("large", "10Gi"), ("medium", "5Gi")):
            await cluster.apply(volume(name, size))
        await cluster.apply(claim(size="4Gi", storageClassName=""))
        await cluster.until(lambda: phase(cluster) == "Bound")
        await cluster.apply(claim("second", "4Gi", storageClassName=""))
        await cluster.until(lambda: phase(cluster, "second") == "Bound")
        await cluster.apply(claim("third", "4Gi", storageClassName=""))
        await cluster.settle()
        named = [
            cluster.get("persistentvolumeclaims", "default", name)["spec"].get("volumeName")
            for name in ("data", "second", "third")
        ]
        assert named == ["medium", "large", None]
        words = "no persistent volumes available for this claim and no storage class is set"
        assert notes(cluster, "FailedBinding")[-1] == words
        # One that comes later is taken at once.
        await cluster.apply(volume("late", "4Gi"))
        await cluster.until(lambda: phase(cluster, "third") == "Bound")

    told(story)


def test_a_claim_in_use_goes_after_its_last_pod_and_a_retained_volume_stays():
    async def story(cluster):
        await cluster.apply(volume("kept"))
        await cluster.apply(claim(storageClassName=""))
        await cluster.apply(pod("user", "data"))
        await cluster.until(lambda: is_running(cluster, "user"))
        client = cluster.user()
        await client.delete("persistentvolumeclaims", "default", "data")
        await cluster.settle()
        held = cluster.get("persistentvolumeclaims", "default", "data")["metadata"]
        assert held["finalizers"] == ["kubernetes.io/pvc-protection"] and "deletionTimestamp" in held
        # Who comes now does not get it any more.
        await cluster.apply(pod("late", "data"))
        said = '0/3 nodes are available: persistentvolumeclaim "data" is being deleted.'
        await cluster.until(lambda: said in notes(cluster, "FailedScheduling"))
        await client.delete("persistentvolumes", "", "kept")
        await cluster.settle()
        assert cluster.get("persistentvolumes", "", "kept")["status"]["phase"] == "Bound"
        await client.delete("pods", "default", "user")
        await cluster.until(lambda: cluster.get("persistentvolumeclaims", "default", "data") is None)
        # It was asked to go while it was bound, and goes now that it is not.
        await cluster.until(lambda: cluster.get("persistentvolumes", "", "kept") is None)

    told(story)


def test_volumes_are_given_back_as_their_policy_says():
    async def story(cluster):
        await cluster.apply(storage_class("gone", waits=False))
        await cluster.apply(storage_class("stays", waits=False, reclaimPolicy="Retain"))
        for name in ("gone", "stays"):
            await cluster.apply(claim(name, storageClassName=name))
            await cluster.until(lambda name=name: phase(cluster, name) == "Bound")
        await cluster.apply(volume("manual", storageClassName="m", persistentVolumeReclaimPolicy="Delete"))
        await cluster.apply(claim("manual", storageClassName="m"))
        await cluster.until(lambda: phase(cluster, "manual") == "Bound")
        for name in ("gone", "stays", "manual"):
            await cluster.user().delete("persistentvolumeclaims", "default", name)
        await cluster.settle()
        left = {one["spec"]["storageClassName"]: one["status"] for one in cluster.list("persistentvolumes")}
        assert {name: status["phase"] for name, status in left.items()} == {"stays": "Released", "m": "Failed"}
        assert left["m"]["message"] == "No deleter plugin found for the volume, which no provisioner made!"
        # A volume once released is nobody's until its claimRef is taken away by hand.
        await cluster.apply(claim("again", storageClassName="stays"))
        await cluster.until(lambda: phase(cluster, "again") == "Bound")
        assert len(cluster.list("persistentvolumes")) == 3

    told(story)


def test_a_waiting_class_makes_the_volume_where_the_pod_goes_and_keeps_its_pods_there():
    async def story(cluster):
        await cluster.apply(storage_class("local", parameters={"reach": "node"}))
        await cluster.apply(claim(storageClassName="local"))
        await cluster.settle()
        assert phase(cluster) == "Pending" and not cluster.list("persistentvolumes")
        words = "waiting for first consumer to be created before binding"
        assert notes(cluster, "WaitForFirstConsumer") == [words]
        await cluster.apply(pod("first", "data"))
        node = await cluster.until(lambda: is_on_a_node(cluster, "first"))
        marks = cluster.get("persistentvolumeclaims", "default", "data")["metadata"]["annotations"]
        assert marks["volume.kubernetes.io/selected-node"] == node
        await cluster.until(lambda: is_running(cluster, "first"))
        for name in ("second", "third", "fourth"):
            await cluster.apply(pod(name, "data"))
            await cluster.until(lambda name=name: is_running(cluster, name))
            assert is_on_a_node(cluster, name) == node
        await cluster.apply(pod("elsewhere", "data", nodeSelector={"kubernetes.io/hostname": "node-none"}))
        await cluster.until(lambda: notes(cluster, "FailedScheduling"))

    told(story)


def test_a_pod_is_told_what_its_volumes_lack():
    async def story(cluster):
        await cluster.apply(pod("hopeful", "data"))
        await cluster.until(lambda: notes(cluster, "FailedScheduling"))
        assert notes(cluster, "FailedScheduling") == [
            '0/3 nodes are available: persistentvolumeclaim "data" not found.'
        ]
        await cluster.apply(storage_class("foreign", "example.com/disks", waits=False))
        await cluster.apply(claim(storageClassName="foreign"))
        unbound = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        await cluster.until(lambda: unbound in notes(cluster, "FailedScheduling"))
        assert "external provisioner 'example.com/disks'" in notes(cluster, "ExternalProvisioning")[0]
        # Somebody answers to that name: a volume made by hand for the claim.
        reference = {"namespace": "default", "name": "data"}
        await cluster.apply(volume("theirs", storageClassName="foreign", claimRef=reference))
        await cluster.until(lambda: is_running(cluster, "hopeful"))

    told(story)


def test_local_volumes_are_matched_with_the_node_that_has_them():
    async def story(cluster):
        await cluster.apply(storage_class("disks", "kubernetes.io/no-provisioner"))
        reached = {
            "required": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}
                ]
            }
        }
        await cluster.apply(volume("disk", storageClassName="disks", nodeAffinity=reached))
        for name in ("one", "two"):
            await cluster.apply(claim(name, storageClassName="disks"))
            await cluster.apply(pod(name, name))
        await cluster.until(lambda: is_running(cluster, "one"))
        assert is_on_a_node(cluster, "one") == "node-1"
        await cluster.settle()
        assert not is_on_a_node(cluster, "two") and phase(cluster, "two") == "Pending"
        said = notes(cluster, "FailedScheduling")[-1]
        assert said.startswith("0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.")

    told(story)


def test_a_claim_grows_where_its_class_lets_it():
    async def story(cluster):
        await cluster.apply(storage_class("grows", waits=False, allowVolumeExpansion=True))
        await cluster.apply(storage_class("fixed", waits=False))
        for name in ("grows", "fixed"):
            await cluster.apply(claim(name, storageClassName=name))
            await cluster.until(lambda name=name: phase(cluster, name) == "Bound")
        with pytest.raises(ForbiddenError, match="only dynamically provisioned pvc can be resized"):
            await cluster.apply(claim("fixed", "2Gi", storageClassName="fixed"))
        await cluster.apply(claim("grows", "2Gi", storageClassName="grows"))
        await cluster.settle()
        grown = cluster.get("persistentvolumeclaims", "default", "grows")
        assert grown["status"]["capacity"] == {"storage": "2Gi"} and not grown["status"].get("conditions")
        assert cluster.get("persistentvolumes", "", grown["spec"]["volumeName"])["spec"]["capacity"]["storage"] == "2Gi"
        assert notes(cluster, "VolumeResizeSuccessful") == ["Resize volume succeeded"]

    told(story)


def test_an_ephemeral_volume_lives_and_dies_with_its_pod():
    async def story(cluster):
        await addons.add_storage(cluster.pipeline)
        template = {"volumeClaimTemplate": {"spec": claim()["spec"]}}
        await cluster.apply(pod("brief", volumes=[{"name": "scratch", "ephemeral": template}]))
        await cluster.until(lambda: is_running(cluster, "brief"))
        owner = cluster.get("persistentvolumeclaims", "default", "brief-scratch")["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Pod", "brief", True)
        await cluster.user().delete("pods", "default", "brief")
        for resource in ("persistentvolumeclaims", "persistentvolumes"):
            await cluster.until(lambda resource=resource: not cluster.list(resource))

    told(story)


def test_a_lost_volume_is_said_to_be_lost_and_not_replaced():
    async def story(cluster):
        await cluster.apply(volume("only"))
        await cluster.apply(claim(storageClassName=""))
        await cluster.until(lambda: phase(cluster) == "Bound")
        client = cluster.user()
        await client.patch("persistentvolumes", "", "only", {"metadata": {"finalizers": None}})
        await client.delete("persistentvolumes", "", "only")
        # The protection is put back on what stays: let go of it once more.
        if cluster.get("persistentvolumes", "", "only") is not None:
            await client.patch("persistentvolumes", "", "only", {"metadata": {"finalizers": None}})
        await cluster.until(lambda: phase(cluster) == "Lost")
        assert notes(cluster, "ClaimLost") == ["Bound claim has lost its PersistentVolume. Data on the volume is lost!"]
        await cluster.apply(volume("another"))
        await cluster.settle()
        assert phase(cluster) == "Lost"

    told(story)


def test_a_provisioner_that_refuses_says_why_and_the_pod_waits():
    async def story(cluster):
        await cluster.apply(storage_class("odd", parameters={"reach": "moon"}))
        await cluster.apply(claim(storageClassName="odd"))
        await cluster.apply(pod("waits", "data"))
        await cluster.until(lambda: notes(cluster, "ProvisioningFailed"))
        assert notes(cluster, "ProvisioningFailed")[0] == (
            'failed to provision volume with StorageClass "odd": parameter "reach" is "moon": it must be one of '
            "cluster, node, zone"
        )
        assert not is_on_a_node(cluster, "waits")

    told(story)


def test_a_binding_left_half_done_is_finished_by_the_next_to_come():
    async def story(cluster):
        await cluster.apply(volume("v"))
        await cluster.controllers.aclose()
        await cluster.apply(claim(storageClassName=""))
        client = cluster.user()
        mine = await client.get("persistentvolumeclaims", "default", "data")
        reference = {"namespace": "default", "name": "data", "uid": mine["metadata"]["uid"]}
        await client.patch("persistentvolumes", "", "v", {"spec": {"claimRef": reference}})
        cluster.controllers = Controllers(cluster.connect, cluster.clock, catalogue=cluster.catalogue)
        await cluster.controllers.start()
        try:
            await cluster.until(lambda: phase(cluster) == "Bound")
            assert cluster.get("persistentvolumes", "", "v")["status"]["phase"] == "Bound"
        finally:
            await cluster.controllers.aclose()

    told(story)


def csi_node(name, count):
    drivers = [{"name": "volumes.ksql.dev", "nodeID": name, "topologyKeys": None, "allocatable": {"count": count}}]
    return {"apiVersion": CLASS, "kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": drivers}}


@pytest.mark.parametrize("waits", [True, False])
def test_a_node_takes_as_many_volumes_as_its_csi_node_says(waits):
    async def story(cluster):
        await cluster.apply(storage_class("standard", waits=waits, parameters={"reach": "cluster"}))
        for node in ("node-1", "node-2"):
            await cluster.apply(csi_node(node, 2))
        for number in range(5):
            await cluster.apply(claim(f"c{number}", storageClassName="standard"))
            await cluster.apply(pod(f"p{number}", f"c{number}"))
        # A volume counts once, however many pods of a node use it.
        await cluster.until(lambda: cluster.running("default") == 4)
        await cluster.clock.sleep(30)
        pods = {p["metadata"]["name"]: p for p in cluster.list("pods", "default")}
        (left,) = [p for p in pods.values() if not p["spec"].get("nodeName")]
        (condition,) = [c for c in left["status"]["conditions"] if c["type"] == "PodScheduled"]
        assert "2 node(s) exceed max volume count" in condition["message"]
        placed = sorted(p["spec"]["nodeName"] for p in pods.values() if p is not left)
        assert placed == ["node-1", "node-1", "node-2", "node-2"]
        gone = next(name for name, p in pods.items() if p is not left)
        await cluster.user("alice").delete("pods", "default", gone)
        await cluster.until(lambda: cluster.running("default") == 4 and len(cluster.list("pods", "default")) == 4)

    told(story, nodes=2)
