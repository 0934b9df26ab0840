"""A user of another issuer, through the official client: who he is, and what his groups let him do."""

import json
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client import ApiClient, Configuration, CoreV1Api, RbacAuthorizationV1Api
from kubernetes.client.exceptions import ApiException

from tests.support import provider as providers
from tests.support.server import running, until


def test_a_token_of_another_issuer_lets_its_bearer_in(tmp_path: Path) -> None:
    with providers.running(tmp_path) as provider:
        groups = {"claim": "groups", "prefix": "oidc:"}
        username = {"claim": "sub", "prefix": "oidc:"}
        entry = provider.config(claimMappings={"username": username, "groups": groups})
        head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
        file = tmp_path / "authentication.yaml"
        file.write_text(yaml.safe_dump({**head, "jwt": [entry]}))
        with running(tmp_path / "data", "--nodes", "0", f"--authentication-config={file}") as server:
            admin = kubernetes.config.new_client_from_config(str(server.kubeconfig))
            ann = CoreV1Api(_bearing(admin, provider.token(sub="ann", groups=["devs"])))
            # Its keys are fetched beside the start.
            until(lambda: _refused(ann) == 403)
            RbacAuthorizationV1Api(admin).create_namespaced_role_binding("default", _view("oidc:devs"))
            assert ann.list_namespaced_config_map("default").items is not None
            with pytest.raises(ApiException) as caught:
                ann.list_namespaced_secret("default")
            assert 'User "oidc:ann" cannot list resource "secrets"' in json.loads(caught.value.body)["message"]
            late = CoreV1Api(_bearing(admin, provider.token(sub="ann", exp=1)))
            assert _refused(late) == 401
            provider.rotate("second")
            fresh = CoreV1Api(_bearing(admin, provider.token(sub="ann", groups=["devs"])))
            assert _refused(fresh) == 401
            until(lambda: _refused(fresh) == 200)


def _bearing(admin: ApiClient, token: str) -> ApiClient:
    """The same server, and nothing but the token to go by."""
    known = admin.configuration
    made = Configuration(host=known.host)
    made.ssl_ca_cert = known.ssl_ca_cert
    made.api_key = {"authorization": f"Bearer {token}"}
    return ApiClient(made)


def _refused(api: Any) -> int:
    try:
        api.list_namespaced_config_map("default")
    except ApiException as error:
        return int(error.status)
    return 200


def _view(group: str) -> dict[str, Any]:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]
    return {"metadata": {"name": "viewers"}, "roleRef": reference, "subjects": subjects}
