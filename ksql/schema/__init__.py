"""What things are: the kinds of one Kubernetes minor, and everything that can be said about a document alone.

Problem: a control plane that unmodified clients accept must know some sixty kinds as kube-apiserver does, to
the words of its complaints, and must judge a document in tens of microseconds. Decision: kinds are data. The
catalogue is derived from published packages (`derive.py`), not written by hand and not generated into code;
what the packages do not say stands in small tables (`facts.py`, `defaults`, `rules`); engines over them
(`shapes.py`, `defaults/filling.py`, `rules/checks.py`) are few. Rejected: a Python class per kind (ten thousand
lines that say less), generic JSON Schema complaints (clients match on Go's words), validating after the fact.

How a document passes: `structure.check` (types, unknown fields, canonical amounts and instants),
`defaults.engine.apply_defaults`, `validation.validate` over `rules`; `versions.convert` on the way in and out where
a kind is served in two shapes; `patches` before, and `managed` for apply and for who wrote what; `columns`,
`discovery` and `openapi` for answers; `protobuf` both ways. `golang` keeps the words and zeroes of Go.

Custom kinds are data too, only later (`custom`): a CustomResourceDefinition becomes versions in the catalogue's upper
layer, their documents are judged by a schema that is walked and by rules in CEL (`cel`).

Invariants
1. Nothing here knows time, chance, users or other objects: same document, same answer.
2. A fast path may refuse too much, never accept too much; the slow path has the last word.
3. Defaulting twice is defaulting once, and a document that needs nothing comes back as the same object.
4. Whatever a document holds, the only exceptions are `ApiError`s.
5. Messages are kube-apiserver's; tests quote them in full.

Words: a *fault* is one `Cause`; a *shape* is a definition as the decoder sees it; a *fill* is a structure's
defaults; a *rule* judges a document, an *update rule* a change.
"""
