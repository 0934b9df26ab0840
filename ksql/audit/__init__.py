"""Who asked for what, and what they were told: requests that the log itself does not hold.

Problem: the event of a change says who, what, when and why, so nothing must be stored of an allowed write
again; but a read leaves no event, and neither does a refusal. Decision: a policy as Kubernetes has it
(`audit.k8s.io/v1`, rules tried in order) says how much is kept of a request, and beside it two things hold
whatever it says: refusals are kept, and reads of Secrets. What is kept are rows of a table of their own,
written in batches from a queue in memory and dropped after a time; exports send the same as Kubernetes'
audit events, writes included, to a file or a webhook. Rejected: audit lines as the record (they cannot say
what became of the object), and a row for every request (ten times as many as there are events).

Invariants
1. A request waits for its row only where that was asked for (`--audit-overflow wait`); else what finds the
   queue full is dropped, and counted.
2. An allowed write that made an event has no row: `ksql audit` reads it from the log.
3. Bodies are kept by rule alone (levels Request and RequestResponse), and bounded.
4. What the cluster's own parts read from memory is no request.

Words: a *record* is one stage of one request; a *trail* is a request on its way; a *sink* takes records out
of the house; the *journal* is the table.

Read on in `policy.py` (how much is kept), `record.py` (what a record is, and Kubernetes' form of it),
`auditor.py` (the trail through a request), `journal.py` (the table), `sinks.py` (file and webhook).
"""
