"""`ksql erase`: what an object's past said is gone for good; who did what and when stays, and stays proved."""

from typing import Annotated

import orjson
import typer

from ksql.base.clock import SystemClock
from ksql.commands.asking import ContextName, Data, Kubeconfig, Namespace, Target, Where, pair, run
from ksql.commands.door import Door


def erase(
    target: Target,
    reason: Annotated[str, typer.Option("--reason", help="Why: it is recorded with your name.")],
    namespace: Namespace = "", kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: this cannot be undone.")] = False,
) -> None:  # fmt: skip
    """Make the past of a deleted object unreadable for good, by destroying its encryption key.

    Its events, seals and proofs stay as they are. Backups made before still hold the wrapped key:
    `ksql encryption rotate-key` and `forget-keys` end those too.
    """
    run(_erase(Where(kubeconfig, data, context, namespace), target, reason, yes))


async def _erase(where: Where, target: str, reason: str, yes: bool) -> None:
    kind, name = pair(target)
    connection = where.connection()
    if not yes:
        typer.confirm(f"Nobody will ever read again what {target} in {connection.namespace} was. Erase it?", abort=True)
    body = {"kind": kind, "namespace": connection.namespace, "name": name, "reason": reason}
    async with Door(connection, SystemClock()) as door:
        found = await door.call("POST", "/erasures", orjson.dumps(body))
    for one in found["erased"]:
        typer.echo(f"erased uid {one['uid']}: {one['events']} events; recorded as {one['recorded']}")
