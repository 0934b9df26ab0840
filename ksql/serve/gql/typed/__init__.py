"""Typed kinds: every kind that the cluster serves as a GraphQL type of its own, made from its schema.

Problem: a dashboard wants `pods { nodes { spec { nodeName } } }`, checked and completed by its tools, for the kinds of
the minor and for those that CustomResourceDefinitions bring while the server runs; and a list of thousands must not
pass through a resolver per value. Decision: a kind's OpenAPI schema becomes a tree of *shapes* (`shapes.py`), shapes
become plain graphql-core types (`types.py`) and filters (`wheres.py`), and `assembly.py` lays them over strawberry's
schema whenever the catalogue changes; the built-in part is made once. What a selection of stored fields answers is
read by functions put together for that selection (`direct.py`), and a test compares their answers with those of the
ordinary way. Rejected: a strawberry class for each kind (ten thousand lines, or classes made at run time that nothing
checks either), and one type with JSON for all (no tool can complete it).

Invariants
1. A type's name, once given, stays: a custom kind never takes a name from an older one or from a built-in one.
2. A value that does not fit today's schema is null here (the log may hold what another version wrote); the manifest
   has it.
3. A list reads each resource once, a relation each resource once for all rows of its level: never once for a row.
4. The direct way answers what the ordinary way answers; where it cannot, the ordinary way does.
5. A running subscription keeps the schema it began with.

Words: *shape*, what a schema says of one place; *leaf*, a place with a scalar; *kind*, a resource in its preferred
version; *row*, an object on a page; *edge* or *relation*, a way from one object to others.

Read on in `shapes.py`, `names.py`, `types.py`, `pages.py`, `roots.py`, `wheres.py`, `relations.py`, `direct.py`.
"""
