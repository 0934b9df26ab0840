"""No path from what anybody sends to SQL text, a shell or code: shown by what the source calls."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "ksql"
# What takes SQL as a text.
_SQL = frozenset(("text", "exec_driver_sql", "executescript", "literal_column"))
# What runs programs or makes code of texts.
_CODE = frozenset(("eval", "exec", "compile", "__import__"))
_PROGRAMS = frozenset(
    ("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pickle.loads", "marshal.loads", "yaml.load")
)


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(SOURCE.parent)}:{node.lineno}", node


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _is_constant(node: ast.expr) -> bool:
    """A literal, or a module's own constant, which a request cannot reach."""
    if isinstance(node, ast.Name):
        return node.id.lstrip("_").isupper()
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        return False
    return isinstance(node, ast.Constant)


def test_sql_is_never_put_together_from_texts_that_came_from_outside() -> None:
    wrong = []
    for place, call in calls():
        owner, _, name = _name(call).rpartition(".")
        is_sql = name == "exec_driver_sql" or (name in _SQL and owner.rpartition(".")[2] in ("sa", "sqlalchemy"))
        if is_sql and call.args and not _is_constant(call.args[0]):
            wrong.append(place.partition(":")[0])
    assert set(Counter(wrong).items()) <= set(_BUILT.items())


# Statements that are put together from the schema's own names and from numbers of the code, looked at one by one;
# values go beside them as parameters. None of these files can be reached by a request's texts but as parameters.
_BUILT = {
    "ksql/log/migrate.py": 1,
    "ksql/log/postgresql.py": 1,
    "ksql/log/queries.py": 2,
    "ksql/log/retirement.py": 2,
    "ksql/log/schema.py": 1,
    "ksql/log/session.py": 1,
}


def test_nothing_is_run_by_a_shell_or_made_code_of() -> None:
    wrong = []
    for place, call in calls():
        name = _name(call)
        is_safe = name == "yaml.load" and ast.unparse(call.args[-1]).endswith("SafeLoader")
        if (name in _CODE or name in _PROGRAMS) and not is_safe:
            wrong.append(f"{place} {name}")
        if any(one.arg == "shell" and ast.unparse(one.value) != "False" for one in call.keywords):
            wrong.append(f"{place} {name} with a shell")
    assert wrong == []


@pytest.mark.parametrize("text", ["sa.text(f'a {b}')", "c.exec_driver_sql('a' + b)", "sqlalchemy.text(b)"])
def test_what_is_looked_for_would_be_found(text: str) -> None:
    (call,) = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    assert not _is_constant(call.args[0])
