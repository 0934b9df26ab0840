"""Twelve users, every resource, every verb: allowed just where a kube-apiserver 1.35 with its default roles allows it.

`matrix.json` holds that server's own answers to SubjectAccessReviews in kube-system; what it does not list there, it
refused. What this server's controllers have beyond their namesakes is told apart by its own roles.
"""

import json
from pathlib import Path

import pytest

from ksql.auth.authorize import Authorizers
from ksql.auth.defaults import all_defaults
from ksql.auth.identity import Question, User
from ksql.auth.rbac import Grants
from ksql.schema import catalogue

MATRIX = json.loads(Path(__file__).with_name("matrix.json").read_text())
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


def shipped() -> Authorizers:
    """Kubernetes' defaults alone."""
    grants = Grants()
    for resource, document in all_defaults():
        if not document["metadata"]["name"].startswith("ksql:"):
            grants.put(resource, document)
    return Authorizers([grants])


@pytest.mark.parametrize("who", MATRIX)
def test_every_resource_and_verb_is_allowed_where_kubernetes_allows_it(who: str) -> None:
    row, authorizer = MATRIX[who], shipped()
    user, wrong = User(row["user"], tuple(row["groups"])), []
    kinds = sorted({(type.group, type.resource) for type in catalogue.load("1.35").types})
    for group, resource in kinds:
        allowed = row["allowed"].get(f"{resource}.{group}" if group else resource, "").split()
        for verb in VERBS:
            question = Question(user, verb, group, resource, namespace="kube-system")
            if authorizer.authorize(question).allowed is not (verb in allowed):
                wrong.append((verb, resource, group))
    assert wrong == [] and len(kinds) > 60
