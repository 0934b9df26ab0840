"""Endpoints and EndpointSlices: which pods stand behind a Service, and how little is rewritten."""

from typing import Any

from ksql.base.documents import Document
from ksql.control import endpoints, endpointslice
from ksql.control.backends import backends
from ksql.control.endpointslice import ENDPOINTS_MAX
from ksql.control.plan import Create, Remove, Replace
from tests.control.objects import World, metadata, pod

SLICES = endpointslice.RESOURCE


def service(**spec: Any) -> Document:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("web", labels={"tier": "front"}),
        "spec": {"selector": {"app": "web"}, "ports": ports, "ipFamilies": ["IPv4"], **spec},
    }


def running(count: int, start: int = 0, **more: Any) -> list[Document]:
    return [
        pod(f"p{n:04d}", address=f"10.0.{n // 250}.{n % 250 + 1}", **more)
        for n in range(start, start + count)
    ]


class Slices:
    """The slices of one Service, planned and executed until nothing is left to do."""

    def __init__(self, of: Document) -> None:
        self.world, self.service = World(), of

    def settle(self, pods: list[Document]) -> list[Any]:
        observed = endpointslice.Observed(self.service, pods, self.world.all(SLICES))
        changes = list(endpointslice.plan(observed).changes())
        for change in changes:
            self.world.execute(change)
        again = endpointslice.Observed(self.service, pods, self.world.all(SLICES))
        assert not list(endpointslice.plan(again).changes())
        return changes

    def sizes(self) -> list[int]:
        return sorted(len(each["endpoints"]) for each in self.world.all(SLICES))


def test_a_ready_pod_is_listed_with_its_node_and_target() -> None:
    slices = Slices(service())
    [create] = slices.settle(running(1))
    assert isinstance(create, Create)
    [entry] = create.document["endpoints"]
    assert entry["addresses"] == ["10.0.0.1"]
    assert entry["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert entry["nodeName"] == "node-1"
    assert entry["targetRef"] == {"kind": "Pod", "namespace": "default", "name": "p0000", "uid": "uid-p0000"}
    assert create.document["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert create.document["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert create.document["metadata"]["ownerReferences"][0]["uid"] == "uid-web"


def test_slices_hold_a_hundred_endpoints_at_most() -> None:
    slices = Slices(service())
    slices.settle(running(250))
    assert slices.sizes() == [50, ENDPOINTS_MAX, ENDPOINTS_MAX]


def test_one_pod_that_changes_rewrites_one_slice() -> None:
    slices = Slices(service())
    pods = running(250)
    slices.settle(pods)
    pods[120] = pod("p0120", address="10.0.0.121", ready_since=None)
    [change] = slices.settle(pods)
    assert isinstance(change, Replace)


def test_newcomers_fill_the_room_of_those_that_left() -> None:
    slices = Slices(service())
    slices.settle(running(200))
    changes = slices.settle(running(195, start=5) + running(5, start=300))
    assert slices.sizes() == [100, 100]
    assert len(changes) == 1


def test_slices_that_nobody_needs_go() -> None:
    slices = Slices(service())
    slices.settle(running(250))
    changes = slices.settle(running(40))
    assert slices.sizes() == [40]
    assert [type(change) for change in changes].count(Remove) == 2


def test_a_service_without_pods_keeps_one_empty_slice_which_the_first_pod_takes() -> None:
    slices = Slices(service())
    slices.settle([])
    assert slices.sizes() == [0]
    [change] = slices.settle(running(1))
    assert isinstance(change, Replace)
    assert slices.sizes() == [1]


def test_an_ending_pod_still_serves_and_says_that_it_ends() -> None:
    [create] = Slices(service()).settle([pod("a", address="10.0.0.1", ending=True)])
    [entry] = create.document["endpoints"]
    assert entry["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_publish_not_ready_addresses_calls_every_pod_ready() -> None:
    unready = pod("a", address="10.0.0.1", ready_since=None)
    [create] = Slices(service(publishNotReadyAddresses=True)).settle([unready])
    assert create.document["endpoints"][0]["conditions"]["ready"] is True
    [create] = Slices(service()).settle([unready])
    assert create.document["endpoints"][0]["conditions"]["ready"] is False


def test_named_ports_are_looked_up_in_each_pod() -> None:
    named = service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])
    pods = [
        pod("a", address="10.0.0.1", ports=[{"name": "web", "containerPort": 8080}]),
        pod("b", address="10.0.0.2", ports=[{"name": "web", "containerPort": 9090}]),
        pod("c", address="10.0.0.3"),
    ]
    slices = Slices(named)
    slices.settle(pods)
    ports = sorted((each["ports"][0]["port"], len(each["endpoints"])) for each in slices.world.all(SLICES))
    assert ports == [(8080, 1), (9090, 1)]


def test_a_headless_service_without_ports_lists_its_pods_by_host_name() -> None:
    one = pod("a", address="10.0.0.1")
    one["spec"] |= {"hostname": "db-0", "subdomain": "web"}
    [create] = Slices(service(clusterIP="None", ports=[])).settle([one])
    assert create.document["endpoints"][0]["hostname"] == "db-0"
    assert create.document["ports"] == []
    assert create.document["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_a_service_without_selector_is_somebody_elses_business() -> None:
    for of in (service(selector=None), service(type="ExternalName")):
        assert not list(endpointslice.plan(endpointslice.Observed(of, running(1))).changes())
        assert not list(endpoints.plan(endpoints.Observed(of, running(1))).changes())


def test_pods_at_their_end_and_pods_without_address_are_left_out() -> None:
    pods = [pod("a"), pod("b", phase="Succeeded", address="10.0.0.2"), pod("c", address="10.0.0.3")]
    assert [each.address for each in backends(service(), pods)] == ["10.0.0.3"]


def test_two_address_families_make_two_slices() -> None:
    one = pod("a", address="10.0.0.1")
    one["status"]["podIPs"].append({"ip": "fd00::1"})
    slices = Slices(service(ipFamilies=["IPv4", "IPv6"]))
    slices.settle([one])
    families = sorted(
        (each["addressType"], each["endpoints"][0]["addresses"][0]) for each in slices.world.all(SLICES)
    )
    assert families == [("IPv4", "10.0.0.1"), ("IPv6", "fd00::1")]


# Endpoints.


def test_endpoints_part_ready_from_unready_and_leave_out_the_ending() -> None:
    pods = [
        pod("a", address="10.0.0.1"),
        pod("b", address="10.0.0.2", ready_since=None),
        pod("c", address="10.0.0.3", ending=True),
    ]
    [create] = endpoints.plan(endpoints.Observed(service(), pods)).changes()
    [subset] = create.document["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_unchanged_endpoints_are_not_written_and_emptied_ones_are() -> None:
    world, of, pods = World(), service(), running(3)
    for change in endpoints.plan(endpoints.Observed(of, pods)).changes():
        world.execute(change)
    there = world.get("endpoints", "web")
    assert not list(endpoints.plan(endpoints.Observed(of, pods, there)).changes())
    [change] = endpoints.plan(endpoints.Observed(of, [], there)).changes()
    assert "subsets" not in change.document


def test_endpoints_beyond_a_thousand_are_cut_and_say_so() -> None:
    [create] = endpoints.plan(endpoints.Observed(service(), running(1200))).changes()
    assert sum(len(each["addresses"]) for each in create.document["subsets"]) == 1000
    annotations = create.document["metadata"]["annotations"]
    assert annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}


def test_endpoints_go_with_their_service_but_only_if_they_were_its() -> None:
    ours = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata("web")}
    assert not list(endpoints.plan(endpoints.Observed(None, (), ours)).changes())
    ours["metadata"]["labels"] = {endpoints.MANAGED_BY_LABEL: endpoints.NAME_OF_COMPONENT}
    [change] = endpoints.plan(endpoints.Observed(None, (), ours)).changes()
    assert isinstance(change, Remove)
