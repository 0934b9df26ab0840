"""Lists: order, selectors, pages of one moment, and how far back they may look."""

import pytest

from ksql.schema.errors import BadRequestError, GoneError, InvalidError, TimedOutError
from ksql.state.window import WINDOW_SECONDS
from ksql.verbs.paging import LISTINGS_MAX, make_token, read_token
from tests.verbs.room import Room, config, inside, pod


async def fill(room: Room, count: int = 7, namespace: str = "shop") -> None:
    for index in range(count):
        body = config(f"c{index}", namespace)
        body["metadata"]["labels"] = {"odd": str(index % 2)}
        await room.create("configmaps", body)


async def test_a_list_is_ordered_by_namespace_and_name(room: Room) -> None:
    for namespace, name in (("shop", "b"), ("default", "z"), ("shop", "a"), ("shop", "b-1")):
        await room.create("configmaps", config(name, namespace))
    page = await room.page("configmaps")
    found = [(e.stream.namespace, e.stream.name) for e in page.entries]
    assert found == [("default", "z"), ("shop", "a"), ("shop", "b"), ("shop", "b-1")]
    assert page.revision == room.log.head


async def test_selectors_choose_by_label_and_field(room: Room) -> None:
    await fill(room)
    assert await room.names("configmaps", "shop", label_selector="odd=1") == ["c1", "c3", "c5"]
    assert await room.names("configmaps", "shop", label_selector="odd in (0),!x") == ["c0", "c2", "c4", "c6"]
    assert await room.names("configmaps", field_selector="metadata.name=c2") == ["c2"]
    assert await room.names("configmaps", field_selector="metadata.namespace!=shop") == []
    await room.create("pods", pod("a", node="node-1"))
    await room.create("pods", pod("b"))
    assert await room.names("pods", field_selector="spec.nodeName=node-1") == ["a"]
    assert await room.names("pods", field_selector="spec.nodeName=,status.phase=Pending") == ["b"]


async def test_a_field_that_cannot_be_selected_by_is_refused(room: Room) -> None:
    with pytest.raises(BadRequestError, match="is not a known field selector"):
        await room.page("configmaps", field_selector="data.colour=blue")


async def test_pages_are_of_one_moment_whatever_happens_between(room: Room) -> None:
    await fill(room)
    first = await room.page("configmaps", "shop", limit=3)
    assert [e.stream.name for e in first.entries] == ["c0", "c1", "c2"]
    assert first.remaining == 4
    await room.delete("configmaps", "shop", "c4")
    await room.create("configmaps", config("c3-5"))
    await room.patch("configmaps", "shop", "c5", {"data": {"colour": "red"}})
    second = await room.page("configmaps", "shop", limit=3, continue_token=first.continue_token)
    third = await room.page("configmaps", "shop", limit=3, continue_token=second.continue_token)
    names = [e.stream.name for page in (second, third) for e in page.entries]
    assert names == ["c3", "c4", "c5", "c6"]
    assert second.entries[2].document["data"] == {"colour": "blue"}
    assert {first.revision, second.revision, third.revision} == {first.revision}
    assert third.continue_token == "" and third.remaining is None


async def test_a_moment_that_memory_no_longer_holds_is_read_from_the_log(room: Room) -> None:
    await fill(room)
    first = await room.page("configmaps", limit=3)
    for index in range(LISTINGS_MAX + 1):
        await room.create("configmaps", config(f"more-{index}", "default"))
        await room.page("configmaps", limit=1)
    rest = await room.page("configmaps", continue_token=first.continue_token)
    assert [e.stream.name for e in (*first.entries, *rest.entries)] == [f"c{i}" for i in range(7)]


async def test_pages_of_a_selection_count_what_is_selected(room: Room) -> None:
    await fill(room)
    first = await room.page("configmaps", "shop", limit=2, label_selector="odd=0")
    assert [e.stream.name for e in first.entries] == ["c0", "c2"] and first.remaining is None
    second = await room.page(
        "configmaps", "shop", limit=2, label_selector="odd=0", continue_token=first.continue_token
    )
    assert [e.stream.name for e in second.entries] == ["c4", "c6"]
    assert second.continue_token == "", "nothing that is selected follows"


async def test_pages_of_all_namespaces_go_on_behind_the_namespace(room: Room) -> None:
    for namespace in ("default", "shop"):
        await fill(room, 3, namespace)
    names, token = [], ""
    while True:
        page = await room.page("configmaps", limit=2, continue_token=token)
        names += [(e.stream.namespace, e.stream.name) for e in page.entries]
        if not (token := page.continue_token):
            break
    assert names == [(ns, f"c{i}") for ns in ("default", "shop") for i in range(3)]


def test_an_old_token_expires_with_another_that_goes_on_from_the_present() -> None:
    async def test(room: Room) -> None:
        await fill(room)
        first = await room.page("configmaps", "shop", limit=3)
        for _ in range(3):
            await room.clock.sleep(WINDOW_SECONDS)
            await room.create("configmaps", {"metadata": {"generateName": "new-"}}, namespace="shop")
        with pytest.raises(GoneError) as caught:
            await room.page("configmaps", "shop", limit=3, continue_token=first.continue_token)
        status = caught.value.status()
        assert (status["code"], status["reason"]) == (410, "Expired")
        assert status["message"].startswith("The provided continue parameter is too old")
        fresh = await room.page("configmaps", "shop", continue_token=status["metadata"]["continue"])
        assert [e.stream.name for e in fresh.entries][:4] == ["c3", "c4", "c5", "c6"]
        assert fresh.revision == room.log.head

    inside(test)


@pytest.mark.parametrize("token", ["!", "bm8gdG9rZW4", "eyJ2IjoieCJ9", "W10", "AAAA", "a"])
async def test_a_token_that_is_none_is_refused(room: Room, token: str) -> None:
    with pytest.raises(BadRequestError, match="continue key is not valid"):
        await room.page("configmaps", limit=1, continue_token=token)


def test_a_token_is_read_as_it_was_made() -> None:
    assert read_token(make_token(17, "shop\x01web\0")) == (17, "shop\x01web\0")


async def test_a_token_from_the_future_is_refused(room: Room) -> None:
    with pytest.raises(TimedOutError):
        await room.page("configmaps", limit=1, continue_token=make_token(10_000, "a"))


async def test_an_exact_revision_answers_as_it_was(room: Room) -> None:
    await fill(room, 2)
    then = room.log.head
    await room.delete("configmaps", "shop", "c0")
    await room.create("configmaps", config("c9"))
    page = await room.page("configmaps", resource_version=str(then), resource_version_match="Exact")
    assert [e.stream.name for e in page.entries] == ["c0", "c1"] and page.revision == then
    # With a limit and no rule it means the same.
    first = await room.page("configmaps", resource_version=str(then), limit=1)
    rest = await room.page("configmaps", continue_token=first.continue_token)
    assert [e.stream.name for e in (*first.entries, *rest.entries)] == ["c0", "c1"]


async def test_any_revision_that_is_not_older_will_do(room: Room) -> None:
    await fill(room, 2)
    for asked in ("0", "1", str(room.log.head)):
        page = await room.page("configmaps", resource_version=asked, resource_version_match="NotOlderThan")
        assert page.revision == room.log.head and len(page.entries) == 2


def test_a_revision_that_does_not_come_times_out() -> None:
    async def test(room: Room) -> None:
        before = room.clock.monotonic()
        with pytest.raises(TimedOutError) as caught:
            await room.page("configmaps", resource_version="9999")
        assert room.clock.monotonic() - before == pytest.approx(3.0)
        status = caught.value.status()
        assert status["message"] == f"Timeout: Too large resource version: 9999, current: {room.log.head}"
        assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"

    inside(test)


def test_a_revision_that_comes_in_time_is_waited_for() -> None:
    import asyncio

    async def test(room: Room) -> None:
        wanted = room.log.head + 1
        waiting = asyncio.create_task(room.page("configmaps", resource_version=str(wanted)))
        await room.clock.sleep(1)
        await room.create("configmaps", config())
        assert len((await waiting).entries) == 1

    inside(test)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"resource_version_match": "Exact"}, "is forbidden unless resourceVersion is provided"),
        ({"resource_version_match": "Exact", "resource_version": "0"},
         'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'),
        ({"resource_version_match": "Newest", "resource_version": "1"},
         'Unsupported value: "Newest": supported values: "Exact", "NotOlderThan"'),
        ({"send_initial_events": True}, "sendInitialEvents is forbidden for list"),
    ],
)  # fmt: skip
async def test_options_that_contradict_each_other_are_invalid(
    room: Room, selection: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        await room.page("configmaps", **selection)
    assert message in caught.value.message
    assert caught.value.message.startswith('ListOptions.meta.k8s.io "" is invalid: ')


async def test_a_resource_version_is_a_number(room: Room) -> None:
    with pytest.raises(BadRequestError, match="invalid syntax"):
        await room.page("configmaps", resource_version="yesterday")


async def test_objects_are_answered_in_the_version_that_is_asked_for(room: Room) -> None:
    body = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "targetCPUUtilizationPercentage": 80,
        },
    }
    made = await room.create("autoscaling/v1/horizontalpodautoscalers", body)
    assert made["apiVersion"] == "autoscaling/v1" and made["spec"]["targetCPUUtilizationPercentage"] == 80
    page = await room.page("autoscaling/v2/horizontalpodautoscalers")
    (entry,) = page.entries
    assert entry.document["apiVersion"] == "autoscaling/v2" and "metrics" in entry.document["spec"]
    (old,) = (await room.page("autoscaling/v1/horizontalpodautoscalers")).entries
    assert old.document == made and old.body.startswith(b'{"apiVersion":"autoscaling/v1"')
    patched = await room.patch(
        "autoscaling/v1/horizontalpodautoscalers", "shop", "web", {"spec": {"maxReplicas": 5}}
    )
    assert patched["spec"]["maxReplicas"] == 5 and patched["apiVersion"] == "autoscaling/v1"
