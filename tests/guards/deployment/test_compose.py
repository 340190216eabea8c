"""What each service of the compose file may do, know and reach: no more than it needs."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from core.config import PROJECT_ROOT

Compose = dict[str, Any]
COMPOSE: Compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text()

PUT_IN = re.compile(r"\$\{\w+:-([^}]*)}")
# Parts of a version that never moves: PostgreSQL has two, the others have three.
VERSION_PARTS = {"postgres": 2}
# Servers' images that start as root unless told otherwise.
START_AS_ROOT = ("postgres", "redis", "nginx")

_SERVERS = {"postgres_password", "redis_password"}
SECRETS = {
    "make-secrets": {*_SERVERS, "jwt_secret", "metrics_token", "secrets"},
    "postgres": {"postgres_password"},
    "redis": {"redis_password"},
    "migrate": {*_SERVERS, "jwt_secret"},
    **{key: {*_SERVERS, "jwt_secret", "metrics_token"} for key in ("web", "watch")},
    **dict.fromkeys(("worker", "closer", "helper", "mailer", "notifier", "exporter"), _SERVERS),
    "beat": {"redis_password"},
    "prometheus": {"metrics_token"},
    "proxy": set[str](),
    "grafana": set[str](),
}
# Names of settings that may hold a secret of a shop's own, and who uses it.
_TOKENS = {"migrate", "web", "watch"}
SECRET_SETTINGS = {
    "JWT_SECRET": _TOKENS,
    "JWT_SECRET_PREVIOUS": _TOKENS,
    "METRICS_TOKEN": {"web", "watch"},
    "LIMITS_REDIS_URL": {"web", "watch"},
    "SMTP_PASSWORD": {"mailer"},
    "WEBHOOK_URL": {"web", "watch", "helper", "mailer", "notifier"},
    "WEBHOOK_SECRET": {"web", "watch", "helper", "mailer", "notifier"},
}
_WORKERS = {"worker", "closer", "helper", "mailer", "notifier", "exporter"}
NETWORKS = {
    "redis": {"redis", "migrate", "web", "watch", "beat", *_WORKERS},
    "postgres": {"postgres", "migrate", "web", "watch", *_WORKERS},
    "front": {"web", "watch", "proxy", "prometheus"},
    # With a way to other hosts: those that publish a port, and who sends e-mails and webhooks.
    "outside": {"web", "proxy", "mailer", "notifier"},
    "monitoring": {"prometheus", "grafana"},
}
INTERNAL = {"redis", "postgres", "front"}


def by_default(value: Any) -> str:
    """A value with nothing set in .env."""
    return PUT_IN.sub(r"\1", str(value))


def faults(compose: Compose) -> list[str]:
    """What the file allows without need."""
    found = [
        f"{name}: {fault}"
        for name, service in compose["services"].items()
        for check in (_unconfined, _unbounded, _unpinned, _as_root, _open_ports, _writable_files)
        for fault in check(service)
    ]
    return [*found, *_secrets(compose), *_networks(compose)]


def _unconfined(service: Compose) -> Iterator[str]:
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add") or service.get("privileged"):
        yield "has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "may gain privileges"
    if service.get("read_only") is not True or "/tmp" not in service.get("tmpfs", ()):  # noqa: S108
        yield "may write to its image"
    if {"pid", "ipc", "devices"} & service.keys() or service.get("network_mode", "none") != "none":
        yield "shares the host's namespaces"


def _unbounded(service: Compose) -> Iterator[str]:
    if not re.fullmatch(r"\d+[mg]", by_default(service.get("mem_limit"))):
        yield "has no bound on memory"
    for bound in ("cpus", "pids_limit"):
        if not re.fullmatch(r"[1-9]\d*", by_default(service.get(bound))):
            yield f"has no bound on {bound}"


def _unpinned(service: Compose) -> Iterator[str]:
    if service["image"] == "flashbid":
        return
    name, _, tag = service["image"].partition(":")
    parts = VERSION_PARTS.get(name, 3)
    if not re.fullmatch(rf"v?\d+(\.\d+){{{parts - 1}}}(@sha256:[0-9a-f]{{64}})?", tag):
        yield "has an image whose content changes"


def _as_root(service: Compose) -> Iterator[str]:
    user = str(service.get("user", ""))
    image = service["image"].partition(":")[0]
    if re.match(r"(root|0)\b", user) or (image in START_AS_ROOT and not user):
        yield "runs as root"


def _open_ports(service: Compose) -> Iterator[str]:
    for port in service.get("ports", ()):
        if not by_default(port).startswith("127.0.0.1:"):
            yield "publishes a port to other machines"


def _writable_files(service: Compose) -> Iterator[str]:
    for volume in service.get("volumes", ()):
        if "docker.sock" in volume or (volume.startswith((".", "/")) and volume[-3:] != ":ro"):
            yield f"may change {volume}"


def _secrets(compose: Compose) -> Iterator[str]:
    known = set().union(*SECRETS.values())
    for name, service in compose["services"].items():
        mounted = {volume.split(":")[0] for volume in service.get("volumes", ())} & known
        if mounted != SECRETS[name]:
            yield f"{name}: knows {mounted}"
        environment = service.get("environment") or {}
        for setting, users in SECRET_SETTINGS.items():
            if {setting, f"{setting}_FILE"} & environment.keys() and name not in users:
                yield f"{name}: is told {setting}"
        for volume in service.get("volumes", ()):
            if volume == "exports:/run/exports" and name != "exporter":
                yield f"{name}: may change exports"
            if name != "make-secrets" and volume.split(":")[0] in known and volume[-3:] != ":ro":
                yield f"{name}: may change {volume}"


def _networks(compose: Compose) -> Iterator[str]:
    for network, declared in compose["networks"].items():
        inside = {
            name
            for name, service in compose["services"].items()
            if network in service.get("networks", ())
        }
        if inside != NETWORKS[network]:
            yield f"{network}: has {inside}"
        is_internal = by_default((declared or {}).get("internal", False)).lower() == "true"
        if is_internal != (network in INTERNAL):
            yield f"{network}: internal is {is_internal}"
    for name, service in compose["services"].items():
        # Without any it would join one with a way out.
        if not service.get("networks") and service.get("network_mode") != "none":
            yield f"{name}: is on the default network"


def test_no_service_has_more_than_it_needs() -> None:
    assert faults(COMPOSE) == []


def change(path: str, value: Any) -> Callable[[Compose], None]:
    """Sets what is at `service.key`; None deletes it."""

    def apply(compose: Compose) -> None:
        *above, key = path.split("/")
        for name in above:
            compose = compose[name]
        if value is None:
            del compose[key]
        else:
            compose[key] = value

    return apply


BREAKS = {
    "capability kept": change("services/redis/cap_drop", None),
    "capability added": change("services/postgres/cap_add", ["CHOWN"]),
    "privileged": change("services/web/privileged", True),
    "new privileges": change("services/grafana/security_opt", []),
    "writable image": change("services/proxy/read_only", None),
    "host's network": change("services/web/network_mode", "host"),
    "host's processes": change("services/worker/pid", "host"),
    "no memory limit": change("services/beat/mem_limit", None),
    "no cpu limit": change("services/notifier/cpus", None),
    "no limit of processes": change("services/prometheus/pids_limit", None),
    "unlimited processes": change("services/prometheus/pids_limit", -1),
    "moving image": change("services/postgres/image", "postgres:15"),
    "moving patch": change("services/proxy/image", "nginx:1.26"),
    "latest image": change("services/redis/image", "redis"),
    "root by default": change("services/redis/user", None),
    "root": change("services/web/user", "0:0"),
    "open port": change("services/postgres/ports", ["5432:5432"]),
    "port open by default": change("services/web/ports", ["${PUBLISH:-0.0.0.0}:8000:8000"]),
    "docker's socket": change("services/web/volumes", ["/var/run/docker.sock:/docker.sock:ro"]),
    "writable configuration": change("services/proxy/volumes", ["./deploy:/etc/nginx"]),
    "key for a worker": change("services/worker/environment/JWT_SECRET", ""),
    "key file for beat": change("services/beat/environment/JWT_SECRET_FILE", "/x"),
    "mail password for web": change("services/web/environment/SMTP_PASSWORD", ""),
    "database password for beat": change(
        "services/beat/volumes", ["postgres_password:/p:ro", "redis_password:/r:ro"]
    ),
    "writable secret": change("services/redis/volumes", ["redis_password:/secrets/redis"]),
    "exports that web may change": change("services/web/volumes", ["exports:/run/exports"]),
    "database for beat": change("services/beat/networks", ["redis", "postgres"]),
    "way out for a worker": change("services/worker/networks", ["redis", "postgres", "outside"]),
    "proxy beside redis": change("services/proxy/networks", ["front", "outside", "redis"]),
    "default network": change("services/helper/networks", None),
    "redis reaches out": change("networks/redis", {}),
    "database reaches out by default": change("networks/postgres", {"internal": "${X:-false}"}),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_each_fault_is_found(fault: str) -> None:
    compose = copy.deepcopy(COMPOSE)
    BREAKS[fault](compose)
    assert faults(compose)


def test_redis_asks_for_its_password() -> None:
    """tests/system/test_containers.py runs the command."""
    assert "requirepass" in COMPOSE["services"]["redis"]["command"][-1]


def test_every_process_without_an_exception_has_a_health_check() -> None:
    for name, service in COMPOSE["services"].items():
        if service.get("restart") and service["image"] == "flashbid":
            wanted = {"disable": True} if name == "beat" else ["CMD", "/app/docker/health"]
            assert service["healthcheck"].get("test", service["healthcheck"]) == wanted, name


# The image


def image_faults(dockerfile: str) -> Iterator[str]:
    """What the image should not be."""
    for image in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE):
        if not re.search(r":\d+\.\d+\.\d+(-\w+)?(@sha256:[0-9a-f]{64})?$", image):
            yield f"{image} changes"
    last = dockerfile.rpartition("\nFROM ")[2]
    if re.findall(r"^USER (\S+)", last, re.MULTILINE)[-1:] != ["flashbid"]:
        yield "runs as root"
    if not re.search(r"^HEALTHCHECK .*docker/health", last, re.MULTILINE):
        yield "has no health check"
    if re.search(r"^(ENV|ARG) \w*(SECRET|PASSWORD|TOKEN)", dockerfile, re.MULTILINE):
        yield "contains a secret"


def test_the_image_is_pinned_and_unprivileged_and_checks_its_health() -> None:
    assert list(image_faults(DOCKERFILE)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"python:3[\w.-]+", "python:3.13-slim"),
        (r"USER flashbid", "USER root"),
        (r"USER flashbid", ""),
        (r"(USER flashbid)", r"\1\nUSER root"),
        (r"HEALTHCHECK .*", "HEALTHCHECK NONE"),
        (r"(USER flashbid)", r"\1\nENV JWT_SECRET=x"),
    ],
)
def test_each_fault_of_an_image_is_found(before: str, after: str) -> None:
    assert list(image_faults(re.sub(before, after, DOCKERFILE)))


def test_the_image_has_the_folders_that_volumes_are_mounted_on() -> None:
    """A new volume takes its owner from there."""
    targets = {
        volume.split(":")[1]
        for service in COMPOSE["services"].values()
        if service["image"] == "flashbid"
        for volume in service.get("volumes", ())
    }
    folders = set(re.findall(r"/(?:secrets|run)/\w+", DOCKERFILE))
    assert targets - {"/secrets/before"} <= folders
