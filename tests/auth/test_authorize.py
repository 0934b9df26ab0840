"""Administrators and the cluster's own components may do everything, everybody else nothing."""

import pytest

from ksql.auth.authorize import AdminAuthorizer, is_component, is_public, refusal
from ksql.auth.identity import Question, User, Verdict, controller_user, node_user, scheduler_user

ADMIN = User("kubernetes-admin", ("system:masters",))
COMPONENTS = [controller_user("deployment-controller"), node_user("node-1"), scheduler_user()]
STRANGERS = [
    User("bob", ("system:authenticated",)),
    User("system:node:node-1"),  # the name without the group that vouches for it
    User("system:serviceaccount:kube-system:deployment-controller"),
    User("system:serviceaccount:default:x", ("system:serviceaccounts", "system:serviceaccounts:default")),
    User("x", ("system:nodes",)),
]


@pytest.mark.parametrize("user", [ADMIN, *COMPONENTS], ids=lambda user: user.name)
def test_these_may_do_everything(user):
    question = Question(user, "delete", "", "secrets", namespace="default", name="x")
    verdict = AdminAuthorizer().authorize(question)
    assert verdict.allowed and verdict.rule


@pytest.mark.parametrize("user", STRANGERS, ids=lambda user: user.name)
def test_these_may_do_nothing(user):
    assert not AdminAuthorizer().authorize(Question(user, "list", "", "pods")).allowed
    assert not is_component(user)


@pytest.mark.parametrize("user", COMPONENTS, ids=lambda user: user.name)
def test_these_are_the_cluster_itself(user):
    assert is_component(user)


def test_an_administrator_is_no_component():
    assert not is_component(ADMIN)


@pytest.mark.parametrize("path", ["/healthz", "/livez/ping", "/readyz", "/version", "/version/"])
def test_these_paths_are_public(path):
    assert is_public(path)


@pytest.mark.parametrize("path", ["/metrics", "/api", "/healthzz", "/versions", "/", "/graphql"])
def test_these_paths_are_not(path):
    assert not is_public(path)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            Question(User("bob"), "list", "apps", "deployments", namespace="default"),
            'deployments.apps is forbidden: User "bob" cannot list resource "deployments" '
            'in API group "apps" in the namespace "default"',
        ),
        (
            Question(User("bob"), "get", "", "nodes", name="n"),
            'nodes "n" is forbidden: User "bob" cannot get resource "nodes" in API group "" '
            "at the cluster scope",
        ),
        (
            Question(User("bob"), "update", "", "pods", "status", "a", "p"),
            'pods "p" is forbidden: User "bob" cannot update resource "pods/status" in API group "" '
            'in the namespace "a"',
        ),
        (Question(User("bob"), "get", path="/metrics"), 'forbidden: User "bob" cannot get path "/metrics"'),
    ],
)
def test_a_refusal_has_the_words_that_programs_match(question, message):
    assert refusal(question, Verdict(False)).message == message
