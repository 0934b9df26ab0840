"""Who may: keys and rules in, an identity or a verdict with its reason out.

The problem: every write names its author for ever, so the name must be proved before anything else
happens, and the same way for kubectl, GraphQL and a node. The decision: certificates of the cluster's own
authority (`pki`) and one administrator's token are turned into a `User` (`authenticate`), and a verdict is
a pure function of a `Question` (`authorize`). Who acts in another's name is written down with both names.
Rejected: trusting a proxy's headers for the identity (anyone who reaches the port could be anyone), and
asking permission in the doors (a second door would forget it: only the pipeline asks).

Invariants
1. No key or token leaves its 0600 file except into the administrator's kubeconfig, which is 0600 too.
2. An authorizer never waits and reads nothing but memory.
3. A cause header is believed from the cluster's own components alone, never from one impersonated.
4. A certificate that ran out authenticates nobody, however long its connection has been open.
5. Nobody without a proved name gets further than the health checks and the version.

Words: user, impersonator, question, verdict; component: a controller, the scheduler or a node.
"""
