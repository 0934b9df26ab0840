"""Pods whose programs are performed, by kubectl: a service over two servers, volumes that follow, a resize in place."""

import json

from tests.conformance.shell import Shell

SERVERS = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: c
          image: example.com/agnhost:2
          args: [netexec]
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: example.com/busybox:1, command: [sleep, "3600"]}]
"""

TOOLS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {word: old}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: example.com/busybox:1
      command: [sh, -c, "while true; do cat /words/word; echo; sleep 1; done"]
      resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
      volumeMounts: [{name: words, mountPath: /words}]
  volumes: [{name: words, configMap: {name: words}}]
"""


def test_a_client_pod_reaches_each_server_of_a_service_by_its_name(kubectl: Shell) -> None:
    kubectl.apply(SERVERS)
    kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=60s")
    kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
    names = set(kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}").split())
    script = "for i in 1 2 3 4; do curl -s http://web/hostname; echo; done"
    kubectl.until(lambda: set(kubectl("exec", "client", "--", "sh", "-c", script).split()) == names)
    looked = kubectl("exec", "client", "--", "nslookup", f"web.{kubectl.namespace}.svc.cluster.local")
    assert kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") in looked
    asked = json.loads(
        kubectl("exec", "client", "--", "sh", "-c", 'curl -s "http://web/dial?host=web&port=80&request=hostname&tries=4"')
    )
    assert set(asked["responses"]) == names
    kubectl("scale", "deployment/web", "--replicas=0")
    kubectl.until(
        lambda: "refused 7" in kubectl("exec", "client", "--", "sh", "-c", "curl -s http://web/ || echo refused $?")
    )


SECRET = """
apiVersion: v1
kind: Pod
metadata: {name: secret}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: example.com/agnhost:2
      args: [porter]
      env:
        - {name: SERVE_TLS_PORT_443, value: quiet}
        - {name: SERVE_PORT_80, value: loud}
        - {name: SERVE_PORT_81, value: '<a href="/next">next</a>'}
"""


def test_a_pod_is_proxied_over_tls_where_it_speaks_it(kubectl: Shell) -> None:
    kubectl.apply(SECRET)
    kubectl("wait", "pod/secret", "--for=condition=Ready", "--timeout=60s")
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods"
    kubectl.until(lambda: kubectl("get", "--raw", f"{path}/https:secret:443/proxy/") == "quiet")
    assert kubectl("get", "--raw", f"{path}/secret:80/proxy/") == "loud"
    assert kubectl("get", "--raw", f"{path}/secret:81/proxy/") == f'<a href="{path}/secret:81/proxy/next">next</a>'
    refused = kubectl.refused("get", "--raw", f"{path}/https:secret:80/proxy/")
    assert "error trying to reach service: tls" in refused


def test_a_volume_follows_its_config_map_and_a_resize_is_seen_inside(kubectl: Shell) -> None:
    kubectl.apply(TOOLS)
    kubectl("wait", "pod/reader", "--for=condition=Ready", "--timeout=60s")
    kubectl.until(lambda: "old" in kubectl("logs", "reader"))
    kubectl("patch", "configmap", "words", "-p", '{"data": {"word": "young"}}')
    kubectl.until(lambda: kubectl("logs", "reader", "--tail=1").strip() == "young")
    assert kubectl("exec", "reader", "--", "cat", "/sys/fs/cgroup/cpu.max") == "20000 100000\n"
    patch = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "300m"}}}]}}
    kubectl("patch", "pod", "reader", "--subresource=resize", "-p", json.dumps(patch))
    kubectl.until(lambda: kubectl("exec", "reader", "--", "cat", "/sys/fs/cgroup/cpu.max") == "30000 100000\n")
    shown = "jsonpath={.status.containerStatuses[0].resources.limits.cpu} {.status.containerStatuses[0].restartCount}"
    kubectl.until(lambda: kubectl("get", "pod", "reader", "-o", shown) == "300m 0")
