"""Draws latencies over rates of a run."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw(results: dict[str, Any], target: Path) -> None:
    """Draw p50 and p99 of acks and deliveries over the offered rate, and the CPU per message of each process."""
    steps = [results["steady"], *results["steps"]]
    rates = [one["rate"] for one in steps]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
    for name, style in (
        ("ack_p50_ms", "o-"),
        ("ack_p99_ms", "o--"),
        ("delivery_p50_ms", "s-"),
        ("delivery_p99_ms", "s--"),
    ):
        left.plot(rates, [one[name] for one in steps], style, label=name.replace("_ms", "").replace("_", " "))
    left.set(xlabel="messages per second, offered", ylabel="ms from the scheduled send", yscale="log")
    left.set_title(f"Highest rate held: {results['highest_sustained_per_s']}/s on {results['machine']['cores']} cores")
    left.grid(visible=True, alpha=0.3)
    left.legend()
    bottom = [0.0] * len(steps)
    for name in steps[0]["cpu_us_per_message"]:
        heights = [float(one["cpu_us_per_message"].get(name, 0)) for one in steps]
        right.bar([str(round(rate)) for rate in rates], heights, bottom=bottom, label=name)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    right.set(xlabel="messages per second, offered", ylabel="µs CPU per message", title="Where the CPU goes")
    right.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(target, dpi=110)
    plt.close(figure)
