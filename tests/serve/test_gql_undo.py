"""Undo and restore through GraphQL, over the real pipeline."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import VirtualClock
from ksql.base.documents import Document
from ksql.commands.operations import operation
from ksql.history import inverse
from ksql.history.sentences import sentence
from ksql.log.event import Event
from ksql.serve.gql.app import graphql_app
from tests.commands.test_past import Shell, kubeconfig
from tests.serve.gql_door import as_user, listening
from tests.verbs.room import Room, opened

ALICE, BOB = User("alice", (ADMIN_GROUP,)), User("bob", (ADMIN_GROUP,))
CONTROLLER = User("system:serviceaccount:kube-system:deployment-controller", (ADMIN_GROUP,))


@dataclass
class Shop:
    """A namespace to make mistakes in, and the way back as alice."""

    room: Room
    http: httpx.AsyncClient

    async def ask(self, name: str, **variables: Any) -> Any:
        given = {"dryRun": False, "force": False, **variables}
        answer = await self.http.post("/graphql", json={"query": operation(name), "variables": given})
        found = answer.json()
        if "errors" in found:
            return found["errors"][0]["message"]
        return found["data"][name]

    async def undo(self, *revisions: int, **more: Any) -> Any:
        return await self.ask("undo", revisions=list(revisions), **more)

    async def put(self, user: User, data: Document, name: str = "settings") -> int:
        """Create or patch a config map; the revision."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        verb = "create" if self.get(name) is None else "patch"
        options = {"user": user, "patch_type": "merge" if verb == "patch" else ""}
        await self.room.perform(verb, "configmaps", "shop", name if verb == "patch" else "", body=body, **options)
        return self.room.log.head

    async def delete(self, user: User, name: str = "settings") -> int:
        await self.room.perform("delete", "configmaps", "shop", name, user=user)
        return self.room.log.head

    def get(self, name: str = "settings") -> Document | None:
        entry = self.room.objects.get("configmaps", "shop", name)
        return None if entry is None else entry.document

    def data(self, name: str = "settings") -> Any:
        found = self.get(name)
        return None if found is None else found.get("data")

    async def last(self) -> Event:
        (event,) = await self.room.log.read(0, 1, newest_first=True)
        return event


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    async with opened(VirtualClock(1)) as room:
        app = graphql_app(room.pipeline, room.objects, room.log, room.catalogue, room.clock)
        transport = httpx.ASGITransport(as_user(app, ALICE))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            yield Shop(room, http)


async def test_a_field_gets_back_what_it_was_and_the_log_says_why() -> None:
    async with shop() as it:
        await it.put(BOB, {"colour": "blue", "size": "1"})
        wrong = await it.put(BOB, {"colour": "red"})
        await it.put(BOB, {"size": "2"})
        found = await it.undo(wrong, reason="customers complain")
        assert found["applied"] and found["conflicts"] == 0
        (step,) = found["steps"]
        assert [change["text"] for change in step["changes"]] == ["~ data.colour: red → blue"]
        assert it.data() == {"colour": "blue", "size": "2"}, "what others changed since stays"
        event = await it.last()
        assert event.revision == step["revision"] and event.cause == wrong
        assert event.actor.user == "alice" and event.field_manager == "ksql-undo"
        assert event.actor.user_agent == f"ksql undo of r{wrong}: customers complain"
        before = (await it.room.log.preceding([event.revision]))[event.revision].document
        assert sentence(event, before) == f"alice undid r{wrong}: changed data.colour of configmap shop/settings"


async def test_nothing_is_done_while_others_would_lose_their_changes() -> None:
    async with shop() as it:
        await it.put(ALICE, {"colour": "blue"})
        wrong = await it.put(ALICE, {"colour": "red"})
        other = await it.put(BOB, {"colour": "green"})
        head = it.room.log.head
        found = await it.undo(wrong)
        assert not found["applied"] and found["conflicts"] == 1
        (conflict,) = found["steps"][0]["conflicts"]
        assert conflict["text"] == "data.colour was changed since"
        assert conflict["event"]["revision"] == other and conflict["event"]["actor"]["name"] == "bob"
        assert it.room.log.head == head
        forced = await it.undo(wrong, force=True)
        assert forced["applied"] and it.data() == {"colour": "blue"}


async def test_a_dry_run_plans_everything_and_writes_nothing() -> None:
    async with shop() as it:
        made = await it.put(BOB, {"colour": "blue"})
        gone = await it.delete(BOB)
        head = it.room.log.head
        found = await it.undo(gone, dryRun=True)
        assert not found["applied"] and found["dryRun"] and found["steps"][0]["deed"] == "CREATE"
        assert it.room.log.head == head and it.get() is None
        assert (await it.undo(made))["steps"][0]["note"] == "it is gone already"


async def test_what_was_deleted_comes_back_with_a_new_uid() -> None:
    async with shop() as it:
        await it.put(BOB, {"colour": "blue"})
        old = it.get()
        gone = await it.delete(BOB)
        (step,) = (await it.undo(gone))["steps"]
        assert step["note"] == "comes back as a new object with a new uid"
        new = it.get()
        assert old is not None and new is not None
        assert step["uid"] == new["metadata"]["uid"] != old["metadata"]["uid"]
        assert inverse.bare(new) == inverse.bare(old)
        again = await it.undo(gone)
        assert again["steps"][0]["conflicts"][0]["text"].startswith("an object of that name is there again since r")


async def test_undoing_an_undo_is_the_present() -> None:
    async with shop() as it:
        made = await it.put(BOB, {"colour": "blue"})
        changed = await it.put(BOB, {"colour": "red", "size": "1"})
        for revision in (changed, made):
            present = it.get()
            assert present is not None
            undone = (await it.undo(revision, force=True))["steps"][0]["revision"]
            await it.undo(undone)
            now = it.get()
            assert now is not None and inverse.bare(now) == inverse.bare(present)


async def test_an_object_made_is_unmade_unless_others_have_changed_it() -> None:
    async with shop() as it:
        made = await it.put(ALICE, {"colour": "blue"})
        changed = await it.put(BOB, {"colour": "red"})
        found = await it.undo(made)
        assert found["steps"][0]["conflicts"][0]["event"]["revision"] == changed
        assert (await it.undo(made, changed))["applied"] and it.get() is None


async def test_a_filter_undoes_what_a_person_did_and_leaves_the_rest() -> None:
    async with shop() as it:
        await it.put(BOB, {"n": "1"}, "a")
        start = it.room.log.head + 1
        await it.put(ALICE, {"n": "2"}, "a")
        await it.put(BOB, {"other": "x"}, "a")
        await it.put(ALICE, {"n": "1"}, "b")
        found = await it.ask("undo", query=f"actor:alice since:r{start}")
        assert found["applied"] and [step["deed"] for step in found["steps"]] == ["UPDATE", "DELETE"]
        assert it.data("a") == {"n": "1", "other": "x"} and it.get("b") is None
        assert await it.ask("undo", query="actor:nobody") == "nobody changed anything of what the filter means"
        assert "empty filter" in await it.ask("undo", query=" ")
        assert await it.ask("undo", revisions=[9999]) == "there is no event at r9999"


async def test_restore_goes_back_to_a_moment_unless_others_have_changed_it_since() -> None:
    async with shop() as it:
        then = await it.put(BOB, {"a": "1", "b": "1"})
        await it.put(ALICE, {"a": "2"})
        other = await it.put(BOB, {"b": "2"})
        ref = {"kind": "ConfigMap", "namespace": "shop", "name": "settings"}
        found = await it.ask("restore", ref=ref, at=f"r{then}")
        assert not found["applied"]
        assert [one["event"]["revision"] for one in found["steps"][0]["conflicts"]] == [other]
        forced = await it.ask("restore", ref=ref, at=f"r{then}", force=True)
        assert forced["applied"] and it.data() == {"a": "1", "b": "1"}
        event = await it.last()
        assert event.field_manager == "ksql-restore" and event.cause == then
        await it.delete(BOB)
        back = await it.ask("restore", ref=ref, at=f"r{then}")
        assert back["applied"] and back["steps"][0]["uid"] and it.data() == {"a": "1", "b": "1"}
        assert "did not exist at r1" in await it.ask("restore", ref=ref, at="r1")


async def test_restore_of_a_filter_brings_back_all_that_is_gone() -> None:
    async with shop() as it:
        for name in "abc":
            await it.put(BOB, {"n": name}, name)
        then = it.room.log.head
        for name in "ab":
            await it.delete(BOB, name)
        found = await it.ask("restore", query="kind:ConfigMap ns:shop", at=f"r{then}")
        assert found["applied"]
        assert [(step["name"], step["deed"]) for step in found["steps"]] == [
            ("a", "CREATE"), ("b", "CREATE"), ("c", "NOTHING"),
        ]  # fmt: skip
        assert it.data("a") == {"n": "a"}
        message = await it.ask("restore", query="actor:bob", at=f"r{then}")
        assert message.startswith("actor: is about events; objects are chosen by kind")


async def test_what_has_a_controller_is_left_to_it_and_its_own_fields_too() -> None:
    async with shop() as it:
        spec = {
            "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        }  # fmt: skip
        web = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
        made = await it.room.create("deployments.apps", web)
        then = it.room.log.head
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": made["metadata"]["uid"],
                 "controller": True}  # fmt: skip
        meta = {"name": "web-1", "namespace": "shop", "ownerReferences": [owner]}
        await it.room.create("replicasets.apps", {"metadata": meta, "spec": spec})
        (step,) = (await it.undo(it.room.log.head))["steps"]
        assert step["deed"] == "NOTHING" and step["note"] == "left to its controller: deployment web"
        note = {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}}
        await it.room.perform(
            "patch", "deployments.apps", "shop", "web", body=note, patch_type="merge", user=CONTROLLER
        )
        scaled = {"spec": {"replicas": 4}}
        await it.room.perform("patch", "deployments.apps", "shop", "web", body=scaled, patch_type="merge", user=ALICE)
        ref = {"kind": "deploy", "namespace": "shop", "name": "web"}
        found = await it.ask("restore", ref=ref, at=f"r{then}")
        assert found["applied"] and found["steps"][0]["note"] == "1 field left to the components that set them since"
        now = it.room.objects.get("deployments.apps", "shop", "web")
        assert now is not None and now.document["spec"]["replicas"] == 1
        assert now.document["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_what_the_cluster_would_refuse_is_told_before_anything_is_written() -> None:
    async with shop() as it:
        await it.put(BOB, {"n": "1"}, "a")
        body = {"metadata": {"name": "fixed", "namespace": "shop"}, "data": {"k": "1"}}
        await it.room.create("configmaps", body)
        changed = await it.put(BOB, {"k": "2"}, "fixed")
        wrong = await it.put(BOB, {"n": "2"}, "a")
        await it.room.perform(
            "patch", "configmaps", "shop", "fixed", body={"immutable": True}, patch_type="merge", user=BOB
        )
        head = it.room.log.head
        found = await it.undo(wrong, changed)
        assert not found["applied"] and found["conflicts"] == 1 and it.room.log.head == head
        (refused,) = [step["refusal"] for step in found["steps"] if step["refusal"]]
        assert "field is immutable when `immutable` is set" in refused


async def test_the_commands_print_the_plan_and_stop_with_exit_code_2(tmp_path: Path) -> None:
    async with shop() as it:
        await it.put(ALICE, {"colour": "blue"})
        wrong = await it.put(ALICE, {"colour": "red"})
        app = as_user(
            graphql_app(it.room.pipeline, it.room.objects, it.room.log, it.room.catalogue, it.room.clock), ALICE
        )
        async with listening(app) as address:
            kubeconfig(tmp_path, f"http://{address}", "shop")
            sh = Shell(None, tmp_path)  # type: ignore[arg-type]
            tried = await sh.run("undo", f"r{wrong}", "--dry-run")
            assert tried.stdout.splitlines() == [
                f"~ configmap shop/settings (update, r{wrong})", "    ~ data.colour: red → blue",
            ]  # fmt: skip
            assert tried.stderr == "nothing was done: --dry-run\n"
            other = await it.put(BOB, {"colour": "green"})
            stopped = await sh.run("undo", f"r{wrong}")
            assert stopped.exit_code == 2
            assert "conflict: data.colour was changed since" in stopped.stderr
            assert f"r{other}" in stopped.stderr and "bob changed data.colour" in stopped.stderr
            assert stopped.stderr.endswith(
                "ksql: 1 thing stands against it: nothing was done; --force overwrites what others have changed\n"
            )
            assert "as r" in await sh.out("undo", f"r{wrong}", "--force", "--reason", "night shift")
            assert it.data() == {"colour": "blue"}
            assert "(update, " in await sh.out("restore", "cm/settings", "--at", f"r{other}", "--dry-run")
            assert "give revisions or a filter, not both" in await sh.refused("undo", "r1", "actor:alice")
            assert "there is no event at r9999" in await sh.refused("undo", "r9999")
            assert "no place for" in await sh.refused("restore", "cm/settings", "x", "--at", "1m")
