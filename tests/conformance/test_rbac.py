"""Role-based access through kubectl, as an administrator gives it and as a user meets it."""

import pytest

from tests.conformance.shell import Shell
from tests.conformance.test_kubectl_access import connection

pytestmark = pytest.mark.kubectl


def test_a_role_lets_a_user_in_and_can_i_tells_the_truth(kubectl: Shell) -> None:
    user = f"--as=ann-{kubectl.namespace}"
    asked = kubectl.run("auth", "can-i", "list", "pods", user, check=False)
    assert asked.stdout == "no\n" and asked.returncode == 1
    kubectl("create", "rolebinding", "ann", "--clusterrole=view", f"--user={user.removeprefix('--as=')}")
    assert kubectl("auth", "can-i", "list", "pods", user) == "yes\n"
    assert "No resources found" in kubectl.run("get", "pods", user).stderr
    # Whoever may see everything sees no secrets.
    assert 'cannot list resource "secrets"' in kubectl.refused("get", "secrets", user)
    assert 'cannot create resource "configmaps"' in kubectl.refused("create", "configmap", "c", user)
    listed = kubectl("auth", "can-i", "--list", user)
    assert any(line.split()[:1] == ["pods"] and "list" in line for line in listed.splitlines())
    assert kubectl.run("auth", "can-i", "list", "pods", user, "--all-namespaces", check=False).stdout == "no\n"


def test_aggregated_roles_gather_what_is_labelled_for_them(kubectl: Shell) -> None:
    name = f"crews-{kubectl.namespace}"
    kubectl.apply(f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {name}, labels: {{rbac.authorization.k8s.io/aggregate-to-view: "true"}}}}
rules: [{{apiGroups: [{name}.example.com], resources: [crews], verbs: [get]}}]
""")
    shown = ("get", "clusterrole", "admin", "-o", "jsonpath={.rules[*].apiGroups[*]}")
    # To view, from there to edit, and from there to admin.
    kubectl.until(lambda: f"{name}.example.com" in kubectl(*shown))
    kubectl("delete", "clusterrole", name)
    kubectl.until(lambda: f"{name}.example.com" not in kubectl(*shown))


def test_nobody_gives_what_he_has_not(kubectl: Shell) -> None:
    user = f"eve-{kubectl.namespace}"
    kubectl("create", "rolebinding", "eve", "--clusterrole=admin", f"--user={user}")
    kubectl("create", "role", "small", "--verb=get", "--resource=pods", f"--as={user}")
    said = kubectl.refused("create", "role", "nodes", "--verb=get", "--resource=nodes", f"--as={user}")
    assert "is attempting to grant RBAC permissions not currently held" in said
    bound = ("create", "rolebinding", "more", "--clusterrole=cluster-admin", f"--user={user}", f"--as={user}")
    assert "is attempting to grant RBAC permissions not currently held" in kubectl.refused(*bound)
    kubectl("create", "rolebinding", "same", "--clusterrole=view", "--user=friend", f"--as={user}")


def test_reconcile_brings_roles_to_what_a_file_says(kubectl: Shell) -> None:
    text = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reconciled, namespace: {kubectl.namespace}}}
rules: [{{apiGroups: [""], resources: [pods], verbs: [get, list]}}]
"""
    made = kubectl("auth", "reconcile", "-f", "-", input=text)
    assert "role.rbac.authorization.k8s.io/reconciled reconciled" in made
    kubectl("patch", "role", "reconciled", "--type=json", "-p", '[{"op":"replace","path":"/rules","value":[]}]')
    kubectl("auth", "reconcile", "-f", "-", input=text)
    assert kubectl("get", "role", "reconciled", "-o", "jsonpath={.rules[0].resources[0]}") == "pods"


def test_an_account_is_let_in_by_a_binding_in_its_namespace(kubectl: Shell) -> None:
    kubectl("create", "serviceaccount", "bot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "bot", "--role=reader", f"--serviceaccount={kubectl.namespace}:bot")
    token = kubectl("create", "token", "bot").strip()
    bare = ("--kubeconfig=/dev/null", *connection(kubectl), f"--token={token}", f"--namespace={kubectl.namespace}")
    kubectl(*bare, "get", "configmaps")
    assert 'cannot list resource "secrets"' in kubectl.refused(*bare, "get", "secrets")
