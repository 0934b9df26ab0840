# ruff: noqa: E501 -- messages are quoted whole, one case a line
from typing import Any

import pytest

from ksql.base.documents import Document, removed, replaced
from ksql.schema import catalogue
from ksql.schema.defaults.engine import apply_defaults
from ksql.schema.golang.printing import printed
from ksql.schema.resources import GroupVersionKind
from ksql.schema.structure import check
from ksql.schema.validation import invalid, validate, validate_body

KNOWN = catalogue.load()
CONTAINER = {"name": "a", "image": "b:1"}
META = {"name": "x", "namespace": "n"}
LABELS = {"app": "x"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
SELECTED = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}


def ready(key: str, document: Document) -> Document:
    found = KNOWN.by_key(key)
    kept, _ = check(
        KNOWN, found, {"metadata": META if found.namespaced else {"name": "x"}, **document}, "Strict"
    )
    return apply_defaults(found, printed(found.gvk, kept))


def faults(key: str, document: Document, old: Document | None = None, subresource: str = "") -> list[str]:
    """The causes as `field: message`."""
    before = ready(key, old) if old is not None else None
    causes = validate(KNOWN.by_key(key), ready(key, document), before, subresource)
    return [f"{cause.field}: {cause.message}" for cause in causes]


def pod(**spec: Any) -> Document:
    return {"spec": {"containers": [CONTAINER], **spec}}


def container(**fields: Any) -> Document:
    return pod(containers=[{**CONTAINER, **fields}])


SPEC = {
    "deployments.apps": SELECTED,
    "replicasets.apps": SELECTED,
    "daemonsets.apps": SELECTED,
    "statefulsets.apps": {**SELECTED, "serviceName": "x"},
}


def work(key: str, **fields: Any) -> Document:
    return {"spec": {**SPEC[key], **fields}}


JOB_TEMPLATE = {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}


@pytest.mark.parametrize("key", list(SPEC))
def test_sound_workloads_have_no_faults(key: str) -> None:
    assert faults(key, work(key)) == []


def test_one_fault_is_told_alone_and_several_in_brackets() -> None:
    web = KNOWN.by_key("deployments.apps")
    document = ready("deployments.apps", {"spec": {**SPEC["deployments.apps"], "replicas": -1}})
    error = invalid(web, "web", validate(web, document))
    negative = "Invalid value: -1: must be greater than or equal to 0"
    assert error.message == f'Deployment.apps "web" is invalid: spec.replicas: {negative}'
    assert error.status()["details"] == {
        "name": "web",
        "group": "apps",
        "kind": "Deployment",
        "causes": [{"reason": "FieldValueInvalid", "message": negative, "field": "spec.replicas"}],
    }
    broken = replaced(document, ["spec", "minReadySeconds"], -1)
    assert invalid(web, "web", validate(web, broken)).message == (
        f'Deployment.apps "web" is invalid: [spec.replicas: {negative}, spec.minReadySeconds: {negative}]'
    )


def test_a_selector_that_cannot_be_asked_is_told_once_more_as_a_whole() -> None:
    wrong = {"matchExpressions": [{"key": "app", "operator": "Is"}]}
    assert faults("deployments.apps", {"spec": {"selector": wrong, "template": TEMPLATE}}) == [
        'spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
        'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Is"}]}: invalid label selector',
    ]


def test_a_workload_without_a_selector_is_told_that_it_selects_nothing() -> None:
    unmatched = "`selector` does not match template `labels`"
    assert faults("deployments.apps", {"spec": {"template": TEMPLATE}}) == [
        "spec.selector: Required value",
        f'spec.template.metadata.labels: Invalid value: {{"app":"x"}}: {unmatched}',
    ]
    # A template that is not there is an empty one, with defaults of its own.
    assert faults("deployments.apps", {"spec": {}}) == [
        "spec.selector: Required value",
        f"spec.template.metadata.labels: Invalid value: null: {unmatched}",
        "spec.template.spec.containers: Required value",
    ]


@pytest.mark.parametrize(
    ("key", "fields", "expected"),
    [
        ("deployments.apps", {"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("deployments.apps", {"selector": {}},
         "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        ("deployments.apps", {"selector": {"matchLabels": {"app": "y"}}},
         'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'),
        ("deployments.apps", {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
         "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"),
        ("deployments.apps", {"strategy": {"rollingUpdate": {"maxUnavailable": "120%"}}},
         'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "120%": must not be greater than 100%'),
        ("deployments.apps", {"strategy": {"rollingUpdate": {"maxSurge": "a"}}},
         'spec.strategy.rollingUpdate.maxSurge: Invalid value: "a": a valid percent string must be a numeric string '
         "followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"),
        ("deployments.apps", {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
         "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
        ("deployments.apps", {"strategy": {"type": "Big"}},
         'spec.strategy: Unsupported value: {"Type":"Big","RollingUpdate":null}: '
         'supported values: "Recreate", "RollingUpdate"'),
        ("deployments.apps", {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
         "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"),
        ("deployments.apps", {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},
         'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'),
        ("daemonsets.apps", {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
         "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
        ("statefulsets.apps", {"podManagementPolicy": "Any"},
         'spec.podManagementPolicy: Invalid value: "Any": must be \'OrderedReady\' or \'Parallel\''),
        ("statefulsets.apps", {"updateStrategy": {"rollingUpdate": {"partition": -1}}},
         "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_faults_of_workloads(key: str, fields: dict[str, Any], expected: str) -> None:
    assert faults(key, work(key, **fields)) == [expected]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (pod(containers=[]), ["spec.containers: Required value"]),
        (pod(containers=[{"image": "b"}]), ["spec.containers[0].name: Required value"]),
        (pod(containers=[{"name": "a"}]), ["spec.containers[0].image: Required value"]),
        (pod(containers=[CONTAINER, CONTAINER]), ['spec.containers[1].name: Duplicate value: "a"']),
        (pod(initContainers=[CONTAINER]), ['spec.initContainers[0].name: Duplicate value: "a"']),
        (container(image=" b"), ['spec.containers[0].image: Invalid value: " b": must not have leading or trailing whitespace']),
        (container(imagePullPolicy="Maybe"),
         ['spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"']),
        (container(ports=[{"containerPort": 0}]), ["spec.containers[0].ports[0].containerPort: Required value"]),
        (container(ports=[{"containerPort": 70000}]),
         ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        (container(ports=[{"containerPort": 1, "protocol": "ICMP"}]),
         ['spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
        (container(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
         ['spec.containers[0].ports[1].name: Duplicate value: "a"']),
        (container(ports=[{"containerPort": 1, "name": "Up--"}]), [
            'spec.containers[0].ports[0].name: Invalid value: "Up--": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
            'spec.containers[0].ports[0].name: Invalid value: "Up--": must not contain consecutive hyphens',
            'spec.containers[0].ports[0].name: Invalid value: "Up--": must not begin or end with a hyphen']),
        (pod(containers=[{**CONTAINER, "name": n, "ports": [{"containerPort": 80, "hostPort": 80}]} for n in "ab"]),
         ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"']),
        (container(env=[{"name": "a=b"}]),
         ['spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name must consist only '
          "of printable ASCII characters other than '='"]),
        (container(env=[{"value": "x"}]), ["spec.containers[0].env[0].name: Required value"]),
        (container(env=[{"name": "A", "valueFrom": {}}]),
         ['spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, '
          "`resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"]),
        (container(env=[{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
         ['spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
        (container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]),
         ['spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": '
          "error converting fieldPath: field label not supported: spec.x"]),
        (container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]),
         ['spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": '
          'supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", '
          '"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"']),
        (container(envFrom=[{}]),
         ['spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
        (container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
         ['spec.containers[0].volumeMounts[0].name: Not found: "v"']),
        (pod(volumes=[{"name": "v"}], containers=[{**CONTAINER, "volumeMounts": [
            {"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": ""}]}]),
         ['spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique',
          "spec.containers[0].volumeMounts[2].mountPath: Required value"]),
        (container(livenessProbe={}), ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]),
        (container(livenessProbe={"exec": {"command": ["a"]}, "successThreshold": 2}),
         ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
        (container(readinessProbe={"tcpSocket": {"port": 0}, "periodSeconds": -1}),
         ["spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
          "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
        (container(readinessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
         ["spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]),
        (container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}),
         ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m']),
        (container(resources={"limits": {"memory": "-1"}}), [
            'spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
            'spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0']),
        (container(resources={"requests": {"gpu": "1"}}), [
            'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified',
            'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers']),
        (container(resources={"requests": {"example.com/gpu": "1"}}),
         ["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"]),
        (pod(volumes=[{"name": "a"}, {"name": "a"}]), ['spec.volumes[1].name: Duplicate value: "a"']),
        (pod(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]),
         ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]),
        (pod(volumes=[{"name": "a", "configMap": {}}, {"name": "b", "secret": {}}, {"name": "c", "persistentVolumeClaim": {}}]),
         ["spec.volumes[0].configMap.name: Required value", "spec.volumes[1].secret.secretName: Required value",
          "spec.volumes[2].persistentVolumeClaim.claimName: Required value"]),
        (pod(volumes=[{"name": "a", "secret": {"secretName": "s", "defaultMode": 512, "items": [{"key": "k", "path": "../x"}]}}]),
         ["spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
          'spec.volumes[0].secret.items[0].path: Invalid value: "../x": must not contain \'..\'']),
        (pod(restartPolicy="Sometimes"),
         ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"']),
        (pod(dnsPolicy="X"),
         ['spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"']),
        (pod(activeDeadlineSeconds=0),
         ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
        (pod(tolerations=[{"operator": "Equal"}]),
         ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
          'which means "match all values and all keys"']),
        (pod(tolerations=[{"key": "a", "operator": "Is"}]),
         ['spec.tolerations[0].operator: Unsupported value: "Is": supported values: "Equal", "Exists"']),
        (pod(tolerations=[{"key": "a", "operator": "Exists", "tolerationSeconds": 1}]),
         ['spec.tolerations[0].effect: Invalid value: "": effect must be \'NoExecute\' when `tolerationSeconds` is set']),
        (pod(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "X"}]),
         ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
          "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
          'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "X": '
          'supported values: "DoNotSchedule", "ScheduleAnyway"']),
        (pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
         ["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
          "Required value: must have at least one node selector term"]),
        (pod(initContainers=[{**CONTAINER, "name": "i", "readinessProbe": {"exec": {"command": ["x"]}}}]),
         ["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"]),
    ],
)  # fmt: skip
def test_faults_of_pods(document: Document, expected: list[str]) -> None:
    assert faults("pods", document) == expected


def test_a_fault_in_a_template_is_told_by_its_path_even_after_a_sound_pod() -> None:
    assert faults("pods", pod()) == [] == faults("pods", pod())
    broken = work("deployments.apps", template={**TEMPLATE, "spec": {"containers": [{"name": "a"}]}})
    for _ in range(2):
        assert faults("deployments.apps", broken) == [
            "spec.template.spec.containers[0].image: Required value"
        ]


def test_a_running_pod_keeps_its_containers() -> None:
    old = pod()
    assert faults("pods", container(image="b:2"), old) == []
    assert faults("pods", pod(containers=[CONTAINER, {**CONTAINER, "name": "b"}]), old) == [
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    ]
    (fault,) = faults("pods", pod(nodeName="one"), old)
    assert fault.startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
    )
    assert '\n- "NodeName": "",\n+ "NodeName": "one",\n' in fault


def test_a_binding_may_name_the_node() -> None:
    assert faults("pods", pod(nodeName="one"), pod(), subresource="binding") == []


def test_tolerations_may_only_be_added() -> None:
    old = pod(tolerations=[{"key": "a", "operator": "Exists"}])
    assert (
        faults(
            "pods", pod(tolerations=[*old["spec"]["tolerations"], {"key": "b", "operator": "Exists"}]), old
        )
        == []
    )
    assert faults("pods", pod(), old) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_selectors_are_fixed() -> None:
    changed = work(
        "deployments.apps",
        selector={"matchLabels": {"app": "y"}},
        template={**TEMPLATE, "metadata": {"labels": {"app": "y"}}},
    )
    assert faults("deployments.apps", changed, work("deployments.apps")) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable'
    ]


def test_a_stateful_set_changes_only_in_part() -> None:
    old = work("statefulsets.apps")
    assert faults("statefulsets.apps", work("statefulsets.apps", replicas=3, minReadySeconds=2), old) == []
    assert faults("statefulsets.apps", work("statefulsets.apps", serviceName="y"), old) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
        "are forbidden"
    ]


# A selector of the author's own, which may be one that chooses all.
EVERY = {"manualSelector": True, "selector": {}}


def test_jobs_end() -> None:
    always = {"spec": {"template": {"spec": {"containers": [CONTAINER]}}, **EVERY}}
    assert faults("jobs.batch", always) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]
    assert faults(
        "jobs.batch", {"spec": {"template": JOB_TEMPLATE, "completionMode": "Indexed", "parallelism": 1, **EVERY}}
    ) == ["spec.completions: Required value: when completion mode is Indexed"]


def test_a_jobs_template_is_fixed_unless_it_waits() -> None:
    old = {"spec": {"template": JOB_TEMPLATE, "completions": 1, **EVERY}}
    moved = {**JOB_TEMPLATE, "spec": {**JOB_TEMPLATE["spec"], "nodeSelector": {"a": "b"}}}
    (fault,) = faults("jobs.batch", {"spec": {"template": moved, "completions": 1, **EVERY}}, old)
    assert fault.startswith("spec.template: Invalid value: {") and fault.endswith("}: field is immutable")
    waiting = replaced(old, ["spec", "suspend"], True)
    assert (
        faults("jobs.batch", {"spec": {"template": moved, "completions": 1, "suspend": True, **EVERY}}, waiting) == []
    )
    assert faults("jobs.batch", replaced(old, ["spec", "completions"], 2), old) == [
        "spec.completions: Invalid value: 2: field is immutable"
    ]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
    ],
)
def test_schedules_are_cron(schedule: str, words: str) -> None:
    document = {"spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}}
    assert faults("cronjobs.batch", document) == [f'spec.schedule: Invalid value: "{schedule}": {words}']


@pytest.mark.parametrize("schedule", ["*/5 0-6 1,15 jan-MAR mon-fri", "@daily", "@every 1h30m", "0 0 ? * 0"])
def test_good_schedules_pass(schedule: str) -> None:
    document = {"spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}}
    assert faults("cronjobs.batch", document) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["spec.ports: Required value"]),
        ({"clusterIP": "None"}, []),
        ({"type": "ExternalName"}, ["spec.externalName: Required value"]),
        ({"type": "Odd", "ports": [{"port": 1}]},
         ['spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
        ({"ports": [{"port": 0}]}, ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                                    "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}, ["spec.ports[0].name: Required value"]),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, ['spec.ports[1].name: Duplicate value: "a"']),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]},
         ['spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":1,"TargetPort":0,"NodePort":0}']),
        ({"ports": [{"port": 1, "nodePort": 30000}]},
         ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
        ({"ports": [{"port": 1}], "sessionAffinity": "Sticky"},
         ['spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"']),
        ({"ports": [{"port": 1}], "externalTrafficPolicy": "Local"},
         ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
    ],
)  # fmt: skip
def test_faults_of_services(spec: dict[str, Any], expected: list[str]) -> None:
    assert faults("services", {"spec": spec}) == expected


def test_a_given_address_stays() -> None:
    old = {"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 1}]}}
    changed = {"spec": {**old["spec"], "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}}
    assert faults("services", changed, old) == [
        'spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'
    ]


def test_faults_of_config_maps_and_secrets() -> None:
    key_words = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',"
        "  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    assert faults("configmaps", {"data": {"a b": ""}}) == [f'data[a b]: Invalid value: "a b": {key_words}']
    assert faults("configmaps", {"data": {"..a": ""}}) == [
        "data[..a]: Invalid value: \"..a\": must not start with '..'"
    ]
    assert faults("configmaps", {"data": {"a": ""}, "binaryData": {"a": ""}}) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]
    assert faults("configmaps", {"data": {"a": "x" * (1 << 20)}}) == []
    assert faults("configmaps", {"data": {"a": "ü" * (1 << 19) + "x"}}) == [
        "[]: Too long: may not be more than 1048576 bytes"
    ]
    assert faults("secrets", {"type": "kubernetes.io/tls"}) == [
        "data[tls.crt]: Required value", "data[tls.key]: Required value",
    ]  # fmt: skip
    assert (
        faults(
            "secrets", {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{}"}}
        )
        == []
    )
    assert faults("secrets", {"type": "kubernetes.io/service-account-token"}) == [
        "metadata.annotations[kubernetes.io/service-account.name]: Required value"
    ]


def test_what_was_declared_immutable_stays() -> None:
    words = "Forbidden: field is immutable when `immutable` is set"
    for key, data in (("configmaps", "x"), ("secrets", "eA==")):
        old = {"immutable": True, "data": {"a": data}}
        assert faults(key, {"data": {"a": data}}, old) == [f"immutable: {words}"]
        assert faults(key, {"immutable": True}, old) == [f"data: {words}"]
    assert faults("secrets", {"type": "other"}, {}) == ['type: Invalid value: "other": field is immutable']


def test_faults_of_volumes_and_claims() -> None:
    assert faults("persistentvolumeclaims", {"spec": {}}) == [
        "spec.accessModes: Required value: at least 1 access mode is required",
        "spec.resources[storage]: Required value",
    ]
    assert faults("persistentvolumes", {"spec": {"accessModes": ["Any"]}}) == [
        'spec.accessModes: Unsupported value: "Any": supported values: "ReadOnlyMany", "ReadWriteMany", '
        '"ReadWriteOnce", "ReadWriteOncePod"',
        "spec.capacity: Required value",
        'spec.capacity: Unsupported value: null: supported values: "storage"',
        "spec: Required value: must specify a volume type",
    ]
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    assert faults("persistentvolumeclaims", claim) == []
    assert faults("persistentvolumeclaims", replaced(claim, ["spec", "volumeName"], "v"), claim) == []
    assert faults(
        "persistentvolumeclaims", replaced(claim, ["spec", "accessModes"], ["ReadWriteMany"]), claim
    ) == [
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
        'for bound claims\n@@ -1,6 +1,6 @@\n {\n  "AccessModes": [\n-  "ReadWriteOnce"\n+  "ReadWriteMany"\n'
        '  ],\n  "Selector": null,\n  "Resources": {\n'
    ]


@pytest.mark.parametrize(
    ("key", "document", "expected"),
    [
        ("nodes", {"spec": {"taints": [{"key": "a", "effect": "Never"}]}},
         ['metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"']),
        ("nodes", {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}] * 2}},
         ['metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoExecute","TimeAdded":null}: '
          'taints must be unique by key and effect pair']),
        ("resourcequotas", {"spec": {"hard": {"pods": "1500m", "cpu": "-1"}}},
         ['spec.hard[pods]: Invalid value: "1500m": must be an integer',
          'spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
        ("limitranges", {"spec": {"limits": [{"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}},
         ['spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1']),
        ("ingresses.networking.k8s.io", {"spec": {}},
         ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
        ("ingresses.networking.k8s.io", {"spec": {"rules": [{"host": "*.a.b", "http": {"paths": [
            {"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}},
         ['spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path']),
        ("ingresses.networking.k8s.io", {"spec": {"rules": [{"http": {"paths": [
            {"path": "/", "backend": {"service": {"name": "s"}}}]}}]}},
         ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"]),
        ("networkpolicies.networking.k8s.io", {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}},
         ['spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, '
          "(e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"scaleTargetRef": {"kind": "Deployment"}, "maxReplicas": 1, "minReplicas": 2}},
         ["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`",
          "spec.scaleTargetRef.name: Required value",
          'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group']),
        ("poddisruptionbudgets.policy", {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
         ['spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":1,"UnhealthyPodEvictionPolicy":null}: '
          "minAvailable and maxUnavailable cannot be both set"]),
        ("roles.rbac.authorization.k8s.io", {"rules": [{"resources": ["pods"], "apiGroups": [""]}, {"verbs": ["get"]}]},
         ["rules[0].verbs: Required value: verbs must contain at least one value",
          "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
          "rules[1].resources: Required value: resource rules must supply at least one resource"]),
        ("clusterrolebindings.rbac.authorization.k8s.io",
         {"roleRef": {"kind": "Role", "name": "a"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]},
         ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
          "subjects[0].namespace: Required value"]),
        ("storageclasses.storage.k8s.io", {}, ["provisioner: Required value"]),
        ("priorityclasses.scheduling.k8s.io", {"value": 2_000_000_000},
         ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
        ("leases.coordination.k8s.io", {"spec": {"leaseDurationSeconds": 0}},
         ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
        ("endpointslices.discovery.k8s.io", {"endpoints": [{"addresses": []}]},
         ["addressType: Required value", "endpoints[0].addresses: Required value: must contain at least 1 address"]),
        ("events", {"involvedObject": {"kind": "Pod", "namespace": "other"}},
         ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']),
        ("validatingwebhookconfigurations.admissionregistration.k8s.io",
         {"webhooks": [{"name": "short", "clientConfig": {}, "timeoutSeconds": 60}]},
         ['webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots',
          "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
          "webhooks[0].timeoutSeconds: Invalid value: 60: the timeout value must be between 1 and 30 seconds",
          "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
          "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"]),
    ],
)  # fmt: skip
def test_faults_of_smaller_kinds(key: str, document: Document, expected: list[str]) -> None:
    assert faults(key, document) == expected


@pytest.mark.parametrize(
    ("key", "old", "new", "expected"),
    [
        ("rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "Role", "name": "a"}},
         {"roleRef": {"kind": "Role", "name": "b"}},
         'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef'),
        ("storageclasses.storage.k8s.io", {"provisioner": "a"}, {"provisioner": "b"},
         'provisioner: Invalid value: "b": field is immutable'),
        ("priorityclasses.scheduling.k8s.io", {"value": 1}, {"value": 2},
         "value: Forbidden: may not be changed in an update."),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPv4", "endpoints": []}, {"addressType": "IPv6", "endpoints": []},
         'addressType: Invalid value: "IPv6": field is immutable'),
    ],
)  # fmt: skip
def test_what_smaller_kinds_keep(key: str, old: Document, new: Document, expected: str) -> None:
    assert faults(key, new, old) == [expected]


def test_an_update_that_leaves_a_broken_spec_alone_is_no_fault() -> None:
    broken = {"spec": {"template": TEMPLATE}}
    assert "spec.selector: Required value" in faults("deployments.apps", broken)
    labelled = {**broken, "metadata": {**META, "labels": {"a": "b"}}}
    assert faults("deployments.apps", labelled, broken) == []


def test_a_status_is_written_beside_the_spec() -> None:
    assert faults("deployments.apps", {"spec": {}, "status": {}}, {"spec": {}}, subresource="status") == []


def test_bodies_of_subresources_are_checked() -> None:
    scale = GroupVersionKind("autoscaling", "v1", "Scale")
    (cause,) = validate_body(scale, {"spec": {"replicas": -1}})
    assert (cause.field, cause.message) == (
        "spec.replicas",
        "Invalid value: -1: must be greater than or equal to 0",
    )
    assert validate_body(GroupVersionKind("", "v1", "Binding"), {"target": {"name": "n"}}) == []


def test_a_missing_part_is_no_accident() -> None:
    for key in ("pods", "services", "ingresses.networking.k8s.io", "cronjobs.batch", "persistentvolumes"):
        assert faults(key, removed({"spec": {}}, ["spec"]))
