"""Admission policies: what must hold, with which parameters, and what becomes of a request that fails."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import VirtualClock
from ksql.base.documents import Document
from ksql.schema.errors import ApiError
from tests.verbs.guards.hooks import labelled
from tests.verbs.room import Room, config, deployment, opened, pod

_GROUP = "admissionregistration.k8s.io"
CONFIGMAPS = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
DEPLOYMENTS = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
PODS = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


async def validate(room: Room, name: str, *rules: Document, binding: Document | None = None, **spec: Any) -> None:
    """A validating policy and its binding."""
    spec = {"matchConstraints": {"resourceRules": list(rules or (CONFIGMAPS,))}, **spec}
    await room.create(f"validatingadmissionpolicies.{_GROUP}", {"metadata": {"name": name}, "spec": spec})
    bound = {"policyName": name, "validationActions": ["Deny"], **(binding or {})}
    await room.create(f"validatingadmissionpolicybindings.{_GROUP}", {"metadata": {"name": f"{name}-b"}, "spec": bound})


async def mutate(
    room: Room, name: str, expression: str, *rules: Document, binding: Document | None = None, **spec: Any
) -> None:
    """A mutating policy and its binding."""
    kind = spec.pop("kind", "ApplyConfiguration")
    field = "applyConfiguration" if kind == "ApplyConfiguration" else "jsonPatch"
    spec = {
        "matchConstraints": {"resourceRules": list(rules or (CONFIGMAPS,))}, "reinvocationPolicy": "Never",
        "mutations": [{"patchType": kind, field: {"expression": expression}}], **spec,
    }  # fmt: skip
    await room.create(f"mutatingadmissionpolicies.{_GROUP}", {"metadata": {"name": name}, "spec": spec})
    bound = {"policyName": name, **(binding or {})}
    await room.create(f"mutatingadmissionpolicybindings.{_GROUP}", {"metadata": {"name": f"{name}-b"}, "spec": bound})


@pytest_asyncio.fixture
async def newer() -> AsyncIterator[Room]:
    """A cluster of the minor that serves mutating policies: 1.35 knows them as a beta, which is off."""
    async with opened(VirtualClock(1), minor="1.36") as room:
        yield room


async def denied(room: Room, resource: str, body: Document, **more: Any) -> Document:
    with pytest.raises(ApiError) as refused:
        await room.create(resource, body, **more)
    return refused.value.status()


async def test_what_does_not_hold_is_refused_in_the_policys_words(room: Room) -> None:
    await validate(room, "few", DEPLOYMENTS, validations=[{"expression": "object.spec.replicas <= 5"}])
    await room.create("deployments.apps", deployment(replicas=5))
    status = await denied(room, "deployments.apps", deployment("big", replicas=6))
    bound = "ValidatingAdmissionPolicy 'few' with binding 'few-b'"
    said = f"{bound} denied request: failed expression: object.spec.replicas <= 5"
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == f'deployments.apps "big" is forbidden: {said}'
    assert status["details"] == {"name": "big", "group": "apps", "kind": "deployments", "causes": [{"message": said}]}


@pytest.mark.parametrize(
    ("validation", "said", "code"),
    [
        ({"message": "  too many ", "reason": "Forbidden"}, "too many", 403),
        ({"message": "plain", "messageExpression": "'not ' + string(object.spec.replicas)"}, "not 6", 422),
        ({"message": "plain", "messageExpression": "object.spec.nothing"}, "plain", 422),
        ({"messageExpression": "'two\\nlines'"}, "failed expression: object.spec.replicas <= 5", 422),
        ({"reason": "RequestEntityTooLarge"}, "failed expression: object.spec.replicas <= 5", 413),
    ],
)
async def test_a_refusal_says_what_its_validation_has_for_it(
    room: Room, validation: Document, said: str, code: int
) -> None:
    await validate(room, "few", DEPLOYMENTS, validations=[{"expression": "object.spec.replicas <= 5", **validation}])
    status = await denied(room, "deployments.apps", deployment(replicas=6))
    assert status["message"].endswith(f"denied request: {said}") and status["code"] == code


async def test_actions_warn_and_audit_without_refusing(room: Room) -> None:
    await validate(
        room, "blue", validations=[{"expression": "object.data.colour == 'red'", "message": "not red"}],
        auditAnnotations=[{"key": "colour", "valueExpression": "'it is ' + object.data.colour"}],
        binding={"validationActions": ["Warn", "Audit"]},
    )  # fmt: skip
    request = room.request("create", "configmaps", "shop", body=config())
    result = await room.pipeline.perform(request)
    assert result.warnings == ("Validation failed for ValidatingAdmissionPolicy 'blue' with binding 'blue-b': not red",)
    assert request.annotations["blue/colour"] == "it is blue"
    (failure,) = json.loads(request.annotations["validation.policy.admission.k8s.io/validation_failure"])
    assert failure == {
        "message": "not red", "policy": "blue", "binding": "blue-b", "expressionIndex": 0,
        "validationActions": ["Warn", "Audit"],
    }  # fmt: skip


async def test_a_policy_nobody_bound_does_nothing(room: Room) -> None:
    spec = {"matchConstraints": {"resourceRules": [CONFIGMAPS]}, "validations": [{"expression": "false"}]}
    await room.create(f"validatingadmissionpolicies.{_GROUP}", {"metadata": {"name": "idle"}, "spec": spec})
    await room.create("configmaps", config())


async def test_an_expression_without_a_value_refuses_unless_failures_are_ignored(room: Room) -> None:
    await validate(room, "typo", validations=[{"expression": "object.data.size == 'big'"}])
    status = await denied(room, "configmaps", config())
    assert status["message"].endswith("expression 'object.data.size == 'big'' resulted in error: no such key: size")
    await room.patch(f"validatingadmissionpolicies.{_GROUP}", "", "typo", {"spec": {"failurePolicy": "Ignore"}})
    await room.create("configmaps", config())


async def test_parameters_come_by_name_or_selector_from_their_namespace(room: Room) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    rule = "object.spec.replicas <= int(params.data.most)"
    validations = [{"expression": rule, "messageExpression": "params.metadata.name"}]
    ref: Document = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await validate(room, "few", DEPLOYMENTS, validations=validations, paramKind=kind, binding={"paramRef": ref})
    status = await denied(room, "deployments.apps", deployment())
    assert status["message"] == (
        "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few-b' denied request: "
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    await room.create("configmaps", config("limits", "default", most="2"))
    await room.create("deployments.apps", deployment(replicas=2))
    assert (await denied(room, "deployments.apps", deployment("b", replicas=3)))["message"].endswith(": limits")
    selector = {"selector": {"matchLabels": {"kind": "limits"}}, "parameterNotFoundAction": "Allow"}
    binding = {"spec": {"paramRef": {**selector, "name": None, "namespace": None}}}
    await room.patch(f"validatingadmissionpolicybindings.{_GROUP}", "", "few-b", binding)
    await room.create("deployments.apps", deployment("c", replicas=9))
    for name, most in (("wide", "9"), ("narrow", "1")):
        body = config(name, most=most)
        body["metadata"]["labels"] = {"kind": "limits"}
        await room.create("configmaps", body)
    # Each set of parameters is for itself: the strictest refuses.
    assert (await denied(room, "deployments.apps", deployment("d", replicas=2)))["message"].endswith(": narrow")


async def test_parameters_of_an_unknown_kind_are_a_failure_to_configure(room: Room) -> None:
    kind = {"apiVersion": "rules.example.com/v1", "kind": "Limit"}
    ref = {"name": "limits", "parameterNotFoundAction": "Allow"}
    await validate(room, "few", validations=[{"expression": "true"}], paramKind=kind, binding={"paramRef": ref})
    status = await denied(room, "configmaps", config())
    assert status["message"].endswith("paramKind kind `rules.example.com/v1, Kind=Limit` not known")


async def test_variables_build_on_each_other_and_fail_only_where_they_are_reached(room: Room) -> None:
    variables = [
        {"name": "labels", "expression": "object.metadata.?labels.orValue({})"},
        {"name": "app", "expression": "variables.labels['app'] // the name of the application"},
        {"name": "wanted", "expression": "variables.app == 'web'"},
    ]
    await validate(
        room, "app", variables=variables,
        validations=[
            {"expression": "!('app' in variables.labels) || variables.wanted", "messageExpression": "variables.app"}
        ],
    )  # fmt: skip
    await room.create("configmaps", config("none"))
    await room.create("configmaps", labelled("good"))
    assert (await denied(room, "configmaps", labelled("bad", app="db")))["message"].endswith("denied request: db")
    await validate(room, "always", variables=variables, validations=[{"expression": "variables.wanted"}])
    message = (await denied(room, "configmaps", config("other")))["message"]
    assert 'resulted in error: composited variable "wanted" fails to evaluate: composited variable "app"' in message


async def test_expressions_see_request_namespace_and_old_object_and_ask_the_authorizer(room: Room) -> None:
    await room.patch("namespaces", "", "shop", {"metadata": {"labels": {"team": "blue"}}})
    checks = (
        "request.operation == 'CREATE' || oldObject.data == object.data",
        "namespaceObject.metadata.labels.team == 'blue' && request.namespace == 'shop'",
        "request.userInfo.username == 'alice' && 'system:masters' in request.userInfo.groups",
        "authorizer.group('').resource('pods').namespace('shop').check('create').allowed()",
        "authorizer.requestResource.check('delete').allowed()",
        "!authorizer.serviceAccount('shop', 'bot').path('/metrics').check('get').allowed()",
        "request.dryRun == false && request.kind.kind == 'ConfigMap' && params == null",
    )
    await validate(room, "all", validations=[{"expression": text} for text in checks[:-1]])
    made = await room.create("configmaps", config())
    with pytest.raises(ApiError, match=r"failed expression: request\.operation == 'CREATE'"):
        await room.update("configmaps", {**made, "data": {"colour": "red"}})


async def test_conditions_exclusions_and_bindings_narrow_a_policy(room: Room) -> None:
    await validate(
        room, "never", CONFIGMAPS, validations=[{"expression": "false"}],
        matchConditions=[{"name": "humans", "expression": "!request.userInfo.username.startsWith('robot')"}],
        matchConstraints={
            "resourceRules": [CONFIGMAPS], "excludeResourceRules": [{**CONFIGMAPS, "resourceNames": ["free"]}],
        },
        binding={"matchResources": {"namespaceSelector": {"matchLabels": {"guarded": "yes"}}}},
    )  # fmt: skip
    await room.create("configmaps", config("a"))
    await room.patch("namespaces", "", "shop", {"metadata": {"labels": {"guarded": "yes"}}})
    await denied(room, "configmaps", config("b"))
    await room.create("configmaps", config("free"))
    await room.create("configmaps", config("c"), user=User("robot-1", (ADMIN_GROUP,)))


async def test_images_of_pods_come_from_where_they_may(room: Room) -> None:
    await validate(
        room, "images", PODS,
        variables=[{"name": "images", "expression": "object.spec.containers.map(c, c.image)"}],
        validations=[
            {"expression": "variables.images.all(i, i.startsWith('registry.example.com/'))"},
            {
                "expression": "object.spec.containers.all(c, "
                "quantity(c.resources.limits.memory).isLessThan(quantity('1Gi')))"
            },
            {"expression": "object.spec.containers.all(c, c.image.matches('@sha256:[a-f0-9]{64}$'))"},
        ],
    )  # fmt: skip
    image = "registry.example.com/web@sha256:" + "a" * 64
    body = pod()
    body["spec"]["containers"] = [{"name": "web", "image": image, "resources": {"limits": {"memory": "512Mi"}}}]
    await room.create("pods", body)
    worse = pod("web-2")
    worse["spec"]["containers"] = [{"name": "web", "image": "web:1", "resources": {"limits": {"memory": "2Gi"}}}]
    assert len((await denied(room, "pods", worse))["details"]["causes"]) == 3


# --- mutating


async def test_an_applied_configuration_is_merged_by_the_keys_of_lists(newer: Room) -> None:
    await mutate(
        newer, "sidecar",
        'Object{metadata: Object.metadata{labels: {"mesh": "yes"}}, spec: Object.spec{initContainers: '
        '[Object.spec.initContainers{name: "mesh", image: "mesh:1", restartPolicy: "Always"}]}}',
        PODS,
        matchConditions=[
            {"name": "once", "expression": "!object.spec.?initContainers.orValue([]).exists(c, c.name == 'mesh')"}
        ],
    )  # fmt: skip
    body = pod()
    body["spec"]["initContainers"] = [{"name": "first", "image": "first:1"}]
    made = await newer.create("pods", body)
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["first", "mesh"]
    assert made["spec"]["initContainers"][1]["imagePullPolicy"] == "IfNotPresent", "what was added is completed"
    assert made["metadata"]["labels"] == {"mesh": "yes"}


async def test_a_patch_is_made_of_steps(newer: Room) -> None:
    await mutate(
        newer, "patch",
        "[JSONPatch{op: 'test', path: '/data/colour', value: 'blue'}, JSONPatch{op: 'add', path: '/data/' + "
        "jsonpatch.escapeKey('a/b'), value: object.data.colour + string(size(object.data))}]",
        kind="JSONPatch",
    )  # fmt: skip
    with pytest.raises(ApiError, match="data"):
        await newer.create("configmaps", config())
    await newer.patch(
        f"mutatingadmissionpolicies.{_GROUP}", "", "patch",
        {"spec": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": (
            "[JSONPatch{op: 'test', path: '/data/colour', value: 'blue'}, "
            "JSONPatch{op: 'add', path: '/data/size', value: object.data.colour + string(size(object.data))}]"
        )}}]}},
    )  # fmt: skip
    made = await newer.create("configmaps", config())
    assert made["data"] == {"colour": "blue", "size": "blue1"}
    status = await denied(newer, "configmaps", config("red", colour="red"))
    assert status["message"].startswith("policy 'patch' with binding 'patch-b' denied request: JSON Patch: ")
    assert status["reason"] == "Invalid"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("Object{metadata: Object.metadata{name: 'other'}}", "may not mutate metadata.name"),
        ("Object{spec: Object.spec{containers: object.nothing}}", "no such key: nothing"),
        ("'text'", "the expression must make an Object"),
        (
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'web', args: ['x']}]}}",
            "may not mutate atomic arrays, maps or structs: .spec.containers[].args",
        ),
        ("Object{spec: Object.spec{noField: 1, ?x: 2}}", ""),
    ],
)
async def test_what_cannot_be_made_of_an_object_refuses(newer: Room, expression: str, said: str) -> None:
    await mutate(newer, "odd", expression, PODS)
    status = await denied(newer, "pods", pod())
    assert said in status["message"]
    assert newer.objects.get("pods", "shop", "web-1") is None


async def test_a_policy_that_wants_to_sees_what_later_ones_made(newer: Room) -> None:
    count = "Object{data: {'count': string(size(object.data))}}"
    await mutate(newer, "a", count, reinvocationPolicy="IfNeeded")
    await mutate(newer, "b", "Object{data: {'more': 'yes'}}")
    made = await newer.create("configmaps", config())
    assert made["data"] == {"colour": "blue", "count": "3", "more": "yes"}


async def test_mutations_are_seen_by_validation(newer: Room) -> None:
    await mutate(newer, "paint", "Object{data: {'colour': 'red'}}")
    await validate(newer, "red", validations=[{"expression": "object.data.colour == 'red'"}])
    assert (await newer.create("configmaps", config()))["data"]["colour"] == "red"


async def test_custom_resources_have_policies_too(newer: Room) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "shops", "singular": "shop", "kind": "Shop", "listKind": "ShopList"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"metadata": {"name": "shops.example.com"}, "spec": spec}
    resource = "customresourcedefinitions.apiextensions.k8s.io"
    made = await newer.create(resource, definition)
    # What the cluster's controller of definitions says of one that it accepts.
    conditions = [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
    status = {**made["status"], "acceptedNames": names, "conditions": conditions}
    await newer.update(resource, {**made, "status": status}, subresource="status")
    rule = {"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["*"], "resources": ["*"]}
    await mutate(newer, "grow", "Object{spec: Object.spec{size: object.spec.size + 1}}", rule, matchConditions=[
        {"name": "new", "expression": "request.operation == 'CREATE'"},
    ])  # fmt: skip
    await validate(newer, "small", rule, validations=[{"expression": "object.spec.size < 5"}])
    body = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"size": 3}}
    body |= {"apiVersion": "example.com/v1", "kind": "Shop"}
    assert (await newer.create("shops.example.com", body))["spec"]["size"] == 4
    with pytest.raises(ApiError, match=r"failed expression: object\.spec\.size < 5"):
        await newer.patch("shops.example.com", "shop", "a", {"spec": {"size": 7}})
    other = {**body, "metadata": {"name": "b", "namespace": "shop"}, "spec": {"size": 4}}
    status = await denied(newer, "shops.example.com", other)
    assert status["message"].endswith("failed expression: object.spec.size < 5")
