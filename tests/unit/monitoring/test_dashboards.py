"""The dashboards as Grafana reads them, and the manifests of deploy/monitoring."""

import json
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.generated import HERE, generated_files
from deploy.monitoring.panels import Board, gauge, mean, quantile, rate


def written(board: Board) -> dict[str, Any]:
    """The JSON of a dashboard."""
    content: dict[str, Any] = json.loads(generated_files()[f"dashboards/{board.name}.json"])
    return content


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_grafana_gets_every_panel_with_its_text(board: Board) -> None:
    panels = [panel for panel in written(board)["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for panel in board.panels]
    for panel, source in zip(panels, board.panels, strict=True):
        assert panel["description"] == source.look_for
        assert panel["fieldConfig"]["defaults"]["unit"] == source.unit
        assert [target["expr"] for target in panel["targets"]] == [query.expr for query in source.queries]
        assert len({target["refId"] for target in panel["targets"]}) == len(source.queries)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_have_ids_of_their_own_and_do_not_overlap(board: Board) -> None:
    panels = written(board)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def test_dashboards_have_addresses_of_their_own() -> None:
    assert len({written(board)["uid"] for board in BOARDS}) == len(BOARDS) == 8


def test_expressions_of_panels_are_those_of_promql() -> None:
    assert rate("a_total", "x").expr == "sum by (x) (rate(a_total[$__rate_interval]))"
    assert rate("a_total").legend == "all"
    assert quantile(0.99, "a", "x", where='{y="z"}').expr == (
        'histogram_quantile(0.99, sum by (x, le) (rate(a_bucket{y="z"}[$__rate_interval])))'
    )
    assert quantile(0.5, "a").legend == "p50"
    assert mean("a").expr == "sum(rate(a_sum[$__rate_interval])) / sum(rate(a_count[$__rate_interval]))"
    assert gauge("max", "a", "x", "y").legend == "{{x}} {{y}}"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the path")
def test_kustomize_builds_what_the_sidecar_reads() -> None:
    command = ["kubectl", "kustomize", str(HERE)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    (found,) = [each for each in yaml.safe_load_all(built) if each["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert {json.loads(text)["uid"] for text in found["data"].values()} == {f"tidings-{board.name}" for board in BOARDS}


def test_the_pod_monitor_selects_the_admin_port_of_every_service() -> None:
    monitor = yaml.safe_load((HERE / "pod-monitor.yaml").read_text())["spec"]
    (selected,) = monitor["selector"]["matchExpressions"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    base = HERE.parent / "k8s" / "base"
    for name in selected["values"]:
        documents = [each for each in yaml.safe_load_all((base / f"{name}.yaml").read_text()) if each]
        (pod,) = [each for each in map(pod_of, documents) if each is not None]
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == name
        assert endpoint["port"] in [port["name"] for each in pod["spec"]["containers"] for port in each["ports"]]


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The template of a manifest's pods, or None if it has none."""
    spec = manifest.get("spec", {})
    template: dict[str, Any] | None = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template
