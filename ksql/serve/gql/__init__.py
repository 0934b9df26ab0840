"""GraphQL: ksql's own language, over the same rooms and the same authorizer as the REST API.

`app.py` answers requests and subscriptions, `queries.py` puts the roots together from groups of fields that each live
in a module of their own, `context.py` is what resolvers work with, `nodes.py` and `values.py` the types of the answers.
Resolvers stay thin: what is asked is answered by `history`, `audit` and `state`; nothing is recorded here.
Never named after the package that it stands on: that would shadow it.
"""
