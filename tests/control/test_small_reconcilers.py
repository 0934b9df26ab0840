"""Namespaces, default accounts, root certificates, the end of Kubernetes Events: pure plans."""

from datetime import timedelta

from ksql.base.documents import Document
from ksql.control import events, namespace, rootca, serviceaccount
from ksql.control.controller import BURST_MAX
from ksql.control.plan import Create, Remove, Replace
from tests.control.objects import NOW, at, metadata, pod


def space(*, ending: bool = False) -> Document:
    out: Document = {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "uid-shop"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    }  # fmt: skip
    if ending:
        out["metadata"]["deletionTimestamp"] = at(0)
        out["status"] = {"phase": "Terminating"}
    return out


def config(name: str, *, ending: bool = False) -> Document:
    out = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name)}
    if ending:
        out["metadata"] |= {"deletionTimestamp": at(0), "finalizers": ["example.com/hold"]}
    return out


def test_a_living_namespace_is_left_alone() -> None:
    assert not namespace.plan(namespace.Observed(space(), {"pods": [pod("a")]}), NOW).steps


def test_an_ending_namespace_loses_its_pods_before_anything_else() -> None:
    remaining = {"configmaps": [config("c")], "pods": [pod("a"), pod("b")]}
    changes = list(namespace.plan(namespace.Observed(space(ending=True), remaining), NOW).changes())
    assert [change.name for change in changes] == ["a", "b"]
    remaining = {"configmaps": [config("c")], "pods": []}
    [change] = namespace.plan(namespace.Observed(space(ending=True), remaining), NOW).changes()
    assert isinstance(change, Remove)
    assert change.name == "c"


def test_a_large_namespace_is_emptied_burst_by_burst() -> None:
    remaining = {"configmaps": [config(f"c{n}") for n in range(BURST_MAX + 1)]}
    made = namespace.plan(namespace.Observed(space(ending=True), remaining), NOW)
    assert len(list(made.changes())) == BURST_MAX
    assert made.again_seconds == 0.0


def test_what_a_namespace_waits_for_stands_in_its_conditions() -> None:
    remaining = {"configmaps": [config("c", ending=True)], "pods": []}
    made = namespace.plan(namespace.Observed(space(ending=True), remaining), NOW)
    [change] = made.changes()
    *_, content, held = change.patch["status"]["conditions"]
    assert content["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
    assert held["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    )
    assert (content["status"], held["status"]) == ("True", "True")
    assert made.again_seconds == namespace.LOOK_AGAIN_SECONDS


def test_an_empty_namespace_lets_go_through_finalize() -> None:
    [change] = namespace.plan(namespace.Observed(space(ending=True), {"pods": []}), NOW).changes()
    assert isinstance(change, Replace)
    assert change.subresource == "finalize"
    assert change.document["spec"]["finalizers"] == []


def test_every_living_namespace_gets_its_default_account_once() -> None:
    [create] = serviceaccount.plan(serviceaccount.Observed(space())).changes()
    assert isinstance(create, Create)
    assert create.document["metadata"] == {"name": "default", "namespace": "shop"}
    assert not serviceaccount.plan(serviceaccount.Observed(space(), create.document)).steps
    assert not serviceaccount.plan(serviceaccount.Observed(space(ending=True))).steps


def test_the_root_certificate_is_made_and_put_right_again() -> None:
    [create] = rootca.plan(rootca.Observed(space(), None, "PEM")).changes()
    there = create.document
    assert there["data"] == {"ca.crt": "PEM"}
    assert not rootca.plan(rootca.Observed(space(), there, "PEM")).steps
    [change] = rootca.plan(rootca.Observed(space(), {**there, "data": {}}, "PEM")).changes()
    assert isinstance(change, Replace)
    assert not rootca.plan(rootca.Observed(space(ending=True), None, "PEM")).steps


def event(last: float) -> Document:
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": metadata("e"), "firstTimestamp": at(-9000),
        "lastTimestamp": at(last),
    }  # fmt: skip


def test_an_event_goes_an_hour_after_it_was_last_said() -> None:
    made = events.plan(event(-600), NOW)
    assert not made.steps
    assert made.again_seconds == 3000.0
    [change] = events.plan(event(-600), NOW + timedelta(seconds=3000)).changes()
    assert isinstance(change, Remove)


def test_an_event_of_the_newer_form_counts_its_series() -> None:
    newer = {**event(-9000), "series": {"lastObservedTime": "2030-01-01T11:59:00.000000Z", "count": 3}}
    assert events.plan(newer, NOW).again_seconds == 3540.0
