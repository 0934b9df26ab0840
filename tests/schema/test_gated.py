"""Fields behind a closed gate are dropped until the minor that opens it."""

from ksql.schema import catalogue
from ksql.schema.defaults.gated import without_closed

SLICE = {
    "spec": {
        "driver": "d.example",
        "devices": [
            {"name": "a", "taints": [{"key": "k"}], "capacity": {"mem": {"value": "1Gi", "requestPolicy": {}}}},
            {"name": "b"},
        ],
    }
}


def kept(minor: str, document: dict, key: str) -> dict:
    return without_closed(minor, catalogue.load(minor).by_key(key), document)


def test_what_a_minor_does_not_know_yet_is_dropped_wherever_it_stands() -> None:
    devices = kept("1.35", SLICE, "resourceslices.resource.k8s.io")["spec"]["devices"]
    assert devices == [{"name": "a", "capacity": {"mem": {"value": "1Gi"}}}, {"name": "b"}]


def test_a_later_minor_keeps_it() -> None:
    assert kept("1.37", SLICE, "resourceslices.resource.k8s.io") is SLICE


def test_some_gates_open_in_no_minor() -> None:
    lease = {"spec": {"holderIdentity": "h", "strategy": "OldestEmulationVersion"}}
    for minor in ("1.32", "1.37"):
        assert kept(minor, lease, "leases.coordination.k8s.io") == {"spec": {"holderIdentity": "h"}}


def test_other_kinds_are_handed_back_as_they_are() -> None:
    document = {"spec": {"strategy": {}}}
    assert kept("1.35", document, "deployments.apps") is document
