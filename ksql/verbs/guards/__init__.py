"""Guards: webhooks and policies that operators set before every change.

Problem: what an operator lets look at a request may take seconds (a webhook) or fail, and may change the object;
a decision under the head of the log may neither wait nor ask twice. Decision: guards are asked while a write is
prepared, outside every lock. A plan hands each document to its `Review` (`review.py`); what a guard answered is
remembered there by what it was asked. A plan that meets an object nobody has reviewed raises `UnreviewedError`,
the pipeline asks, and the plan is prepared anew: it finds the answers. Under the head nothing is asked: an object
that moved meanwhile leads back outside, as upstream's own retry does.

Rejected: calling out of the decision (a webhook would hold every writer of the cluster); asking once and applying
the answer to another object than was shown (the answer would be about something else).

Invariants
1. No guard runs with the head held.
2. The event holds the object after all guards, so a replay asks nobody. What each of them answered is told in
   exported audit events only; the event has no field for it yet.
3. Configurations are folded from the log into one compiled table (`table.py`); a request that no guard is for pays
   one look into it.
4. Guards never see the configurations of guards, so that nobody can lock himself out.

Words: *guard*, one webhook or one bound policy; *question*, a request as guards see it; *round*, once more after
another guard changed the object.
"""
