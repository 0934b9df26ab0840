"""Operations that were laid down before: asked for by their name or by their hash instead of their text.

ksql's own lie in `graphql/operations/`; an operator names a folder with others. With `persisted-only` nothing else is
performed, whoever asks: then what a server can be asked is a list that somebody has read.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphql import GraphQLError, parse

import ksql
from ksql.serve.gql.bounds import Bounds
from ksql.serve.gql.errors import BAD_USER_INPUT, refusal
from ksql.serve.gql.figures import OTHER

logger = logging.getLogger(__name__)

_PACKAGE = Path(ksql.__file__).parent
# The wheel carries them inside the package, a checkout beside it.
FOLDERS = (_PACKAGE / "_graphql" / "operations", _PACKAGE.parent / "graphql" / "operations")
SUFFIX = ".graphql"
_HASHED = "sha256:"
# Longer than any name and any hash.
ID_CHARACTERS_MAX = 200

UNKNOWN, ONLY = "PERSISTED_OPERATION_NOT_FOUND", "PERSISTED_OPERATIONS_ONLY"


class Persisted:
    """What was laid down, by name and by hash; read once, when the server starts."""

    def __init__(self, bounds: Bounds, folders: tuple[Path, ...] = FOLDERS) -> None:
        self._only = bounds.persisted_only
        self._by_id: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for folder in (*folders, *((bounds.operations,) if bounds.operations else ())):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                self._lay_down(path)

    def _lay_down(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        try:
            parse(text, no_location=True)
        except GraphQLError as error:
            # One that is broken must not keep the others from being served.
            logger.warning("an operation cannot be read", extra={"file": str(path), "error": error.message})
            return
        self._by_id[path.stem] = text
        self._by_id[hashlib.sha256(text.encode()).hexdigest()] = text
        self._names[_plain(text)] = path.stem

    @property
    def names(self) -> list[str]:
        return sorted(name for name in self._by_id if len(name) != 64)

    def name(self, text: str | None) -> str:
        """What an operation is called in figures: by its own name only if it was laid down here."""
        return self._names.get(_plain(text), OTHER) if text else OTHER

    def concerns(self, asked: Mapping[str, Any]) -> bool:
        """Whether a request is to be looked at here: it names an operation, or must."""
        return self._only or "documentId" in asked or _persisted(asked) is not None

    def text(self, asked: Mapping[str, Any]) -> str:
        """The document that a request means, which gives it or names it; a `GraphQLError` says why there is none."""
        id, query = _id(asked), asked.get("query")
        if id is not None:
            found = self._by_id.get(id.removeprefix(_HASHED))
            if found is None:
                raise refusal(f'there is no operation "{id[:80]}" laid down here', UNKNOWN)
            if query and _plain(str(query)) != _plain(found):
                raise refusal(f'the query is not the operation "{id[:80]}"', BAD_USER_INPUT)
            return found
        if not isinstance(query, str) or not query:
            raise refusal("the request names no operation: give a query, or a documentId")
        if self._only and _plain(query) not in self._names:
            raise refusal("this server performs only operations that were laid down before: give a documentId", ONLY)
        return query


def _plain(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _persisted(asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    extensions = asked.get("extensions")
    found = extensions.get("persistedQuery") if isinstance(extensions, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _id(asked: Mapping[str, Any]) -> str | None:
    """What a request calls its operation: `documentId`, or the hash in the way that Apollo's clients say it."""
    id = asked.get("documentId")
    if id is None:
        persisted = _persisted(asked)
        if persisted is None:
            return None
        id = persisted.get("sha256Hash")
    if not isinstance(id, str) or not 0 < len(id) <= ID_CHARACTERS_MAX:
        raise refusal("a documentId is a name or a hash")
    return id
