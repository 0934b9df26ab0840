"""The named operations that the commands send: one file each, a contract that the SDL's tests check."""

from functools import cache
from pathlib import Path

import ksql

_PACKAGE = Path(ksql.__file__).parent
# The wheel carries them inside the package, a checkout beside it.
_FOLDERS = (_PACKAGE / "_graphql" / "operations", _PACKAGE.parent / "graphql" / "operations")


@cache
def operation(name: str) -> str:
    """The text of `graphql/operations/{name}.graphql`."""
    for folder in _FOLDERS:
        path = folder / f"{name}.graphql"
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"ksql is installed without its operation {name}.graphql")
