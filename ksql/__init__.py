"""ksql: a Kubernetes-compatible control plane whose only truth is its event log.

Every change of the cluster is one append-only event; the current state is the fold of those events;
reconcilers follow them and write new ones through the same door as everybody else. Read the package
docstrings in this order and they are the architecture manual: base, schema, log, auth, state, flow,
verbs, history, serve, client, control, node.
"""

__version__ = "0.1.0"
