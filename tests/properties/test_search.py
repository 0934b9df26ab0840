"""Laws of the search: its pages join to what looking at every event finds."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.history import finding
from ksql.history.images import Images
from ksql.history.search import SearchError, parse
from ksql.log.event import Event
from tests.history import story

KEYS = {"Pod": "pods", "deploy": "deployments.apps", "secret": "secrets", "cm": "configmaps"}
TERMS = st.sampled_from(
    ["kind:Pod", "-kind:Pod", "kind:deploy,cm", "ns:default", "-ns:default", "name:web", "name:web-*", "web", "-web",
     "actor:alice", "actor:bob,scheduler", "-actor:alice", "is:person", "is:status", "-is:status", "verb:patch",
     "-verb:create,delete", "change:deleted", "change:created,modified", "manager:kubectl", "label:app=web",
     "label:!app", "field:spec.replicas", "field:data", "field:spec.nodeName,data.colour", "cause:r4", "is:wanted"]
)  # fmt: skip


def alone(text: str, event: Event, before: Event | None) -> bool:
    """Whether one event is meant, told without the log."""
    query = parse(text)
    what = finding.sought(query, KEYS, None, None)
    if query.one("cause") is not None and event.cause != int(query.one("cause") or 0):
        return False
    for term in query.terms:
        if term.key in ("cause", "field"):
            continue
        if finding.is_any(term.key, term.values, KEYS)(event) == term.negated:
            return False
    old = before.document if before is not None and before.change != "DELETED" else {}
    return all(
        event.change != "DELETED" and any(finding.turned(old, event.document, path) for path in choice)
        for choice in what.fields
    )


async def pages(told: story.Story, text: str, size: int, newest_first: bool) -> Sequence[int]:
    query, images = parse(text), Images(told.log)
    actors = query.values("actor")
    user = {"alice": "alice"}.get(actors[0]) if len(actors) == 1 else None
    what = finding.sought(query, KEYS, user, None)
    out: list[int] = []
    position = 0
    while True:
        found = await finding.find(
            told.log, images, what, lambda event: True, position, size, newest_first=newest_first
        )
        out += [event.revision for event in found.events]
        if not found.more:
            return out
        position = found.reached


@given(st.lists(TERMS, max_size=3), st.integers(1, 7), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_pages_of_a_search_join_to_all_that_it_means(terms: list[str], size: int, newest_first: bool) -> None:
    text = " ".join(terms)
    try:
        parse(text)
    except SearchError:
        return  # a key that may be given only once

    async def held() -> None:
        async with story.told() as told:
            events = list(await told.log.read(0, 1000))
            before = await told.log.preceding([event.revision for event in events])
            expected = [e.revision for e in events if alone(text, e, before.get(e.revision))]
            found = await pages(told, text, size, newest_first)
            assert found == (expected[::-1] if newest_first else expected)

    asyncio.run(held())
