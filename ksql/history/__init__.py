"""What was, why, and what led to it: the past as easy to ask as the present.

Problem: a cluster that only keeps its newest state cannot say who changed what; a program that watches
it cannot know the actor, one that reads its audit log cannot know the result. Each event of our log
holds both, so every answer here is a pure reading of events: nothing is recorded twice, nothing can
drift from the record.

Decision: thin readers over `EventLog` (`timeline`, `causes`, `asof`, `moments.resolve`, `finding`, `trees`) around
pure functions on documents and events (`diff`, `listkeys`, `masks`, `sentences`, `actors`, `moments.parse`, `search`,
`blame`, `inverse`, `closure`, `health`). One grammar (`search`) says which events are meant, wherever it is typed.
What broke something is found by weighing (`suspects`), with every weight told; the way back is worked out (`undo`) and
carried out by the doors, through the pipeline. A page is read in a few queries whatever its size: never one read
per event. Rejected: a history table of its own (a second truth to keep in step), and text diffs of YAML (a moved list
item would read as two changes; ours are aligned by the lists' merge keys).

Invariants
1. Nothing here writes.
2. Applying `diff.compare(a, b)` to a gives b, whatever a and b are.
3. What leaves this room about a Secret carries lengths, never values: diffs, sentences, manifests alike;
   raw documents are for code that asked for them by name (`reveal`).
4. `asof` at the head answers what the present answers.
5. Every walk is bounded by a named limit, and an answer that was cut says so.
6. Blame's fields fold to the manifest; a change taken back at once leaves what was before it, and undoing the undo is
   the present.

The past is a state like the present (`past`): the door reads both by the same code. A recording (`ksql/log/bundle`)
is imported into a log of its own and played by moving that log's head (`playback`); `redaction` is what leaves.

Words: *moment* is what people type for a place in time (r1042, 10:32, 10m); it resolves to a revision. A *life* is
one uid's stretch of a name's history. A *chain* goes back along causes, *effects* go forward. A *suspect* is a change
that may have broken something, a *conflict* what somebody else would lose by an undo.
"""
