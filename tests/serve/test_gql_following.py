"""Subscriptions to objects and to how many there are: each change once, in order, from any revision on."""

import asyncio
from random import Random
from typing import Any

import pytest

from ksql.auth.identity import AUTHENTICATED, Question, User, Verdict
from ksql.base.clock import VirtualClock, run_virtual
from ksql.history import sentences
from ksql.serve.gql import choir as choirs
from ksql.serve.gql import feeds, nodes
from tests.serve.follower import House
from tests.verbs.room import Room, config, inside, opened, pod

OBJECTS = """subscription($resource: String!, $after: Revision, $ns: String, $labels: String, $pattern: String,
  $fields: String, $only: Boolean! = false) {
  objects(resource: $resource, after: $after, namespace: $ns, labelSelector: $labels, fieldSelector: $fields,
          namePattern: $pattern, onlySelected: $only) {
    initial complete revision changes { change revision object { name data: field(path: "data.colour") } } } }"""
COUNTS = """subscription($by: [String!]!, $labels: String) { counts(resource: "pods", by: $by, labelSelector: $labels) {
  total revision groups { values count } changed { values count } } }"""
EVENTS = "subscription($after: Revision) { events(after: $after) { revision name } }"


def told(update: Any) -> list[tuple[str, str]]:
    return [(one["change"], one["object"]["name"]) for one in update["changes"]]


async def settled(*followers: Any) -> None:
    """Let everything that can happen now happen."""
    for _ in range(50):
        await asyncio.sleep(0.01)


def test_first_what_is_there_and_then_every_change() -> None:
    async def story(room: Room) -> None:
        await room.create("configmaps", config("a"))
        async with House(room).follow(OBJECTS, resource="cm", ns="shop") as follower:
            first = await follower.data("objects")
            assert first["initial"] and first["complete"] and first["revision"] == room.log.head
            assert ("ADDED", "a") in told(first)
            await room.create("configmaps", config("b"))
            await room.patch("configmaps", "shop", "b", {"data": {"colour": "red"}})
            await room.delete("configmaps", "shop", "b")
            heard: list[Any] = []
            while len(heard) < 3:
                update = await follower.data("objects")
                assert not update["initial"] and update["complete"]
                heard += told(update)
                assert update["revision"] >= update["changes"][-1]["revision"]
            assert heard == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]

    inside(story)


def test_what_comes_back_after_a_revision_hears_only_what_it_missed() -> None:
    async def story(room: Room) -> None:
        house = House(room)
        await room.create("configmaps", config("a"))
        head = room.log.head
        await room.create("configmaps", config("b"))
        await room.create("configmaps", config("c", namespace="default"))
        async with house.follow(OBJECTS, resource="cm", ns="shop", after=head) as follower:
            assert told(await follower.data("objects")) == [("ADDED", "b")]
            await room.create("configmaps", config("d"))
            assert told(await follower.data("objects")) == [("ADDED", "d")]

    inside(story)


@pytest.mark.parametrize("resource", ["cm", "configmaps"])
def test_who_was_away_for_longer_than_the_window_is_brought_up_from_the_log(resource: str) -> None:
    async def story(room: Room) -> None:
        house = House(room)
        for name in ("a", "b", "c"):
            await room.create("configmaps", config(name))
        start = room.log.head
        await room.patch("configmaps", "shop", "a", {"metadata": {"labels": {"app": "web"}}})
        await room.patch("configmaps", "shop", "a", {"data": {"colour": "red"}})
        await room.delete("configmaps", "shop", "b")
        await room.patch("configmaps", "shop", "a", {"metadata": {"labels": {"app": None}}})
        # Nothing of this is in memory any more, as after a restart.
        await room.objects.reload(room.log)
        async with house.follow(OBJECTS, resource=resource, ns="shop", after=start) as follower:
            assert told(await follower.data("objects")) == [
                ("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "b"), ("MODIFIED", "a"),
            ]  # fmt: skip
            await room.create("configmaps", config("d"))
            assert told(await follower.data("objects")) == [("ADDED", "d")]
        async with house.follow(OBJECTS, resource=resource, ns="shop", after=start, labels="app=web") as follower:
            update = await follower.data("objects")
            assert told(update) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    inside(story)


def test_what_begins_to_match_is_added_and_what_ceases_to_is_deleted() -> None:
    async def story(room: Room) -> None:
        house = House(room)
        await room.create("configmaps", config("web-1"))
        async with house.follow(OBJECTS, resource="cm", ns="shop", labels="app=web", pattern="web-*") as follower:
            assert (await follower.data("objects"))["changes"] == []
            await room.create("configmaps", config("db-1") | {"metadata": {
                "name": "db-1", "namespace": "shop", "labels": {"app": "web"}}})  # fmt: skip
            await room.patch("configmaps", "shop", "web-1", {"metadata": {"labels": {"app": "web"}}})
            await room.patch("configmaps", "shop", "web-1", {"data": {"colour": "red"}})
            await room.patch("configmaps", "shop", "web-1", {"metadata": {"labels": {"app": "x"}}})
            heard: list[Any] = []
            while len(heard) < 3:
                heard += told(await follower.data("objects"))
            assert heard == [("ADDED", "web-1"), ("MODIFIED", "web-1"), ("DELETED", "web-1")]

    inside(story)


@pytest.mark.parametrize("away", [False, True])
def test_only_what_shows_in_the_selection_is_told_if_asked(away: bool) -> None:
    async def story(room: Room) -> None:
        house = House(room)
        await room.create("configmaps", config("a"))
        start = room.log.head if away else None

        async def changes() -> None:
            await room.patch("configmaps", "shop", "a", {"metadata": {"labels": {"x": "y"}}})
            await room.patch("configmaps", "shop", "a", {"data": {"colour": "red"}})
            await room.patch("configmaps", "shop", "a", {"data": {"size": "1"}})
            await room.create("configmaps", config("b"))

        if away:
            await changes()
            await room.objects.reload(room.log)
        async with house.follow(OBJECTS, resource="cm", ns="shop", only=True, after=start) as follower:
            if not away:
                assert ("ADDED", "a") in told(await follower.data("objects"))
                await changes()
            heard: list[Any] = []
            while ("ADDED", "b") not in heard:
                heard += told(await follower.data("objects"))
            assert heard == [("MODIFIED", "a"), ("ADDED", "b")]

    inside(story)


def test_a_long_beginning_comes_in_parts_and_the_last_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "INITIAL_OBJECTS_MAX", 2)

    async def story(room: Room) -> None:
        for name in ("a", "b", "c", "d", "e"):
            await room.create("configmaps", config(name))
        async with House(room).follow(OBJECTS, resource="cm", pattern="?") as follower:
            parts = [await follower.data("objects") for _ in range(3)]
            assert [len(part["changes"]) for part in parts] == [2, 2, 1]
            assert [part["complete"] for part in parts] == [False, False, True]

    inside(story)


def test_a_follower_of_a_quiet_resource_is_told_how_far_it_is() -> None:
    async def story(room: Room) -> None:
        async with House(room).follow(OBJECTS, resource="cm", ns="shop") as follower:
            await follower.data("objects")
            await room.create("secrets", {"metadata": {"name": "s", "namespace": "shop"}})
            update = await follower.data("objects")
            assert update["changes"] == [] and update["revision"] == room.log.head

    inside(story)


def test_a_permission_that_is_taken_away_ends_what_it_gave() -> None:
    class Switch:
        on = True

        def authorize(self, question: Question) -> Verdict:
            return Verdict(self.on or question.user.name != "carol")

    async def main(clock: VirtualClock) -> None:
        switch = Switch()
        async with opened(clock, permissions=lambda objects: switch) as room:  # type: ignore[arg-type, return-value]
            carol = User("carol", (AUTHENTICATED,))
            async with House(room).follow(OBJECTS, carol, resource="cm", ns="shop") as follower:
                await follower.data("objects")
                switch.on = False
                await room.create("configmaps", config("a"))
                answer = await follower.next()
                assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
                assert await follower.next() is None
            async with House(room).follow(OBJECTS, carol, resource="cm", ns="shop") as follower:
                assert (await follower.next())["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    run_virtual(main)


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"resource": "podz"}, "BAD_USER_INPUT"),
        ({"resource": "cm", "after": 9999}, "BAD_USER_INPUT"),
        ({"resource": "cm", "labels": "a in (("}, "BAD_USER_INPUT"),
        ({"resource": "cm", "fields": "spec.x=1"}, "BAD_USER_INPUT"),
        ({"resource": "cm", "pattern": "x" * 300}, "BAD_USER_INPUT"),
    ],
)
def test_what_cannot_be_followed_is_refused(variables: Any, code: str) -> None:
    async def story(room: Room) -> None:
        async with House(room).follow(OBJECTS, **variables) as follower:
            answer = await follower.next()
            assert answer["errors"][0]["extensions"]["code"] == code
            assert await follower.next() is None

    inside(story)


# --- counts


def test_counts_follow_what_they_count() -> None:
    async def story(room: Room) -> None:
        house = House(room)
        await room.create("pods", pod("a", node="n1"))
        async with house.follow(COUNTS, by=["status.phase", "spec.nodeName"]) as follower:
            first = await follower.data("counts")
            assert first["total"] == 1 and first["groups"] == [{"values": ["Pending", "n1"], "count": 1}]
            await room.create("pods", pod("b", node="n1"))
            assert (await follower.data("counts"))["changed"] == [{"values": ["Pending", "n1"], "count": 2}]
            await room.patch("pods", "shop", "b", {"status": {"phase": "Running"}}, subresource="status")
            changed = await follower.data("counts")
            assert sorted((tuple(one["values"]), one["count"]) for one in changed["changed"]) == [
                (("Pending", "n1"), 1), (("Running", "n1"), 1),
            ]  # fmt: skip
            # A change that moves nothing is not told.
            await room.patch("pods", "shop", "b", {"metadata": {"labels": {"x": "y"}}})
            await room.delete("pods", "shop", "a", grace_period_seconds=0)
            last = await follower.data("counts")
            assert last["groups"] == [{"values": ["Running", "n1"], "count": 1}] and last["total"] == 1
            assert last["changed"] == [{"values": ["Pending", "n1"], "count": 0}]

    inside(story)


@pytest.mark.parametrize("by", [[], ["a", "b", "c", "d", "e"], ["x" * 501], ["spec["]])
def test_counts_by_nothing_or_too_much_are_refused(by: list[str]) -> None:
    async def story(room: Room) -> None:
        async with House(room).follow(COUNTS, by=by) as follower:
            assert (await follower.next())["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"

    inside(story)


def test_those_who_count_the_same_agree_whenever_they_came() -> None:
    async def story(room: Room) -> None:
        house = House(room)
        async with house.follow(COUNTS, by=["metadata.namespace"]) as early:
            await early.data("counts")
            await room.create("pods", pod("a"))
            assert (await early.data("counts"))["total"] == 1
            async with house.follow(COUNTS, by=["metadata.namespace"]) as late:
                assert (await late.data("counts"))["total"] == 1
                await settled()
                assert house.choir.voices == 1 and house.choir.followers == 2
                await room.create("pods", pod("b"))
                assert await early.data("counts") == await late.data("counts")

    inside(story)


# --- one evaluation for all


def test_a_hundred_followers_share_one_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    sentence = sentences.sentence

    def counted(*args: Any, **options: Any) -> str:
        nonlocal made
        made += 1
        return sentence(*args, **options)

    monkeypatch.setattr(nodes.sentences, "sentence", counted)

    async def story(room: Room) -> None:
        house = House(room)
        query = "subscription($after: Revision) { events(after: $after) { revision sentence } }"
        followers = [house.follow(query, after=room.log.head) for _ in range(100)]
        for follower in followers:
            await follower.__aenter__()
        await settled()
        assert house.choir.voices == 1 and house.choir.followers == 100
        for name in ("a", "b", "c"):
            await room.create("configmaps", config(name))
        for follower in followers:
            for _ in range(3):
                await follower.data("events")
            await follower.__aexit__()
        assert made == 3, "once each, however many heard it"
        await settled()
        assert house.choir.voices == 0, "nobody sings to an empty house"

    inside(story)


def test_others_and_other_selections_are_evaluated_apart() -> None:
    async def story(room: Room) -> None:
        house = House(room)
        bob = User("bob", ("system:masters",))
        async with (
            house.follow(EVENTS), house.follow(EVENTS, after=room.log.head), house.follow(EVENTS, bob),
            house.follow("subscription { events { revision sentence } }"),
        ):  # fmt: skip
            await settled()
            assert (house.choir.voices, house.choir.followers) == (3, 4)

    inside(story)


def test_each_follower_tells_its_own_trail_of_the_secrets_it_hears_of() -> None:
    class Trail:
        def __init__(self) -> None:
            self.said: set[tuple[str, str]] = set()

        def within(self, user: User, verb: str, group: str, resource: str, namespace: str, name: str, **_: Any) -> None:
            self.said.add((verb, resource))

    async def story(room: Room) -> None:
        house, trails = House(room), [Trail(), Trail()]
        followers = [house.follow(EVENTS, trail=trail) for trail in trails]
        for follower in followers:
            await follower.__aenter__()
        await settled()
        await room.create("secrets", {"metadata": {"name": "s", "namespace": "shop"}})
        for follower, trail in zip(followers, trails, strict=True):
            await follower.data("events")
            assert ("list", "secrets") in trail.said
            await follower.__aexit__()

    inside(story)


def test_a_follower_that_falls_out_of_what_is_kept_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choirs, "PAYLOADS_KEPT_MAX", 3)

    async def story(room: Room) -> None:
        house = House(room)
        performance = house.follow(EVENTS)._performance
        answers = performance.answers()
        task = asyncio.ensure_future(anext(answers))
        await settled()
        await room.create("configmaps", config("a"))
        await task
        for number in range(6):
            await room.create("configmaps", config(f"b{number}"))
        await settled()
        with pytest.raises(choirs.TooSlowError):
            await anext(answers)

    inside(story)


# --- laws


class Copy:
    """The objects as a follower knows them, kept by what it is told alone."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.revision: int | None = None

    def take(self, update: Any) -> None:
        if update["initial"] and self.revision is None:
            pass
        for one in update["changes"]:
            name, revision = one["object"]["name"], one["revision"]
            if not update["initial"]:
                assert self.revision is not None and revision > self.revision, "nothing twice, nothing out of order"
            known = name in self.objects
            assert known == (one["change"] != "ADDED"), "nothing is left out"
            if one["change"] == "DELETED":
                del self.objects[name]
            else:
                self.objects[name] = revision
        if update["complete"]:
            self.revision = update["revision"]


@pytest.mark.parametrize("seed", range(6))
def test_whoever_comes_and_goes_at_any_moment_ends_with_what_there_is(seed: int) -> None:
    async def story(room: Room) -> None:
        house, chance = House(room), Random(seed)
        names = [f"m{number}" for number in range(8)]

        async def write() -> None:
            for number in range(150):
                name = chance.choice(names)
                if room.objects.get("configmaps", "shop", name) is None:
                    await room.create("configmaps", config(name))
                elif chance.random() < 0.3:
                    await room.delete("configmaps", "shop", name)
                else:
                    await room.patch("configmaps", "shop", name, {"data": {"colour": str(number)}})
                if chance.random() < 0.5:
                    await room.clock.sleep(chance.choice((0.0, 0.001, 0.02, 0.1)))
            await room.create("configmaps", config("m-last"))

        async def follow() -> Copy:
            copy, which = Copy(), {"resource": "cm", "ns": "shop", "pattern": "m*"}
            while "m-last" not in copy.objects:
                async with house.follow(OBJECTS, after=copy.revision, **which) as follower:
                    for _ in range(chance.randint(1, 30)):
                        copy.take(await follower.data("objects"))
                        if "m-last" in copy.objects:
                            break
                await room.clock.sleep(chance.choice((0.0, 0.005, 0.05)))
            return copy

        _, *copies = await asyncio.gather(write(), *(follow() for _ in range(5)))
        wanted = {e.stream.name: e.revision for e in room.objects.list("configmaps", "shop") if e.stream.name[0] == "m"}
        for copy in copies:
            assert copy.objects == wanted

    inside(story, seed)


def test_a_day_of_reconnects_delivers_each_event_once_and_in_order() -> None:
    """24 simulated hours; connections last for some minutes and end at any point, also in the middle of a burst."""

    async def story(room: Room) -> None:
        house, chance = House(room), Random(24)
        start = room.log.head

        async def write() -> None:
            number = 0
            while room.clock.monotonic() < began + 24 * 3600:
                for _ in range(chance.choice((1, 1, 2, 30))):
                    number += 1
                    await room.create("configmaps", config(f"w{number}"))
                await room.clock.sleep(chance.expovariate(1 / 300))
            await room.create("configmaps", config("last"))

        began = room.clock.monotonic()
        writing = asyncio.ensure_future(write())
        seen, name, connections = [start], "", 0
        while name != "last":
            connections += 1
            async with house.follow(EVENTS, after=seen[-1]) as follower:
                for _ in range(chance.randint(1, 60)):
                    event = await follower.data("events")
                    name = event["name"]
                    seen.append(event["revision"])
                    if name == "last":
                        break
            # Whatever had come and was not read yet is lost with the connection.
            await room.clock.sleep(chance.choice((0, 0, 1, 600, 1200)))
        await writing
        assert seen == list(range(start, room.log.head + 1))
        assert connections > 30 and room.clock.monotonic() - began >= 24 * 3600

    inside(story)
