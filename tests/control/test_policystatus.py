"""Admission policies are told what their expressions find wrong in the kinds that they name."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.control import policystatus
from ksql.control.controller import Kit
from ksql.control.informer import Informers
from ksql.control.policystatus import RESOURCE, PolicyStatuses
from ksql.schema import catalogue as catalogues
from ksql.schema.cel import typechecking
from ksql.verbs.local import connect
from tests.node.small import Small, told

CATALOGUE = catalogues.load()
APPS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE"]}


def policy(*expressions: str, rules: list[Any] | None = None, **spec: Any) -> Document:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p", "generation": 2},
        "spec": {
            "matchConstraints": {"resourceRules": rules or [APPS]},
            "validations": [{"expression": one} for one in expressions], **spec,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.replicas > 1", "object.metadata.labels['a'] == 'b'", "has(oldObject.spec.paused)",
        "object.spec.template.spec.containers.all(c, c.image.startsWith('x'))", "authorizer.nonsense()",
        "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '25%'",
        "object.metadata.creationTimestamp > timestamp('2020-01-01T00:00:00Z')", "params.anything.at.all == 3",
        "request.operation == 'CREATE' && request.userInfo.groups.exists(g, g == 'a')",
    ],
)  # fmt: skip
def test_expressions_that_fit_their_kind_are_not_told_of(expression: str) -> None:
    assert typechecking.warnings(policy(expression), CATALOGUE) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("object.replicas > 1", "undefined field 'replicas'"),
        ("object.spec.template.spec.containers.all(c, c.foo == 1)", "undefined field 'foo'"),
        ("object.spec.replicas == 'many'", "found no matching overload for '_==_'"),
    ],
)
def test_what_does_not_fit_is_told_in_kube_apiservers_words(expression: str, said: str) -> None:
    (warning,) = typechecking.warnings(policy("true", expression), CATALOGUE)
    assert warning["fieldRef"] == "spec.validations[1].expression"
    assert warning["warning"].startswith("apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:")
    assert said in warning["warning"] and warning["warning"].endswith("^\n")


def test_variables_and_messages_are_looked_at_and_each_kind_is_named() -> None:
    rules = [APPS, {**APPS, "apiGroups": [""], "resources": ["pods", "pods/log", "nothings"]}]
    variables = [{"name": "count", "expression": "object.spec.replicas"}]
    made = policy("variables.count > 1", rules=rules, variables=variables)
    made["spec"]["validations"][0]["messageExpression"] = "object.spec.nodeName"
    first, second = typechecking.warnings(made, CATALOGUE)
    assert first["warning"].startswith("/v1, Kind=Pod: ") and "undefined field 'replicas'" in first["warning"]
    assert second["fieldRef"] == "spec.validations[0].messageExpression" and "Kind=Deployment" in second["warning"]
    assert len(typechecking.kinds(made["spec"], CATALOGUE)) == 2


def test_kinds_by_wildcard_are_not_looked_at() -> None:
    for rule in ({"resources": ["*"]}, {"apiGroups": ["*"]}, {"apiVersions": ["*"]}):
        assert typechecking.warnings(policy("object.x == 1", rules=[{**APPS, **rule}]), CATALOGUE) == []


def test_a_status_is_told_once_for_each_spec() -> None:
    [change] = policystatus.plan(policy("object.x == 1"), CATALOGUE).changes()
    assert change.document["status"]["observedGeneration"] == 2 and change.subresource == "status"
    assert not policystatus.plan(change.document, CATALOGUE).steps
    [change] = policystatus.plan(policy("object.spec.replicas > 1"), CATALOGUE).changes()
    assert change.document["status"]["typeChecking"] == {}


def test_a_policy_gets_its_status_and_a_new_one_when_it_changes() -> None:
    async def story(cluster: Small) -> None:
        pipeline = cluster.client._pipeline
        kit = Kit(connect(pipeline), cluster.clock, Informers(cluster.client, cluster.clock))
        statuses, tasks = PolicyStatuses(kit, pipeline.catalogue), Tasks()
        kit.informers.start()
        tasks.start("policies", statuses.controller.run())
        await cluster.client.create(RESOURCE, {**policy("object.replicas > 1"), "metadata": {"name": "p"}})

        def told_of() -> Any:
            status = (cluster.objects.document(RESOURCE, "", "p") or {}).get("status") or {}
            return None if "typeChecking" not in status else status["typeChecking"].get("expressionWarnings", [])

        await cluster.until(lambda: told_of())
        assert "undefined field 'replicas'" in told_of()[0]["warning"]
        patch = {"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}}
        await cluster.client.patch(RESOURCE, "", "p", patch)
        await cluster.until(lambda: told_of() == [])
        await tasks.aclose()
        await kit.informers.aclose()
        await statuses.controller.aclose()

    told(story)
