"""Nodes: what they register, how they show that they live, and what they do when the server cannot."""

from ksql.log.protocol import EventFilter, LogUnavailableError
from ksql.node.addresses import Addresses, AddressesExhaustedError
from ksql.node.machine import machines
from tests.node.small import told

LEASES = "leases.coordination.k8s.io"


def test_a_node_registers_with_all_that_clients_read():
    async def story(cluster):
        return cluster.node("node-2"), cluster.objects.get(LEASES, "kube-node-lease", "node-2")

    node, lease = told(story, nodes=3)
    labels = node["metadata"]["labels"]
    assert labels["kubernetes.io/hostname"] == "node-2"
    assert labels["kubernetes.io/os"] == "linux" and labels["kubernetes.io/arch"] == "amd64"
    assert labels["topology.kubernetes.io/zone"] == "zone-2"
    info = node["status"]["nodeInfo"]
    required = (
        "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion",
        "kubeletVersion", "operatingSystem", "architecture",
    )  # fmt: skip
    assert all(info[key] for key in required)
    assert info["kubeletVersion"] == "v1.35.0" and "kubeProxyVersion" in info
    addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
    assert addresses == {"InternalIP": "172.18.0.3", "Hostname": "node-2"}
    assert node["spec"]["podCIDR"] == "10.244.1.0/24"
    assert node["status"]["capacity"]["cpu"] == "16"
    assert node["status"]["allocatable"]["cpu"] == "15800m"
    assert lease.document["spec"]["holderIdentity"] == "node-2"
    assert lease.document["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_leases_are_renewed_every_ten_seconds_and_are_no_history():
    async def story(cluster):
        renewals = set()
        for _ in range(600):
            await cluster.clock.sleep(0.1)
            lease = cluster.objects.get(LEASES, "kube-node-lease", "node-1")
            renewals.add(lease.document["spec"]["renewTime"])
        return renewals, await cluster.log.read(0, 1000, EventFilter(resources=(LEASES,)))

    renewals, history = told(story)
    assert 6 <= len(renewals) <= 7
    assert history == []


def test_a_node_that_comes_again_takes_its_object_over():
    async def story(cluster):
        await cluster.client.patch("nodes", "", "node-1", {"metadata": {"labels": {"mine": "yes"}}})
        uid = cluster.node()["metadata"]["uid"]
        await cluster.fleet.aclose()
        await cluster.start_fleet()
        return uid, cluster.node()

    uid, node = told(story)
    assert node["metadata"]["uid"] == uid
    assert node["metadata"]["labels"]["mine"] == "yes"


def test_pods_run_although_the_log_could_not_be_written_for_a_while():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.pod()["spec"].get("nodeName"))
        write = cluster.log.append

        async def refuse(decide):
            raise LogUnavailableError("disk full")

        cluster.log.append = refuse
        await cluster.clock.sleep(25)
        assert cluster.phase() == "Pending"
        cluster.log.append = write
        await cluster.until(lambda: cluster.phase() == "Running", within=35)
        await cluster.clock.sleep(60)
        return cluster.node(), cluster.container()

    node, container = told(story)
    # Shorter than the node's grace: it was never doubted.
    assert not node["spec"].get("taints")
    assert container["restartCount"] == 0


def test_a_pod_that_changed_while_its_status_was_written_is_not_overwritten():
    async def story(cluster):
        await cluster.create_pod(annotations={"start-seconds": "1"})
        await cluster.until(lambda: "startTime" in cluster.pod()["status"])
        agent = cluster.fleet.agents["node-1"]
        patch, tries = agent.client.patch, []

        async def raced(resource, namespace, name, body, **more):
            tries.append(name)
            if len(tries) == 1:
                # In the very moment of the write somebody else sets a condition.
                late = {"status": {"conditions": [{"type": "example.com/late", "status": "True"}]}}
                await cluster.client.patch(
                    "pods", namespace, name, late, kind="strategic", subresource="status"
                )
            return await patch(resource, namespace, name, body, **more)

        agent.client.patch = raced
        await cluster.until(lambda: cluster.phase() == "Running")
        return len(tries), {c["type"] for c in cluster.pod()["status"]["conditions"]}

    tries, types = told(story)
    assert tries == 2
    assert {"example.com/late", "Ready"} <= types


def test_addresses_rest_before_they_are_given_again():
    addresses = Addresses("10.0.0.0/29")
    given = [addresses.take(str(n)) for n in range(5)]
    assert given == [f"10.0.0.{n}" for n in range(2, 7)]
    try:
        addresses.take("more")
    except AddressesExhaustedError as error:
        assert "10.0.0.0/29" in str(error)
    else:
        raise AssertionError("an address beyond the range was given")
    addresses.release("0")
    addresses.release("3")
    assert addresses.take("6") == "10.0.0.2"
    assert addresses.take("7") == "10.0.0.5"
    assert addresses.take("7") == "10.0.0.5"


def test_a_thousand_machines_have_ranges_of_their_own():
    found = machines(1024, "v1.35.0")
    assert len({m.pod_cidr for m in found}) == len({m.address for m in found}) == 1024
    assert found[-1].pod_cidr == "10.247.255.0/24"
