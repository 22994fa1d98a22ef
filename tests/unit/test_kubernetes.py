"""k8s/: every file is valid alone, the base lists all of them, and what they say fits together and fits Treecast."""

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from common.metrics import METRICS, PREFIX
from common.settings import ConsumeSettings, ProduceSettings
from image.box import USER
from k8s.alerts import ALERTS, rule

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "k8s"
SCHEMAS = ROOT / "tests/data/schemas"
FILES = sorted(file.name for file in BASE.glob("*.yaml"))
MANIFESTS = [name for name in FILES if name != "kustomization.yaml"]
VERSIONS = ("1.29", "1.37")
"""The first one in which a native sidecar needs no switch, and the newest one that is known here."""
MODELS = {"produce": ProduceSettings, "consume": ConsumeSettings}
CUSTOM = {"PodMonitor": "podmonitor.json", "PrometheusRule": "prometheusrule.json"}
MODES = (0o440, 0o444)

Values = dict[str, Any]


def documents(file: str) -> list[Values]:
    return list(yaml.safe_load_all((BASE / file).read_text()))


@cache
def everything() -> tuple[Values, ...]:
    return tuple(document for file in MANIFESTS for document in documents(file))


def of_kind(kind: str) -> dict[str, Values]:
    return {one["metadata"]["name"]: one for one in everything() if one["kind"] == kind}


def pods() -> dict[str, Values]:
    """The pod's specification of each workload, by its name."""
    return {name: one["spec"]["template"]["spec"] for name, one in of_kind("StatefulSet").items()}


def containers(pod: Values) -> list[Values]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def roles() -> list[tuple[Values, Values]]:
    """Each container that is Treecast, with its pod."""
    return [(pod, one) for pod in pods().values() for one in containers(pod) if one["image"] == "treecast"]


def closed(schema: Any) -> Any:
    """A schema that allows nothing it does not name: the API server drops such a field without a word."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **made} if isinstance(made.get("properties"), dict) else made


def validate(document: Values, version: str) -> None:
    """Raises where a document is not what its kind allows."""
    if document["kind"] in CUSTOM:
        jsonschema.Draft7Validator(closed(json.loads((SCHEMAS / CUSTOM[document["kind"]]).read_text()))).validate(
            document
        )
    else:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", MANIFESTS)
def test_every_file_is_valid_alone(file: str, version: str) -> None:
    """Each document is what its kind allows, to the last field."""
    assert documents(file)
    for document in documents(file):
        validate(document, version)


@pytest.mark.parametrize(
    ("file", "field"), [("master.yaml", "enableServiceLink"), ("podmonitor.yaml", "podMetricsEndpoint")]
)
def test_a_slip_is_found(file: str, field: str) -> None:
    """The schemas are those that refuse: a field that a kind does not have is an error, wherever it stands."""
    document = documents(file)[-1]
    place = document["spec"]["template"]["spec"] if file == "master.yaml" else document["spec"]
    place[field] = []
    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
        validate(document, VERSIONS[0])


def test_the_base_lists_every_file() -> None:
    """Nothing that lies in the folder is left out of the base, and the image it takes is of this version."""
    (base,) = documents("kustomization.yaml")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (base["apiVersion"], base["kind"]) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    assert set(base) == {"apiVersion", "kind", "resources", "images"}
    assert sorted(base["resources"]) == MANIFESTS
    assert base["images"] == [{"name": "treecast", "newTag": version}]


def test_no_two_have_one_name_and_all_say_where_they_belong() -> None:
    """Kind and name are unique, and one label finds all of them."""
    names = [(one["kind"], one["metadata"]["name"]) for one in everything()]
    assert len(set(names)) == len(names)
    assert {one["metadata"]["labels"]["app.kubernetes.io/part-of"] for one in everything()} == {"treecast"}


@pytest.mark.parametrize("name", pods())
def test_every_pod_is_restricted(name: str) -> None:
    """All that the pod security standard "restricted" asks for holds for each container, and its root is read-only."""
    pod = pods()[name]
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == USER
    for one in containers(pod):
        context = one["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context.get("runAsUser", USER) != 0
        assert {"requests", "limits"} == set(one["resources"])
    for volume in pod.get("volumes", ()):
        assert set(volume) - {"name"} <= {"secret", "emptyDir", "configMap", "persistentVolumeClaim"}


def test_both_roles_are_there_in_each_way() -> None:
    """A producer as a sidecar; a consumer as a sidecar and as a pod of its own. A sidecar is always restarted."""
    found = {
        (name, one["args"][0], one.get("restartPolicy"))
        for name, pod in pods().items()
        for one in containers(pod)
        if one["image"] == "treecast"
    }
    assert found == {("master", "produce", "Always"), ("web", "consume", "Always"), ("replica", "consume", None)}


@pytest.mark.parametrize(("pod", "container"), roles(), ids=lambda one: one.get("name", ""))
def test_every_role_is_told_settings_that_it_takes(pod: Values, container: Values) -> None:
    """Each variable is a setting of that role with a value that is allowed; what is referred to is there; no password is."""
    config = of_kind("ConfigMap")["treecast"]["data"]
    told = {}
    for one in container["env"]:
        source = one.get("valueFrom", {})
        value = config[source["configMapKeyRef"]["key"]] if "configMapKeyRef" in source else one.get("value", "web-0")
        told[one["name"].removeprefix("TREECAST_").lower()] = value
    settings = MODELS[container["args"][0]](state=Path("/var/lib/treecast"), **told)
    assert settings.broker.startswith("amqps://")
    assert ":" not in settings.broker.removeprefix("amqps://").partition("@")[0]
    assert settings.broker_password_file == Path("/etc/treecast/broker/password")
    assert settings.listen is not None
    assert [port["containerPort"] for port in container["ports"]] == [settings.listen.port]


@pytest.mark.parametrize("name", pods())
def test_what_is_mounted_is_there(name: str) -> None:
    """Every mount has its volume or claim, every volume is mounted; secrets are for their readers alone."""
    claims = of_kind("StatefulSet")[name]["spec"]["volumeClaimTemplates"]
    pod = pods()[name]
    there = [claim["metadata"]["name"] for claim in claims] + [volume["name"] for volume in pod["volumes"]]
    assert {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]} == set(there)
    assert all(volume["secret"]["defaultMode"] in MODES for volume in pod["volumes"] if "secret" in volume)


def test_who_only_reads_cannot_write() -> None:
    """The producer has the source, and a server the replica, read-only."""

    def mounts(name: str, container: str) -> dict[str, bool]:
        one = next(one for one in containers(pods()[name]) if one["name"] == container)
        return {mount["name"]: mount.get("readOnly", False) for mount in one["volumeMounts"]}

    assert mounts("master", "producer")["tree"]
    assert mounts("web", "server")["tree"]
    assert not mounts("web", "consumer")["tree"]
    assert not mounts("replica", "consumer")["tree"]


@pytest.mark.parametrize(("pod", "container"), roles(), ids=lambda one: one.get("name", ""))
def test_probes_ask_the_pages_that_there_are(pod: Values, container: Values) -> None:
    """Alive is /healthz; ready, and for a sidecar started, is /readyz of a consumer. A producer's broker stops no master."""
    asked = {
        kind: container[f"{kind}Probe"]["httpGet"]
        for kind in ("startup", "liveness", "readiness")
        if f"{kind}Probe" in container
    }
    assert {get["port"] for get in asked.values()} == {container["ports"][0]["name"]}
    paths = {kind: get["path"] for kind, get in asked.items()}
    if container["args"] == ["produce"]:
        assert paths == {"startup": "/healthz", "liveness": "/healthz"}
    elif "restartPolicy" in container:
        assert paths == {"startup": "/readyz", "liveness": "/healthz", "readiness": "/readyz"}
    else:
        assert paths == {"liveness": "/healthz", "readiness": "/readyz"}


def targets(pod: Values) -> set[Any]:
    """The ports that a Service may lead to: by number all, by name not those of native sidecars, which not every Kubernetes from
    1.29 on finds."""
    by_name = {port["name"] for one in pod["containers"] for port in one.get("ports", ())}
    return by_name | {port["containerPort"] for one in containers(pod) for port in one.get("ports", ())}


def test_what_selects_pods_finds_them() -> None:
    """Services, budgets, the policy and the monitor select by labels that pods have, and ports that they have."""
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in of_kind("StatefulSet").items()}
    for name, one in of_kind("StatefulSet").items():
        assert one["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        assert one["spec"]["serviceName"] in of_kind("Service")
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"].items() <= labels[name].items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= targets(pods()[name])
    selecting = [*of_kind("PodDisruptionBudget").items(), *of_kind("NetworkPolicy").items()]
    for name, one in selecting:
        selector = one["spec"].get("selector") or one["spec"]["podSelector"]
        assert selector["matchLabels"].items() <= labels[name].items()
    (monitor,) = of_kind("PodMonitor").values()
    assert all(monitor["spec"]["selector"]["matchLabels"].items() <= one.items() for one in labels.values())
    assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} == {"metrics"}
    assert all(container["ports"][0]["name"] == "metrics" for _, container in roles())


def test_there_is_one_master() -> None:
    """Two producers of a tree are refused, so no base starts two."""
    assert of_kind("StatefulSet")["master"]["spec"]["replicas"] == 1


def test_the_alerts_are_the_projects_own() -> None:
    """The operator is given the very rules of monitoring/, where they are; none asks for a metric that is not there."""
    text = (BASE / "prometheusrule.yaml").read_text()
    if ALERTS.exists():
        assert text == rule(ALERTS.read_text()), "python k8s/alerts.py >k8s/prometheusrule.yaml"
    (alerts,) = of_kind("PrometheusRule").values()
    there = {PREFIX + metric.name for metric in METRICS} | {PREFIX + "build_info"}
    asked = {
        name
        for group in alerts["spec"]["groups"]
        for one in group["rules"]
        for name in re.findall(r"treecast_\w+?(?=_bucket|_sum|_count|\b)", one["expr"])
    }
    assert asked - there == set()


def test_rules_become_the_operators_kind() -> None:
    """What Prometheus reads from a file stands, unchanged, in what the operator reads."""
    rules = {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "up == 0 # all\nor x", "for": "1m"}]}]}
    made = yaml.safe_load(rule("---\n# why\n" + yaml.safe_dump(rules)))
    assert made["spec"] == rules
    validate(made, VERSIONS[0])
