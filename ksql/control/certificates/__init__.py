"""Signing requests answered: approved where a role says so, signed with the cluster's own authorities, cleared away.

The problem: a node or a person makes a key and asks for a certificate; whoever may decides, and the cluster signs with
an authority whose key nobody else sees. The decision: three controllers over one kind, each a pure plan: `approving`
says yes to nodes that ask for their own client certificates and may, `signing` answers what was approved under the
signer's own rules (`requests`), `cleaning` removes what was answered or forgotten. Which authority stands behind a
signer, the roof says, at each signature anew: a rotated authority signs from then on. Signers of other names are left
to others.
"""
