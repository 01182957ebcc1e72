"""Dashboards as the JSON that Grafana reads."""

import json
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

from deploy.monitoring.panels import Board, Panel

# Every dashboard has a field at its top where the user picks the Prometheus.
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# Three panels in the 24 columns of Grafana's grid.
_WIDTH, _HEIGHT = 8, 8
_REF_IDS = "ABCDEF"


def as_json(board: Board) -> str:
    """The text of a dashboard's file."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"tidings-{board.name}")
        .tags(["tidings"])
        .time("now-1h", "now")
        .refresh("30s")
        # The time under the pointer is shown in all panels, so that causes and effects can be compared.
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    number = 1
    for row in board.rows:
        built.with_row(dashboard.Row(row.title).id(number))
        number += 1
        for panel in row.panels:
            built.with_panel(_single_value(panel, number) if panel.is_single_value else _lines(panel, number))
            number += 1
    content: dict[str, Any] = json.loads(JSONEncoder().encode(built.build()))
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _lines(panel: Panel, number: int) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    built = timeseries.Panel().legend(legend).fill_opacity(5)
    _fill(built, panel, number)
    return built


def _single_value(panel: Panel, number: int) -> stat.Panel:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"])
    built = stat.Panel().graph_mode(BigValueGraphMode.NONE).reduce_options(newest)
    _fill(built, panel, number)
    return built


def _fill(built: timeseries.Panel | stat.Panel, panel: Panel, number: int) -> None:
    built.id(number).title(panel.title).description(panel.look_for).unit(panel.unit).datasource(_SOURCE)
    built.span(_WIDTH).height(_HEIGHT)
    for ref_id, query in zip(_REF_IDS, panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(ref_id).expr(query.expr).legend_format(query.legend).datasource(_SOURCE)
        built.with_target(target.instant() if panel.is_single_value else target.range())
