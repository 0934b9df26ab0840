"""How things stand and who has been busy: rows under the asker's rights, the same now as at the head."""

from tests.serve.gql_door import opened

STANDING = """query($at: Moment) {
  standing(resources: ["pods", "deployments"], at: $at) {revision rows hiddenObjects cut} }"""


async def test_each_object_has_its_state_node_and_owner() -> None:
    async with opened() as door:
        found = (await door.ask(STANDING))["standing"]
        pods = [row for row in found["rows"] if row[0] == "pods"]
        assert pods and all(row[4].startswith("node-") and row[5] and row[6] == "running" for row in pods)
        assert found["cut"] is False and found["hiddenObjects"] == 0


async def test_the_head_answers_what_now_answers_and_the_past_what_was() -> None:
    async with opened() as door:
        now = (await door.ask(STANDING))["standing"]["rows"]
        assert (await door.ask(STANDING, at=f"r{door.story.log.head}"))["standing"]["rows"] == now
        assert (await door.ask(STANDING, at="r1"))["standing"]["rows"] != now


async def test_activity_counts_each_actor_once_an_event() -> None:
    async with opened() as door:
        query = '{activity(from: "r1", bins: 4) {rows {name kind verb resource counts}}}'
        rows = (await door.ask(query))["activity"]["rows"]
        written = await door.story.log.read(0, 1000)
        assert sum(sum(row["counts"]) for row in rows) == len(written)
        assert {"alice", "scheduler"} <= {row["name"] for row in rows} and all(len(row["counts"]) == 4 for row in rows)


async def test_bounds_are_said() -> None:
    async with opened() as door:
        assert "between 1 and 20" in (await door.error("{standing(resources: []) {revision}}"))["message"]
        assert "bins is between" in (await door.error('{activity(from: "r1", bins: 0) {from}}'))["message"]
