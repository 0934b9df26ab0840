"""GraphQL's root of questions, put together from the groups that each live in a module of their own."""

import strawberry

from ksql.serve import gql_roots, gql_search


@strawberry.type(description="Everything that can be asked.")
class Query(gql_roots.Query, gql_search.Searching):
    """A group of questions is a plain strawberry type; naming it among the bases makes it askable."""
