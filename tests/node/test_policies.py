"""NetworkPolicies, judged: who may speak to whom."""

from typing import Any

import pytest

from ksql.node.policies import allows

NAMESPACES = {"shop": {"team": "front"}, "office": {}}


def pod(name: str, namespace: str = "shop", address: str = "10.0.0.1", **labels: str) -> Any:
    ports = [{"name": "http", "containerPort": 80}]
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "labels": labels},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": address},
    }


def policy(namespace: str = "shop", selector: Any = None, **spec: Any) -> Any:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": {"podSelector": selector or {}, **spec}}


WEB, DB = pod("web", app="web"), pod("db", address="10.0.1.9", app="db")
OUTSIDER = pod("mail", "office", "10.0.2.2", app="mail")
ONLY_DB = {"matchLabels": {"app": "db"}}


def may(policies: list[Any], source: Any = WEB, target: Any = DB, port: int = 80, protocol: str = "TCP") -> bool:
    return allows(policies, lambda name: NAMESPACES[name], source, target, port, protocol)


@pytest.mark.parametrize(
    ("rule", "web", "outsider"),
    [
        ({}, True, True),
        ({"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}, True, False),
        ({"from": [{"podSelector": {"matchLabels": {"app": "mail"}}}]}, False, False),
        ({"from": [{"namespaceSelector": {"matchLabels": {"team": "front"}}}]}, True, False),
        ({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "mail"}}}]}, False, True),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/22", "except": ["10.0.2.0/24"]}}]}, True, False),
        ({"ports": [{"port": 80}]}, True, True),
        ({"ports": [{"port": "http"}]}, True, True),
        ({"ports": [{"port": 70, "endPort": 90}]}, True, True),
        ({"ports": [{"port": 5432}]}, False, False),
        ({"ports": [{"port": 80, "protocol": "UDP"}]}, False, False),
        ({"ports": [{"port": "metrics"}]}, False, False),
    ],
)
def test_a_rule_lets_in_whom_it_names(rule: Any, web: bool, outsider: bool) -> None:
    closed = policy(selector=ONLY_DB, ingress=[rule])
    assert may([closed]) is web
    assert may([closed], OUTSIDER) is outsider


def test_a_pod_is_open_until_a_policy_selects_it() -> None:
    assert may([])
    assert may([policy(selector={"matchLabels": {"app": "other"}})])
    assert may([policy("office")]), "a policy of another namespace"
    assert not may([policy(selector=ONLY_DB)])
    assert may([policy(selector=ONLY_DB), policy(selector=ONLY_DB, ingress=[{}])]), "what any of them allows"


def test_both_ends_must_agree() -> None:
    closed = policy(selector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"])
    assert not may([closed])
    opened = policy(selector={"matchLabels": {"app": "web"}}, egress=[{"to": [{"podSelector": ONLY_DB}]}])
    assert may([closed, opened])
    assert may([closed], OUTSIDER), "it says nothing of others"


def test_nobody_keeps_a_pod_from_itself() -> None:
    assert may([policy()], WEB, WEB)
