"""What the image and the manifests have to agree on."""

import re

import yaml

from deploy.k8s.check import HERE, SERVICES, VERBS

DOCKERFILE = (HERE.parents[1] / "Dockerfile").read_text()


def test_pods_run_as_the_user_of_the_image() -> None:
    found = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert found
    for name in (*SERVICES, *VERBS):
        manifest = next(yaml.safe_load_all((HERE / "base" / f"{name}.yaml").read_text()))
        spec = manifest["spec"].get("jobTemplate", manifest)["spec"]
        security = spec["template"]["spec"]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (int(found[1]), int(found[2])), name


def test_every_package_of_the_image_comes_with_a_hash() -> None:
    installs = re.findall(r"pip install ([^&\n]+)", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in install or "--no-deps --no-build-isolation ./" in install for install in installs)


def test_a_gateway_drains_within_its_grace() -> None:
    # The flush, the goodbye, and three clients to close: 2 + 2 + 3 × 5 s in addition to the drain.
    settings = dict(
        line.split("=", 1) for line in (HERE / "base/settings.env").read_text().splitlines() if line.startswith("TID")
    )
    gateway = next(yaml.safe_load_all((HERE / "base/gateway.yaml").read_text()))
    grace_s = gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert float(settings["TIDINGS_DRAIN_S"]) + 19 <= grace_s
