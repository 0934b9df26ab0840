"""Endpoints written by hand, and the slices made of them: what is mirrored, how little is rewritten."""

from typing import Any

from ksql.base.documents import Document
from ksql.control import mirroring
from ksql.control.mirroring import ENDPOINTS_MAX, SLICES, Observed
from ksql.control.plan import Create, Remove, Replace
from tests.control.objects import World, metadata

PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]


def service(**spec: Any) -> Document:
    ports = [{"port": 80}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata("db"), "spec": {"ports": ports, **spec}}


def by_hand(*addresses: str, waiting: tuple[str, ...] = (), **about: Any) -> Document:
    subset = {"addresses": [{"ip": each} for each in addresses], "ports": PORTS}
    if waiting:
        subset["notReadyAddresses"] = [{"ip": each} for each in waiting]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata("db", **about), "subsets": [subset]}


class Mirror:
    """Planned and executed until nothing is left to do."""

    def __init__(self) -> None:
        self.world = World()

    def settle(self, endpoints: Document | None, service: Document | None) -> list[Any]:
        changes = list(mirroring.plan(Observed(endpoints, service, self.world.all(SLICES))).changes())
        for change in changes:
            self.world.execute(change)
        again = mirroring.plan(Observed(endpoints, service, self.world.all(SLICES)))
        assert not list(again.changes()), "a plan carried out leaves nothing to do"
        return changes


def test_addresses_become_endpoints_with_their_readiness() -> None:
    mirror = Mirror()
    endpoints = by_hand("10.1.2.3", waiting=("10.1.2.4",), labels={"a": "b"}, annotations={"note": "kept"})
    mirror.settle(endpoints, service())
    (made,) = mirror.world.all(SLICES)
    assert made["addressType"] == "IPv4" and made["ports"] == PORTS
    assert made["endpoints"] == [
        {"addresses": ["10.1.2.3"], "conditions": {"ready": True}},
        {"addresses": ["10.1.2.4"], "conditions": {"ready": False}},
    ]
    about = made["metadata"]
    assert about["labels"] == {
        "a": "b", "kubernetes.io/service-name": "db",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }  # fmt: skip
    assert about["annotations"] == {"note": "kept"}
    assert about["ownerReferences"][0]["kind"] == "Endpoints"


def test_a_changed_address_rewrites_its_slice_and_gone_endpoints_take_theirs_along() -> None:
    mirror = Mirror()
    mirror.settle(by_hand("10.1.2.3"), service())
    changes = mirror.settle(by_hand("10.2.3.4"), service())
    assert [type(each) for each in changes] == [Replace]
    assert mirror.world.all(SLICES)[0]["endpoints"][0]["addresses"] == ["10.2.3.4"]
    assert [type(each) for each in mirror.settle(None, service())] == [Remove]


def test_families_and_many_addresses_have_slices_of_their_own() -> None:
    mirror = Mirror()
    many = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(ENDPOINTS_MAX + 1)]
    changes = mirror.settle(by_hand(*many, "fd00::1"), service())
    assert [type(each) for each in changes] == [Create] * 3
    sizes = sorted((each["addressType"], len(each["endpoints"])) for each in mirror.world.all(SLICES))
    assert sizes == [("IPv4", 1), ("IPv4", ENDPOINTS_MAX), ("IPv6", 1)]


def test_what_pods_stand_behind_or_nobody_wants_mirrored_is_left_alone() -> None:
    unwanted = [
        (by_hand("10.0.0.1"), service(selector={"a": "b"})),
        (by_hand("10.0.0.1"), None),
        (by_hand("10.0.0.1", labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), service()),
        (by_hand("10.0.0.1", annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}), service()),
    ]
    for endpoints, of in unwanted:
        assert Mirror().settle(endpoints, of) == []


def test_a_service_that_takes_a_selector_loses_its_mirrored_slices() -> None:
    mirror = Mirror()
    mirror.settle(by_hand("10.1.2.3"), service())
    assert [type(each) for each in mirror.settle(by_hand("10.1.2.3"), service(selector={"a": "b"}))] == [Remove]
