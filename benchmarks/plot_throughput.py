"""Draw `benchmarks/results/throughput.json`: seconds of each way of writing, and the bound.

python -m benchmarks.plot_throughput [--result benchmarks/results/throughput.json]
"""

import argparse
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, default=RESULTS / "throughput.json")
    arguments = parser.parse_args()
    result = json.loads(arguments.result.read_text())
    workloads = {name: value for name, value in result.items() if isinstance(value, dict) and "ways" in value}
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


if __name__ == "__main__":
    main()
