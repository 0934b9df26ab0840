"""What things are: the kinds of one Kubernetes minor, and everything that can be said about a document alone.

Problem: a control plane that unmodified clients accept must know some sixty kinds as kube-apiserver does, to
the words of its complaints, and must judge a document in tens of microseconds. Decision: kinds are data. The
catalogue is derived from published packages (`derive.py`), not written by hand and not generated into code;
what the packages do not say stands in small tables (`facts.py`, `defaults_*.py`, `rules_*.py`); engines over
them (`shapes.py`, `filling.py`, `checks.py`) are few. Rejected: a Python class per kind (ten thousand lines
that say less), generic JSON Schema complaints (clients match on Go's words), validating after the fact.

How a document passes: `structure.check` (types, unknown fields, canonical amounts and instants),
`defaults.apply_defaults`, `validation.validate`; `versions.convert` on the way in and out where a kind is
served in two shapes; `strategic` and `jsonpatch` before, for patches; `tables`, `discovery`, `openapi` for
answers. Protobuf is read by `protobuf` and written by `protobuf_write`, over one table of fields.

Custom kinds are data too, only later: `custom.py` reads a CustomResourceDefinition and puts its versions into
the catalogue's upper layer. Their documents pass through `custom_bodies.py` and `custom_values.py`, over a
schema that is walked (`structural.py`, `structural_values.py`) and rules in CEL (`structural_rules.py`, with
the library behind the one door `cel.py`); definitions themselves are judged by `rules_definitions.py`.

Invariants
1. Nothing here knows time, chance, users or other objects: same document, same answer.
2. A fast path may refuse too much, never accept too much; the slow path has the last word.
3. Defaulting twice is defaulting once, and a document that needs nothing comes back as the same object.
4. Whatever a document holds, the only exceptions are `ApiError`s.
5. Messages are kube-apiserver's; tests quote them in full.

Words: a *fault* is one `Cause`; a *shape* is a definition as the decoder sees it; a *fill* is a structure's
defaults; a *rule* judges a document, an *update rule* a change.
"""
