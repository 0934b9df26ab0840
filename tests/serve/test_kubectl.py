"""Unmodified kubectl, of every minor on this machine, against the server over HTTPS."""

import asyncio
from pathlib import Path

import pytest

from tests.serve.cluster import listening, rooms
from tests.support.kubectl import WHY_NOT, Kubectl, found, newest

# Reads OpenAPI v3, so that it can check what it sends.
VALIDATING = [kubectl for kubectl in found() if kubectl.minor >= 29]

pytestmark = [pytest.mark.kubectl, pytest.mark.skipif(not found(), reason=WHY_NOT)]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "nginx:1"}]}
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"""
TYPO = DEPLOYMENT.replace("replicas", "replicsa")


@pytest.fixture
async def at(tmp_path: Path):
    """Makes a kubectl's runs against a server of the test's own, beside the event loop it runs in."""
    async with rooms() as found_rooms, listening(found_rooms, tmp_path):

        def connected(kubectl: Kubectl):
            configured = kubectl.at(tmp_path / "kubeconfig")

            async def run(*arguments, **options):
                return await asyncio.to_thread(configured.run, *arguments, **options)

            run.kubectl = configured
            return run

        yield connected


@pytest.mark.parametrize("kubectl", found(), ids=str)
async def test_reading_works_with_each_minor(at, kubectl):
    run = at(kubectl)
    assert "v1.35.0+ksql" in (await run("version")).stdout
    kinds = (await run("api-resources")).stdout
    assert "deployments" in kinds and "deploy " in kinds
    assert "apps/v1" in (await run("api-versions")).stdout
    assert "Active" in (await run("get", "ns")).stdout
    names = (await run("get", "ns", "-o", "name")).stdout.split()
    assert names == ["namespace/default", "namespace/kube-system"]


@pytest.mark.parametrize("kubectl", VALIDATING, ids=str)
async def test_writing_works_with_each_minor_that_reads_openapi_v3(at, kubectl):
    run = at(kubectl)
    assert "created" in (await run("apply", "-f", "-", input=DEPLOYMENT)).stdout
    assert "unchanged" in (await run("apply", "-f", "-", input=DEPLOYMENT)).stdout
    newer = DEPLOYMENT.replace("nginx:1", "nginx:2")
    assert "configured" in (await run("apply", "-f", "-", input=newer)).stdout
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert (await run("get", "deploy", "web", "-o", image)).stdout == "nginx:2"
    wide = (await run("get", "deploy", "-o", "wide")).stdout
    assert "UP-TO-DATE" in wide and "nginx:2" in wide
    assert "created" in (await run("create", "-f", "-", input=CONFIG)).stdout
    assert "labeled" in (await run("label", "cm", "settings", "size=large")).stdout
    assert "settings" in (await run("get", "cm", "-l", "size=large")).stdout
    assert "No resources" in (await run("get", "cm", "-l", "size=small")).stderr
    assert "annotated" in (await run("annotate", "cm", "settings", "a=b")).stdout
    assert "scaled" in (await run("scale", "deploy", "web", "--replicas=5")).stdout
    assert "5 desired" in (await run("describe", "deploy", "web")).stdout
    assert "deleted" in (await run("delete", "cm", "settings")).stdout
    gone = await run("get", "cm", "settings", check=False)
    assert gone.returncode == 1 and 'configmaps "settings" not found' in gone.stderr


async def test_a_field_that_is_not_there_is_named(at):
    run = at(newest())
    for command in ("create", "apply"):
        done = await run(command, "-f", "-", input=TYPO, check=False)
        assert done.returncode == 1 and 'unknown field "spec.replicsa"' in done.stderr


async def test_edit_writes_back_what_the_editor_left(at, tmp_path):
    run = at(newest())
    await run("create", "-f", "-", input=CONFIG)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/blue/green/ "$1"\n')
    editor.chmod(0o755)
    assert "edited" in (await run("edit", "cm", "settings", KUBE_EDITOR=str(editor))).stdout
    assert (await run("get", "cm", "settings", "-o", "jsonpath={.data.colour}")).stdout == "green"


async def test_explain_tells_of_a_field(at):
    told = (await at(newest())("explain", "deployment.spec.replicas")).stdout
    assert "replicas <integer>" in told and "Number of desired pods" in told


async def test_get_w_tells_of_changes_as_they_come(at):
    run = at(newest())
    await run("create", "-f", "-", input=CONFIG)
    watching = run.kubectl.start("get", "cm", "-w", "--output-watch-events")
    try:
        assert "EVENT" in await asyncio.to_thread(watching.stdout.readline)
        assert "ADDED" in await asyncio.to_thread(watching.stdout.readline)
        await run("label", "cm", "settings", "size=large")
        assert "MODIFIED" in await asyncio.to_thread(watching.stdout.readline)
        await run("delete", "cm", "settings")
        assert "DELETED" in await asyncio.to_thread(watching.stdout.readline)
    finally:
        watching.kill()
        watching.wait()


async def test_a_server_dry_run_and_a_diff_change_nothing(at):
    run = at(newest())
    await run("apply", "-f", "-", input=CONFIG)
    other = CONFIG.replace("blue", "red")
    assert "server dry run" in (await run("apply", "--dry-run=server", "-f", "-", input=other)).stdout
    diff = await run("diff", "-f", "-", input=other, check=False)
    assert diff.returncode == 1 and "+  colour: red" in diff.stdout
    assert (await run("get", "cm", "settings", "-o", "jsonpath={.data.colour}")).stdout == "blue"


async def test_impersonation_is_refused_in_kubectls_words(at):
    done = await at(newest())("get", "pods", "--as=bob", check=False)
    assert done.returncode == 1
    assert 'pods is forbidden: User "bob" cannot list resource "pods" in API group ""' in done.stderr


async def test_wait_and_delete_wait_for_the_end(at):
    run = at(newest())
    await run("create", "-f", "-", input=CONFIG)
    waiting = run.kubectl.start("wait", "--for=delete", "cm/settings", "--timeout=20s")
    try:
        await run("delete", "cm", "settings", "--wait=true")
        told, _ = await asyncio.to_thread(waiting.communicate)
        assert waiting.returncode == 0, told
    finally:
        waiting.kill()
        waiting.wait()


@pytest.mark.parametrize("kubectl", [k for k in found() if k.minor >= 32], ids=str)
async def test_what_is_created_from_words_arrives_as_protobuf(at, kubectl):
    run = at(kubectl)
    assert "created" in (await run("create", "configmap", "c", "--from-literal=a=b")).stdout
    assert "created" in (await run("create", "deployment", "d", "--image=nginx", "--replicas=3")).stdout
    assert "created" in (await run("create", "namespace", "shop")).stdout
    assert (await run("get", "deploy", "d", "-o", "jsonpath={.spec.replicas}")).stdout == "3"
