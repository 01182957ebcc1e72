"""Refuse manifests that cannot work, without a cluster and without a network: `python -m deploy.k8s.check`.

Every manifest is checked against Kubernetes' own schema, and an unknown field is an error. It is also checked against
the rules of this project: the settings that a service reads, and the rights of its pods. A directory and its
kustomization must name the same files. Prints one line per problem, and exits with 1 if there are any.
"""

import re
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from deploy.k8s.endings import ending_problems, manifests
from services.auditor.settings import AuditorSettings
from services.fanout.settings import FanoutSettings
from services.gateway.settings import GatewaySettings
from services.persister.archive import ArchiverSettings
from services.persister.settings import PersisterSettings
from services.receipts.settings import ReceiptsSettings
from tidings.runtime.settings import CassandraSettings, KafkaSettings, MediaStoreSettings

HERE = Path(__file__).resolve().parent
# The oldest supported version. The package has its schemas.
KUBERNETES = "1.34"
KUSTOMIZATION = "kustomization.yaml"
# The keys that our kustomizations use, so that this check finds a misspelt key before the first apply.
KUSTOMIZATION_KEYS = {
    "apiVersion",
    "kind",
    "namespace",
    "labels",
    "resources",
    "images",
    "replicas",
    "configMapGenerator",
}
PROBES = ("livenessProbe", "readinessProbe")
# A tag that names a version, or a digest.
PINNED = re.compile(r"^[^:@]+(:v?\d+\.\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})$")
SERVICES: Mapping[str, type[BaseModel]] = {
    "gateway": GatewaySettings,
    "persister": PersisterSettings,
    "fanout": FanoutSettings,
    "receipts": ReceiptsSettings,
    "archiver": ArchiverSettings,
    "auditor": AuditorSettings,
}
# Containers that run a verb of the command line.
VERBS: Mapping[str, Sequence[type[BaseSettings]]] = {
    "init": (KafkaSettings, CassandraSettings),
    "media-sweep": (KafkaSettings, CassandraSettings, MediaStoreSettings),
}

# The setting that every program with the object store reads.
STORE = "TIDINGS_MEDIA_STORE_URL"

Manifest = dict[str, Any]


class _StrictLoader(yaml.SafeLoader):
    """Refuses a mapping with a repeated key, because plain YAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {', '.join(map(str, twice))} is given twice")
        return super().construct_mapping(node, deep)


def problems(root: Path = HERE) -> list[str]:
    """One line per problem in the directories below `root` that have a kustomization."""
    found: list[str] = []
    for kustomization in sorted(root.rglob(KUSTOMIZATION)):
        folder = kustomization.parent
        found += [f"{folder.relative_to(root)}/{problem}" for problem in _folder_problems(folder)]
    return found or ([] if any(root.rglob(KUSTOMIZATION)) else [f"no {KUSTOMIZATION} below {root}"])


def _folder_problems(folder: Path) -> Iterator[str]:
    try:
        (kustomization,) = _documents(folder / KUSTOMIZATION)
    except (yaml.YAMLError, ValueError) as error:
        yield f"{KUSTOMIZATION}: {error}"
        return
    for key in kustomization.keys() - KUSTOMIZATION_KEYS:
        yield f"{KUSTOMIZATION}: {key} is not a key that this check supports"
    env_files = [name for generator in kustomization.get("configMapGenerator", ()) for name in generator["envs"]]
    resources = kustomization.get("resources", [])
    yield from _reference_problems(folder, [*resources, *env_files])
    for name in env_files:
        if (folder / name).is_file():
            yield from _env_file_problems(folder / name)
    for name in resources:
        if (folder / name).is_file():
            yield from _file_problems(folder / name)
    yield from _account_problems(manifests(folder, kustomization, _documents))
    yield from ending_problems(folder, kustomization, _documents)
    for image in kustomization.get("images", ()):
        yield from _image_problems(KUSTOMIZATION, f"{image['name']}:{image.get('newTag', '')}")


def _documents(path: Path) -> list[Manifest]:
    return [document for document in yaml.load_all(path.read_text(), Loader=_StrictLoader) if document]


def _reference_problems(folder: Path, named: list[str]) -> Iterator[str]:
    """Check that the kustomization names all files of its directory, and no others."""
    for name in named:
        target = folder / name
        if not (target.is_file() or (target / KUSTOMIZATION).is_file()):
            yield f"{KUSTOMIZATION}: {name} does not exist"
    present = {path.name for path in folder.iterdir() if path.is_file() and path.name != KUSTOMIZATION}
    for name in sorted(present - set(named)):
        yield f"{name}: not named in {KUSTOMIZATION}"


def _file_problems(path: Path) -> Iterator[str]:
    try:
        manifests = _documents(path)
    except yaml.YAMLError as error:
        yield f"{path.name}: {error}"
        return
    for manifest in manifests:
        where = f"{path.name}: {manifest.get('kind')}/{manifest.get('metadata', {}).get('name')}"
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{where}: {'.'.join(map(str, error.path))}: {error.message}"
        except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
            yield f"{where}: no schema for it: {error}"
        else:
            yield from (f"{where}: {problem}" for problem in _workload_problems(manifest))


# --- rules of this project ------------------------------------------------------------------------


def _account_problems(all_manifests: Iterable[Manifest]) -> Iterator[str]:
    """No pod of an account that does not exist ever starts, and only an event of its owner says so.

    A program that uses the object store has an account of its own. With workload identity its rights to the bucket
    would otherwise be those of all pods of the account.
    """
    found = list(all_manifests)
    accounts = {one["metadata"]["name"] for one in found if one.get("kind") == "ServiceAccount"}
    pods = {f"{one['kind']}/{one['metadata']['name']}": _pod(one) for one in found if "template" in _workload(one)}
    used = [pod.get("serviceAccountName") for pod in pods.values()]
    for name, pod in pods.items():
        account = pod.get("serviceAccountName")
        if account not in accounts:
            yield f"{name}: no manifest has its ServiceAccount"
        elif used.count(account) > 1 and any(STORE in _settings_of(one["name"]) for one in pod["containers"]):
            yield f"{name}: it uses the object store, and shares its ServiceAccount with other programs"


def _pod(manifest: Manifest) -> Manifest:
    pod: Manifest = _workload(manifest)["template"]["spec"]
    return pod


def _workload(manifest: Manifest) -> Manifest:
    """What a manifest says about its pods: of a CronJob that is the spec of its jobs."""
    spec: Manifest = manifest.get("spec", {})
    job: Manifest = spec.get("jobTemplate", {}).get("spec", {})
    return job if manifest.get("kind") == "CronJob" else spec


def _job_problems(manifest: Manifest) -> Iterator[str]:
    if manifest["spec"].get("concurrencyPolicy") != "Forbid":
        yield "concurrencyPolicy is not Forbid; a slow run and the next one would do the same work"
    if "activeDeadlineSeconds" not in _workload(manifest):
        yield "activeDeadlineSeconds is not set; a run that hangs would keep out all later ones"


def _workload_problems(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "CronJob":
        yield from _job_problems(manifest)
    spec = _workload(manifest)
    template = spec.get("template")
    if template is None:
        return
    pod = template["spec"]
    selected = spec.get("selector", {}).get("matchLabels", {})
    if not selected.items() <= template["metadata"].get("labels", {}).items():
        yield "the selector does not match the labels of its own pods"
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield "runAsNonRoot is not set"
    if pod.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not false; a Service of a setting's name would set that variable"
    if "terminationGracePeriodSeconds" not in pod:
        yield "terminationGracePeriodSeconds is not set; the drain needs more than the default suggests"
    for volume in pod.get("volumes", ()):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']}: the emptyDir has no sizeLimit, so it could fill the disk of its node"
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        name = container["name"]
        yield from (f"container {name}: {problem}" for problem in _container_problems(container))
        if manifest["kind"] in {"Deployment", "StatefulSet"}:
            yield from (f"container {name}: {probe} is not set" for probe in PROBES if probe not in container)


def _container_problems(container: Manifest) -> Iterator[str]:
    yield from _image_problems("image", container.get("image", ""))
    security = container.get("securityContext", {})
    if security.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if not {"requests", "limits"} <= container.get("resources", {}).keys():
        yield "requests and limits are not both set"
    readable = _settings_of(container["name"])
    for variable in container.get("env", ()):
        if variable["name"] not in readable:
            yield f"env {variable['name']} is not a setting that {container['name']} reads"
        if "value" in variable and _is_secret(variable["name"]):
            yield f"env {variable['name']} is a secret given as text; refer to a Secret"


def _image_problems(where: str, image: str) -> Iterator[str]:
    if not PINNED.match(image):
        yield f"{where} {image!r} is not pinned to a version or digest"


def _env_file_problems(path: Path) -> Iterator[str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    known = {name for service in SERVICES for name in _settings_of(service)}
    names = [line.partition("=")[0] for line in lines]
    for name in names:
        if name not in known:
            yield f"{path.name}: {name} is not a setting of any service"
        elif _is_secret(name):
            yield f"{path.name}: {name} is a secret; refer to a Secret instead"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{path.name}: {name} is given twice"


def _settings_of(container: str) -> dict[str, bool]:
    """The settings of a container's process: by environment variable, whether it is secret."""
    if container in VERBS:
        return _variables(VERBS[container])
    if container not in SERVICES:
        return {}
    groups = [field.annotation for field in SERVICES[container].model_fields.values()]
    return _variables(group for group in groups if isinstance(group, type) and issubclass(group, BaseSettings))


def _variables(groups: Iterable[type[BaseSettings]]) -> dict[str, bool]:
    return {
        f"{group.model_config.get('env_prefix', '')}{name.upper()}": not field.repr
        for group in groups
        for name, field in group.model_fields.items()
    }


def _is_secret(variable: str) -> bool:
    return any(_settings_of(service).get(variable, False) for service in SERVICES)


def main() -> int:
    found = problems()
    for problem in found:
        sys.stderr.write(f"deploy/k8s/{problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
