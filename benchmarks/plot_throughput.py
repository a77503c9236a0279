"""Draw `benchmarks/results/throughput.json` and print its table: each way of writing, and the bound.

python -m benchmarks.plot_throughput [--result benchmarks/results/throughput.json]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS


def read_workloads(result: dict[str, Any]) -> dict[str, Any]:
    """Return the workloads of a result by name."""
    return {name: value for name, value in result.items() if isinstance(value, dict) and "ways" in value}


def make_table(result: dict[str, Any]) -> str:
    """Make a table in Markdown: for each workload median seconds, how much faster than the first way, peak memory."""
    workloads = read_workloads(result)
    heads = [f"{name}: seconds | times as fast | peak MB" for name in workloads]
    lines = [f"| written with | {' | '.join(heads)} |", "|---" * (1 + 3 * len(workloads)) + "|"]
    first, *_ = workloads.values()
    for way in (way for way, done in first["ways"].items() if "median seconds" in done):
        cells = []
        for workload in workloads.values():
            done = workload["ways"].get(way)
            times = next((value for name, value in (done or {}).items() if name.startswith("times")), None)
            cells += [f"{done['median seconds']:.1f}", times, done["peak memory, MB"]] if done else [""] * 3
        lines.append(f"| {way} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, default=RESULTS / "throughput.json")
    arguments = parser.parse_args()
    result = json.loads(arguments.result.read_text())
    workloads = read_workloads(result)
    figure = Figure(figsize=(9, 2.6 * len(workloads)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(workloads), 1, squeeze=False)[:, 0]
    for axes, (name, workload) in zip(panels, workloads.items(), strict=True):
        ways = {way: value for way, value in workload["ways"].items() if "median seconds" in value}
        seconds = [value["median seconds"] for value in ways.values()]
        spread = [
            [median - min(value["seconds"]) for median, value in zip(seconds, ways.values(), strict=True)],
            [max(value["seconds"]) - median for median, value in zip(seconds, ways.values(), strict=True)],
        ]
        axes.barh(list(ways), seconds, xerr=spread)
        axes.axvline(workload["bound, seconds"], color="black", linestyle="--", label="no padding, no idling")
        axes.invert_yaxis()
        axes.set_title(f"{name}: {workload['rows']} rows, {workload['generated tokens']} tokens generated", loc="left")
        axes.set_xlabel("seconds (median; lines from the fastest to the slowest run)")
        axes.legend(frameon=False)
    figure.savefig(arguments.result.with_suffix(".png"), dpi=120)
    print(make_table(result))


if __name__ == "__main__":
    main()
