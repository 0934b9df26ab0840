"""All that a minor serves is tried and told: works, or is refused with the reason; nothing is missing."""

import pytest

from ksql.schema import catalogue
from tests.conformance import coverage


@pytest.mark.parametrize("minor", coverage.MINORS)
async def test_every_verb_of_every_resource_answers_as_the_table_says(minor: str) -> None:
    kept = (coverage.FOLDER / f"{minor}.md").read_text()
    assert await coverage.table(minor) == kept, "run `python -m tests.conformance.coverage` and look at what changed"


@pytest.mark.parametrize("minor", coverage.MINORS)
def test_no_resource_is_missing_and_only_conversations_are_refused(minor: str) -> None:
    rows = {}
    for line in (coverage.FOLDER / f"{minor}.md").read_text().splitlines():
        if line.startswith("| "):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            rows[name] = dict(zip(coverage.VERBS, cells, strict=True))
    for type in catalogue.load(minor).types:
        named = f"{type.resource}.{type.version}.{type.group}".rstrip(".")
        for verb in type.verbs:
            assert rows[named][verb] == "works", (named, verb)
        for sub in type.subresources.values():
            for verb in sub.verbs:
                told = rows[f"{named}/{sub.name}"][verb]
                assert told == "works" or sub.name in coverage.CONVERSATIONS, (named, sub.name, verb, told)
