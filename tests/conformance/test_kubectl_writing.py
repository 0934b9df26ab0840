"""What people write: apply, create, edit, patch, replace and delete, through the newest kubectl."""

import json
import re
from pathlib import Path

import pytest

from tests.conformance.shell import SETTINGS, WEB, Shell

pytestmark = pytest.mark.kubectl

TYPO = SETTINGS.replace("\ndata:", "\ndta:")


def colours(kubectl: Shell) -> dict[str, str]:
    return kubectl.json("get", "cm", "settings").get("data", {})


def test_apply_creates_changes_leaves_alone_and_prunes(kubectl: Shell) -> None:
    assert kubectl.apply(SETTINGS) == "configmap/settings created\n"
    assert kubectl.apply(SETTINGS) == "configmap/settings unchanged\n"
    # What others added stays; what the manifest no longer says goes.
    kubectl("patch", "cm", "settings", "--type=merge", "-p", '{"data":{"theirs":"1"}}')
    assert kubectl.apply(SETTINGS.replace(", size: large", "").replace("blue", "red")) == (
        "configmap/settings configured\n"
    )
    assert colours(kubectl) == {"colour": "red", "theirs": "1"}


def test_apply_keeps_what_controllers_decide(kubectl: Shell) -> None:
    kubectl.settled()
    kubectl.apply(WEB)
    kubectl("scale", "deployment/web", "--replicas=3")
    without = WEB.replace("  replicas: 2\n", "")
    kubectl.apply(without)
    assert kubectl.json("get", "deploy", "web")["spec"]["replicas"] == 1, "a removed field falls to its default"
    kubectl("scale", "deployment/web", "--replicas=3")
    assert kubectl.apply(without) == "deployment.apps/web unchanged\n"
    assert kubectl.json("get", "deploy", "web")["spec"]["replicas"] == 3
    # A list merged by name: the sidecar goes, the first container keeps what the server gave it.
    both = WEB + "        - {name: sidecar, image: \"example.com/sidecar:1\"}\n"
    kubectl.apply(both)
    kubectl.apply(WEB.replace("web:1", "web:2"))
    (container,) = kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("example.com/web:2", "IfNotPresent")


def test_apply_prune_removes_what_left_the_manifest(kubectl: Shell) -> None:
    second = SETTINGS.replace("name: settings", "name: second")
    kubectl.apply(f"{SETTINGS}\n---\n{second}")
    pruned = kubectl(
        "apply", "--prune", "-l", "app=web", "--prune-allowlist=core/v1/ConfigMap", "-f", "-", input=SETTINGS
    )
    assert pruned == "configmap/settings unchanged\nconfigmap/second pruned\n"


def test_create_refuses_what_is_there(kubectl: Shell) -> None:
    assert kubectl("create", "-f", "-", input=SETTINGS) == "configmap/settings created\n"
    again = kubectl.refused("create", "-f", "-", input=SETTINGS)
    assert again == (
        'Error from server (AlreadyExists): error when creating "STDIN": configmaps "settings" already exists\n'
    )
    named = WEB.replace("name: web,", "generateName: web-,")
    assert re.fullmatch(r"deployment\.apps/web-[a-z0-9]{5} created\n", kubectl("create", "-f", "-", input=named))


def test_create_makes_every_kind_from_words(kubectl: Shell) -> None:
    # Newer kubectls send these bodies as protobuf.
    for said, arguments in {
        "configmap/c created": ("configmap", "c", "--from-literal=a=b"),
        "secret/s created": ("secret", "generic", "s", "--from-literal=a=b"),
        "deployment.apps/d created": ("deployment", "d", "--image=x", "--replicas=2", "--port=80"),
        "service/v created": ("service", "clusterip", "v", "--tcp=80:8080"),
        "job.batch/j created": ("job", "j", "--image=x", "--", "sleep", "1"),
        "cronjob.batch/cj created": ("cronjob", "cj", "--image=x", "--schedule=*/5 * * * *"),
        "serviceaccount/sa created": ("serviceaccount", "sa"),
        "role.rbac.authorization.k8s.io/r created": ("role", "r", "--verb=get", "--resource=pods"),
        "rolebinding.rbac.authorization.k8s.io/rb created": (
            "rolebinding", "rb", "--role=r", "--serviceaccount=default:default"),
        "ingress.networking.k8s.io/i created": ("ingress", "i", "--rule=a.example/x*=v:80"),
        "poddisruptionbudget.policy/b created": ("pdb", "b", "--selector=a=b", "--min-available=1"),
        "resourcequota/q created": ("quota", "q", "--hard=pods=5"),
    }.items():  # fmt: skip
        assert kubectl("create", *arguments).strip() == said
    assert kubectl.json("get", "secret", "s")["data"] == {"a": "Yg=="}
    deployment = kubectl.json("get", "deploy", "d")["spec"]
    assert deployment["replicas"] == 2 and deployment["selector"] == {"matchLabels": {"app": "d"}}
    job = kubectl.json("get", "job", "j")["spec"]
    assert job["template"]["spec"]["containers"][0]["command"] == ["sleep", "1"] and job["completions"] == 1
    assert kubectl.json("get", "cj", "cj")["spec"]["schedule"] == "*/5 * * * *"
    assert kubectl.json("get", "ingress", "i")["spec"]["rules"][0]["http"]["paths"][0]["pathType"] == "Prefix"
    (row,) = kubectl.rows("get", "pdb")
    assert (row["MIN AVAILABLE"], row["MAX UNAVAILABLE"]) == ("1", "N/A")
    taken = kubectl.refused("create", "configmap", "c", "--from-literal=a=b")
    assert 'configmaps "c" already exists' in taken


def test_bad_names_are_refused_with_the_rule(kubectl: Shell) -> None:
    refused = kubectl.refused("create", "namespace", "Bad_Name")
    assert refused.startswith('The Namespace "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": ')
    assert "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'" in refused
    service = kubectl.refused("create", "service", "clusterip", "1st", "--tcp=80")
    assert "a DNS-1035 label must consist of lower case alphanumeric characters or '-'" in service


def test_labels_and_annotations_come_and_go(kubectl: Shell) -> None:
    kubectl.apply(SETTINGS)
    assert kubectl("label", "cm", "settings", "tier=front") == "configmap/settings labeled\n"
    already = kubectl.refused("label", "cm", "settings", "tier=back")
    assert "'tier' already has a value (front), and --overwrite is false" in already
    assert kubectl("label", "cm", "settings", "tier=front") == "configmap/settings not labeled\n"
    assert kubectl("label", "cm", "-l", "tier=front", "tier=back", "--overwrite") == "configmap/settings labeled\n"
    assert kubectl("label", "cm", "settings", "tier-") == "configmap/settings unlabeled\n"
    assert kubectl("annotate", "cm", "settings", "note=a b") == "configmap/settings annotated\n"
    metadata = kubectl.json("get", "cm", "settings")["metadata"]
    assert metadata["labels"] == {"app": "web"} and metadata["annotations"]["note"] == "a b"
    bad = kubectl.refused("label", "cm", "settings", "a b=c")
    assert "name part must consist of alphanumeric characters" in bad


def test_edit_writes_what_the_editor_left_and_nothing_otherwise(kubectl: Shell, tmp_path: Path) -> None:
    kubectl.apply(SETTINGS)
    editor = tmp_path / "editor"

    def scripted(command: str) -> str:
        editor.write_text(f'#!/bin/sh\nsed -i "{command}" "$1"\n')
        editor.chmod(0o755)
        return str(editor)

    edited = kubectl("edit", "cm", "settings", KUBE_EDITOR=scripted("s/blue/green/"))
    assert edited == "configmap/settings edited\n" and colours(kubectl)["colour"] == "green"
    left = kubectl.run("edit", "cm", "settings", KUBE_EDITOR=scripted("s/none/such/"))
    assert "Edit cancelled, no changes made." in left.stdout + left.stderr
    refused = kubectl.run("edit", "cm", "settings", KUBE_EDITOR=scripted("s/^data:/dta:/"), check=False)
    # kubectl opens the editor again with the reason as a comment; ours leaves it at that.
    assert refused.returncode == 1 and 'error: configmaps "settings" is invalid' in refused.stderr
    kept = re.search(r'stored to "([^"]+)"', refused.stderr)
    assert kept and 'unknown field "dta"' in Path(kept[1]).read_text().replace('\\"', '"')
    Path(kept[1]).unlink()


def test_three_kinds_of_patch(kubectl: Shell) -> None:
    kubectl.apply(WEB)
    patched = "deployment.apps/web patched\n"
    by_name = '{"spec":{"template":{"spec":{"containers":[{"name":"nginx","image":"example.com/web:9"}]}}}}'
    assert kubectl("patch", "deployment", "web", "-p", by_name) == patched
    container = kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "example.com/web:9" and container["ports"]
    assert kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"replicas":1}}') == patched
    again = kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    assert again == "deployment.apps/web patched (no change)\n"
    steps = '[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"/spec/replicas","value":0}]'
    assert kubectl("patch", "deploy", "web", "--type=json", "-p", steps) == patched
    scaled = kubectl("patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":2}}')
    assert scaled == "scale.autoscaling/web patched\n"


def test_patches_that_do_not_fit_are_refused_by_field(kubectl: Shell) -> None:
    kubectl.apply(WEB)
    negative = kubectl.refused("patch", "deploy", "web", "-p", '{"spec":{"replicas":-1}}')
    assert negative == (
        'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0\n'
    )
    failed = '[{"op":"test","path":"/spec/replicas","value":7}]'
    assert "The request is invalid" in kubectl.refused("patch", "deploy", "web", "--type=json", "-p", failed)
    worded = kubectl.refused("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"replicas":"x"}}')
    assert worded.startswith("The request is invalid: patch: Invalid value: ")
    assert "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" in worded
    other = {"selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}}}
    fixed = kubectl.refused("patch", "deploy", "web", "-p", json.dumps({"spec": other}))
    assert "spec.selector: Invalid value" in fixed and "field is immutable" in fixed


def test_replace_replaces_and_conflicts_on_a_stale_version(kubectl: Shell) -> None:
    kubectl.apply(SETTINGS)
    stale = kubectl("get", "cm", "settings", "-o", "json")
    changed = SETTINGS.replace("blue", "red")
    assert kubectl("replace", "-f", "-", input=changed) == "configmap/settings replaced\n"
    assert colours(kubectl) == {"colour": "red", "size": "large"}
    conflict = kubectl.refused("replace", "-f", "-", input=stale)
    assert "Error from server (Conflict)" in conflict and (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; '
        "please apply your changes to the latest version and try again"
    ) in conflict
    uid = kubectl.json("get", "cm", "settings")["metadata"]["uid"]
    kubectl("replace", "--force", "-f", "-", input=changed)
    assert kubectl.json("get", "cm", "settings")["metadata"]["uid"] != uid
    assert "not found" in kubectl.refused("replace", "-f", "-", input=SETTINGS.replace("settings", "absent"))


def test_diff_and_dry_runs_change_nothing(kubectl: Shell) -> None:
    kubectl.apply(SETTINGS)
    before = kubectl("get", "cm", "settings", "-o", "yaml")
    changed = SETTINGS.replace("blue", "red")
    diff = kubectl.run("diff", "-f", "-", input=changed, check=False)
    assert diff.returncode == 1 and "-  colour: blue" in diff.stdout and "+  colour: red" in diff.stdout
    assert kubectl.run("diff", "-f", "-", input=SETTINGS).stdout == ""
    told = kubectl("apply", "--dry-run=server", "-f", "-", input=changed)
    assert told == "configmap/settings configured (server dry run)\n"
    assert kubectl("create", "cm", "x", "--dry-run=server", "-o", "name") == "configmap/x\n"
    assert kubectl("delete", "cm", "settings", "--dry-run=server").endswith("deleted (server dry run)\n")
    assert kubectl("get", "cm", "settings", "-o", "yaml") == before
    assert "not found" in kubectl.refused("get", "cm", "x")


def test_unknown_fields_are_refused_warned_of_or_dropped(kubectl: Shell) -> None:
    strict = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta"'
    for command in ("create", "apply"):
        said = kubectl.refused(command, "-f", "-", input=TYPO)
        assert f'Error from server (BadRequest): error when creating "STDIN": {strict}' in said
    warned = kubectl.run("apply", "--validate=warn", "-f", "-", input=TYPO)
    assert warned.stderr == 'Warning: unknown field "dta"\n' and warned.stdout == "configmap/settings created\n"
    assert kubectl.run("apply", "--validate=ignore", "-f", "-", input=TYPO).stderr == ""
    # On what exists apply is a patch, which kubectl itself cannot make of an unknown field.
    assert 'json field "dta"' in kubectl.refused("apply", "-f", "-", input=TYPO.replace("blue", "red"))


def test_delete_by_name_file_and_label(kubectl: Shell, tmp_path: Path) -> None:
    manifest = tmp_path / "settings.yaml"
    manifest.write_text(SETTINGS)
    kubectl("apply", "-f", str(manifest))
    assert kubectl("delete", "-f", str(manifest)).startswith('configmap "settings" deleted')
    assert 'configmaps "settings" not found' in kubectl.refused("delete", "cm", "settings")
    assert kubectl("delete", "cm", "settings", "--ignore-not-found") == ""
    for name in ("a", "b", "c"):
        kubectl("create", "cm", name)
    kubectl("label", "cm", "a", "b", "old=yes")
    assert kubectl("delete", "cm", "-l", "old").count("deleted") == 2
    assert kubectl("get", "cm", "c", "-o", "name") == "configmap/c\n"


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_takes_the_dependents_or_leaves_them(kubectl: Shell, cascade: str) -> None:
    kubectl.settled()
    replicas = kubectl("get", "rs", "-o", "name")
    pods = kubectl("get", "pods", "-o", "name")
    kubectl("delete", "deployment", "web", f"--cascade={cascade}")
    if cascade == "orphan":
        kubectl.until(lambda: not kubectl.json("get", "rs")["items"][0]["metadata"].get("ownerReferences"))
        assert kubectl("get", "rs", "-o", "name") == replicas and kubectl("get", "pods", "-o", "name") == pods
        return
    if cascade == "foreground":
        assert kubectl("get", "rs", "-o", "name") == "", "the owner goes last"
    kubectl.until(lambda: not kubectl("get", "rs,pods", "-o", "name"))


def test_pods_go_gracefully_at_once_or_unwatched(kubectl: Shell) -> None:
    for name in ("slow", "now", "later"):
        kubectl("run", name, "--image=x")
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    forced = kubectl.run("delete", "pod", "now", "--grace-period=0", "--force")
    assert "Immediate deletion does not wait for confirmation" in forced.stderr
    assert 'pod "now" force deleted' in forced.stdout
    kubectl("delete", "pod", "slow", "--grace-period=1")
    assert 'pods "slow" not found' in kubectl.refused("get", "pod", "slow")
    kubectl("delete", "pod", "later", "--wait=false")
    kubectl("wait", "pod/later", "--for=delete", "--timeout=60s")


def test_a_namespace_takes_everything_with_it(kubectl: Shell) -> None:
    kubectl.settled()
    kubectl.apply(SETTINGS)
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=60s")
    assert kubectl("get", "all,cm,sa", "-o", "name") == ""
    refused = kubectl.refused("create", "cm", "late")
    assert f'namespaces "{kubectl.namespace}" not found' in refused


def test_nothing_ksql_adds_comes_back_as_a_change(kubectl: Shell) -> None:
    """What `get -o yaml` prints can be applied as it is: the way people copy objects about."""
    kubectl.apply(WEB)
    shown = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    copy = {**shown, "metadata": {"name": "copy"}}
    copy.pop("status", None)
    assert kubectl("create", "-f", "-", input=json.dumps(copy)) == "deployment.apps/copy created\n"
    made = json.loads(kubectl("get", "deployment", "copy", "-o", "json"))
    assert made["spec"] == shown["spec"]


def test_a_rule_that_is_not_enforced_does_not_look_as_if_it_were(kubectl: Shell) -> None:
    head = "apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}"
    policy = f"{{{head}, spec: {{podSelector: {{}}}}}}"
    made = kubectl.run("create", "-f", "-", input=policy)
    said = "networkpolicies.networking.k8s.io are kept, but ksql does not enforce network policies yet"
    assert made.stderr == f"Warning: {said}\n"
