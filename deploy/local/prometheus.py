"""A real Prometheus with the rules of deploy/monitoring, for one machine."""

import os
from collections.abc import Mapping

import yaml

from deploy.local.probes import HOST
from deploy.local.process import ROOT, Process
from deploy.local.tools import tool

RULES = ROOT / "deploy" / "monitoring" / "rules"
# Shorter than the 15 s of a cluster, so that a developer sees a change soon.
SCRAPE_S = 5
RETENTION = "7d"


def start_prometheus(process: Process, port: int, targets: Mapping[str, int]) -> None:
    """Start it with its data in `<run dir>/<name>/`. `targets`: admin ports by the name that `instance` shows.

    Returns when the process runs, which is before it is ready (`probes.prometheus_health`). Raises ToolMissing.
    """
    program = tool("prometheus")
    directory = process.log_file.parent / process.name
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump(_configuration(targets), sort_keys=False))
    options = {
        "config.file": config,
        "storage.tsdb.path": directory / "data",
        "storage.tsdb.retention.time": RETENTION,
        "web.listen-address": f"{HOST}:{port}",
        # Otherwise every page that the browser shows could read the metrics.
        "web.cors.origin": f"http://{HOST}:{port}",
    }
    # Debian's program has its pages in a folder of the package, and no default finds them where it is unpacked.
    pages = program.parents[1] / "share" / "prometheus" / "web"
    if pages.is_dir():
        options["web.local-assets"] = pages
    process.start([str(program), *(f"--{name}={value}" for name, value in options.items())], dict(os.environ))


def _configuration(targets: Mapping[str, int]) -> dict[str, object]:
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(RULES / "*.yaml")],
        "scrape_configs": [
            {
                "job_name": "tidings",
                "static_configs": [
                    {"targets": [f"{HOST}:{port}"], "labels": {"instance": name}} for name, port in targets.items()
                ],
            }
        ],
    }
