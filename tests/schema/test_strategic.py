"""Strategic merge patch on real kinds: what kubectl sends, what comes out, in which order."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksql.base.documents import Document
from ksql.schema import catalogue
from ksql.schema.errors import BadRequestError
from ksql.schema.patches import strategic, strategic_order
from ksql.schema.resources import GroupVersionKind

CATALOGUE = catalogue.load()


def run(key: str, document: Any, patch: Any) -> Any:
    return strategic.apply(CATALOGUE, CATALOGUE.by_key(key), document, patch)


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


def names(items: list[dict[str, Any]], key: str = "name") -> list[Any]:
    return [item[key] for item in items]


def test_set_image_changes_one_container_and_shares_the_rest() -> None:
    document = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {
            "replicas": 1,
            "template": {"spec": {"containers": [{"name": "a", "image": "x:1", "ports": []}, {"name": "b"}]}},
        },
    }
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
                    "containers": [{"name": "a", "image": "x:2"}],
                }
            }
        }
    }
    after = run("deployments.apps", document, patch)
    assert after["spec"]["template"]["spec"]["containers"] == [
        {"name": "a", "image": "x:2", "ports": []},
        {"name": "b"},
    ]
    assert after["metadata"] is document["metadata"]
    assert document["spec"]["template"]["spec"]["containers"][0]["image"] == "x:1"


def test_labels_merge_and_null_removes_them() -> None:
    document = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    after = run("pods", document, {"metadata": {"labels": {"b": None, "c": "3", "d": None}}})
    assert after == {"metadata": {"labels": {"a": "1", "c": "3"}}}


def test_nulls_in_what_is_new_are_left_out() -> None:
    patch = {
        "metadata": {"annotations": {"a": None, "b": "x"}},
        "spec": {"containers": [{"name": "a", "tty": None}]},
    }
    assert run("pods", {}, patch) == {
        "metadata": {"annotations": {"b": "x"}},
        "spec": {"containers": [{"name": "a"}]},
    }


def test_cordon_sets_and_uncordon_removes_a_field() -> None:
    node = {"spec": {"podCIDR": "10.0.0.0/24"}}
    cordoned = run("nodes", node, {"spec": {"unschedulable": True}})
    assert cordoned == {"spec": {"podCIDR": "10.0.0.0/24", "unschedulable": True}}
    assert run("nodes", cordoned, {"spec": {"unschedulable": None}}) == node


def test_a_list_without_a_merge_key_is_replaced() -> None:
    document = pod(tolerations=[{"key": "a"}], containers=[{"name": "a", "args": ["x", "y"]}])
    patch = pod(tolerations=[{"key": "b"}], containers=[{"name": "a", "args": ["z"]}])
    after = run("pods", document, patch)
    assert after == pod(tolerations=[{"key": "b"}], containers=[{"name": "a", "args": ["z"]}])


def test_new_elements_stand_before_those_the_patch_does_not_name() -> None:
    document = pod(containers=[{"name": "a"}, {"name": "b"}])
    one = pod(containers=[{"name": "c"}])
    assert names(run("pods", document, one)["spec"]["containers"]) == ["c", "a", "b"]
    both = pod(containers=[{"name": "b", "tty": True}, {"name": "c"}])
    assert names(run("pods", document, both)["spec"]["containers"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("live", "order", "patch", "after"),
    [
        (["a", "b", "c"], ["c", "a"], [], ["b", "c", "a"]),
        (["a", "b"], ["b", "a"], [], ["b", "a"]),
        (["a", "s", "b"], ["a", "n", "b"], ["n"], ["a", "n", "s", "b"]),
        (["s", "a"], ["a", "n"], ["n"], ["s", "a", "n"]),
        ([], ["b", "a"], ["a", "b"], None),
    ],
)
def test_an_element_order_arranges_a_list(
    live: list[str], order: list[str], patch: list[str], after: list[str] | None
) -> None:
    def made(words: list[str]) -> list[dict[str, str]]:
        return [{"name": word} for word in words]

    change: dict[str, Any] = {"$setElementOrder/containers": made(order)}
    if patch:
        change["containers"] = made(patch)
    document = pod(containers=made(live))
    if after is None:
        with pytest.raises(BadRequestError, match="The order in patch list"):
            run("pods", document, {"spec": change})
    else:
        assert names(run("pods", document, {"spec": change})["spec"]["containers"]) == after


def test_elements_are_deleted_by_their_merge_key() -> None:
    document = pod(containers=[{"name": "a"}, {"name": "b"}], volumes=[{"name": "v", "emptyDir": {}}])
    patch = pod(containers=[{"$patch": "delete", "name": "a"}], volumes=[{"$patch": "delete", "name": "v"}])
    assert run("pods", document, patch) == pod(containers=[{"name": "b"}], volumes=[])


def test_deleting_what_is_not_there_adds_nothing() -> None:
    patch = pod(containers=[{"$patch": "delete", "name": "a"}], securityContext={"$patch": "delete"})
    assert run("pods", pod(), patch) == pod(containers=[])
    kept = pod(containers=[{"name": "b"}])
    assert run("pods", kept, pod(containers=[{"$patch": "delete", "name": "a"}])) == kept


def test_replace_takes_the_place_of_a_map_and_of_a_list() -> None:
    document = {"spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "1"}}}
    patch = {
        "spec": {
            "containers": [{"name": "c", "tty": None}, {"$patch": "replace"}],
            "nodeSelector": {"$patch": "replace", "y": "2"},
        }
    }
    # What takes another's place is taken as it stands; the decoder drops its nulls.
    assert run("pods", document, patch) == pod(containers=[{"name": "c", "tty": None}], nodeSelector={"y": "2"})
    assert run("pods", document, {"spec": {"$patch": "delete"}}) == {"spec": {}}


def test_a_field_with_strategy_replace_does_not_merge() -> None:
    document = {"spec": {"selector": {"matchLabels": {"a": "1"}}}}
    patch = {"spec": {"selector": {"matchLabels": {"b": "2"}}}}
    assert run("poddisruptionbudgets.policy", document, patch) == patch


def test_retained_keys_clear_the_others() -> None:
    document = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert run("deployments.apps", document, patch) == {"spec": {"strategy": {"type": "Recreate"}}}
    volumes = pod(volumes=[{"name": "v", "emptyDir": {}}])
    swap = pod(volumes=[{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}])
    assert run("pods", volumes, swap) == pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}])


def test_lists_of_plain_values_merge_and_lose_values_by_directive() -> None:
    document = {"metadata": {"finalizers": ["a", "b", "c"]}}
    assert run("pods", document, {"metadata": {"finalizers": ["d", "b"]}}) == {
        "metadata": {"finalizers": ["d", "a", "b", "c"]}
    }
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}}
    assert run("pods", document, gone) == {"metadata": {"finalizers": ["b", "c"]}}
    assert run("pods", {"metadata": {}}, gone) == {"metadata": {}}
    both = {
        "metadata": {
            "$setElementOrder/finalizers": ["c", "n", "b"],
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "finalizers": ["n"],
        }
    }
    assert run("pods", document, both) == {"metadata": {"finalizers": ["c", "n", "b"]}}


def test_conditions_merge_by_type_and_ports_by_number() -> None:
    conditions = [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]
    status = {"status": {"conditions": conditions}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert run("nodes", status, patch)["status"]["conditions"] == [
        {"type": "Ready", "status": "True"},
        {"type": "Other", "status": "True"},
    ]
    service = {"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}}
    after = run("services", service, {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}})
    assert after == {"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}}


def test_fields_named_like_directives_are_fields() -> None:
    document = {"spec": {"versions": [], "x": {"$ref": "a"}}}
    patch = {"spec": {"x": {"$ref": "b", "$schema": "c"}}}
    after = run("customresourcedefinitions.apiextensions.k8s.io", document, patch)
    assert after["spec"]["x"] == {"$ref": "b", "$schema": "c"}


def containers(*items: Any) -> dict[str, Any]:
    return pod(containers=list(items))


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ([], "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ({"$patch": "shred"}, "unknown patch type: shred in map: map[$patch:shred]"),
        (containers({"image": "x"}), "map: map[image:x] does not contain declared merge key: name"),
        (
            containers({"$patch": "delete"}),
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (containers({"$patch": "merge"}), "merging lists cannot yet be specified in the patch"),
        (containers("x"), "list element types are not identical: [[map[name:a]] [x]]"),
        ({"spec": {"containers": [[]]}}, "list element types are not identical: [[map[name:a]] [[]]]"),
        ({"spec": {"volumes": {}, "$retainKeys": 1}}, "invalid patch format of retainKeys"),
        ({"spec": {"volumes": [], "$retainKeys": ["containers"]}}, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder": []}}, "invalid patch format of setElementOrder list"),
        (
            {"spec": {"$setElementOrder/x": []}},
            'unable to find api field in struct PodSpec for the json field "x"',
        ),
        ({"spec": {"$setElementOrder/containers": 1}}, "expected a []interface {}, but received a int64"),
        (
            {"spec": {"$setElementOrder/containers": [], "containers": None}},
            "expected a []interface {}, but received a %!s(<nil>)",
        ),
        (
            {"spec": {"$setElementOrder/containers": ["a"]}},
            "value for key 0 is not a map",
        ),
        ({"metadata": {"$deleteFromPrimitiveList": []}}, "invalid patch format of primitive list"),
    ],
)  # fmt: skip
def test_a_patch_that_means_nothing_is_refused_in_the_words_of_kubernetes(patch: Any, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        run("pods", {"metadata": {"finalizers": ["f"]}, "spec": {"containers": [{"name": "a"}]}}, patch)
    assert caught.value.message == words


def test_a_patch_nested_beyond_measure_is_refused() -> None:
    patch: dict[str, Any] = {}
    document: dict[str, Any] = {}
    for _ in range(5000):
        patch, document = {"x": patch}, {"x": document}
    with pytest.raises(BadRequestError):
        run("configmaps", document, patch)


def test_only_kinds_with_a_schema_take_strategic_patches() -> None:
    assert strategic.supports(CATALOGUE, CATALOGUE.by_key("pods"))
    assert strategic.supports(CATALOGUE, GroupVersionKind("autoscaling", "v1", "Scale"))
    assert not strategic.supports(CATALOGUE, GroupVersionKind("example.com", "v1", "Widget"))


@given(st.lists(st.integers(0, 8), max_size=16))
def test_repetitions_go_as_upstream_lets_them_go(items: list[int]) -> None:
    kept, at = list(items), 0
    while at < len(kept):
        to = at + 1
        while to < len(kept):
            if kept[to] == kept[at]:
                kept[to] = kept[-1]
                kept.pop()
            else:
                to += 1
        at += 1
    assert strategic_order.unique(items) == kept


@pytest.mark.parametrize("field", ["finalizers", "ownerReferences"])
def test_long_lists_are_merged_in_time_that_grows_with_them(field: str) -> None:
    def listed(first: int, count: int) -> Document:
        names = [f"a.example/{index}" for index in range(first, first + count)]
        items = names if field == "finalizers" else [{"uid": name} for name in names]
        order = {f"$setElementOrder/{field}": items[::-1]}
        return {"metadata": {field: items[::-1], **order}}

    old = {"metadata": {field: listed(0, 20_000)["metadata"][field]}}
    began = time.process_time()
    merged = run("configmaps", old, listed(10_000, 20_000))
    assert len(merged["metadata"][field]) == 30_000
    # With steps of its square it would be minutes.
    assert time.process_time() - began < 5
