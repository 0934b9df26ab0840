"""Lists of a kind filtered by any field and sorted by any value, now and at a moment."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.history.story import ALICE
from tests.serve.gql_door import Door, opened

ORDERED = """query($by: [ObjectOrder!], $first: Int, $after: ID, $last: Int, $before: ID) {
  pods(namespace: "shop", orderBy: $by, first: $first, after: $after, last: $last, before: $before) {
    nodes { name } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } }"""


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with opened() as found:
        await fill(found)
        yield found


async def fill(door: Door) -> None:
    for name, memory, priority, phase, restarts, labels in (
        ("api-1", "512Mi", 5, "Running", 0, {"app": "api", "tier": "front"}),
        ("api-2", "1Gi", 7, "Running", 3, {"app": "api"}),
        ("db-0", "2Gi", None, "Pending", 0, {"app": "db"}),
        ("job-x", None, 1, "Failed", 1, None),
    ):
        containers = [{"name": "main", "image": f"shop/{name}:1"}, {"name": "side", "image": "proxy:2"}]
        if memory is not None:
            containers[0]["resources"] = {"requests": {"memory": memory, "cpu": "250m"}}  # type: ignore[assignment]
        spec: dict[str, Any] = {"containers": containers, "hostNetwork": name == "db-0"}
        if priority is not None:
            spec["priority"] = priority
        conditions = [{"type": "Ready", "status": "True" if phase == "Running" else "False", "reason": phase}]
        status = {
            "phase": phase, "conditions": conditions, "startTime": f"2026-11-23T0{restarts}:00:00Z",
            "containerStatuses": [{"name": "main", "restartCount": restarts}],
        }  # fmt: skip
        await door.story.create(
            "pods", "v1", "Pod", name, ALICE, namespace="shop", labels=labels, spec=spec, status=status
        )


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("{}", "api-1 api-2 db-0 job-x"),
        ('{status: {phase: {eq: "Running"}}}', "api-1 api-2"),
        ('{status: {phase: {ne: "Running"}}}', "db-0 job-x"),
        ('{status: {phase: {in: ["Failed", "Pending"]}}}', "db-0 job-x"),
        ('{status: {phase: {notIn: ["Failed", "Pending"]}}}', "api-1 api-2"),
        ('{metadata: {name: {like: "api-*"}}}', "api-1 api-2"),
        ('{metadata: {name: {notLike: "api-*", endsWith: "x"}}}', "job-x"),
        ('{metadata: {name: {startsWith: "db", contains: "-"}}}', "db-0"),
        ("{spec: {priority: {gt: 5}}}", "api-2"),
        ("{spec: {priority: {gte: 5, lt: 7}}}", "api-1"),
        ("{spec: {priority: {isNull: true}}}", "db-0"),
        ("{spec: {priority: {ne: 5}}}", "api-2 db-0 job-x"),
        ("{spec: {priority: {lte: 5}}}", "api-1 job-x"),
        ("{spec: {hostNetwork: {eq: true}}}", "db-0"),
        ("{spec: {priority: null}, metadata: null}", "api-1 api-2 db-0 job-x"),
        ('{spec: {containers: {some: {image: {eq: "shop/db-0:1"}}}}}', "db-0"),
        ('{spec: {containers: {none: {image: {like: "shop/api*"}}}}}', "db-0 job-x"),
        ('{spec: {containers: {every: {image: {contains: ":"}}, size: {eq: 2}}}}', "api-1 api-2 db-0 job-x"),
        ("{spec: {containers: {size: {gt: 2}}}}", ""),
        ("{spec: {initContainers: {every: {name: {eq: \"a\"}}}}}", "api-1 api-2 db-0 job-x"),
        ('{metadata: {labels: {has: ["tier"]}}}', "api-1"),
        ('{metadata: {labels: {hasNot: ["app"]}}}', "job-x"),
        ("{metadata: {labels: {isNull: true}}}", "job-x"),
        ('{metadata: {labels: {entries: [{key: "app", value: {in: ["db", "api"]}}, '
         '{key: "tier", value: {isNull: true}}]}}}', "api-2 db-0"),
        ('{spec: {containers: {some: {resources: {requests: {entries: [{key: "memory", quantity: {gt: "1000M"}}]}}}}}}',
         "api-2 db-0"),
        ('{status: {containerStatuses: {some: {restartCount: {gt: 0}}}}}', "api-2 job-x"),
        ('{status: {startTime: {after: "2026-11-23T00:30:00Z"}}}', "api-2 job-x"),
        ('{status: {startTime: {before: "2026-11-23T01:00:00Z"}}}', "api-1 db-0"),
        ('{or: [{status: {phase: {eq: "Failed"}}}, {spec: {priority: {eq: 7}}}]}', "api-2 job-x"),
        ('{not: {status: {phase: {eq: "Running"}}}, and: [{spec: {priority: {isNull: false}}}]}', "job-x"),
        ('{or: []}', ""),
    ],
)  # fmt: skip
async def test_a_list_is_filtered_by_what_its_fields_hold(door: Door, where: str, names: str) -> None:
    found = (await door.ask('{ pods(namespace: "shop", where: %s) { nodes { name } totalCount } }' % where))["pods"]  # noqa: UP031
    assert " ".join(node["name"] for node in found["nodes"]) == names
    assert found["totalCount"] == len(names.split())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ('phases: ["Pending", "Failed"]', "db-0 job-x"),
        ("phases: []", ""),
        ('conditions: [{type: "Ready"}]', "api-1 api-2"),
        ('conditions: [{type: "Ready", status: "False", reason: "Failed"}]', "job-x"),
        ('namePattern: "*-1", labelSelector: "app=api"', "api-1"),
        ('labelSelector: "app!=api", fieldSelector: "status.phase=Pending"', "db-0"),
        ('where: {spec: {priority: {gt: 1}}}, phases: ["Running"], namePattern: "*2"', "api-2"),
    ],
)
async def test_other_ways_to_choose_hold_together_with_where(door: Door, arguments: str, names: str) -> None:
    found = (await door.ask('{ pods(namespace: "shop", %s) { nodes { name } } }' % arguments))["pods"]  # noqa: UP031
    assert " ".join(node["name"] for node in found["nodes"]) == names


@pytest.mark.parametrize(
    ("path", "direction", "names"),
    [
        ("spec.priority", "ASC", "job-x api-1 api-2 db-0"),
        ("spec.priority", "DESC", "api-2 api-1 job-x db-0"),
        ("spec.containers[main].resources.requests[memory]", "DESC", "db-0 api-2 api-1 job-x"),
        ("status.phase", "ASC", "job-x db-0 api-1 api-2"),
        ("metadata.labels[app]", "DESC", "db-0 api-1 api-2 job-x"),
        ("metadata.name", "DESC", "job-x db-0 api-2 api-1"),
    ],
)
async def test_a_list_is_sorted_by_any_value_and_paged_in_that_order(
    door: Door, path: str, direction: str, names: str
) -> None:
    by = [{"path": path, "direction": direction}]
    whole = (await door.ask(ORDERED, by=by))["pods"]
    assert " ".join(node["name"] for node in whole["nodes"]) == names
    first = (await door.ask(ORDERED, by=by, first=3))["pods"]
    rest = (await door.ask(ORDERED, by=by, first=3, after=first["pageInfo"]["endCursor"]))["pods"]
    assert " ".join(node["name"] for node in first["nodes"] + rest["nodes"]) == names
    assert first["pageInfo"]["hasNextPage"] and not rest["pageInfo"]["hasNextPage"]
    back = (await door.ask(ORDERED, by=by, last=2, before=rest["pageInfo"]["startCursor"]))["pods"]
    assert " ".join(node["name"] for node in back["nodes"]) == " ".join(names.split()[1:3])
    assert back["pageInfo"]["hasPreviousPage"] and back["pageInfo"]["hasNextPage"]


async def test_filters_and_orders_hold_at_a_moment(door: Door) -> None:
    query = """query($at: Moment) { pods(at: $at, where: {status: {phase: {eq: "Running"}}},
      orderBy: [{path: "metadata.name", direction: DESC}]) { nodes { name } revision } }"""
    now = (await door.ask(query))["pods"]
    assert [node["name"] for node in now["nodes"]] == ["web-abc-3", "web-abc-2", "api-2", "api-1"]
    up = door.story.marks["up"]
    then = (await door.ask(query, at=up))["pods"]
    assert ([node["name"] for node in then["nodes"]], then["revision"]) == (["web-abc-2", "web-abc-1"], up)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('orderBy: [{path: "spec.nodName"}]', 'there is no field "nodName" in spec.nodName; did you mean nodeName?'),
        ('orderBy: [{path: "spec.containers"}]', '"spec.containers" is no single value: go on to one, such as '
         "spec.containers[0]"),
        ('orderBy: [{path: "metadata.labels"}]', '"metadata.labels" is no single value: go on to one, such as '
         "metadata.labels[key]"),
        ('orderBy: [{path: "spec..x"}]', '"spec..x" is no field path'),
        ('where: {status: {startTime: {after: "r7"}}}', "r7 is a revision: a field is compared with a time"),
        ('after: "%%%"', '"%%%" is no cursor of this connection'),
        ('orderBy: [{path: "status.phase"}], after: "cwBbXQBhAGI"', "is no cursor of a list in this order"),
        ("first: -1", "first must not be negative"),
        ("first: 10001", "first is at most 10000: page on with a cursor"),
        ("first: 1, last: 1", "give first or last, not both"),
        ('fieldSelector: "a=b"', "field label not supported"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_with_the_reason(door: Door, arguments: str, message: str) -> None:
    error = await door.error("{ pods(%s) { nodes { name } } }" % arguments)  # noqa: UP031
    assert message in error["message"]
    assert error["extensions"]["code"] in ("BAD_USER_INPUT", "LIMIT_EXCEEDED")


async def test_an_unknown_field_in_a_filter_is_refused_with_near_names(door: Door) -> None:
    error = await door.error('{ pods(where: {spec: {nodName: {eq: "a"}}}) { totalCount } }')
    assert "Did you mean 'nodeName'" in error["message"]


async def test_a_quantity_that_is_none_is_refused(door: Door) -> None:
    where = '{spec: {overhead: {entries: [{key: "cpu", quantity: {eq: "much"}}]}}}'
    error = await door.error("{ pods(where: %s) { totalCount } }" % where)  # noqa: UP031
    assert "a Quantity is a number with a unit" in error["message"]


async def test_a_filter_cannot_ask_about_what_is_masked(door: Door) -> None:
    data = '{entries: [{key: "password", value: {startsWith: "masked, "}}]}'
    found = (await door.ask("{ secrets(where: {data: %s}) { totalCount } }" % data))["secrets"]  # noqa: UP031
    assert found["totalCount"] == 1, "the mask is all that a filter sees"
