"""Whose turn it is: priority and fairness among those who ask the server for something.

Problem. One client that has lost its senses (a controller in a tight loop, ten thousand lists) must not keep
the others from being answered, and what keeps the cluster alive must come before what can wait; yet a
server that is not busy must not cost anybody anything.

Decision. Kubernetes' own scheme, configured by its own objects. A FlowSchema puts a request into a
priority level and names its flow (`rules`); each level has seats that it may lend and borrow (`seats`); a
request takes as many as its work is wide (`work`). When a level has no seat left its requests wait in
queues: a flow is dealt a small hand of them (`shuffle`), so that two flows rarely share all of theirs, and
queues take turns by the work they have had, measured in virtual time (`queues`). All of that is pure, told
the time and told what happened; `admission` is the thin shell that makes callers wait, and refuses them.

Rejected: a bound for each user alone (idle users' shares would be nobody's), one queue in order of arrival
(who floods it has it), and seats kept after a write for its watchers' sake as kube-apiserver does (here
every watcher of a change is sent the same bytes, which costs microseconds).

Invariants
1. Seats in use never exceed a level's limit, but for a single request that is wider than all of it.
2. Requests of one queue begin in the order in which they came.
3. A flow that asks for less than its share is never refused because of others' floods, but for the chance
   that its whole hand is held by them.
4. A request that nothing holds up takes a few microseconds more than without all this.
5. The `exempt` level never waits; the server's own components in this process do not pass here at all.

Words: level, flow (what one schema tells apart), seat, width (seats of one request), ticket (a request that
was let in or waits), hand (the queues of a flow), virtual time (work done for each queue that had any).
"""
