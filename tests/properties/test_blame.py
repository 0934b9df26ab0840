"""Laws of blame: its fields fold to the manifest, and each was set by the event it names."""

from datetime import UTC, datetime
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.documents import decode, encode
from ksql.history import blame, manuscript
from ksql.log.event import Change, Event, Stream
from tests.history import story
from tests.properties.test_history import DOCUMENTS

STREAM = Stream("configmaps", "default", "a", "0a0b0c0d-0000-4000-8000-000000000001")
LIVES = st.lists(DOCUMENTS, min_size=1, max_size=6)


def life(documents: list[Any]) -> list[Event]:
    """These documents as the versions of one object, at r10, r20, …"""
    return [
        Event(10 * (n + 1), datetime(2026, 11, 25, tzinfo=UTC), STREAM, Change.MODIFIED if n else Change.ADDED, "patch",
              story.ALICE, encode(document))
        for n, document in enumerate(documents)
    ]  # fmt: skip


def built(leaves: list[tuple[tuple[str | int, ...], Any, Event]]) -> Any:
    """The document that leaves with their paths make."""
    if len(leaves) == 1 and not leaves[0][0]:
        return leaves[0][1]
    inner: dict[Any, list[Any]] = {}
    for path, value, event in leaves:
        inner.setdefault(path[0], []).append((path[1:], value, event))
    parts = {key: built(found) for key, found in inner.items()}
    return list(parts.values()) if isinstance(next(iter(parts)), int) else parts


@given(LIVES)
@settings(max_examples=300, deadline=None)
def test_the_fields_of_a_blame_fold_to_the_manifest(documents: list[Any]) -> None:
    found = blame.folded(life(documents))
    leaves = list(blame.leaves(found.event.document, found.shadow))
    assert built(leaves) == found.event.document == decode(encode(documents[-1]))


@given(LIVES)
@settings(max_examples=300, deadline=None)
def test_each_field_was_set_by_the_event_it_names_and_by_none_since(documents: list[Any]) -> None:
    events = life(documents)
    found = blame.folded(events)
    for path, value, setter in blame.leaves(found.event.document, found.shadow):
        # Items that moved are followed by their keys; paths without a list say where the field was all along.
        if any(isinstance(step, int) for step in path):
            continue
        stood = [_at(event.document, path) for event in events]
        since = [index for index, event in enumerate(events) if event.revision >= setter.revision]
        assert all(stood[index] == value for index in since)
        if since[0] > 0:
            assert stood[since[0] - 1] != value or not _was_there(events[since[0] - 1].document, path)


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _was_there(document: Any, path: tuple[str | int, ...]) -> bool:
    for step in path:
        if not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True


@given(DOCUMENTS.filter(bool))
@settings(max_examples=200, deadline=None)
def test_the_lines_of_a_blame_are_the_manifest_as_yaml(document: Any) -> None:
    (event,) = life([document])
    lines = manuscript.lines(event.document, blame.fill(event.document, event))
    assert yaml.safe_load("\n".join(line.text for line in lines)) == event.document
    assert all("\n" not in line.text for line in lines)


async def test_an_objects_blame_is_read_from_the_log() -> None:
    async with story.told() as told:
        web = (await told.log.event(told.marks["created"])).stream.uid  # type: ignore[union-attr]
        found = await blame.blame(told.log, web, told.log.head)
        assert found is not None and found.whole
        setters = {path: event.revision for path, _, event in blame.leaves(found.event.document, found.shadow)}
        assert setters[("spec", "replicas")] == told.marks["scaled"]
        assert setters[("spec", "template", "spec", "containers", 0, "image")] == told.marks["updated"]
        assert setters[("spec", "template", "spec", "containers", 0, "name")] == told.marks["created"]
        then = await blame.blame(told.log, web, told.marks["up"])
        assert then is not None and then.shadow["spec"]["replicas"].revision == told.marks["created"]
        assert await blame.blame(told.log, web, 1) is None
