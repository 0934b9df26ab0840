"""GraphQL's roots of questions and of changes, put together from the groups that each live in a module of their own."""

import strawberry

from ksql.serve import gql_audit, gql_blame, gql_changes, gql_roots, gql_search, gql_suspects, gql_undo


@strawberry.type(description="Everything that can be asked.")
class Query(
    gql_roots.Query, gql_search.Searching, gql_blame.Blaming, gql_changes.Comparing, gql_suspects.Suspecting,
    gql_audit.Auditing,
):
    """A group of questions is a plain strawberry type; naming it among the bases makes it askable."""


@strawberry.type(description="Everything that can be changed.")
class Mutation(gql_undo.Undoing):
    """The same for changes: each is written through the pipeline, as by any other door."""
