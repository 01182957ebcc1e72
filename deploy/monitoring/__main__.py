"""`python -m deploy.monitoring`: write the dashboards and the PrometheusRule again."""

import sys

from deploy.monitoring.generated import DASHBOARDS, HERE, generated_files


def main() -> int:
    (HERE / DASHBOARDS).mkdir(exist_ok=True)
    fresh = generated_files()
    for path in (HERE / DASHBOARDS).glob("*"):
        if f"{DASHBOARDS}/{path.name}" not in fresh:
            path.unlink()
    for name, text in fresh.items():
        (HERE / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
