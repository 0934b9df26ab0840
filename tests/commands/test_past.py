"""The commands against a real server on loopback, run as a person would type them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from ksql.commands import asking, door, history, past, travel
from tests.history import story
from tests.serve.gql_door import ADMIN, app_of, as_user, listening, until

program = typer.Typer()
past.register(program)


@dataclass
class Shell:
    """Runs commands on one server."""

    told: story.Story
    data: Path

    async def run(self, *words: str, **environment: str) -> Result:
        runner = CliRunner(env={"NO_COLOR": "1", "TZ": "UTC", **environment})
        return await asyncio.to_thread(runner.invoke, program, [*words, "--data", str(self.data)])

    async def out(self, *words: str) -> str:
        result = await self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def refused(self, *words: str, code: int = 2) -> str:
        result = await self.run(*words)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        return result.stderr


def kubeconfig(folder: Path, server: str, namespace: str = "default") -> Path:
    path = folder / "kubeconfig"
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@asynccontextmanager
async def serving(told: story.Story, port: int = 0) -> AsyncIterator[str]:
    async with listening(as_user(app_of(told), ADMIN), port) as address:
        yield f"http://{address}"


@asynccontextmanager
async def shell(folder: Path) -> AsyncIterator[Shell]:
    async with story.told() as told, serving(told) as server:
        kubeconfig(folder, server)
        yield Shell(told, folder)


async def test_history_tells_each_change_newest_first(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("history", "deploy/web")).splitlines()
        assert [line.split()[0] for line in lines] == ["r16", "r11", "r3"]
        assert (
            lines[1] == "r11  2026-11-23 10:00:12  alice scaled deployment default/web from 2 to 3 replicas"
        )
        diffs = await sh.out("history", "deploy/web", "--diff", "--limit", "2")
        assert "      ~ spec.replicas: 2 → 3" in diffs.splitlines()


async def test_history_reaches_earlier_lives_and_what_is_gone(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        result = await sh.run("history", "configmap/settings")
        assert len(result.stdout.splitlines()) == 3
        assert "2 lives" in result.stderr
        assert "bob deleted pod default/web-abc-1" in await sh.out("history", "pod/web-abc-1")
        assert "created node node-1" in await sh.out("history", "node/node-1")


async def test_history_answers_a_filter(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("history", "kind:pod", "actor:scheduler", "--utc")).splitlines()
        assert [line.split()[:2] for line in lines] == [
            ["r14", "2026-11-23T10:00:15Z"], ["r9", "2026-11-23T10:00:10Z"], ["r6", "2026-11-23T10:00:07Z"],
        ]  # fmt: skip
        assert [line.index("scheduler") for line in lines] == [27, 27, 27], "aligned"
        told = (await sh.out("history", "deployment/web", "field:spec.replicas")).splitlines()
        assert "alice scaled deployment default/web from 2 to 3 replicas" in told[0]
        assert told[1] == "      ~ spec.replicas: 2 → 3"
        assert told[3] == "      + spec.replicas: 2", "and what it was made with"
        assert len(told) == 4
        assert (await sh.run("history", "nobody")).stderr == "no events match\n"


async def test_history_of_an_owners_whole_tree_holds_what_is_gone(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("history", "owner:deployment/web", "--limit", "0")).splitlines()
        assert [int(line.split()[0][1:]) for line in lines] == [22, *range(16, 2, -1)]
        assert "log has never seen deployment/nope" in await sh.refused("history", "owner:deployment/nope")


async def test_blame_says_who_set_each_line(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("blame", "deployment/web", "--utc")).splitlines()
        (replicas,) = [line for line in lines if "replicas: 3" in line]
        assert replicas.split()[:4] == ["r11", "2026-11-23T10:00:12Z", "alice", "kubectl"]
        at = replicas.index("  replicas: 3")
        assert yaml.safe_load("\n".join(line[at:] for line in lines))["spec"]["replicas"] == 3
        (image,) = [line for line in lines if "image:" in line]
        assert "nginx:1.28" in image
        then = await sh.out("blame", "deployment/web", "--at", "r10")
        assert "replicas: 2" in then and "r11" not in then
        secret = await sh.out("blame", "secret/login")
        assert "password: masked, 32 bytes" in secret
        assert "did not exist then" in await sh.refused("blame", "deployment/web", "--at", "r1")
        assert "did you mean web?" in await sh.refused("blame", "deployment/wbe")


async def test_then_tells_what_came_of_a_change_as_a_tree(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        result = await sh.run("then", "r11", "--utc")
        assert result.stdout.splitlines() == [
            "r11  2026-11-23T10:00:12Z  alice scaled deployment default/web from 2 to 3 replicas",
            "r12  2026-11-23T10:00:13Z  └ deployment-controller scaled replicaset default/web-abc from 2 to 3 replicas",
            "r13  2026-11-23T10:00:14Z    └ replicaset-controller created pod default/web-abc-3",
            "r14  2026-11-23T10:00:15Z      └ scheduler bound pod default/web-abc-3 to node-2",
            "r15  2026-11-23T10:00:16Z        └ node-2 reported pod default/web-abc-3 Running and Ready",
        ]
        assert "r12" in await sh.out("then", "deployment/web@r11", "--depth", "1")
        cut = await sh.run("then", "r11", "--depth", "1")
        assert "there is more" in cut.stderr
        assert (await sh.run("then", "r22")).stderr == "nothing came of it\n"
        assert json.loads(await sh.out("then", "r11", "-o", "json"))["totalCount"] == 4
        tree = (await sh.out("why", "pod/web-abc-3", "--tree", "--utc")).splitlines()
        assert tree[0].startswith("r11  2026-11-23T10:00:12Z  alice scaled")
        assert tree[4].startswith("r15  2026-11-23T10:00:16Z        └ node-2 reported")
        assert "there is no event at r999" in await sh.refused("then", "r999")


async def test_two_states_of_the_cluster_are_compared(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        result = await sh.run("diff", "r10", "r21")
        assert result.stdout.splitlines() == [
            "+ configmap default/settings (created)",
            "~ deployment default/web (changed)",
            "    ~ spec.replicas: 2 → 3",
            "    ~ spec.template.spec.containers[web].image: nginx:1.27 → nginx:1.28",
            "+ pod default/web-abc-3 (created)",
            "~ replicaset default/web-abc (changed)",
            "    ~ spec.replicas: 2 → 3",
            "+ secret default/login (created)",
        ]
        assert result.stderr == "from r10 to r21\n3 created, 2 changed\n"
        lines = (await sh.out("diff", "cm", "r19", "r21")).splitlines()
        assert lines[0] == "± configmap default/settings (replaced)"
        assert "    ~ data.colour: blue → red" in lines
        assert (await sh.out("diff", "secret", "r17", "r18")).splitlines()[1:] == [
            "    ~ data.password: changed, 32 bytes"
        ]
        assert (await sh.out("diff", "label:app=web", "kind:pod", "r21", "r22")) == (
            "- pod default/web-abc-1 (deleted)\n"
        )
        assert json.loads(await sh.out("diff", "-o", "json", "r22"))["objects"] == []


async def test_history_as_data(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        found = json.loads(await sh.out("history", "secret/login", "-o", "json"))
        assert [event["change"] for event in found] == ["MODIFIED", "ADDED"]
        assert found[0]["diff"]["changes"][0]["text"] == "~ data.password: changed, 32 bytes"
        assert yaml.safe_load(await sh.out("history", "secret/login", "-o", "yaml")) == found


async def test_events_are_filtered_and_oldest_first(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("events", "--kind", "pod", "--actor", "scheduler")).splitlines()
        assert [line.split()[0] for line in lines] == ["r6", "r9", "r14"]
        lines = (await sh.out("events", "--since", "r20", "--verb", "delete")).splitlines()
        assert [line.split()[0] for line in lines] == ["r20", "r22"]
        assert len((await sh.out("events", "--limit", "3")).splitlines()) == 3
        assert len(json.loads(await sh.out("events", "--limit", "0", "-o", "json"))) == sh.told.log.head
        assert (await sh.run("events", "--name", "nobody")).stderr == "no events match\n"


async def test_pages_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAGE", 5)
    monkeypatch.setattr(history, "PAGE", 5)
    async with shell(tmp_path) as sh:
        found = json.loads(await sh.out("events", "--limit", "0", "-o", "json"))
        assert [event["revision"] for event in found] == list(range(1, sh.told.log.head + 1))
        assert len((await sh.out("events", "--limit", "7")).splitlines()) == 7
        for n in range(12):
            await sh.told.create("configmaps", "v1", "ConfigMap", f"c{n}", story.BOB)
        listed = yaml.safe_load(await sh.out("at", "now", "get", "cm", "-o", "yaml"))
        assert len(listed["items"]) == 13


async def test_diff_of_two_moments(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        assert (await sh.out("diff", "deployment/web", "r3", "r16")).splitlines() == [
            "~ spec.replicas: 2 → 3",
            "~ spec.template.spec.containers[web].image: nginx:1.27 → nginx:1.28",
        ]
        assert "no difference" in (await sh.run("diff", "deploy/web", "r3", "r4")).stderr
        found = json.loads(await sh.out("diff", "deploy/web", "r11", "10:00:13", "-o", "json"))
        assert found["identical"]


async def test_why_leads_back_to_the_person(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("why", "pod/web-abc-3")).splitlines()
        assert lines[0].endswith("node-2 reported pod default/web-abc-3 Running and Ready because of r14")
        assert lines[-2].endswith("alice scaled deployment default/web from 2 to 3 replicas")
        assert lines[-1] == "alice started it"
        assert (await sh.out("why", "pod/web-abc-3@r13")).startswith("r13 ")
        assert await sh.out("why", "r15") == await sh.out("why", "15") == "\n".join(lines) + "\n"
        assert "did this on its own" in await sh.out("why", "node/node-1")
        assert json.loads(await sh.out("why", "r15", "-o", "json"))["root"] == "PERSON"


async def test_at_a_moment_get_prints_what_kubectl_would_have(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        result = await sh.run("at", "r10", "get", "pods")
        assert result.stderr == "as of r10 (2026-11-23 10:00:11 UTC)\n"
        assert result.stdout.splitlines() == [
            "NAME        READY   STATUS    RESTARTS   AGE",
            "web-abc-1   0/1     Running   0          11s",
            "web-abc-2   0/1     Running   0          11s",
        ]
        everywhere = (await sh.out("at", "r10", "get", "pods", "-A", "-o", "wide")).splitlines()
        assert everywhere[0].startswith("NAMESPACE   NAME        READY")
        assert "node-1" in everywhere[1]
        assert (await sh.run("at", "r4", "get", "pods")).stderr.endswith(
            "no pods then in namespace default\n"
        )
        chosen = await sh.out(
            "at", "now", "get", "pods", "-l", "app=web", "--field-selector", "spec.nodeName=node-1"
        )
        assert chosen == ""


async def test_several_kinds_and_all_of_them_at_once(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        lines = (await sh.out("at", "r10", "get", "deploy,rs")).splitlines()
        assert [line.split()[0] for line in lines if line] == [
            "NAME", "deployment.apps/web", "NAME", "replicaset.apps/web-abc",
        ]  # fmt: skip
        everything = await sh.out("at", "r10", "get", "all")
        assert "pod/web-abc-1" in everything
        assert "secret" not in everything


async def test_at_a_moment_get_one_object(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        found = yaml.safe_load(await sh.out("at", "10:00:05", "get", "deploy/web", "-o", "yaml"))
        assert found["spec"]["replicas"] == 2
        assert found == json.loads(await sh.out("at", "r4", "get", "deployment", "web", "-o", "json"))
        assert "node-1" in await sh.out("at", "r4", "get", "node", "node-1")


async def test_secrets_are_masked_unless_revealed(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        masked = await sh.out("at", "now", "get", "secret", "login", "-o", "yaml")
        assert "masked, 32 bytes" in masked
        revealed = yaml.safe_load(
            await sh.out("at", "now", "get", "secret", "login", "-o", "yaml", "--reveal")
        )
        assert revealed["data"]["password"] == story._encoded(story.SECRET_VALUE[::-1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("history", "web/"), "is not KIND/NAME"),
        (("history", "knd:Pod"), 'there is no filter "knd:"; did you mean kind?'),
        (("history", "kind:Pood"), 'there is no resource or kind "Pood"; did you mean'),
        (("history", "kind:Pod", "verb:delte"), 'verb: there is no "delte"; did you mean delete?'),
        (("events", "since:9", "until:3"), "since is after until"),
        (("diff", "deployment/web"), "give one moment or two"),
        (("diff", "r9", "r3"), "r9 is after r3: give the earlier moment first"),
        (("diff", "deployment/web", "r9", "r3"), "r9 is after r3: give the earlier moment first"),
        (("diff", "deployment/web", "tomorow", "r3"), 'beside deployment/web there is no place for "tomorow"'),
        (("diff", "pods", "tomorow", "r3"), '"tomorow" is no moment'),
        (("diff", "actor:alice", "r3"), "actor: is about events; objects are chosen by kind, ns, name"),
        (("events", "-f", "owner:deployment/web"), "has no span and no tree yet"),
        (("history", "deploy/"), "is not KIND/NAME"),
        (("history", "pdo/web"), "did you mean pod"),
        (("history", "deploy/wob"), "did you mean web?"),
        (("why", "deploy/wob"), "the log has never seen one"),
        (("why", "r999"), "there is no event at r999"),
        (("why", "deploy/web@soon"), "is no moment"),
        (("diff", "deploy/web", "r1", "r2"), "existed at neither moment"),
        (("diff", "deploy/web", "r99"), "r99 is after the head: the newest revision is r22"),
        (("at", "2020-01-01", "get", "pods"), "is before the first event of the log"),
        (("at", "r5", "get", "pod", "web-abc-3"), "did not exist at r5"),
        (("at", "r5", "delete", "pod"), "the past cannot be changed"),
        (("at", "r5", "get", "pod/a", "b"), "write KIND/NAME or KIND NAME"),
        (("at", "r5", "get", "pod", "a", "-A"), "no place beside a name"),
        (("at", "r5", "get", "pods", "-l", "a=b=c"), ""),
        (("events", "--follow", "--until", "now"), "has no end"),
        (("events", "-A", "-n", "x"), "not both"),
        (("events", "--verb", "destroy"), "Invalid value"),
        (("events", "--since", "9", "--until", "3"), "since is after until"),
        (("history", "deploy/web", "-o", "xml"), "Invalid value"),
        (("history", "deploy/web", "--context", "nope"), "no context 'nope'"),
    ],
)
async def test_bad_arguments_get_a_message_and_exit_code_2(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    async with shell(tmp_path) as sh:
        assert message in await sh.refused(*words)


async def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    kubeconfig(tmp_path, "http://127.0.0.1:9")
    runner = CliRunner()
    result = await asyncio.to_thread(runner.invoke, program, ["events", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "cannot reach http://127.0.0.1:9" in result.stderr


async def test_the_kubeconfig_is_found_as_kubectl_finds_it(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        runner = CliRunner(env={"KUBECONFIG": str(tmp_path / "kubeconfig")})
        result = await asyncio.to_thread(runner.invoke, program, ["history", "deploy/web"])
        assert result.exit_code == 0
        other = kubeconfig(tmp_path, "http://127.0.0.1:9", "elsewhere").rename(tmp_path / "other")
        runner = CliRunner(env={"KUBECONFIG": str(tmp_path / "missing"), "HOME": str(tmp_path)})
        result = await asyncio.to_thread(
            runner.invoke, program, ["history", "deploy/web", "--kubeconfig", str(other)]
        )
        assert result.exit_code == 1
        assert sh.data == tmp_path


async def test_following_goes_on_where_it_was_when_the_server_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "RETRY_SECONDS", 0.02)
    told_lines: list[int] = []
    monkeypatch.setattr(history, "print_event", lambda event, face: told_lines.append(event["revision"]))
    async with story.told() as told:
        async with serving(told) as server:
            kubeconfig(tmp_path, server)
            where = asking.Where(None, tmp_path, "", "")
            face = asking.clock_face(True, False)
            asked = history._events(where, "", {"since": "r20"}, asking.Output.text, 50, True, face)
            following = asyncio.create_task(asked)
            await told_until(told_lines, 22)
            await told.create("configmaps", "v1", "ConfigMap", "one", story.BOB)
            await told_until(told_lines, 23)
        await told.create("configmaps", "v1", "ConfigMap", "while-away", story.BOB)
        async with serving(told, int(server.rpartition(":")[2])):
            await told.create("configmaps", "v1", "ConfigMap", "back", story.BOB)
            await told_until(told_lines, 25)
        following.cancel()
    assert told_lines == [20, 21, 22, 23, 24, 25]


async def told_until(lines: list[int], revision: int) -> None:
    await until(lambda: lines[-1:] == [revision])


def test_the_viewers_zone_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = story.SteppedClock()
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert door.viewer_zone(clock) == "Europe/Berlin"
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert door.viewer_zone(clock) == "Asia/Tokyo"


async def test_a_program_is_run_on_the_cluster_as_it_was(tmp_path: Path) -> None:
    show = (
        "import os, pathlib, stat, sys; path = pathlib.Path(os.environ['KUBECONFIG']); "
        "print(path); print(oct(stat.S_IMODE(path.stat().st_mode))); print(path.read_text()); sys.exit(7)"
    )
    async with shell(tmp_path) as sh:
        result = await asyncio.to_thread(
            subprocess.run, [Path(sys.executable).with_name("ksql"), "at", "r4", "--data", str(tmp_path), "-n", "shop",
                             "--", sys.executable, "-c", show],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert result.returncode == 7, "the program's own exit code"
        path, mode, text = result.stdout.split("\n", 2)
        assert mode == "0o600"
        assert not Path(path).parent.exists(), "gone when the program has ended"
        config = yaml.safe_load(text)
        assert config["clusters"][0]["cluster"]["server"].endswith("/at/r4")
        assert config["users"][0]["user"] == {"token": "t"}
        assert config["contexts"][0]["context"]["namespace"] == "shop"
        assert sh.told


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("at", "r4", "--"), 2, "write ksql at MOMENT -- PROGRAM ARGUMENTS…"),
        (("at", "r4", "get", "--", "ls"), 2, "write ksql at MOMENT -- PROGRAM ARGUMENTS…"),
        (("at", "r4"), 2, "say what to see: ksql at MOMENT get KIND, or ksql at MOMENT -- kubectl get pods"),
        (("at", "r99", "--", "true"), 2, "r99 is after the head: the newest revision is r22"),
        (("at", "soon", "--", "true"), 2, '"soon" is no moment'),
        (("at", "r4", "--", "no-such-program"), 127, "no-such-program: there is no such program"),
    ],
)
async def test_a_program_that_cannot_be_run_is_refused(
    tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    async with shell(tmp_path):
        options = ["--data", str(tmp_path)]
        at = words.index("--") if "--" in words else len(words)
        runner = CliRunner(env={"NO_COLOR": "1", "TZ": "UTC"})
        result = await asyncio.to_thread(runner.invoke, program, [*words[:at], *options, *words[at:]])
        assert result.exit_code == code, result.output
        assert message in result.stderr


def test_a_moment_is_pinned_before_the_program_runs() -> None:
    past_time = {"revision": 5, "time": "2026-11-23T10:00:12.5Z", "live": False}
    assert travel.pinned("10m", past_time) == "2026-11-23T10:00:12.500000Z"
    assert travel.pinned("R5", past_time) == travel.pinned("5", past_time) == "r5"
    assert travel.pinned("now", {"revision": 9, "time": "2026-11-23T10:00:12.5Z", "live": True}) == "r9"


async def test_suspects_are_told_with_what_speaks_for_them(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        result = await sh.run("suspects", "deployment/web", "--utc")
        assert result.exit_code == 0, result.output
        complaint, began, *lines = [line for line in result.stdout.splitlines() if line]
        assert complaint == "deployment/web: 0 of 3 replicas ready"
        assert began.startswith("it began with  r3  2026-11-23T10:00:04Z  alice created deployment default/web")
        assert lines[0] == (
            "1. r16  2026-11-23T10:00:17Z  alice changed the image of web from nginx:1.27 to nginx:1.28 in deployment "
            "default/web"
        )
        assert lines[1].strip() == "it was changed"
        assert "~ spec.template.spec.containers[web].image: nginx:1.27 → nginx:1.28" in lines[2]
        found = json.loads(await sh.out("suspects", "deployment/web", "--at", "r12", "--limit", "1", "-o", "json"))
        assert found["suspects"][0]["event"]["revision"] == 11
        assert "did you mean web?" in await sh.refused("suspects", "deployment/wbe")


async def test_what_cannot_be_gone_back_to_is_named_with_names_that_look_like_it(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        told = await sh.refused("restore", "configmap/setings", "--at", "r16")
        assert "there is no configmap/setings in namespace default, and the log has never seen one" in told
        assert "did you mean settings?" in told
        told = await sh.refused("restore", "configmap/settings", "--at", "r2")
        assert told == "ksql: configmap/settings did not exist at r2: see ksql history configmap/settings\n"
