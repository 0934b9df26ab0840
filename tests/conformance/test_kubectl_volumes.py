"""Volumes through the newest kubectl: a StatefulSet with claims runs as it is applied, and gives all of it back."""

import pytest

from tests.conformance.shell import Shell

pytestmark = pytest.mark.kubectl

DATABASE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: "example.com/db:1", volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_a_stateful_set_with_claims_runs_as_applied_and_its_claims_are_held_while_used(kubectl: Shell) -> None:
    kubectl.apply(DATABASE)
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    phases = kubectl("get", "pvc", "-o", "jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}")
    assert phases.split() == ["data-db-0=Bound", "data-db-1=Bound"]
    described = kubectl("describe", "pvc", "data-db-0")
    assert "Used By:       db-0" in described and "[kubernetes.io/pvc-protection]" in described
    volume = kubectl("get", "pvc", "data-db-0", "-o", "jsonpath={.spec.volumeName}")
    kubectl("delete", "pvc", "data-db-0", "--wait=false")
    assert "Terminating" in kubectl("get", "pvc", "data-db-0")
    kubectl("delete", "statefulset/db")
    kubectl.until(lambda: "data-db-0" not in kubectl("get", "pvc"))
    kubectl.until(lambda: volume not in kubectl("get", "pv"))
    kubectl("delete", "pvc", "data-db-1")
