"""Whole clusters on virtual time, and the incidents that are played on them.

Problem: a claim about a cluster ("a rollout never leaves its bounds", "the culprit is found") needs clusters by the
hundred, with faults at will, the same on every run. Decision: everything but the doors in one process under a
virtual clock with seeded chance (`cluster.py`), the same code as `ksql up`; what can go wrong between the controllers
and the cluster is put between them (`faults.py`). What people do wrong is data
(`incidents.py`): a scene, the changes of people who mean no harm, the one change that breaks something, and the
object that suffers; `playing.py` plays it on any cluster, so that tests, demonstrations and bundles tell the same
story. Rejected: incidents as test code, which nothing but the test could play.

Invariants
1. The same incident and seed give the same events, byte for byte.
2. Nothing here decides anything: a play writes through the door as the people it names, and waits.
"""

from ksql.simulation.cluster import LateError, Simulation

__all__ = ["LateError", "Simulation"]
