"""The real rows that several benchmarks distill, and the arguments that these have in common."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "examples"))
from distill_postgres_docs import load_rows

__all__ = ["load_rows", "make_parser"]


def make_parser(description: str | None, rows: int = 48) -> argparse.ArgumentParser:
    """Make a parser with the model, the number of rows, and the length of a trace."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    return parser
