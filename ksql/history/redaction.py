"""What is taken out of events before they leave the house: the values of Secrets, and fields named by rules.

A rule is `KIND:PATH`, such as `ConfigMap:data.password` or `Pod:spec.containers[*].env[*].value`; a star stands for
every item or key. In a value's place stands a word that has its length and a tag: equal values have equal tags
within one bundle, so that one sees when a value changed and where it was used, and nobody can try out what it was,
since the tags are keyed with chance that is not kept. kubectl's copy of what was applied goes with the field.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document, encode
from ksql.history import paths
from ksql.history.masks import LAST_APPLIED
from ksql.log.event import Event

SECRETS = ("Secret:data.*", "Secret:stringData.*")
ANY = "*"
# Enough that two values of one bundle hardly ever share a tag, too little to be worth anything elsewhere.
_TAG_CHARACTERS = 12


class RuleError(ValueError):
    """The text is no rule; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One field of one kind."""

    kind: str
    path: tuple[str, ...]


def rule(text: str) -> Rule:
    """The rule that a text means."""
    kind, colon, path = text.partition(":")
    if not colon or not kind.isalnum() or not path:
        raise RuleError(f'"{text}" is no rule: write KIND:PATH, such as ConfigMap:data.password')
    try:
        steps = tuple(paths.parse(path))
    except paths.PathError as error:
        raise RuleError(str(error)) from None
    if steps[0] in ("apiVersion", "kind") or steps[:2] in (("metadata", "name"), ("metadata", "namespace"),
                                                          ("metadata", "uid")) or steps == ("metadata",):  # fmt: skip
        raise RuleError(f'"{text}" would take out what tells objects apart')
    return Rule(kind, steps)


class Redaction:
    """Rules at work. `key` is chance that is thrown away afterwards."""

    def __init__(self, rules: Sequence[Rule], key: str) -> None:
        self._key = key.encode()
        self._paths: dict[str, list[tuple[str, ...]]] = {}
        for one in rules:
            self._paths.setdefault(one.kind.lower(), []).append(one.path)

    def event(self, event: Event) -> Event:
        """The event as it may leave; the same object where nothing is taken out."""
        document = event.document if self.concerns(event.payload) else None
        if document is None:
            return event
        found = self.document(document)
        if found is document:
            return event
        return Event(
            event.revision, event.time, event.stream, event.change, event.verb, event.actor, encode(found),
            event.subresource, event.field_manager, event.cause, event.correlation, event.transient,
        )  # fmt: skip

    def concerns(self, image: bytes) -> bool:
        """Whether there is a rule for objects of this one's kind."""
        # It opens with apiVersion and kind.
        head = image[:200].lower()
        return any(b'"kind":"%b"' % kind.encode() in head for kind in self._paths)

    def document(self, document: Document) -> Document:
        """The document without what the rules take out; the same object where there is nothing."""
        taken = document
        for path in self._paths.get(str(document.get("kind", "")).lower(), ()):
            found: Document = self._without(taken, path, path[0] == "data" and document.get("kind") == "Secret")
            taken = found
        if taken is document:
            return document
        annotations = document["metadata"].get("annotations") or {}
        if LAST_APPLIED in annotations:
            # It holds the same values once more, at places that no rule names.
            copy: Document = self._without(taken, ("metadata", "annotations", LAST_APPLIED), False)
            return copy
        return taken

    def _without(self, value: Any, path: tuple[str, ...], encoded: bool) -> Any:
        """`value` with what lies at `path` replaced; shares the rest."""
        if not path:
            return self._word(value, encoded)
        if isinstance(value, dict):
            keys = list(value) if path[0] == ANY else [path[0]] if path[0] in value else []
            changed = {key: self._without(value[key], path[1:], encoded) for key in keys}
            return {**value, **changed} if any(changed[key] is not value[key] for key in keys) else value
        if isinstance(value, list):
            chosen = [path[0] in (ANY, str(at), _name(item)) for at, item in enumerate(value)]
            if any(chosen):
                return [
                    self._without(item, path[1:], encoded) if is_chosen else item
                    for item, is_chosen in zip(value, chosen, strict=True)
                ]
        return value

    def _word(self, value: Any, encoded: bool) -> Any:
        """What stands in a value's place: of the same type, so that the document stays one of its kind."""
        if isinstance(value, dict):
            return {key: self._word(inner, encoded) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._word(inner, encoded) for inner in value]
        if isinstance(value, bool) or value is None:
            return None if value is None else False
        if isinstance(value, (int, float)):
            return 0
        raw = _decoded(value) if encoded else value.encode()
        tag = hmac.new(self._key, raw, "sha256").hexdigest()[:_TAG_CHARACTERS]
        word = f"redacted, {len(raw)} byte{'' if len(raw) == 1 else 's'}, {tag}"
        return base64.b64encode(word.encode()).decode() if encoded else word


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return value.encode()


def _name(item: Any) -> str:
    return str(item.get("name", "")) if isinstance(item, dict) else ""
