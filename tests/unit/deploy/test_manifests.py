"""What `python -m deploy.k8s.check` refuses, one broken manifest at a time."""

import shutil
from pathlib import Path

import pytest

from deploy.k8s.check import HERE, problems


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A copy of the manifests that a test may break."""
    root = tmp_path / "k8s"
    shutil.copytree(HERE, root, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    return root


def broken(root: Path, file: str, before: str, after: str) -> list[str]:
    """The problems after one replacement in one file."""
    path = root / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    return problems(root)


def test_the_manifests_as_they_are_have_no_problem() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("base/gateway.yaml", "serviceName:", "servicename:", "servicename"),
        ("base/persister.yaml", "replicas: 2", "replicas: two", "replicas"),
        ("base/persister.yaml", "  replicas: 2", "  replicas: 2\n  replicas: 3", "is given twice"),
        ("base/fanout.yaml", "kind: Deployment", "kind: Deploiment", "no schema"),
        ("base/fanout.yaml", "tidings:0.1.0", "tidings:latest", "not pinned"),
        ("base/init.yaml", "tidings:0.1.0", "tidings", "not pinned"),
        ("overlays/production/kustomization.yaml", "newTag: 0.1.0", "newTag: main", "not pinned"),
        ("base/receipts.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"),
        ("base/receipts.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRoot"),
        ("base/gateway.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilege"),
        ("base/gateway.yaml", "readinessProbe:", "startupProbe:", "readinessProbe is not set"),
        ("base/gateway.yaml", "TIDINGS_ORDINAL", "TIDINGS_ORDINALS", "TIDINGS_ORDINALS"),
        ("base/init.yaml", "enableServiceLinks: false", "enableServiceLinks: true", "enableServiceLinks"),
        ("base/gateway.yaml", "      enableServiceLinks: false\n", "", "enableServiceLinks"),
        ("base/persister.yaml", "      enableServiceLinks: false\n", "", "enableServiceLinks"),
        ("base/gateway.yaml", "PeriodSeconds: 60", "PeriodSeconds: 54", "below the 54.5 s that gateway"),
        ("base/gateway.yaml", "seconds: 5", "seconds: 25", "below the 74.5 s that gateway"),
        ("base/gateway.yaml", "preStop:", "postStart:", "preStop does not sleep"),
        ("base/settings.env", "TIDINGS_DRAIN_S=20", "TIDINGS_DRAIN_S=40", "below the 74.5 s that gateway"),
        ("base/settings.env", "TIDINGS_DRAIN_S=20", "TIDINGS_DRAIN_S=abc", "is not set to a number"),
        ("base/fanout.yaml", "PeriodSeconds: 45", "PeriodSeconds: 20", "below the 37 s that fanout"),
        ("overlays/production/settings.env", "TIDINGS_KAFKA_EPOCH=0", "TIDINGS_DRAIN_S=60", "below the 94.5 s"),
        ("base/persister.yaml", "TIDINGS_ADMIN_HOST", "TIDINGS_HTTP_HOST", "not a setting that persister reads"),
        ("base/settings.env", "TIDINGS_DRAIN_S=", "TIDINGS_DRAIN=", "TIDINGS_DRAIN is not a setting"),
        ("base/settings.env", "TIDINGS_DRAIN_S=20", "TIDINGS_TOKEN_SECRET=x", "is a secret"),
        ("base/kustomization.yaml", "  - fanout.yaml\n", "", "fanout.yaml: not named"),
        ("base/kustomization.yaml", "- init.yaml", "- initial.yaml", "initial.yaml does not exist"),
        ("base/kustomization.yaml", "configMapGenerator:", "configMapGenerators:", "configMapGenerators"),
        ("base/archiver.yaml", "TIDINGS_ARCHIVE_WORK_DIR", "TIDINGS_ARCHIVE_DIR", "not a setting that archiver reads"),
        (
            "base/archiver.yaml",
            "serviceAccountName: tidings-archiver",
            "serviceAccountName: x",
            "has its ServiceAccount",
        ),
        ("base/service-account.yaml", "name: tidings-archiver", "name: archiver", "has its ServiceAccount"),
        ("base/gateway.yaml", "serviceAccountName: tidings-gateway", "serviceAccountName: tidings", "shares its"),
        (
            "base/receipts.yaml",
            "serviceAccountName: tidings",
            "serviceAccountName: tidings-media-sweep",
            "CronJob/media-sweep: it uses the object store, and shares its ServiceAccount",
        ),
        ("base/archiver.yaml", "concurrencyPolicy: Forbid", "concurrencyPolicy: Allow", "is not Forbid"),
        ("base/archiver.yaml", "      activeDeadlineSeconds: 21600\n", "", "activeDeadlineSeconds"),
        ("base/archiver.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRoot"),
        ("base/archiver.yaml", "jobTemplate:", "jobTemplates:", "is a required property"),
        ("base/archiver.yaml", "emptyDir:\n                sizeLimit: 1Gi", "emptyDir: {}", "no sizeLimit"),
        ("base/gateway.yaml", "TIDINGS_COLD_CACHE_DIR", "TIDINGS_COLD_CACHE", "not a setting that gateway reads"),
        ("base/media-sweep.yaml", "tidings:0.1.0", "tidings:latest", "not pinned"),
        (
            "base/settings.env",
            "TIDINGS_ARCHIVE_HOT_DAYS",
            "TIDINGS_ARCHIVE_HOT",
            "TIDINGS_ARCHIVE_HOT is not a setting",
        ),
        (
            "base/persister.yaml",
            "      labels:\n        app.kubernetes.io/name: persister",
            "      labels:\n        app.kubernetes.io/name: fanout",
            "selector does not match",
        ),
    ],
)
def test_a_broken_manifest_is_refused(manifests: Path, file: str, before: str, after: str, message: str) -> None:
    found = broken(manifests, file, before, after)
    assert any(message in problem for problem in found), found


def test_a_password_as_text_is_refused(manifests: Path) -> None:
    text = (manifests / "base/persister.yaml").read_text()
    reference = text[text.index("            - name: TIDINGS_CASSANDRA_PASSWORD") : text.index("          ports:")]
    found = broken(
        manifests, "base/persister.yaml", reference, "            - {name: TIDINGS_CASSANDRA_PASSWORD, value: x}\n"
    )
    assert any("refer to a Secret" in problem for problem in found), found


def test_a_file_that_no_kustomization_names_is_refused(manifests: Path) -> None:
    (manifests / "base" / "left-over.yaml").write_text("kind: Nothing\n")
    assert any("left-over.yaml: not named" in problem for problem in problems(manifests))


def test_an_empty_directory_is_not_taken_for_a_sound_one(tmp_path: Path) -> None:
    assert problems(tmp_path) != []
