"""GraphQL's roots of questions and of changes, put together from the groups that each live in a module of their own."""

import strawberry

from ksql.serve import gql_roots
from ksql.serve.gql_audit import Auditing
from ksql.serve.gql_blame import Blaming
from ksql.serve.gql_changes import Comparing
from ksql.serve.gql_placing import Placing
from ksql.serve.gql_playback import Playing, Watching
from ksql.serve.gql_search import Searching
from ksql.serve.gql_suspects import Suspecting
from ksql.serve.gql_undo import Undoing


@strawberry.type(description="Everything that can be asked.")
class Query(
    gql_roots.Query,
    Searching,
    Blaming,
    Comparing,
    Suspecting,
    Placing,
    Auditing,
    Watching,
):
    """A group of questions is a plain strawberry type; naming it among the bases makes it askable."""


@strawberry.type(description="Everything that can be changed.")
class Mutation(Undoing, Playing):
    """The same for changes: each is written through the pipeline, as by any other door."""
