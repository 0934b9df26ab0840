"""GraphQL: ksql's own language, over the same rooms and the same authorizer as the REST API.

`app.py` answers requests and subscriptions, `queries.py` puts the roots together from groups of fields that each live
in a module of their own, `context.py` is what resolvers work with, `nodes.py` and `values.py` the types of the answers.
`sockets.py` and `eventstream.py` carry answers to those who follow; `performing.py` performs an operation for one of
them, `following.py` and `feeds.py` are the sources, and `choir.py` lets all who follow the same share one evaluation.
Changes are asked for by `writes.py`, `rolling.py`, `nodecare.py` and `undo.py`, handed to the pipeline by `writing.py`
and answered by `outcomes.py`.
Resolvers stay thin: what is asked is answered by `history`, `audit` and `state`; nothing is recorded here.
Never named after the package that it stands on: that would shadow it.
"""
