"""Pod Security in a namespace: who is refused, who is warned, and what an operator who tightens it is told."""

from typing import Any

import pytest

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.documents import Document
from ksql.schema.errors import ForbiddenError, InvalidError
from ksql.verbs.podsecuritysettings import ConfigurationError, Standards, read
from tests.verbs.room import Room, deployment, pod

PREFIX = "pod-security.kubernetes.io/"


async def label(room: Room, **levels: str | None) -> Any:
    """Give `shop` its labels; the request, with what it was told."""
    labels = {f"{PREFIX}{mode.replace('_', '-')}": level for mode, level in levels.items()}
    request = room.request("patch", "namespaces", "", "shop", body={"metadata": {"labels": labels}}, patch_type="merge")
    await room.pipeline.perform(request)
    return request


def privileged(name: str = "web-1") -> Document:
    body = pod(name)
    body["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return body


async def test_a_pod_below_the_enforced_level_is_refused(room: Room) -> None:
    await room.create("pods", privileged("before"))
    await label(room, enforce="baseline", enforce_version="v1.30")
    with pytest.raises(ForbiddenError) as refused:
        await room.create("pods", privileged())
    assert refused.value.message == (
        'pods "web-1" is forbidden: violates PodSecurity "baseline:v1.30": privileged (container "web" must not set '
        "securityContext.privileged=true)"
    )
    request = room.request("create", "pods", "shop", body=pod("fine"))
    await room.pipeline.perform(request)
    assert request.annotations == {f"{PREFIX}enforce-policy": "baseline:v1.30"}


async def test_warn_and_audit_let_pass_and_tell(room: Room) -> None:
    await label(room, warn="baseline", audit="restricted")
    request = room.request("create", "pods", "shop", body=privileged())
    result = await room.pipeline.perform(request)
    (warning,) = result.warnings
    assert warning.startswith('would violate PodSecurity "baseline:latest": privileged (container "web" must')
    assert request.annotations[f"{PREFIX}audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest": '
    )
    assert request.annotations[f"{PREFIX}enforce-policy"] == "privileged:latest"


async def test_workloads_are_warned_of_their_pods_and_never_refused(room: Room) -> None:
    await label(room, enforce="restricted", warn="restricted")
    result = await room.perform("create", "deployments.apps", "shop", body=deployment())
    assert [text[:47] for text in result.warnings] == ['would violate PodSecurity "restricted:latest": ']
    template = {"spec": deployment()["spec"]["template"]["spec"]}
    job = {"metadata": {"name": "j", "namespace": "shop"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {
        "template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}}}}  # fmt: skip
    assert len((await room.perform("create", "cronjobs.batch", "shop", body=job)).warnings) == 1


async def test_who_tightens_a_namespace_is_told_of_its_pods(room: Room) -> None:
    for name in ("b", "a", "c"):
        await room.create("pods", pod(name))
    await room.create("pods", privileged("root"))
    request = await label(room, enforce="restricted")
    silent = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    assert request.warnings == [
        'existing pods in namespace "shop" violate the new PodSecurity enforce level "restricted:latest"',
        f"a (and 2 other pods): {silent}",
        f"root: privileged, {silent}",
    ]
    assert (await label(room, enforce="baseline")).warnings == [], "what is looser needs no warning"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"enforce": "bad"},
            'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "bad": must be one of',
        ),
        ({"audit_version": "1.2"}, 'audit-version]: Invalid value: "1.2": must be "latest" or "v1.x"'),
    ],
)
async def test_labels_that_say_no_level_are_refused(room: Room, labels: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidError) as refused:
        await label(room, **labels)
    assert said in refused.value.message


async def test_changes_that_do_not_matter_and_statuses_pass(room: Room) -> None:
    await room.create("pods", privileged())
    await label(room, enforce="baseline")
    await room.patch("pods", "shop", "web-1", {"metadata": {"labels": {"a": "b"}}})
    await room.patch("pods", "shop", "web-1", {"status": {"phase": "Running"}}, subresource="status")
    with pytest.raises(ForbiddenError, match="violates PodSecurity"):
        image = {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}
        await room.patch("pods", "shop", "web-1", image, kind="strategic")


async def test_who_is_exempt_is_noted_and_not_bound(room: Room) -> None:
    await label(room, enforce="restricted")
    robot = User("robot", (ADMIN_GROUP,))
    standards = Standards(users=frozenset(["robot"]), namespaces=frozenset(["default"]))
    object.__setattr__(room.pipeline._ground, "standards", standards)
    request = room.request("create", "pods", "shop", body=privileged(), user=robot)
    await room.pipeline.perform(request)
    assert request.annotations == {f"{PREFIX}exempt": "user"}
    with pytest.raises(ForbiddenError):
        await room.create("pods", privileged("other"))


async def test_a_file_sets_the_levels_of_namespaces_without_labels(room: Room) -> None:
    text = """
    apiVersion: apiserver.config.k8s.io/v1
    kind: AdmissionConfiguration
    plugins:
    - name: PodSecurity
      configuration:
        apiVersion: pod-security.admission.config.k8s.io/v1
        kind: PodSecurityConfiguration
        defaults: {enforce: baseline, enforce-version: v1.30}
        exemptions: {usernames: [robot], namespaces: [kube-system], runtimeClasses: [strong]}
    """
    standards = read(text)
    assert (standards.users, standards.runtime_classes) == ({"robot"}, {"strong"})
    object.__setattr__(room.pipeline._ground, "standards", standards)
    with pytest.raises(ForbiddenError, match=r"baseline:v1\.30"):
        await room.create("pods", privileged())
    body = privileged("dns")
    body["metadata"]["namespace"] = "kube-system"
    await room.create("pods", body)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "the file: expected an object"),
        ("{kind: Pod, apiVersion: v1}", "expected apiVersion pod-security.admission.config.k8s.io/v1 and kind"),
        ("a: [", "not YAML"),
        ("{kind: AdmissionConfiguration, plugins: [{name: ImagePolicyWebhook}]}", "ImagePolicyWebhook takes no"),
        ("{kind: K, defaults: {enforce: strict}}", "defaults.enforce: 'strict': expected one of privileged, baseline"),
        ("{kind: K, defaults: {warn-version: '1.2'}}", "defaults.warn-version: '1.2': expected \"latest\" or"),
        ("{kind: K, exemptions: {usernames: bob}}", "exemptions.usernames: expected a list of names"),
        ("{kind: K, exemptions: {users: [bob]}}", "exemptions.users: unknown field"),
    ],
)
def test_a_file_that_cannot_be_honoured_is_refused_by_name(text: str, said: str) -> None:
    whole = text.replace(
        "kind: K", "apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration"
    )
    with pytest.raises(ConfigurationError) as refused:
        read(whole)
    assert said in str(refused.value)
