"""Whom a cluster believes beside itself: a webhook that judges tokens, one that is asked for permission, a front proxy,
and a program that hands out credentials; with the official Python client, over real HTTPS."""

import json
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes import client, config

from ksql.kubeconfig import load
from tests.support import kubectl as kubectls
from tests.support.server import Server, running
from tests.support.webhook import Webhook, webhook

TOKENS = {
    "webhook-token-of-alice": {
        "username": "alice",
        "uid": "42",
        "groups": ["staff"],
        "extra": {"example.com/team": ["a"]},
    },
    "webhook-token-of-bob": {"username": "bob", "groups": []},
}


def answer(review: dict[str, Any]) -> dict[str, Any]:
    """Tokens that are written down; alice may read config maps, and nobody may touch the namespace `shut`."""
    spec = review["spec"]
    if review["kind"] == "TokenReview":
        user = TOKENS.get(spec["token"])
        return {**review, "status": {"authenticated": True, "user": user} if user else {"authenticated": False}}
    asked = spec.get("resourceAttributes") or {}
    if asked.get("namespace") == "shut":
        return {**review, "status": {"allowed": False, "denied": True, "reason": "it is shut"}}
    allowed = spec["user"] == "alice" and asked.get("resource") == "configmaps" and asked.get("verb") in ("get", "list")
    return {**review, "status": {"allowed": allowed, "reason": "" if allowed else "the webhook knows no reason"}}


def kubeconfig(path: Path, hook: Webhook) -> Path:
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "k", "cluster": {"server": hook.url, "certificate-authority-data": hook.authority}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with webhook(tmp_path_factory.mktemp("hook"), answer=answer) as hook:
        yield hook


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hook: Webhook) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("believed")
    asked = kubeconfig(folder / "hook.yaml", hook)
    authorizers = {
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Node", "name": "node"}, {"type": "Webhook", "name": "policy.example.com", "webhook": {
                "timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
                "failurePolicy": "Deny", "authorizedTTL": "30s", "unauthorizedTTL": "1s",
                "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(asked)},
                "matchConditions": [
                    {"expression": "!request.user.startsWith('system:') && has(request.resourceAttributes)"}
                ],
            }},
            {"type": "RBAC", "name": "rbac"},
        ],
    }  # fmt: skip
    (folder / "authorizers.yaml").write_text(yaml.safe_dump(authorizers))
    with running(
        folder / "data", "--nodes", "1", "--no-dns", "--authentication-token-webhook-config-file", str(asked),
        "--authorization-config", str(folder / "authorizers.yaml"),
        "--requestheader-allowed-names", "front-proxy-client",
    ) as server:  # fmt: skip
        yield server


def as_token(server: Server, token: str) -> httpx.Client:
    found = load(server.kubeconfig)
    trusted = ssl.create_default_context(cadata=(found.authority or b"").decode())
    return httpx.Client(
        base_url=found.server, verify=trusted, headers={"authorization": f"Bearer {token}"}, timeout=30
    )  # fmt: skip


def official(server: Server, folder: Path, user: dict[str, Any]) -> client.CoreV1Api:
    """The official client by a kubeconfig with this user."""
    document = yaml.safe_load(server.kubeconfig.read_text())
    document["users"] = [{"name": document["users"][0]["name"], "user": user}]
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    return client.CoreV1Api(config.new_client_from_config(str(folder / "kubeconfig")))


def test_a_token_that_a_webhook_knows_is_a_user(server: Server, hook: Webhook) -> None:
    with as_token(server, "webhook-token-of-alice") as http:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        told = http.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review).json()["status"]["userInfo"]
        assert told == {
            "username": "alice", "uid": "42", "groups": ["staff", "system:authenticated"],
            "extra": {"example.com/team": ["a"]},
        }  # fmt: skip
        count = len([one for one in hook.asked if one["kind"] == "TokenReview"])
        assert http.get("/api").status_code == 200
        # The answer is remembered.
        assert len([one for one in hook.asked if one["kind"] == "TokenReview"]) == count
    with as_token(server, "nobody-knows-it") as http:
        assert http.get("/api").status_code == 401


def test_a_token_review_asks_the_webhook_too(server: Server) -> None:
    with server.http() as http:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": "webhook-token-of-bob"},
        }
        told = http.post("/apis/authentication.k8s.io/v1/tokenreviews", json=review).json()["status"]
        assert told["authenticated"] is True and told["user"]["username"] == "bob"
        review["spec"] = {"token": "nobody-knows-it-either"}
        told = http.post("/apis/authentication.k8s.io/v1/tokenreviews", json=review).json()["status"]
        assert "authenticated" not in told and told["error"]


def test_the_webhook_gives_a_right_that_no_role_gives_and_the_next_is_asked_after_it(server: Server) -> None:
    with as_token(server, "webhook-token-of-alice") as http:
        assert http.get("/api/v1/namespaces/default/configmaps").status_code == 200
        assert http.get("/api/v1/configmaps?watch=true&timeoutSeconds=1").status_code == 403
        refused = http.get("/api/v1/namespaces/default/secrets")
        assert refused.status_code == 403 and "the webhook knows no reason" in refused.json()["message"]
    with server.http() as admin:
        body = {
            "metadata": {"name": "bob"}, "subjects": [{"kind": "User", "name": "bob"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        }  # fmt: skip
        admin.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json=body).raise_for_status()
        admin.post("/api/v1/namespaces", json={"metadata": {"name": "shut"}}).raise_for_status()
    with as_token(server, "webhook-token-of-bob") as http:
        made = http.post(
            "/api/v1/namespaces/default/configmaps", json={"metadata": {"name": "x"}, "data": {"a": "b" * 5000}}
        )
        # The body was looked at twice and stored once.
        assert made.status_code == 201 and len(made.json()["data"]["a"]) == 5000
        refused = http.post("/api/v1/namespaces/shut/configmaps", json={"metadata": {"name": "x"}})
        assert refused.status_code == 403 and "it is shut" in refused.json()["message"]


def test_an_access_review_asks_it_as_well(server: Server) -> None:
    with server.http() as http:
        spec = {"user": "alice", "resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "here"}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        assert http.post(path, json=review).json()["status"]["allowed"] is True
        spec["resourceAttributes"] = {"verb": "get", "resource": "configmaps", "namespace": "shut"}
        status = http.post(path, json=review).json()["status"]
        assert status["allowed"] is False and status["denied"] is True


def test_one_that_does_not_answer_denies_as_it_was_told_to(server: Server, hook: Webhook) -> None:
    hook.code = 500
    try:
        with as_token(server, "webhook-token-of-bob") as http:
            refused = http.get("/api/v1/namespaces/new-question/pods")
            assert refused.status_code == 403 and "webhook policy.example.com: no answer" in refused.json()["message"]
            # A condition spares it questions about the cluster's own, and members of system:masters are asked nothing.
            with server.http() as admin:
                assert admin.get("/api/v1/namespaces/new-question/pods").status_code == 200
    finally:
        hook.code = 200


def test_a_front_proxy_speaks_for_whom_its_headers_name_and_nobody_else_does(server: Server) -> None:
    keys = server.data / "pki"
    found = load(server.kubeconfig)
    context = ssl.create_default_context(cadata=(found.authority or b"").decode())
    context.load_cert_chain(keys / "front-proxy-client.crt", keys / "front-proxy-client.key")
    said = [
        ("X-Remote-User", "carol"), ("X-Remote-Group", "staff"), ("X-Remote-Group", "ops"), ("X-Remote-Uid", "7"),
        ("X-Remote-Extra-Example.com%2fteam", "blue"),
    ]  # fmt: skip
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    with httpx.Client(base_url=found.server, verify=context, timeout=30) as proxy:
        told = proxy.post(path, json=review, headers=said).json()["status"]["userInfo"]
        assert told == {
            "username": "carol", "uid": "7", "groups": ["staff", "ops", "system:authenticated"],
            "extra": {"example.com/team": ["blue"]},
        }  # fmt: skip
        assert proxy.post(path, json=review).status_code == 401
    with as_token(server, "webhook-token-of-bob") as http:
        told = http.post(path, json=review, headers=said).json()["status"]["userInfo"]
        assert told["username"] == "bob" and "staff" not in told["groups"]
    with as_token(server, "nobody") as http:
        assert http.post(path, json=review, headers=said).status_code == 401


def test_the_official_client_gets_its_credentials_from_a_program(server: Server, tmp_path: Path) -> None:
    plugin = tmp_path / "credentials"
    status = {"token": "webhook-token-of-alice"}
    told = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    plugin.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(told))})\n")
    plugin.chmod(0o700)
    program = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never",
        "provideClusterInfo": False,
    }  # fmt: skip
    core = official(server, tmp_path, {"exec": program})
    assert core.list_namespaced_config_map("default").items is not None
    with pytest.raises(client.ApiException) as refused:
        core.list_namespaced_secret("default")
    assert refused.value.status == 403
    newest = kubectls.newest()
    if newest is not None:
        shown = newest.at(tmp_path / "kubeconfig").run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        assert shown.stdout == "alice"
