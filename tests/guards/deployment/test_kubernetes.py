"""The manifests in deploy/kubernetes: what Kubernetes accepts, and no more rights than needed."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from core.config import PROJECT_ROOT, load_settings
from tests.guards.deployment.test_compose import SECRET_SETTINGS
from tests.guards.deployment.test_compose import SECRETS as COMPOSE_SECRETS
from tests.guards.test_settings import PROCFILE as PROCFILE_SETTINGS
from tests.guards.test_settings import SECRET, read_by_the_program

FOLDER = PROJECT_ROOT / "deploy" / "kubernetes"
PROCFILE = (PROJECT_ROOT / "Procfile").read_text()
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
NAME, PART_OF = "app.kubernetes.io/name", "app.kubernetes.io/part-of"
WRITABLE = {"tmp", "metrics"}
OUTSIDE = {587, 465, 443}
GRACEFUL_SECONDS = 10

Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    """What the base is made of, in the files that it names."""
    found: list[Manifest] = []
    for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]:
        for each in yaml.safe_load_all((FOLDER / name).read_text()):
            found += each["items"] if each["kind"] == "List" else [each]
    # Anchors make shared objects; a test that breaks one must not break the others.
    return [copy.deepcopy(each) for each in found]


MANIFESTS = manifests()


def of_kind(kind: str, among: list[Manifest]) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in among if each["kind"] == kind}


def workloads(among: list[Manifest]) -> dict[str, Manifest]:
    return of_kind("Deployment", among) | of_kind("Job", among)


def pod(workload: Manifest) -> Manifest:
    return dict(workload["spec"]["template"]["spec"])


def container(workload: Manifest) -> Manifest:
    [only] = pod(workload)["containers"]
    return dict(only)


def secrets(workload: Manifest) -> set[str]:
    """Names of the secret files of a pod."""
    [volume] = [each for each in pod(workload)["volumes"] if each["name"] == "secrets"]
    sources = volume["projected"]["sources"]
    return {item["path"] for source in sources for item in source["secret"]["items"]}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
)
def test_kubernetes_accepts_it(manifest: Manifest, version: str) -> None:
    assert kubernetes_validate.validate(manifest, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    broken = copy.deepcopy(of_kind("Service", MANIFESTS)["web"])
    broken["spec"]["ports"][0]["targetport"] = "http"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


def test_the_base_has_all_its_files() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = {path.name for path in FOLDER.iterdir()}
    assert files == {"kustomization.yaml", *kustomization["resources"]}
    names = [(each["kind"], each["metadata"]["name"]) for each in MANIFESTS]
    assert len(names) == len(set(names))


def test_every_process_of_the_procfile_has_a_workload() -> None:
    """The entry point of the image starts the process whose name is its argument."""
    started = {name: container(each) for name, each in workloads(MANIFESTS).items()}
    assert {name: each["args"] for name, each in started.items()} == {
        "watch": ["web"],
        **{name: [name] for name in re.findall(r"^(\w+):", PROCFILE, re.MULTILINE)},
    }
    assert all("command" not in each for each in started.values())


def test_there_is_one_beat() -> None:
    spec = workloads(MANIFESTS)["beat"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_every_setting_exists_and_none_is_a_secret() -> None:
    data = of_kind("ConfigMap", MANIFESTS)["flashbid"]["data"]
    known = read_by_the_program() | PROCFILE_SETTINGS.keys()
    assert data.keys() <= known
    load_settings({**data, **SECRET})
    assert not data.keys() & SECRET_SETTINGS.keys()
    for name, workload in workloads(MANIFESTS).items():
        assert {each["name"] for each in container(workload)["env"]} <= known, name


def faults(among: list[Manifest]) -> list[str]:
    """What the manifests allow without need."""
    found = [
        f"{name}: {fault}"
        for name, workload in workloads(among).items()
        for check in (_privileges, _bounds, _files, _probes, _known_secrets, _environment)
        for fault in check(name, workload)
    ]
    return [*found, *_network(among), *_availability(among)]


def _privileges(_: str, workload: Manifest) -> Iterator[str]:
    spec, own = pod(workload), container(workload)["securityContext"]
    user = spec["securityContext"]
    if not (user.get("runAsNonRoot") and user.get("runAsUser") == 10001 == user.get("fsGroup")):
        yield "runs as another user"
    if user.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may make any system call"
    if own.get("capabilities") != {"drop": ["ALL"]} or own.get("privileged"):
        yield "has capabilities"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write to its image"
    if spec.get("automountServiceAccountToken") is not False:
        yield "may call Kubernetes"
    if {"hostNetwork", "hostPID", "hostIPC"} & spec.keys():
        yield "shares the host's namespaces"


def _bounds(_: str, workload: Manifest) -> Iterator[str]:
    resources = container(workload)["resources"]
    if "memory" not in resources.get("limits", {}):
        yield "has no bound on memory"
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield "requests nothing, so no node is chosen for it"
    before = container(workload).get("lifecycle", {}).get("preStop", {}).get("exec", {})
    waits = int(before.get("command", ["sleep", "0"])[1])
    if pod(workload)["terminationGracePeriodSeconds"] < waits + 2 * GRACEFUL_SECONDS:
        yield "is killed before it has stopped"


def _files(name: str, workload: Manifest) -> Iterator[str]:
    volumes = {each["name"]: each for each in pod(workload)["volumes"]}
    mounts = {each["name"]: each for each in container(workload)["volumeMounts"]}
    if volumes.keys() != mounts.keys():
        yield "mounts what it does not have, or has what it does not mount"
    if any("hostPath" in each for each in volumes.values()):
        yield "sees the host's files"
    writable = {each for each, mount in mounts.items() if not mount.get("readOnly")}
    if not writable <= WRITABLE | ({"exports"} if name == "exporter" else set()):
        yield f"may write to {writable}"
    if "tmp" not in mounts:
        yield "has no place for temporary files"


def _probes(_: str, workload: Manifest) -> Iterator[str]:
    own = container(workload)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "ports" in own and own.get(probe, {}).get("httpGet", {}).get("path") != "/ready":
            yield f"{probe} asks other servers"


def _known_secrets(name: str, workload: Manifest) -> Iterator[str]:
    of_compose = COMPOSE_SECRETS["migrate" if name == "release" else name]
    if secrets(workload) != of_compose:
        yield f"knows {secrets(workload)}"
    for each in container(workload)["env"]:
        setting = each["name"].removesuffix("_FILE")
        users = SECRET_SETTINGS.get(setting)
        if users is not None and {"release": "migrate"}.get(name, name) not in users:
            yield f"is told {setting}"
        if users is not None and "value" in each and not each["name"].endswith("_FILE"):
            yield f"has {setting} in the open"
        if each.get("value", "").startswith("/secrets/"):
            file = each["value"].removeprefix("/secrets/")
            if file not in secrets(workload):
                yield f"reads {file}, which it does not have"


def _environment(_: str, workload: Manifest) -> Iterator[str]:
    if pod(workload).get("enableServiceLinks") is not False:
        yield "gets REDIS_PORT of a Service named redis"
    if container(workload).get("envFrom") != [{"configMapRef": {"name": "flashbid"}}]:
        yield "lacks the settings"


def _selected(selector: Manifest, among: list[Manifest]) -> set[str]:
    """Workloads whose pods a selector matches."""
    found = set()
    for name, workload in workloads(among).items():
        labels = {PART_OF: "flashbid", **workload["spec"]["template"]["metadata"]["labels"]}
        rules = [
            (labels.get(each["key"]) in each["values"]) == (each["operator"] == "In")
            for each in selector.get("matchExpressions", ())
        ]
        if selector.get("matchLabels", {}).items() <= labels.items() and all(rules):
            found.add(name)
    return found


def _network(among: list[Manifest]) -> Iterator[str]:
    policies = of_kind("NetworkPolicy", among)
    if policies["closed"]["spec"] != {
        "podSelector": {"matchLabels": {PART_OF: "flashbid"}},
        "policyTypes": ["Ingress", "Egress"],
    }:
        yield "the network is open"
    for policy in policies.values():
        spec = policy["spec"]
        names = _selected(spec["podSelector"], among)
        ports = {
            p["port"] for rule in spec.get("egress", ()) for p in rule.get("ports", [{"port": 443}])
        }
        if ports & OUTSIDE and not names <= {"mailer", "notifier"}:
            yield f"{names} have a way out"
        if 5432 in ports and "beat" in names:
            yield "beat reaches PostgreSQL"
        if "ingress" in spec and names != {"web", "watch"}:
            yield f"{names} can be reached"


def _availability(among: list[Manifest]) -> Iterator[str]:
    services = of_kind("Service", among)
    for name, service in services.items():
        if _selected({"matchLabels": service["spec"]["selector"]}, among) != {name}:
            yield f"the Service {name} has other pods"
    [ingress] = of_kind("Ingress", among).values()
    paths = {
        each["path"]: each["backend"]["service"]["name"]
        for rule in ingress["spec"]["rules"]
        for each in rule["http"]["paths"]
    }
    if paths != {"/": "web", "/ws": "watch"}:
        yield f"the Ingress sends {paths}"
    budgets = of_kind("PodDisruptionBudget", among).values()
    kept = [_selected(each["spec"]["selector"], among) for each in budgets]
    if kept != [{"web"}, {"watch"}]:
        yield f"a drained node may stop all of web: {kept}"
    if of_kind("Secret", among):
        yield "a secret is in the repository"


def test_no_workload_has_more_than_it_needs() -> None:
    assert faults(MANIFESTS) == []


def change(place: str, value: Any) -> Callable[[list[Manifest]], None]:
    """Sets what is at `kind/name/key/…`."""

    def apply(among: list[Manifest]) -> None:
        kind, name, *above, key = place.split("/")
        found: Any = of_kind(kind, among)[name]
        for each in above:
            found = found[int(each) if each.isdecimal() else each]
        found[int(key) if key.isdecimal() else key] = value

    return apply


_POD = "spec/template/spec"
_OWN = f"{_POD}/containers/0"
BREAKS = {
    "root": change(f"Deployment/web/{_POD}/securityContext/runAsUser", 0),
    "root allowed": change(f"Deployment/web/{_POD}/securityContext/runAsNonRoot", False),
    "any system call": change(f"Job/release/{_POD}/securityContext/seccompProfile", None),
    "capability": change(f"Deployment/beat/{_OWN}/securityContext/capabilities", {}),
    "privileged": change(f"Deployment/beat/{_OWN}/securityContext/privileged", True),
    "escalation": change(
        f"Deployment/worker/{_OWN}/securityContext/allowPrivilegeEscalation", True
    ),
    "writable image": change(
        f"Deployment/watch/{_OWN}/securityContext/readOnlyRootFilesystem", None
    ),
    "token of Kubernetes": change(f"Deployment/web/{_POD}/automountServiceAccountToken", True),
    "host's network": change(f"Deployment/web/{_POD}/hostNetwork", True),
    "no bound": change(f"Deployment/mailer/{_OWN}/resources/limits", {}),
    "no request": change(f"Deployment/mailer/{_OWN}/resources/requests", {}),
    "short stop": change(f"Deployment/web/{_POD}/terminationGracePeriodSeconds", 20),
    "missing volume": change(f"Deployment/exporter/{_POD}/volumes/0/name", "else"),
    "host's files": change(f"Deployment/helper/{_POD}/volumes/0/hostPath", {"path": "/"}),
    "writable exports": change(f"Deployment/web/{_OWN}/volumeMounts/3/readOnly", False),
    "key for a worker": change(
        f"Deployment/closer/{_OWN}/env/0", {"name": "JWT_SECRET_FILE", "value": "/secrets/jwt"}
    ),
    "secret in the open": change(
        f"Deployment/web/{_OWN}/env/0", {"name": "JWT_SECRET", "value": "abc"}
    ),
    "missing file": change(f"Deployment/beat/{_OWN}/env/0/value", "/secrets/other"),
    "database's password for beat": change(
        f"Deployment/beat/{_POD}/volumes",
        pod(workloads(MANIFESTS)["worker"])["volumes"],
    ),
    "service links": change(f"Deployment/worker/{_POD}/enableServiceLinks", True),
    "no settings": change(f"Deployment/worker/{_OWN}/envFrom", []),
    "open network": change("NetworkPolicy/closed/spec/policyTypes", ["Ingress"]),
    "way out for all": change("NetworkPolicy/servers/spec/egress", [{}]),
    "way out for web": change("NetworkPolicy/webhooks/spec/podSelector", {}),
    "beat reaches the database": change(
        "NetworkPolicy/postgres/spec/podSelector", {"matchLabels": {NAME: "beat"}}
    ),
    "workers can be reached": change("NetworkPolicy/front/spec/podSelector", {}),
    "wrong pods": change("Service/watch/spec/selector", {NAME: "web"}),
    "watchers at web": change(
        "Ingress/flashbid/spec/rules/0/http/paths/0/backend/service/name", "web"
    ),
    "no budget": change("PodDisruptionBudget/web/spec/selector", {"matchLabels": {NAME: "x"}}),
    "restarted with the database": change(
        f"Deployment/web/{_OWN}/livenessProbe/httpGet", {"path": "/health", "port": "http"}
    ),
    "secret in the repository": lambda among: among.append(
        {"kind": "Secret", "metadata": {"name": "x"}}
    ),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_each_fault_is_found(fault: str) -> None:
    among = copy.deepcopy(MANIFESTS)
    BREAKS[fault](among)
    assert faults(among)


def test_the_autoscaler_scales_web() -> None:
    [scaler] = of_kind("HorizontalPodAutoscaler", MANIFESTS).values()
    assert scaler["spec"]["scaleTargetRef"]["name"] == "web"
    # What it sets must not be set again by each `apply`.
    assert "replicas" not in workloads(MANIFESTS)["web"]["spec"]
