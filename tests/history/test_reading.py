"""Timelines, causes, effects and the state at a revision, read from a real log."""

import pytest

from ksql.history import asof, causes
from ksql.history.images import Images
from ksql.history.timeline import Timeline, of_name, of_uid
from ksql.log.protocol import EVERYTHING
from tests.history import story


async def test_a_name_that_was_deleted_and_made_again_has_two_lives() -> None:
    async with story.told() as told:
        where = of_name("configmaps", "default", "settings")
        versions = await Timeline(told.log).page(where, 0, 10, newest_first=True)
        marks = told.marks
        assert [v.event.revision for v in versions] == [marks["again"], marks["gone"], marks["config"]]
        assert len({v.event.stream.uid for v in versions}) == 2
        assert versions[0].previous is None, "the second life starts from nothing"


async def test_one_life_is_asked_for_by_uid() -> None:
    async with story.told() as told:
        gone = await told.log.event(told.marks["gone"])
        assert gone is not None
        versions = await Timeline(told.log).page(of_uid(gone.stream.uid), 0, 10)
        assert [v.event.revision for v in versions] == [told.marks["config"], told.marks["gone"]]


async def test_each_version_knows_what_it_replaced() -> None:
    async with story.told() as told:
        versions = await Timeline(told.log).page(EVERYTHING, 0, 100)
        last: dict[str, int] = {}
        for version in versions:
            uid = version.event.stream.uid
            before = None if version.previous is None else version.previous.revision
            assert before == last.get(uid)
            last[uid] = version.event.revision


async def test_previous_images_are_read_once() -> None:
    async with story.told() as told:
        events = await told.log.read(0, 100)
        images = Images(told.log)
        first = await images.before(events)
        await told.log.aclose()
        assert await images.before(events) == first, "nothing is asked of a log that is closed"


async def test_the_chain_of_a_pods_status_ends_at_the_person() -> None:
    async with story.told() as told:
        ready = await told.log.event(told.marks["third"] + 2)
        assert ready is not None
        chain = await causes.causes(told.log, ready)
        assert chain.root is causes.Root.PERSON
        assert chain.events[-1].actor == story.ALICE
        assert chain.events[-1].revision == told.marks["scaled"]
        assert [e.cause for e in chain.events[:-1]] == [e.revision for e in chain.events[1:]]


async def test_a_component_that_acts_on_its_own_is_where_a_chain_ends() -> None:
    async with story.told() as told:
        first = await told.log.event(1)
        assert first is not None
        assert (await causes.causes(told.log, first)).root is causes.Root.COMPONENT


async def test_a_cause_that_the_log_does_not_have_is_told() -> None:
    async with story.empty() as told:
        made = await told.create("pods", "v1", "Pod", "a", story.BOB, cause=77)
        assert (await causes.causes(told.log, made)).root is causes.Root.HORIZON


async def test_a_chain_beyond_its_limit_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "CHAIN_EVENTS_MAX", 3)
    async with story.told() as told:
        ready = await told.log.event(told.marks["third"] + 2)
        assert ready is not None
        chain = await causes.causes(told.log, ready)
        assert (chain.root, len(chain.events)) == (causes.Root.LIMIT, 3)


async def test_effects_are_the_causes_read_forward() -> None:
    async with story.told() as told:
        found = await causes.effects(told.log, told.marks["created"])
        assert not found.cut
        for effect in found.found:
            chain = await causes.causes(told.log, effect.event)
            revisions = [event.revision for event in chain.events]
            assert revisions[effect.depth] == told.marks["created"]
            assert revisions[1] == effect.parent
        assert len(found.found) == 7, "a replica set and two pods, each bound and running"


async def test_effects_stop_at_their_depth_and_number_and_say_so() -> None:
    async with story.told() as told:
        shallow = await causes.effects(told.log, told.marks["created"], depth=1)
        assert ([e.event.revision for e in shallow.found], shallow.cut) == ([told.marks["replicaset"]], True)
        few = await causes.effects(told.log, told.marks["created"], limit=2)
        assert (len(few.found), few.cut) == (2, True)
        none = await causes.effects(told.log, told.marks["removed"])
        assert (list(none.found), none.cut) == ([], False)


async def test_the_state_at_a_revision_is_what_was_there_then() -> None:
    async with story.told() as told:
        up, log = told.marks["up"], told.log
        pods = await asof.list_all(log, "pods", up, "default")
        assert [event.stream.name for event in pods] == ["web-abc-1", "web-abc-2"]
        web = await asof.get(log, "deployments.apps", "default", "web", up)
        assert web is not None
        assert web.document["spec"]["replicas"] == 2
        assert await asof.get(log, "configmaps", "default", "settings", told.marks["gone"]) is None
        node = await asof.get(log, "nodes", "", "node-1", up)
        assert node is not None
