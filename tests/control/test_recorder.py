"""The recorder: what repeats is counted, what floods is dropped, and nobody waits."""

from typing import Any

from ksql.base.documents import Document
from ksql.recorder import (
    BURST_NOTES,
    COMBINE_AFTER,
    COMBINED,
    NORMAL,
    REFILL_SECONDS,
    WARNING,
    Note,
    Recorder,
)
from tests.control.bench import Bench, benched


async def subject(bench: Bench, name: str = "a") -> Document:
    return await bench.client.create("configmaps", {"metadata": {"name": name, "namespace": "default"}})


def recorded(bench: Bench, namespace: str = "default") -> list[Document]:
    return [entry.document for entry in bench.objects.list("events", namespace)]


def recorder(bench: Bench, **more: Any) -> Recorder:
    return Recorder(bench.client, "tester", bench.clock, **more)


def test_a_note_becomes_an_event_that_kubectl_describe_finds() -> None:
    async def story(bench: Bench) -> None:
        about = await subject(bench)
        says = recorder(bench, host="node-1")
        says.say(Note(about, NORMAL, "Did", "did it", cause=int(about["metadata"]["resourceVersion"])))
        await says.flushed()
        [event] = recorded(bench)
        assert event["involvedObject"] == {
            "kind": "ConfigMap", "namespace": "default", "name": "a", "uid": about["metadata"]["uid"],
            "apiVersion": "v1", "resourceVersion": about["metadata"]["resourceVersion"],
        }  # fmt: skip
        said = [event[key] for key in ("type", "reason", "message", "count")]
        assert said == ["Normal", "Did", "did it", 1]
        assert event["source"] == {"component": "tester", "host": "node-1"}
        assert event["firstTimestamp"] == event["lastTimestamp"]
        stored = await bench.log.event(int(event["metadata"]["resourceVersion"]))
        assert stored is not None
        assert stored.cause == int(about["metadata"]["resourceVersion"])

    benched(story)


def test_the_same_note_again_is_counted_on_the_same_event() -> None:
    async def story(bench: Bench) -> None:
        about, says = await subject(bench), recorder(bench)
        for _ in range(3):
            says.say(Note(about, WARNING, "Failed", "again"))
            await says.flushed()
            await bench.clock.sleep(60)
        [event] = recorded(bench)
        assert event["count"] == 3
        assert event["firstTimestamp"] < event["lastTimestamp"]

    benched(story)


def test_notes_that_differ_only_in_their_message_are_combined_after_a_while() -> None:
    async def story(bench: Bench) -> None:
        about, says = await subject(bench), recorder(bench)
        for number in range(COMBINE_AFTER + 5):
            says.say(Note(about, NORMAL, "Created", f"Created pod: p{number}"))
        await says.flushed()
        events = recorded(bench)
        assert len(events) == COMBINE_AFTER + 1
        [combined] = [event for event in events if event["message"].startswith(COMBINED)]
        assert combined["count"] == 5

    benched(story)


def test_a_flood_about_one_object_is_dropped_and_others_are_still_heard() -> None:
    async def story(bench: Bench) -> None:
        loud, quiet, says = await subject(bench, "loud"), await subject(bench, "quiet"), recorder(bench)
        for number in range(100):
            says.say(Note(loud, NORMAL, f"R{number}", "x"))
        says.say(Note(quiet, NORMAL, "Did", "x"))
        await says.flushed()
        about = [event["involvedObject"]["name"] for event in recorded(bench)]
        assert about.count("loud") == BURST_NOTES
        assert about.count("quiet") == 1
        assert says.dropped == 100 - BURST_NOTES
        await bench.clock.sleep(REFILL_SECONDS)
        says.say(Note(loud, NORMAL, "Later", "x"))
        await says.flushed()
        assert len(recorded(bench)) == BURST_NOTES + 2

    benched(story)


def test_a_note_about_something_without_namespace_is_kept_in_default() -> None:
    async def story(bench: Bench) -> None:
        about = await bench.client.create("namespaces", {"metadata": {"name": "shop"}})
        says = recorder(bench)
        says.say(Note(about, NORMAL, "Did", "x"))
        await says.flushed()
        assert [event["involvedObject"]["name"] for event in recorded(bench)] == ["shop"]

    benched(story)


def test_a_note_that_nobody_can_store_is_dropped_and_the_next_is_written() -> None:
    async def story(bench: Bench) -> None:
        about, says = await subject(bench), recorder(bench)
        gone = {**about, "metadata": {**about["metadata"], "namespace": "absent", "uid": "other"}}
        says.say(Note(gone, NORMAL, "Did", "x"))
        says.say(Note(about, NORMAL, "Did", "x"))
        await says.flushed()
        assert len(recorded(bench)) == 1
        assert says.dropped == 1

    benched(story)


def test_an_event_that_was_deleted_begins_again() -> None:
    async def story(bench: Bench) -> None:
        about, says = await subject(bench), recorder(bench)
        says.say(Note(about, NORMAL, "Did", "x"))
        await says.flushed()
        [event] = recorded(bench)
        await bench.client.delete("events", "default", event["metadata"]["name"])
        await bench.clock.sleep(5)
        says.say(Note(about, NORMAL, "Did", "x"))
        await says.flushed()
        assert [event["count"] for event in recorded(bench)] == [1]

    benched(story)
