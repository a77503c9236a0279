"""How long until the first row? `hf-rare distill` beside a script that loads the same model by hand.

    python -m benchmarks.first_row --model MODEL [--repetitions 5]

Both are whole processes, timed from their start, imports included, with the model's files in the page cache: one until
`from_pretrained` has given tokenizer and model in float32, the other until the first completion is in the journal.
The row is a short one, and one token is generated.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import write_result

BY_HAND = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="float32")
"""

ROW = {
    "question": "When does a lock end?",
    "scenario": "",
    "text": "A lock is held until the end.",
    "hard_negatives": [],
}


NOTHING_USABLE = 3
"""The exit status where no trace is `ok`: one that is cut after a token is not."""


def time_by_hand(model: str) -> float:
    """Return the seconds until a script has loaded the model."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", BY_HAND, model], check=True, capture_output=True)
    return time.perf_counter() - start


def time_first_row(model: str) -> float:
    """Return the seconds until `hf-rare distill` has its first row in the journal."""
    with tempfile.TemporaryDirectory() as folder:
        rows, journal = Path(folder, "rows.jsonl"), Path(folder, "journal")
        rows.write_text(json.dumps(ROW) + "\n")
        command = [sys.executable, "-m", "hf_rare", "distill", str(rows), "--model", model, "--dtype", "float32"]
        command += ["--max-new-tokens", "1", "--journal-dir", str(journal), "--output", f"{folder}/out.jsonl"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not any('"key"' in path.read_text() for path in journal.rglob("*.jsonl")):
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        if process.wait() not in (0, NOTHING_USABLE):
            raise SystemExit("hf-rare distill failed")
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    time_by_hand(arguments.model)  # files into the page cache
    pairs = [(time_by_hand(arguments.model), time_first_row(arguments.model)) for _ in range(arguments.repetitions)]
    by_hand, first_row = (statistics.median(times) for times in zip(*pairs, strict=True))
    write_result(
        "first_row",
        {
            "repetitions": arguments.repetitions,
            "median seconds": {"from_pretrained by hand": round(by_hand, 2), "first row": round(first_row, 2)},
            "seconds more": round(statistics.median(ours - theirs for theirs, ours in pairs), 2),
        },
    )


if __name__ == "__main__":
    main()
