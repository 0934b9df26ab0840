"""What is: the current objects in memory and the window of their newest changes.

Problem: every read of a cluster (get, list, watch) must be answered at memory's speed, in one consistent
order, and must never say anything that the log does not. Decision: one process holds all current objects
as the fold of the log (`objects.py`), keeps the bytes that clients are served beside them (`entry.py`),
and keeps the newest changes of each resource as one ring of frames that watchers walk (`window.py`).

Rejected: reading lists from the database (a hundred times slower, and a second truth while a transaction
runs); a queue per watcher (a thousand watchers meant a thousand copies of each frame, and the slowest set
the memory); sorting for each list.

Invariants
1. What `Objects` holds equals the fold of the log from zero, at every moment between two folds.
2. A fold is one step: nobody sees half a batch, and the writer is answered after it.
3. An `Entry`, a `Frame` and a listing once handed out never change.
4. Bytes of an object and of a watch line are made once, whoever asks and however often.
5. A watcher gets each change after its revision once, in order, or `GoneError`.

Words: *frame*, one step of a watch; *ring*, the newest frames of one resource; *slice*, the part of a ring
that concerns one node, name or namespace; *floor*, the revision after which a ring is complete.
"""
