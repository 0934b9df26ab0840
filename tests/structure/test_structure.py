"""The shape of the house, held by tests: layers, lint, types, one door for time, one INSERT into events."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SOURCES = sorted((ROOT / "ksql").rglob("*.py"))

# Calls that ask the machine for the time or for chance: only ksql/base/clock.py may make them.
CLOCK_MODULES = {"time", "random", "secrets"}
CLOCK_CALLS = {
    ("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("uuid", "uuid4"), ("uuid", "uuid1"),
    ("os", "urandom"), ("asyncio", "sleep"), ("time", "sleep"),
}  # fmt: skip


def run(*command: str) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_hold_strictly() -> None:
    run("mypy")


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", ".")


def test_imports_point_down() -> None:
    run("lint-imports")


def clock_uses(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in CLOCK_MODULES:
                    yield f"{path.relative_to(ROOT)}:{node.lineno} imports {alias.name}"
        elif isinstance(node, ast.ImportFrom) and node.module in CLOCK_MODULES:
            # A type in an annotation is no source of chance.
            for alias in node.names:
                if (node.module, alias.name) != ("random", "Random"):
                    yield f"{path.relative_to(ROOT)}:{node.lineno} imports {node.module}.{alias.name}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.func.attr == "sleep" and [ast.unparse(argument) for argument in node.args] == ["0"]:
                continue  # lets others run and asks for no time
            if isinstance(owner, ast.Name) and (owner.id, node.func.attr) in CLOCK_CALLS:
                yield f"{path.relative_to(ROOT)}:{node.lineno} calls {owner.id}.{node.func.attr}"


def test_only_the_clock_asks_for_time_or_chance() -> None:
    found = [use for path in SOURCES if path.name != "clock.py" for use in clock_uses(path)]
    assert found == []


def test_the_check_for_clock_uses_sees_them() -> None:
    assert list(clock_uses(ROOT / "ksql" / "base" / "clock.py"))


def test_one_statement_per_database_inserts_into_events() -> None:
    """Promise one: no second path. Every INSERT into events stands in the log's own package."""
    found = {
        str(path.relative_to(ROOT / "ksql")).split("/")[0]
        for path in SOURCES
        if "insert into events" in path.read_text().lower() or "insert(events" in path.read_text().lower()
        or "events.insert" in path.read_text().lower()
    }  # fmt: skip
    assert found <= {"log"} and found


def test_no_folder_named_graphql_is_a_package() -> None:
    """It would shadow graphql-core, and strawberry could not be imported."""
    folders = [ROOT / "graphql", *(p for p in (ROOT / "tests").rglob("graphql") if p.is_dir())]
    assert [f for f in folders if (f / "__init__.py").exists()] == []


def test_no_package_marker_strays_into_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "NotImplementedError("])
def test_nothing_unfinished_is_shipped(word: str) -> None:
    assert [str(p) for p in SOURCES if word in p.read_text()] == []


def test_every_package_has_a_design_note() -> None:
    """Read in order they are the architecture manual, so each says its problem and its invariants."""
    for package in sorted((ROOT / "ksql").rglob("__init__.py")):
        note = ast.get_docstring(ast.parse(package.read_text())) or ""
        assert len(note) > 200, f"{package.parent.name} has no design note"


def test_the_sdl_is_the_schema() -> None:
    from ksql.serve.gql.app import sdl

    assert (ROOT / "graphql" / "schema.graphql").read_text() == sdl(), "run: make sdl"
