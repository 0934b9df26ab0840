"""GraphQL's roots of questions and of changes, put together from the groups that each live in a module of their own."""

import strawberry

from ksql.serve.gql import roots as gql_roots
from ksql.serve.gql.audit import Auditing
from ksql.serve.gql.blame import Blaming
from ksql.serve.gql.certificates import Certifying
from ksql.serve.gql.changes import Comparing
from ksql.serve.gql.nodecare import NodeCare
from ksql.serve.gql.placing import Placing
from ksql.serve.gql.playback import Playing, Watching
from ksql.serve.gql.retiring import Retiring
from ksql.serve.gql.rolling import Rolling
from ksql.serve.gql.seals import Sealing
from ksql.serve.gql.search import Searching
from ksql.serve.gql.standing import Standings
from ksql.serve.gql.suspects import Suspecting
from ksql.serve.gql.timeline import Picturing
from ksql.serve.gql.undo import Undoing
from ksql.serve.gql.writes import Writing


@strawberry.type(description="Everything that can be asked.")
class Query(
    gql_roots.Query,
    Searching,
    Blaming,
    Comparing,
    Suspecting,
    Placing,
    Auditing,
    Sealing,
    Watching,
    Picturing,
    Certifying,
    Standings,
):
    """A group of questions is a plain strawberry type; naming it among the bases makes it askable."""


@strawberry.type(description="Everything that can be changed.")
class Mutation(Writing, Rolling, NodeCare, Undoing, Playing, Retiring):
    """The same for changes: each is written through the pipeline, as by any other door."""
