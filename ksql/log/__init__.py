"""What happened: the append-only, totally ordered record that all else is computed from.

The problem is to give every change one place in one order, durably, at tens of thousands a second, in a
database anybody can run. The decision: a one-row table `head` that each append moves inside its own
transaction, and group commit, so that many callers share one such move and one flush of the disk. Numbers
from a sequence were rejected: transactions commit in another order than they drew them, and a reader that
follows the sequence misses events (595 of 1,076 in a trial with eight writers; following `head` none).

A row says who, what, why and when; the object after the change is on a *page*, where up to sixteen events
of one transaction are compressed together, as a whole image or as the difference from an earlier whole one.
A row per event with an image of its own was rejected: rows, index entries and frames were two thirds of
473 bytes an event on PostgreSQL, and what is written decides what can be written a second. A chain of
differences was rejected too: an image of any age is made from two pages at most.

A caller hands over not events but a decision. It runs on the event loop against state that is exact, since
the write goes through only if the head is still where the decision saw it; conflicts, quotas and unique
names need no second mechanism, with one server or with ten.

Invariants
1. Revisions are gapless and in commit order; a refused request uses none.
2. A caller that was answered finds its event after a crash; of a request all events are stored or none.
3. Rows of `events` are never changed, nor deleted but by a signed retirement of a sealed range; triggers refuse it.
4. Every committed event is folded once, in order, before its caller is answered or a follower is woken.
5. Time never runs backwards as revisions rise, whatever the machine's clock does.
6. A lost wake-up, a failed checkpoint or an old dictionary costs time or space, never an event.
7. Heartbeats (retention `latest`) take their revisions from the same head but leave only a short tail;
   pages account for the numbers, so that a missing event is told from a dropped heartbeat.
8. Seals follow the events, off the appends' way; with the keys, which lie outside of the database, anyone
   finds the first event that is not as it was written.
9. What can be had from an index is not stored again: `objects`, each living object's newest revision, is a
   view. Whatever an append must keep beside its events costs as much as the events.
10. What `index.py` computes only narrows where to look: every answer is read from events, and is the same
    without it.

Words: a *draft* is a decided change without a revision; a *decision* makes drafts; a *fold* takes events
into state; a *base* is the whole image that a difference starts from; the *tail* is the newest events in
memory; *news* is what other servers appended.

What is confidential is encrypted before it is written (`vault.py`): each object's payloads under a key of its own, so
that destroying one key makes one past unreadable while every event, seal and proof stands.

Read on in `protocol.py` (what a log is), `appender.py` (group commit), `session.py` (one transaction and its
failures), `pages.py` and `delta.py` (what is stored of an image), `sqlite.py`, `postgresql.py` and `libpq.py` (the
dialects), `queries.py` and `images.py` (reading), `blocks.py` and `index.py` (where to look), `store.py` (all of it
together), `leaves.py`, `seals.py` and `sealer.py` (the seals), `verify.py` (does it contradict itself), `sealcheck.py`
(is it what was written), `indexcheck.py` (does the index say so), `survey.py` with `sweep.py`, `hashing.py` and
`tracing.py` (all three questions at once, fast, without words), `proofs.py` (told to others), `vault.py`, `roots.py`,
`objectkeys.py` and `rotating.py` (encryption), `erasing.py` (what is to be forgotten), `retiring.py`, `retirement.py`,
`archives.py` and `whole.py` (what was taken out of it, and still read).
"""
