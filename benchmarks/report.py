"""Reports of many rows: how large the page is, how soon it is seen, and how long a filter takes in a real browser.

    python -m benchmarks.report                        # 10,000 rows
    python -m benchmarks.report --rows 1000 --folder /tmp/try

Rows are real questions, each with its document and four others drawn from 903 of the PostgreSQL documentation, and
traces that are put together of their sentences. The page is opened from the disk in headless Chromium. A filter's time
is that from the change of the address to the next picture of the page, with the list of rows and the first row drawn.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.browser import CHROMIUM, Browser
from benchmarks.machine import RESULTS, write_result
from benchmarks.report_rows import make_rows
from hf_rare import report

FILTERS = (
    "f=here:status/truncated",
    "f=here:status/ok&f=here:verdict/wrong",
    "f=here:grounding/ungrounded",
    "f=here:status/ok&f=here:place/1&f=here:tokens/9",
    "f=here:queue/random",
    "",
)
SEARCHES = ("q=vacuum", "q=the", "q=no such words anywhere")
TIMED = """new Promise((done) => {{
  const begun = performance.now();
  const drawn = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
  addEventListener('hashchange', drawn, {{once: true}});
  location.hash = {address!r};
}})"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
STEP = """new Promise((done) => {
  const begun = performance.now();
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
})"""


def measure_page(path: Path, opened: int) -> dict[str, Any]:
    """Open a page some times, and use it."""
    paints, listed, whole = [], [], []
    for _ in range(opened):
        with Browser() as browser:
            browser.emulate(1400, 900)
            browser.open(path.as_uri())
            listed.append(browser.wait_for("document.body.dataset.isListed && performance.now()"))
            whole.append(browser.wait_for("document.body.dataset.isWhole && performance.now()"))
            paints.append(browser.wait_for(PAINT))
            browser.run("location.hash = 'view=rows'")
            filters = [browser.run(TIMED.format(address=f"view=rows&{said}")) for said in FILTERS * 3]
            searches = [browser.run(TIMED.format(address=f"view=rows&{said}")) for said in SEARCHES]
            browser.run("location.hash = 'view=rows'")
            steps = [browser.run(STEP) for _ in range(20)]
            assert browser.said == []
            assert len(browser.asked) == 1
    return {
        "first paint, ms": round(statistics.median(paints)),
        "list can be used, ms": round(statistics.median(listed)),
        "all texts unpacked, ms": round(statistics.median(whole)),
        "filter, median ms": round(statistics.median(filters)),
        "filter, worst ms": round(max(filters)),
        "search of all texts, worst ms": round(max(searches)),
        "next row, worst ms": round(max(steps)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--opened", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the result is written")
    arguments = parser.parse_args()
    rows = make_rows(arguments.rows)
    start = time.perf_counter()
    made = report(rows)
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.html")
        made.save(path)
        page = measure_page(path, arguments.opened)
        size = path.stat().st_size
    result = {
        "browser": subprocess.run([str(CHROMIUM), "--version"], capture_output=True, text=True).stdout.strip(),
        "rows": made.rows,
        "rows in the page": made.embedded_rows,
        "page, MB": round(size / 1e6, 2),
        "seconds to make it": round(seconds, 1),
        "opened": arguments.opened,
        **page,
    }
    write_result("report", result, arguments.folder)


if __name__ == "__main__":
    main()
