"""Who may: keys and rules in, an identity or a verdict with its reason out.

The problem: every write names its author for ever, so the name must be proved before anything else happens,
and the same way for kubectl, GraphQL and a node; and what that name may do must be decided within
microseconds, by rules that change while the cluster runs. The decision: certificates of the cluster's own
authority (`pki`) and tokens (`tokens`, of other issuers `issuers`, `bootstraptokens`) are turned into a
`User` (`authenticate`), and a verdict is a pure function of a `Question`: what nodes may (`nodes`), then
what roles give (`rbac`, with `rules` for one role and `defaults` for those every cluster has), one after
the other (`authorize`). What others say is asked for before it is needed and then in memory: webhooks for tokens
(`reviewed`) and permission (`consulted`); a front proxy's headers count by its certificate alone (`frontproxy`).
Who acts in another's name is written down with both names. Browsers hold neither: whoever proved a name otherwise
opens a session for one (`sessions`). Rejected: trusting a
proxy's headers for its address (anyone who reaches the port could be anyone), asking permission in the
doors (a second door would forget it: only the pipeline asks), and walking all bindings for each question as
kube-apiserver does (10,000 of them would cost milliseconds).

Invariants
1. No key or token leaves its 0600 file except into the administrator's kubeconfig, which is 0600 too.
2. An authorizer never waits and reads nothing but memory.
3. A cause header is believed from the cluster's own components alone, never from one impersonated.
4. A certificate that ran out or was revoked authenticates nobody, however long its connection has been open.
5. Nobody without a proved name gets further than the health checks, the version and the page to log in on.
6. A permission that was taken away is gone when the writer is answered.
7. Nobody gives what he has not, unless he may `escalate` or `bind`; members of `system:masters` alone are
   asked nothing. The cluster's own components have the roles of their namesakes in Kubernetes and no more,
   but for what `defaults` says.
8. A refusal's words say what was asked and that it may not be. The missing rule is for the record; GraphQL's writes
   tell it too, since it is the caller's own question and says nothing of what others were given.
9. Of a browser's session only hashes are kept; what goes on for it ends with it.

Who may attack, and what stands against it
- Somebody on the network without a name: TLS of 1.2 and later, and nothing but health, version and the public keys
  of token issuers is answered. Slow heads, bodies, handshakes and readers are let go, connections are counted, and no
  address may have more than half of them; who has many addresses can still keep others out.
- A user who wants more than he was given: every door asks the pipeline, the pipeline asks the authorizer, roles
  cannot be given by who lacks them, and the past is under the same roles as the present. Priority and fairness
  keep one user from starving the rest. He learns names only where he may list.
- A user who left, or whose key was stolen: he is revoked by name or certificate, at once, with his open connections;
  an administrator's stolen kubeconfig is replaced in the same moment.
- A page that a user of the web looks at: cookies are sent from our own pages alone, each write names what only they
  can read, and no page of others (proxied, or of another API server) is shown under our name to a session.
- A pod that was broken into: its token is bound to it, runs out, and dies with it; it can do what its service
  account's roles give, from anywhere.
- A node that was broken into: it reads and writes only what its own pods name (`nodes`, NodeRestriction), until it is
  revoked. Whoever steals the key that signs nodes can be any node, and nobody else: each purpose has its own authority.
- Somebody who reads the disk, the database or a backup: keys are 0600 and outside of the database, and what Secrets
  say is encrypted (`ksql/log/vault`): he learns who changed which one and when. With the data directory of an ordinary
  start he has the key file too; a KMS keeps it elsewhere. Bundles leave values of Secrets out.
- Somebody who writes to the database: cannot do so unseen. Events are sealed under a key kept elsewhere, and a
  witness sees an end that was cut off. Until the next seal (at most half a minute) the newest events are his.
- The administrator of the machine: can do everything, now; what was sealed before a witness stays provable.

Words: user, impersonator, question, verdict; grant: a binding's role for one of its subjects; relation: the
way from an object to the node whose pods name it; component: a controller, the scheduler or a node.
"""
