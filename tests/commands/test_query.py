"""`ksql query` as a person would type it: a document from a file, from standard input or by its name."""

import json
from pathlib import Path

from tests.commands.test_past import shell

PODS = """query($phase: String, $n: Int = 10) {
  pods(first: $n, where: {status: {phase: {eq: $phase}}}) { nodes { name } } }"""


async def test_a_document_is_run_and_its_answer_printed_as_json(tmp_path: Path) -> None:
    document = tmp_path / "pods.graphql"
    document.write_text(PODS)
    async with shell(tmp_path) as sh:
        found = json.loads(await sh.out("query", str(document), "--var", "phase=Running", "--var", "n=1"))
        assert found == {"pods": {"nodes": [{"name": "web-abc-2"}]}}
        none = json.loads(await sh.out("query", str(document), "--var", "phase=Pending"))
        assert none == {"pods": {"nodes": []}}


async def test_an_operation_that_ksql_brings_is_run_by_its_name(tmp_path: Path) -> None:
    async with shell(tmp_path) as sh:
        found = json.loads(await sh.out("query", "application", "--var", "namespace=default", "--var", "name=web"))
        assert found["deployment"]["spec"] == {"replicas": 3}


async def test_one_of_several_operations_is_chosen(tmp_path: Path) -> None:
    document = tmp_path / "two.graphql"
    document.write_text("query A { head } query B { horizon }")
    async with shell(tmp_path) as sh:
        assert list(json.loads(await sh.out("query", str(document), "--operation", "B"))) == ["horizon"]
        assert "say which of the 2 operations to run" in await sh.refused("query", str(document))


async def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    document = tmp_path / "bad.graphql"
    document.write_text("{ pds { nodes { name } } }")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    async with shell(tmp_path) as sh:
        assert "Cannot query field 'pds' on type 'Query'. Did you mean" in await sh.refused("query", str(document))
        assert "is no text in UTF-8" in await sh.refused("query", str(binary))
        assert "there is no file no/such" in await sh.refused("query", "no/such")
        assert "ksql brings no operation of that name" in await sh.refused("query", "nothing")
        assert '"phase" is not NAME=VALUE' in await sh.refused("query", "head", "--var", "phase")


async def test_a_part_that_fails_leaves_the_rest_and_a_code(tmp_path: Path) -> None:
    document = tmp_path / "part.graphql"
    document.write_text('{ head object(resource: "pds", name: "x") { name } }')
    async with shell(tmp_path) as sh:
        result = await sh.run("query", str(document))
        assert json.loads(result.stdout)["object"] is None
        assert result.stderr.startswith('ksql: object: there is no resource or kind "pds"')
        assert result.exit_code == 2
