"""The controller loop over the real pipeline: causes, own writes, failures, restarts."""

import asyncio
from typing import Any

import pytest

from ksql.control.plan import ERROR, NAME, NOTHING, Amend, Burst, Create, Plan, Remark, removal
from ksql.control.supervisor import Controllers, Standing
from ksql.control.trigger import INTENT, Trigger
from ksql.recorder import NORMAL, WARNING
from ksql.schema import catalogue as catalogues
from ksql.schema.errors import ConflictError, ForbiddenError, TimedOutError
from tests.control.bench import Bench, benched


def config(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_every_write_of_an_attempt_carries_the_trigger_of_its_key() -> None:
    async def story(bench: Bench) -> None:
        async def think(key: str) -> Plan:
            if bench.informers.of("configmaps").get("default", "second"):
                return NOTHING
            return Plan([Create("configmaps", config("first")), Create("configmaps", config("second"))])

        controller = bench.run(think)
        controller.queue.add("x", Trigger(INTENT, 3))
        await bench.clock.sleep(1)
        events = await bench.log.read(0, 100)
        written = [event for event in events if event.stream.resource == "configmaps"]
        assert [(event.stream.name, event.cause) for event in written] == [("first", 3), ("second", 3)]

    benched(story)


def test_the_next_round_sees_what_the_last_one_wrote() -> None:
    async def story(bench: Bench) -> None:
        maps = bench.informers.of("configmaps")
        seen: list[list[str]] = []

        async def think(key: str) -> Plan:
            names = sorted(each["metadata"]["name"] for each in maps.list("default"))
            seen.append(names)
            if len(seen) <= 3:
                name = f"c{len(seen)}"
                return Plan([Create("configmaps", config(name))], again_seconds=0.0)
            if names:
                document = maps.get("default", names[0])
                assert document is not None
                return Plan([removal("configmaps", document)], again_seconds=0.0)
            return NOTHING

        controller = bench.run(think)
        controller.queue.add("x")
        await bench.clock.sleep(1)
        assert seen == [[], ["c1"], ["c1", "c2"], ["c1", "c2", "c3"], ["c2", "c3"], ["c3"], []]

    benched(story)


def test_a_key_that_fails_backs_off_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: Bench) -> None:
        rounds: dict[str, int] = {"good": 0, "bad": 0}

        async def think(key: str) -> Plan:
            rounds[key] += 1
            if key == "bad":
                raise RuntimeError("broken")
            return NOTHING

        controller = bench.run(think, workers=1)
        for _ in range(100):
            controller.queue.add("good")
            if not rounds["bad"]:
                controller.queue.add("bad")
            await bench.clock.sleep(0.1)
        assert rounds["good"] == 100
        assert 5 < rounds["bad"] < 15

    benched(story)
    assert "broken" in caplog.text


def test_a_refused_burst_is_tried_once_and_said_once_per_attempt() -> None:
    async def story(bench: Bench) -> None:
        attempts = 0
        regarding = await bench.client.create("configmaps", config("about"))

        async def think(key: str) -> Plan:
            nonlocal attempts
            attempts += 1
            bad = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "absent"}}
            refused = Remark(regarding, WARNING, "FailedCreate", f"Error creating: {ERROR}")
            return Plan([Burst([Create("configmaps", bad, refused=refused)] * 50)])

        controller = bench.run(think)
        controller.queue.add("x", Trigger(INTENT, 1))
        await bench.clock.sleep(0.004)
        assert attempts == 1
        assert 'namespaces "absent" not found' in controller.refusals["x"].message
        await controller.recorder.flushed()
        [event] = bench.objects.list("events", "default")
        assert event.document["message"] == 'Error creating: namespaces "absent" not found'

    benched(story)


def test_remarks_name_what_was_made_and_are_caused_by_it() -> None:
    async def story(bench: Bench) -> None:
        regarding = await bench.client.create("configmaps", config("about"))
        document = config("")
        document["metadata"] = {"generateName": "made-", "namespace": "default"}
        remark = Remark(regarding, NORMAL, "SuccessfulCreate", f"Created: {NAME}")

        async def think(key: str) -> Plan:
            return Plan([Create("configmaps", document, remark=remark)])

        controller = bench.run(think)
        controller.queue.add("x", Trigger(INTENT, 1))
        await bench.clock.sleep(1)
        await controller.recorder.flushed()
        [made] = [each for each in bench.objects.list("configmaps", "default") if each.stream.name != "about"]
        [event] = bench.objects.list("events", "default")
        assert event.document["message"] == f"Created: {made.stream.name}"
        assert (await bench.log.event(event.revision)).cause == made.revision

    benched(story)


def test_a_timer_keeps_the_revision_that_set_it() -> None:
    async def story(bench: Bench) -> None:
        rounds = 0

        async def think(key: str) -> Plan:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                return Plan(again_seconds=60.0)
            return Plan([Create("configmaps", config("late"))]) if rounds == 2 else NOTHING

        controller = bench.run(think)
        controller.queue.add("x", Trigger(INTENT, 4))
        await bench.clock.sleep(61)
        late = bench.objects.get("configmaps", "default", "late")
        assert late is not None
        assert (await bench.log.event(late.revision)).cause == 4

    benched(story)


def test_deleting_what_is_gone_already_is_no_failure() -> None:
    async def story(bench: Bench) -> None:
        document = await bench.client.create("configmaps", config("a"))
        await bench.client.delete("configmaps", "default", "a")
        rounds = 0

        async def think(key: str) -> Plan:
            nonlocal rounds
            rounds += 1
            return Plan([removal("configmaps", document)])

        controller = bench.run(think)
        controller.queue.add("x")
        await bench.clock.sleep(5)
        assert rounds == 1

    benched(story)


def test_changing_what_is_gone_calls_for_another_plan() -> None:
    async def story(bench: Bench) -> None:
        rounds = 0

        async def think(key: str) -> Plan:
            nonlocal rounds
            rounds += 1
            return Plan([Amend("configmaps", "default", "a", {"data": None})]) if rounds == 1 else NOTHING

        controller = bench.run(think)
        controller.queue.add("x")
        await bench.clock.sleep(5)
        assert rounds == 2

    benched(story)


def test_a_conflict_is_tried_again_at_once() -> None:
    async def story(bench: Bench) -> None:
        rounds = 0

        async def think(key: str) -> Plan:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                raise ConflictError("the object has been modified")
            return NOTHING

        controller = bench.run(think)
        controller.queue.add("x")
        await bench.clock.sleep(0.006)
        assert rounds == 2

    benched(story)


def test_a_creation_in_a_namespace_that_ends_is_given_up_quietly() -> None:
    async def story(bench: Bench) -> None:
        held = {"name": "c", "namespace": "shop", "finalizers": ["example.com/hold"]}
        await bench.client.create("namespaces", {"metadata": {"name": "shop"}})
        await bench.client.create("configmaps", {"metadata": held})
        await bench.client.delete("namespaces", "", "shop")
        rounds = 0

        async def think(key: str) -> Plan:
            nonlocal rounds
            rounds += 1
            return Plan([Create("configmaps", {"metadata": {"name": "x", "namespace": "shop"}})])

        controller = bench.run(think)
        controller.queue.add("x")
        await bench.clock.sleep(60)
        assert rounds == 1
        assert controller.queue.is_idle
        assert not controller.refusals

    benched(story)


class Mortal:
    """A part that dies as often as told."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        if self.runs <= self.deaths:
            raise ForbiddenError("not today")
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        pass


def test_a_controller_that_dies_is_started_anew_and_the_others_run_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(bench: Bench) -> None:
        mortal = Mortal(3)
        controllers = Controllers(
            bench.connect, bench.clock, catalogue=catalogues.load(), more=[("mortal", lambda kit: mortal)]
        )
        await controllers.start()
        await bench.clock.sleep(0.1)
        assert not controllers.is_healthy
        standing: Standing = controllers.standings[-1]
        assert "not today" in standing.last_error
        assert all(each.is_running for each in controllers.standings[:-1])
        await bench.clock.sleep(60)
        assert controllers.is_healthy
        assert mortal.runs == 4
        deaths = controllers.kit.metrics.registry.get_sample_value(
            "controller_restarts_total", {"name": "mortal"}
        )
        assert deaths == 3
        await controllers.aclose()

    benched(story)
    assert "mortal died" in caplog.text


def test_the_queue_of_a_controller_that_died_in_the_middle_keeps_the_key() -> None:
    async def story(bench: Bench) -> None:
        rounds = 0

        async def think(key: str) -> Plan:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                await asyncio.Event().wait()
            return NOTHING

        controller = bench.run(think, workers=1)
        controller.queue.add("x")
        await bench.clock.sleep(1)
        bench.tasks[0].cancel()
        await asyncio.gather(bench.tasks[0], return_exceptions=True)
        bench.tasks.append(asyncio.create_task(controller.run()))
        await bench.clock.sleep(1)
        assert rounds == 2

    benched(story)


def test_a_write_whose_answer_was_lost_is_looked_for_before_it_is_made_again() -> None:
    async def story(bench: Bench) -> None:
        maps = bench.informers.of("configmaps")
        create = bench.client.create
        lost = [True]

        async def answerless(*args: Any, **more: Any) -> Any:
            stored = await create(*args, **more)
            if lost.pop() if lost else False:
                raise TimedOutError("the answer was lost")
            return stored

        async def think(key: str) -> Plan:
            if any(each["metadata"]["name"].startswith("made-") for each in maps.list("default")):
                return NOTHING
            document = config("x")
            document["metadata"] = {"generateName": "made-", "namespace": "default"}
            return Plan([Create("configmaps", document)])

        controller = bench.run(think)
        controller.client.create = answerless  # type: ignore[method-assign]
        # The watch tells nothing for a while.
        bench.informers._running["configmaps"].cancel()
        controller.queue.add("x", Trigger(INTENT, 3))
        await bench.clock.sleep(5)
        listing = await bench.client.list("configmaps", "default")
        assert len([each for each in listing.items if each["metadata"]["name"].startswith("made-")]) == 1

    benched(story)
