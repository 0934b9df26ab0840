"""The program's questions about the past, hung onto its typer application: a module for each group of them.

Each command reads its arguments, sends one named operation and prints the answer.
"""

import typer

from ksql.commands.audit import audit
from ksql.commands.blame import blame
from ksql.commands.difference import diff
from ksql.commands.erase import erase
from ksql.commands.history import events, history
from ksql.commands.links import then, why
from ksql.commands.placing import pending, why_node
from ksql.commands.query import query
from ksql.commands.suspects import suspects
from ksql.commands.then import at
from ksql.commands.travel import Travelling
from ksql.commands.undo import restore, undo

# In the order in which --help lists them; one to a line, so that two who add one do not meet.
COMMANDS = (
    history,
    events,
    blame,
    diff,
    why,
    then,
    suspects,
    why_node,
    pending,
    undo,
    restore,
    audit,
    erase,
    query,
)


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    for command in COMMANDS:
        app.command()(command)
    app.command(cls=Travelling)(at)
