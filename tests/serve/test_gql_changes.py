"""Whoever wrote a client against the last release is told of everything that could break it."""

from pathlib import Path

from graphql import GraphQLSchema, build_schema
from graphql.utilities import find_breaking_changes

from ksql.serve.gql.app import RELEASED, SDL
from ksql.serve.gql.sdl import stripped

ROOT = Path(__file__).parents[2]
CHANGES = ROOT / "graphql" / "CHANGES.md"


def breaking(old: GraphQLSchema, new: GraphQLSchema) -> list[str]:
    return sorted(change.description for change in find_breaking_changes(old, new))


def unreleased() -> str:
    return CHANGES.read_text().partition("## Unreleased")[2].partition("\n## ")[0]


def test_what_breaks_against_the_last_release_is_written_down() -> None:
    old, new = (build_schema((ROOT / path).read_text(), assume_valid_sdl=True) for path in (RELEASED, SDL))
    told = unreleased()
    assert [change for change in breaking(old, new) if change not in told] == [], f"name these in {CHANGES.name}"


def test_what_could_break_a_client_is_found() -> None:
    old = build_schema("type Query { a: Int! b(c: Int): String } enum E { X Y } input I { a: Int }")
    new = build_schema("type Query { a: Int b(d: Int!): String } enum E { X } input I { a: Int b: Int! }")
    assert len(breaking(old, new)) == 5
    assert breaking(old, old) == []


def test_the_released_schema_is_kept_without_descriptions() -> None:
    text = '"""A type."""\ntype Query {\n  """A field."""\n  a(\n    """An argument."""\n    b: Int\n  ): Int\n}'
    assert '"""' not in stripped(text)
