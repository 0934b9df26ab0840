
from typing import Any

import pytest

from ksql.base.documents import replaced
from ksql.schema import catalogue, structure
from ksql.schema.errors import BadRequestError
from ksql.schema.resources import GroupVersionKind
from ksql.schema.shapes import DEPTH_MAX

KNOWN = catalogue.load()
DEPLOYMENTS, PODS, SECRETS = (KNOWN.by_key(key) for key in ("deployments.apps", "pods", "secrets"))
CONTAINER = {"name": "a", "image": "b"}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a"},
    "spec": {"containers": [CONTAINER]},
}
WEB: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}},
    },
}


def with_container(**fields: Any) -> dict[str, Any]:
    return replaced(WEB, ["spec", "template", "spec", "containers"], [{**CONTAINER, **fields}])


def refusal(document: Any, type: Any = DEPLOYMENTS, mode: str = "Strict") -> str:
    with pytest.raises(BadRequestError) as caught:
        structure.check(KNOWN, type, document, mode)
    assert caught.value.code == 400
    return caught.value.message.removeprefix('Deployment in version "v1" cannot be handled as a Deployment: ')


def test_a_sound_document_comes_back_as_it_is() -> None:
    kept, warnings = structure.check(KNOWN, DEPLOYMENTS, WEB, "Strict")
    assert kept is WEB and warnings == []


def test_strict_refuses_unknown_fields_by_their_path() -> None:
    document = {**with_container(imagee="x", ports=[{"containerPort": 1, "odd": 2}]), "extra": 1}
    with pytest.raises(BadRequestError) as caught:
        structure.check(KNOWN, DEPLOYMENTS, document, "Strict")
    assert caught.value.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.template.spec.containers[0].imagee", '
        'unknown field "spec.template.spec.containers[0].ports[0].odd", unknown field "extra"'
    )


def test_warn_names_unknown_fields_and_drops_them() -> None:
    kept, warnings = structure.check(KNOWN, DEPLOYMENTS, replaced(WEB, ["spec", "foo"], 1), "Warn")
    assert kept == WEB
    assert warnings == ['unknown field "spec.foo"']


def test_ignore_drops_unknown_fields_silently() -> None:
    kept, warnings = structure.check(KNOWN, DEPLOYMENTS, replaced(WEB, ["spec", "foo"], 1), "Ignore")
    assert kept == WEB and warnings == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["spec", "replicas"], "2", "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (
            ["spec", "replicas"],
            1.5,
            "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            ["spec", "replicas"],
            1.0,
            "number 1.0 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            ["spec", "replicas"],
            2**31,
            f"number {2**31} into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (["spec", "paused"], 1, "number into Go struct field DeploymentSpec.spec.paused of type bool"),
        (["spec"], "x", "string into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            ["metadata", "labels"],
            {"a": 1},
            "number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            ["metadata", "labels"],
            [],
            "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            ["metadata", "finalizers"],
            "x",
            "string into Go struct field ObjectMeta.metadata.finalizers of type []string",
        ),
    ],
)
def test_a_wrong_type_is_told_as_go_does(path: list[str], value: Any, expected: str) -> None:
    assert refusal(replaced(WEB, path, value)) == f"json: cannot unmarshal {expected}"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ports": {}}, "json: cannot unmarshal object into Go struct field "
                        "Container.spec.template.spec.containers.ports of type []v1.ContainerPort"),
        ({"env": [{"name": "A", "value": True}]}, "json: cannot unmarshal bool into Go struct field "
                                                 "EnvVar.spec.template.spec.containers.env.value of type string"),
        ({"imagePullPolicy": 1}, "json: cannot unmarshal number into Go struct field "
                                 "Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy"),
        ({"resources": {"limits": {"cpu": "one"}}},
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ({"livenessProbe": {"httpGet": {"port": False}}}, "json: cannot unmarshal bool into Go value of type int32"),
    ],
)  # fmt: skip
def test_a_wrong_type_deep_inside_is_told_without_indices(fields: dict[str, Any], expected: str) -> None:
    assert refusal(with_container(**fields)) == expected


def test_nulls_are_dropped_and_stand_for_zero_in_lists_and_maps() -> None:
    document = {**with_container(env=[None], args=[None, "x"]), "status": None}
    document = replaced(document, ["metadata", "labels"], {"a": None})
    kept, _ = structure.check(KNOWN, DEPLOYMENTS, document, "Strict")
    assert "status" not in kept
    assert kept["metadata"]["labels"] == {"a": ""}
    container = kept["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{}] and container["args"] == ["", "x"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1000m", "1"), (0.5, "500m"), (2, "2"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0m", "0")],
)
def test_amounts_are_kept_in_canonical_form(given: Any, expected: str) -> None:
    kept, _ = structure.check(
        KNOWN, DEPLOYMENTS, with_container(resources={"limits": {"cpu": given}}), "Strict"
    )
    assert kept["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == expected


def test_instants_are_kept_in_utc_to_the_second() -> None:
    document = replaced(WEB, ["metadata", "creationTimestamp"], "2026-02-01T01:30:00.5+02:00")
    kept, _ = structure.check(KNOWN, DEPLOYMENTS, document, "Strict")
    assert kept["metadata"]["creationTimestamp"] == "2026-01-31T23:30:00Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tomorrow",
            'parsing time "tomorrow" as "2006-01-02T15:04:05Z07:00": cannot parse "tomorrow" as "2006"',
        ),
        ("2026-02-30T00:00:00Z", 'parsing time "2026-02-30T00:00:00Z": day out of range'),
        ("2026-02-01T00:00:00Zx", 'parsing time "2026-02-01T00:00:00Zx": extra text: "x"'),
    ],
)
def test_what_is_no_instant_is_told_as_go_does(text: str, expected: str) -> None:
    assert refusal(replaced(WEB, ["metadata", "creationTimestamp"], text)) == expected


def test_micro_times_keep_six_digits() -> None:
    lease = {"metadata": {"name": "a"}, "spec": {"renewTime": "2026-01-01T00:00:00Z"}}
    kept, _ = structure.check(KNOWN, KNOWN.by_key("leases.coordination.k8s.io"), lease, "Strict")
    assert kept["spec"]["renewTime"] == "2026-01-01T00:00:00.000000Z"


def test_base64_is_checked_to_the_byte() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "YWJj"}}
    assert structure.check(KNOWN, SECRETS, secret, "Strict")[0] is secret
    kept, _ = structure.check(KNOWN, SECRETS, {**secret, "data": {"a": "YW\nJj", "b": None}}, "Strict")
    assert kept["data"] == {"a": "YWJj", "b": ""}
    assert refusal({**secret, "data": {"a": "YWJ?"}}, SECRETS) == (
        'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 3'
    )


def test_a_missing_version_or_kind_is_filled_in() -> None:
    kept, _ = structure.check(KNOWN, PODS, {"metadata": {"name": "a"}}, "Strict")
    assert list(kept) == ["apiVersion", "kind", "metadata"]
    assert (kept["apiVersion"], kept["kind"]) == ("v1", "Pod")


def test_another_version_than_the_endpoints_is_refused() -> None:
    expected = "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)"
    assert refusal({**WEB, "apiVersion": "apps/v1beta1"}) == expected


def test_another_kind_than_the_endpoints_is_refused() -> None:
    assert refusal(WEB, PODS) == (
        'Deployment in version "v1" cannot be handled as a Pod: '
        "converting (v1.Deployment) to (core.Pod): unknown conversion"
    ).removeprefix('Deployment in version "v1" cannot be handled as a Deployment: ')
    assert refusal({**WEB, "kind": "Thing"}, PODS) == (
        'Thing in version "v1" cannot be handled as a Pod: no kind "Thing" is registered for version "apps/v1" '
        'in scheme "pkg/api/legacyscheme/scheme.go:30"'
    )


@pytest.mark.parametrize(
    ("body", "what"), [([], "array"), ("x", "string"), (1, "number"), (None, "null"), (True, "bool")]
)
def test_what_is_no_object_is_refused(body: Any, what: str) -> None:
    assert refusal(body).startswith(
        f"couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go value of type struct"
    )


def test_a_kind_that_is_no_text_is_refused() -> None:
    assert "cannot unmarshal number into Go struct field .kind of type string" in refusal({"kind": 1})


def test_nesting_is_bounded_in_shapes_and_in_free_form() -> None:
    deep: dict[str, Any] = {}
    for _ in range(DEPTH_MAX + 50):
        deep = {"properties": {"a": deep}}
    definition = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": deep}, "unknown": 1}]}}
    crds = KNOWN.by_key("customresourcedefinitions.apiextensions.k8s.io")
    assert refusal(definition, crds).endswith("exceeded max depth")
    free: Any = None
    for _ in range(DEPTH_MAX + 50):
        free = [free]
    revisions = KNOWN.by_key("controllerrevisions.apps")
    assert refusal({"data": {"a": free}, "revision": 1}, revisions).endswith("exceeded max depth")


def test_free_form_values_are_left_alone() -> None:
    revision = {
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {"a": [None, {"b": None}]},
    }  # fmt: skip
    assert structure.check(KNOWN, KNOWN.by_key("controllerrevisions.apps"), revision, "Strict")[0] is revision


def test_bodies_of_subresources_are_checked_too() -> None:
    scale = GroupVersionKind("autoscaling", "v1", "Scale")
    kept, _ = structure.check_kind(KNOWN, scale, {"spec": {"replicas": 3}}, "Strict")
    assert kept == {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}}
    with pytest.raises(BadRequestError, match=r"ScaleSpec\.spec\.replicas of type int32"):
        structure.check_kind(KNOWN, scale, {"spec": {"replicas": "3"}}, "Strict")


@pytest.mark.parametrize("found", KNOWN.types, ids=lambda t: t.qualified + "." + t.version)
def test_every_kind_compiles(found: Any) -> None:
    kept, _ = structure.check(KNOWN, found, {"metadata": {"name": "a"}}, "Strict")
    assert structure.check(KNOWN, found, kept, "Strict")[0] is kept
