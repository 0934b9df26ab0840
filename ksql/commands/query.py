"""`ksql query`: a GraphQL document of one's own, or one that comes with the program, and its answer as JSON."""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ksql.base.clock import SystemClock
from ksql.commands.asking import ContextName, Data, Kubeconfig, Where, Wrong, run
from ksql.commands.door import AnswerError, Door
from ksql.commands.operations import operation
from ksql.kubeconfig import Connection

# A document of more bytes than this the server would not take either.
DOCUMENT_BYTES_MAX = 1_048_576

Document = Annotated[
    str, typer.Argument(metavar="FILE|-|NAME", help="A file, - for standard input, or an operation that ksql brings.")
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", help="A variable: JSON where it is that, a text otherwise."),
]
OperationName = Annotated[str, typer.Option("--operation", help="Which one, where the document has several.")]


def query(
    document: Document, var: Variables = None, operation_name: OperationName = "", kubeconfig: Kubeconfig = None,
    data: Data = None, context: ContextName = "",
) -> None:  # fmt: skip
    """Run a GraphQL document and print its answer as JSON."""
    where = Where(kubeconfig, data, context, "")

    async def work() -> None:
        body: dict[str, Any] = {"query": _text(document), "variables": _variables(var or [])}
        if operation_name:
            body["operationName"] = operation_name
        await _asked(where.connection(), body)

    run(work())


async def _asked(connection: Connection, body: dict[str, Any]) -> None:
    async with Door(connection, SystemClock()) as door:
        answer = await door.post(body)
    if answer.get("data") is not None:
        typer.echo(orjson.dumps(answer["data"], option=orjson.OPT_INDENT_2).decode())
    errors = answer.get("errors") or ()
    for error in errors[1:]:
        typer.echo(f"ksql: {_told(error)}", err=True)
    if errors:
        # The first one ends the command, and its code says how.
        raise AnswerError(_told(errors[0]), (errors[0].get("extensions") or {}).get("code", ""))


def _told(error: Any) -> str:
    path = ".".join(str(step) for step in error.get("path") or ())
    return f"{path}: {error['message']}" if path else str(error["message"])


def _text(document: str) -> str:
    if document == "-":
        return _read(sys.stdin.buffer.read(DOCUMENT_BYTES_MAX + 1), "standard input")
    path = Path(document)
    if path.is_file():
        with path.open("rb") as file:
            return _read(file.read(DOCUMENT_BYTES_MAX + 1), document)
    if path.name != document:
        raise Wrong(f"there is no file {document}")
    try:
        return operation(document)
    except FileNotFoundError:
        raise Wrong(f"there is no file {document}, and ksql brings no operation of that name") from None


def _read(data: bytes, source: str) -> str:
    if len(data) > DOCUMENT_BYTES_MAX:
        raise Wrong(f"{source} has more than {DOCUMENT_BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Wrong(f"{source} is no text in UTF-8") from None


def _variables(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Wrong(f'"{word}" is not NAME=VALUE: write --var namespace=shop')
        try:
            found[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            found[name] = value
    return found
