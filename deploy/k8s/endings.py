"""Checks that a pod's grace period covers the longest end of its service: preStop, drain, and the steps after it.

The settings of a folder are those of the folders that its kustomization names, overridden by its own.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from services.gateway.service import GOODBYE_S, LAST_CALLS_S
from tidings.runtime.hints import STOP_S as HINTS_S
from tidings.runtime.start import STOP_S
from tidings.runtime.worker import DRAIN_S

Manifest = dict[str, Any]
Documents = Callable[[Path], list[Manifest]]

KUSTOMIZATION = "kustomization.yaml"
DRAIN_VARIABLE = "TIDINGS_DRAIN_S"
# After the drain of a gateway: the calls in progress, flush and goodbye, and four clients to close.
GATEWAY_S = LAST_CALLS_S + 2 * GOODBYE_S + 4 * STOP_S
# The current round, the hints, and the clients to close: at most six, in fanout.
WORKER_S = DRAIN_S + HINTS_S + 6 * STOP_S
ENDINGS_S: Mapping[str, float] = {"gateway": GATEWAY_S, "persister": WORKER_S, "fanout": WORKER_S, "receipts": WORKER_S}


def ending_problems(folder: Path, kustomization: Manifest, documents: Documents) -> Iterator[str]:
    """One line for each workload below `folder` whose grace period is too short under the folder's settings."""
    drain_s = _drain_s(folder, kustomization, documents)
    for manifest in manifests(folder, kustomization, documents):
        template = manifest.get("spec", {}).get("template")
        if manifest.get("kind") in {"Deployment", "StatefulSet"} and template:
            yield from _pod_problems(manifest["metadata"]["name"], template["spec"], drain_s)


def _pod_problems(workload: str, pod: Manifest, drain_s: float | None) -> Iterator[str]:
    for container in pod["containers"]:
        name = container["name"]
        if name not in ENDINGS_S:
            continue
        before_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed_s = before_s + ENDINGS_S[name]
        if name == "gateway":
            if not before_s:
                yield f"{workload}: preStop does not sleep; balancers would send clients to a gateway that ends"
            if drain_s is None:
                yield f"{workload}: {DRAIN_VARIABLE} is not set to a number"
                continue
            needed_s += drain_s
        if pod.get("terminationGracePeriodSeconds", 30) < needed_s:
            yield f"{workload}: terminationGracePeriodSeconds is below the {needed_s:g} s that {name} may need to end"


def _drain_s(folder: Path, kustomization: Manifest, documents: Documents) -> float | None:
    """The drain time that the pods of this folder get."""
    found = None
    for name in kustomization.get("resources", ()):
        if (folder / name / KUSTOMIZATION).is_file():
            (inner,) = documents(folder / name / KUSTOMIZATION)
            found = _drain_s(folder / name, inner, documents) or found
    for generator in kustomization.get("configMapGenerator", ()):
        for name in generator["envs"]:
            lines = (folder / name).read_text().splitlines() if (folder / name).is_file() else []
            for line in lines:
                if line.startswith(f"{DRAIN_VARIABLE}="):
                    found = _number(line.partition("=")[2])
    return found


def manifests(folder: Path, kustomization: Manifest, documents: Documents) -> Iterator[Manifest]:
    """All manifests of a folder, and of the folders that its kustomization names."""
    for name in kustomization.get("resources", ()):
        target = folder / name
        if (target / KUSTOMIZATION).is_file():
            (inner,) = documents(target / KUSTOMIZATION)
            yield from manifests(target, inner, documents)
        elif target.is_file():
            try:
                yield from documents(target)
            except yaml.YAMLError:
                continue  # the check of the file reports it


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
