"""The SDL is a contract: printed, described, and what the command line's operations are written against."""

from pathlib import Path

import pytest
from graphql import OperationDefinitionNode, build_schema, parse, validate
from graphql.type import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType

from ksql.commands.operations import operation
from ksql.schema import catalogue
from ksql.serve.gql.app import SDL, sdl, served_by

ROOT = Path(__file__).parents[2]
OPERATIONS = sorted((ROOT / "graphql" / "operations").glob("*.graphql"))


def test_the_printed_schema_is_the_schema() -> None:
    assert (ROOT / SDL).read_text() == sdl(), "run python -m ksql.serve.gql.app"


def test_every_type_field_and_argument_says_what_it_is() -> None:
    silent = []
    for name, found in served_by(catalogue.load())._schema.type_map.items():
        if name.startswith("__") or name in ("String", "Int", "Float", "Boolean", "ID"):
            continue
        if not found.description:
            silent.append(name)
        if isinstance(found, GraphQLEnumType):
            silent += [f"{name}.{key}" for key, value in found.values.items() if not value.description]
        if isinstance(found, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
            for key, field in found.fields.items():
                if not field.description:
                    silent.append(f"{name}.{key}")
                silent += [
                    f"{name}.{key}({a})" for a, b in getattr(field, "args", {}).items() if not b.description
                ]
    assert silent == []


@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_an_operation_is_valid_against_the_printed_schema(path: Path) -> None:
    document = parse(path.read_text())
    assert validate(build_schema((ROOT / SDL).read_text()), document) == []
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    assert len(operations) == 1, "one operation a file, with its fragments"


@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_an_operation_is_named_like_its_file_and_found_by_it(path: Path) -> None:
    definition = parse(path.read_text()).definitions[0]
    assert isinstance(definition, OperationDefinitionNode) and definition.name is not None
    assert definition.name.value == path.stem.title().replace("_", "")
    assert operation(path.stem) == path.read_text()
