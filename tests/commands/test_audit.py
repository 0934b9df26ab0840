"""`ksql audit` against a real server: lines, CSV, JSON lines, filters, and who may not ask."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import typer
import yaml
from typer.testing import CliRunner, Result

from ksql.commands import past
from tests.serve.audited import audited
from tests.serve.cluster import BOB, TOKEN, in_process
from tests.serve.gql_door import listening

program = typer.Typer()
past.register(program)
MAPS = "/api/v1/namespaces/default/configmaps"


def kubeconfig(folder: Path, server: str, token: str) -> None:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))


@asynccontextmanager
async def server(folder: Path, token: str = TOKEN) -> AsyncIterator[None]:
    async with audited() as found, in_process(found.rooms.door) as http:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        await http.post(MAPS, json=body)
        async with in_process(found.rooms.door, BOB) as bob:
            await bob.delete(f"{MAPS}/a")
        await found.journal.flush()
        async with listening(found.rooms.door, 0) as address:
            kubeconfig(folder, f"http://{address}", token)
            yield


async def run(folder: Path, *words: str) -> Result:
    runner = CliRunner(env={"NO_COLOR": "1", "TZ": "UTC"})
    return await asyncio.to_thread(runner.invoke, program, ["audit", *words, "--data", str(folder)])


async def test_lines_say_who_did_what_from_where_and_what_came_of_it(tmp_path: Path) -> None:
    async with server(tmp_path):
        found = await run(tmp_path, "ns:default")
        assert found.exit_code == 0, found.output
        refused, made = found.stdout.splitlines()
        assert "bob from 127.0.0.1 delete configmaps default/a  403 Forbidden: " in refused
        assert "kubernetes-admin from 127.0.0.1 create configmaps default/a  201 r" in made
        nothing = await run(tmp_path, "actor:nobody")
        assert (nothing.exit_code, nothing.stdout) == (0, "")
        assert "nothing was kept that matches" in nothing.stderr


async def test_csv_and_json_lines_hold_all_fields(tmp_path: Path) -> None:
    async with server(tmp_path):
        rows = list(csv.DictReader(io.StringIO((await run(tmp_path, "-o", "csv", "ns:default")).stdout)))
        assert [(row["user"], row["verb"], row["code"]) for row in rows] == [
            ("bob", "delete", "403"), ("kubernetes-admin", "create", "201")
        ]  # fmt: skip
        lines = (await run(tmp_path, "-o", "json", "--outcome", "refused", "--code", "403")).stdout.splitlines()
        (entry,) = [json.loads(line) for line in lines]
        assert (entry["user"], entry["outcome"], entry["reason"]) == ("bob", "REFUSED", "Forbidden")
        assert "request" not in entry


async def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    async with server(tmp_path):
        for word, said in (("--bodies", "--bodies needs -o json"), ("field:spec.x", "says nothing of a request")):
            found = await run(tmp_path, word)
            assert (found.exit_code, found.stdout) == (2, "") and said in found.stderr
    async with server(tmp_path, BOB):
        found = await run(tmp_path)
        assert found.exit_code == 1 and 'cannot get path "/audit"' in found.stderr
