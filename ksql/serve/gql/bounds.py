"""What one caller may ask of GraphQL: every bound by its name, with the reason of its default.

An operator sets them with `ksql up --graphql NAME=VALUE`. They are generous to tools that people build, and far below
what would keep a server from answering others. Nothing here knows GraphQL's libraries: the command line reads it too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

ON, OFF = ("on", "true", "yes"), ("off", "false", "no")


class BoundsError(ValueError):
    """A bound cannot be; the message names it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """All of them; the names are those that an operator writes."""

    # The introspection query of common tools has some 400 tokens; the largest of ours has 200.
    tokens: int = 5_000
    # A pod's owners' owners' history with differences is ten deep.
    depth: int = 20
    # A page of 1,000 objects with 40 fields each, or of 100 events with sentences and differences: about what one core
    # answers within a second or two.
    cost: int = 50_000
    # A dashboard asks for some tens of things at once.
    aliases: int = 200
    # Operations in one request: what a page of widgets gathers.
    batch: int = 20
    # A request's document and variables: the largest object that the Kubernetes API takes, and some.
    body: int = 4 * 1024 * 1024
    # How long one query may run: the longest walk over the log at its limits takes a tenth of this.
    seconds: float = 30.0
    # Operations of one user in a second, over all connections and after a burst of ten times as many: a window that
    # refreshes fifty widgets a second needs a quarter.
    rate: float = 200.0
    # Operations of one socket at once: a window of the UI keeps fewer than ten open.
    subscriptions: int = 100
    # Operations of one user that go on at once, over all connections: a wall of a thousand screens has ten each.
    followers: int = 10_000
    # Whether the schema tells of itself: tools need it, and it holds no secret.
    introspection: bool = True
    # Whether only operations that were laid down before are performed.
    persisted_only: bool = False
    # Where else than in ksql's own folder operations are laid down: a file of GraphQL each.
    operations: Path | None = None


DEFAULT = Bounds()
_BY_NAME = {field.name.replace("_", "-"): field for field in fields(Bounds)}


def read(pairs: Iterable[str]) -> Bounds:
    """The bounds that `NAME=VALUE` pairs ask for; `BoundsError` names the first that cannot be."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise BoundsError(f"{pair!r}: expected NAME=VALUE")
        if name not in _BY_NAME:
            raise BoundsError(f"{name!r}: expected one of {', '.join(_BY_NAME)}")
        key = _BY_NAME[name].name
        found[key] = _value(name, value, getattr(DEFAULT, key))
    return replace(DEFAULT, **found)


def _value(name: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() not in ON + OFF:
            raise BoundsError(f"{name}={text!r}: expected on or off")
        return text.lower() in ON
    if default is None:
        folder = Path(text)
        if not folder.is_dir():
            raise BoundsError(f"{name}={text!r}: expected a folder")
        return folder
    number: float
    try:
        number = int(text) if isinstance(default, int) else float(text)
    except ValueError:
        raise BoundsError(f"{name}={text!r}: expected a number") from None
    if not 0 < number < float("inf"):
        raise BoundsError(f"{name}={text!r}: expected a number above 0")
    return number
