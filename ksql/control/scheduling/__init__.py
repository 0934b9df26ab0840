"""The scheduler: which pod next, on which node, and why there.

Problem: thousands of nodes are looked at for each of thousands of pods a second, and every choice must be explained
and be the same again under the same seed. Decision: `placement` is a pure function of a view (`cluster.py`), kept
step by step; the shell (`scheduler.py`) takes pods from a queue, assumes each where it was placed, and writes bindings
side by side. Rejected: looking at a sample of the nodes, as kube-scheduler does (an explanation that skips nodes
explains nothing).

Order of reading: demand, terms, cluster, filters, scores, placement, queue, scheduler.
"""
