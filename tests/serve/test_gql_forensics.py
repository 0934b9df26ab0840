"""What searches, blames, comparisons, suspects and undos tell those who may not see everything, and nobody."""

# ruff: noqa: UP031 - queries are full of braces, which only % leaves alone.

import pytest

from tests.history.story import BOB, SECRET_VALUE
from tests.serve.gql_door import opened
from tests.serve.test_gql_authorization import limited

SECRET = '{kind: "Secret", namespace: "default", name: "login"}'


@pytest.mark.parametrize(
    "query",
    [
        "{blame(ref: %s){revision}}" % SECRET,
        "{suspects(ref: %s){complaint}}" % SECRET,
        '{search(query: "object:secret/login", namespace: "default"){hits{cursor}}}',
        '{search(query: "owner:deployment/web", namespace: "default"){hits{cursor}}}',
    ],
)  # fmt: skip
async def test_a_named_thing_is_forbidden(query: str) -> None:
    async with limited("configmaps") as door:
        error = await door.error(query)
        assert error["extensions"]["code"] == "FORBIDDEN"


async def test_what_one_may_not_list_is_found_by_no_search_and_no_comparison() -> None:
    async with limited("configmaps") as door:
        marks = door.story.marks
        found = (await door.ask('{search(query: "-verb:patch", first: 100){hits{event{revision}}}}'))["search"]
        assert [hit["event"]["revision"] for hit in found["hits"]] == [marks["again"], marks["gone"], marks["config"]]
        changes = (await door.ask('{changes(from: "r2"){objects{resource}}}'))["changes"]
        assert changes["objects"] == [{"resource": "configmaps"}]
        error = await door.error("mutation{undo(revisions: [%d]){applied}}" % marks["rotated"])
        assert error["message"] == f"there is no event at r{marks['rotated']}"


async def test_suspects_are_silent_of_what_one_may_not_list() -> None:
    ref = '{kind: "Deployment", namespace: "default", name: "web"}'
    query = "{suspects(ref: %s, first: 20){suspects{event{resource}}}}" % ref
    async with limited("deployments") as door:
        found = (await door.ask(query))["suspects"]["suspects"]
        assert {suspect["event"]["resource"] for suspect in found} == {"deployments.apps"}


@pytest.mark.parametrize(
    "query",
    [
        "{blame(ref: %s, managedFields: true){lines{text}}}" % SECRET,
        '{search(query: "field:data.password"){hits{fields{text old new} event{diff{text}}}}}',
        '{changes(from: "r16", query: "kind:Secret"){objects{diff{text changes{old new}}}}}',
        "{suspects(ref: %s){complaint suspects{reasons changes{text old new}}}}" % SECRET,
    ],
)  # fmt: skip
async def test_the_values_of_secrets_are_masked(query: str) -> None:
    async with opened() as door:
        told = str(await door.ask(query))
        assert "login" in told or "password" in told or "masked" in told
        for value in (SECRET_VALUE, SECRET_VALUE[::-1], "Y29ycmVjd", "MTAw"):
            assert value not in told


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ('{search(query: "knd:Pod"){head}}', "BAD_USER_INPUT", 'there is no filter "knd:"; did you mean kind?'),
        ('{search(query: "since:r9 until:r3"){head}}', "BAD_USER_INPUT", "since is after until"),
        ('{search(query: "until:r999"){head}}', "BAD_USER_INPUT", "r999 is after the head: the newest revision is r22"),
        ('{changes(from: "r9", to: "r3"){fromRevision}}', "BAD_USER_INPUT",
         "r9 is after r3: give the earlier moment first"),
        ('{suspects(ref: {kind: "Pod", namespace: "default", name: "nobody"}){complaint}}', "NOT_FOUND",
         "the log has never seen it until r22"),
        ('{suspects(ref: {kind: "Pod", namespace: "default", name: "x"}, first: 99){complaint}}', "BAD_USER_INPUT",
         "first is at most 20 and not negative"),
        ("mutation{undo{applied}}", "BAD_USER_INPUT", "give revisions or a query"),
        ("mutation{undo(revisions: []){applied}}", "BAD_USER_INPUT", "an undo takes back 1 to 2000 events"),
        ('mutation{undo(revisions: [1], reason: "a\\nb"){applied}}', "BAD_USER_INPUT",
         "a reason is one line of at most 200 characters"),
        ('mutation{restore(at: "r3"){applied}}', "BAD_USER_INPUT", "give an object or a query"),
        ('mutation{restore(at: "r3", query: ""){applied}}', "BAD_USER_INPUT",
         "say what to restore: an empty filter means the whole cluster"),
        ('mutation{restore(at: "r99", query: "kind:Pod"){applied}}', "BAD_USER_INPUT",
         "r99 is after the head: the newest revision is r22"),
        ('mutation{restore(at: "2020-01-01", query: "kind:Pod"){applied}}', "HORIZON",
         "2020-01-01T00:00:00Z is before the first event of the log"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_so_is_refused_with_the_reason(query: str, code: str, message: str) -> None:
    async with opened() as door:
        error = await door.error(query)
        assert (error["extensions"]["code"], error["message"]) == (code, message)
        assert door.story.log.head == 22, "nothing is half-done"


async def test_a_page_of_a_search_goes_on_where_it_stopped() -> None:
    async with opened() as door:
        asked = "hits{event{revision}} pageInfo{hasNextPage endCursor} searchedTo"
        query = '{search(query: "kind:Pod", first: 4%s){' + asked + "}}"
        page = (await door.ask(query % ""))["search"]
        found = [hit["event"]["revision"] for hit in page["hits"]]
        while page["pageInfo"]["hasNextPage"]:
            assert page["searchedTo"] == found[-1]
            page = (await door.ask(query % f', after: "{page["pageInfo"]["endCursor"]}"'))["search"]
            found += [hit["event"]["revision"] for hit in page["hits"]]
        assert found == [22, 15, 14, 13, 10, 9, 8, 7, 6, 5]


RETIRE = 'mutation {retire(input: {action: DROP, olderThan: "%s"}) {last}}'


async def test_old_events_go_only_for_whoever_may_delete_the_log() -> None:
    async with limited("configmaps") as door:
        error = await door.error(RETIRE % "1d")
        assert error["extensions"]["code"] == "FORBIDDEN" and 'cannot delete path "/log"' in error["message"]


async def test_a_wish_that_cannot_be_is_refused_before_any_event_goes() -> None:
    async with opened() as door:
        error = await door.error(RETIRE % "1d")
        assert (error["extensions"]["code"], "nothing goes from this log" in error["message"]) == ("NOT_FOUND", True)
        error = await door.error(RETIRE % "soon")
        assert error["message"] == '"soon" is no age: write 30d, 12h or 1w2d'
        error = await door.error('mutation {retire(input: {action: THIN, olderThan: "1d"}) {last}}')
        assert "thin needs the fields" in error["message"]


async def test_blame_of_what_was_only_ever_applied_leaves_no_empty_annotations() -> None:
    """kubectl's copy of what was applied is its only annotation, and is not told."""
    async with opened() as door:
        copy = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
        made = await door.story.create("configmaps", "v1", "ConfigMap", "applied", BOB, data={"a": "1"})
        await door.story.patch(made.stream, BOB, {"metadata": {"annotations": copy}})
        ref = '{kind: "ConfigMap", namespace: "default", name: "applied"}'
        for managers, count in (("false", 0), ("true", 1)):
            lines = (await door.ask("{blame(ref: %s, managedFields: %s){lines{text}}}" % (ref, managers)))["blame"]
            assert str(lines).count("annotations") == count, lines
