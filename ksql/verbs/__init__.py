"""How it changes: the one pipeline that every write walks, and the reads beside it.

Problem: kubectl, GraphQL, controllers, nodes and the scheduler all change the cluster at once, and each
change must be allowed, complete, valid, based on what is really there, and on record with its author and
its cause. Decision: one `Pipeline` (`pipeline.py`); a write is a `Plan` (`writes.py`) that is prepared
against memory without a lock and decided (`decider.py`, pure) with the head of the log held, where state
is exact. What needs exactness (conflicts, unique names, addresses and ports, budgets) needs nothing else.

Rejected: a second path for trusted components (their writes would escape admission and authorship);
optimistic loops around a compare-and-swap (the decision under the head never loops); validating inside
the lock (it costs ten times the decision itself).

Custom resources walk the same way with plans of their own (`customwrites.py`). What takes long for them, rules
in CEL and conversion by webhooks (`conversion.py`), never runs with the head held: a plan that lacks something
raises, the pipeline gets it outside every lock and prepares anew. `definitions.py` folds which kinds there are.

Invariants
1. Nothing is appended but through a `Plan`; `log.append` is called in one place.
2. A refused request and one that changes nothing use no revision; neither does a dry run, which walks the
   same plan against a rehearsal.
3. `decide` is repeatable: a transaction that fails is decided once more with the same answer.
4. What was prepared counts only while the object it was prepared from is the current one.
5. Every document stored has apiVersion, kind and metadata first, in the version its kind is kept in.

Words: *plan*, a write's two halves; *outcome*, what a decision came to; *view*, exact state as a decision
sees it; *current*, an object before the change; *part*, the slice of the watch window a watch follows.
"""
