"""Files that were spoilt at random: one line says what is wrong, or the rows are read; never a traceback."""

import json
import random

import pytest
from datasets import Dataset

from tests.support.commands import command, search_rows
from tests.support.quick import mostly_slow

ROWS = [
    {
        "question": f"What of {i}?",
        "text": f"Rule {i}.",
        "hard_negatives": ["a", "b \u00e9"],
        "number": i / 3,
        "object": {"a": [1, None], "at": "2024-01-01"},
        "reasoning": "As [1] says.",
        "reasoning_status": "ok",
        "reasoning_document_order": [0, 1, 2],
    }
    for i in range(4)
]
PIPELINE = "input: x[1].jsonl\nmodel:\n  model_id: a\n  seed: 1\nnegatives: {query: [question], num_negatives: 2}\n"
PIECES = [
    *(b'"', b"'", b"[", b"]", b"{", b"}", b",", b";", b"\n", b"\r", b"\0", b"\t", b"|", b":", b"\\", b"..."),
    *(b"\xff", b"\xe9", b"\xef\xbb\xbf", b"\xff\xfe", b"\\ud83d", b"9" * 30, b"1e999", b"-0"),
    *(b"null", b"NaN", b"no", b"true", b"&a", b"*a", b"!!"),
]


def spoil(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, way = chance.randrange(len(spoilt) + 1), chance.random()
        if way < 0.5:
            spoilt[place : place + chance.choice([0, 0, 1, 3])] = chance.choice(PIECES)
        elif way < 0.7:
            del spoilt[place : place + chance.randint(1, 40)]
        elif way < 0.85:
            del spoilt[place:]
        else:
            start = chance.randrange(len(spoilt) + 1)
            spoilt[place:place] = spoilt[start : start + 30]
    return bytes(spoilt)


@pytest.mark.parametrize("ending", mostly_slow([".csv", ".jsonl", ".json", ".parquet", ".yaml"], [".jsonl"]))
def test_a_spoilt_file_is_read_or_explained(tmp_path, ending):
    chance, path = random.Random(ending), tmp_path / f"rows{ending}"
    rows = Dataset.from_list(ROWS)
    {".csv": rows.to_csv, ".parquet": rows.to_parquet}.get(ending, rows.to_json)(path)
    whole = {".json": json.dumps(ROWS, indent=1), ".yaml": PIPELINE}.get(ending)
    data = whole.encode() if whole else path.read_bytes()
    for number in range(60):
        path.write_bytes(spoil(data, chance))
        output = tmp_path / f"out{number}"
        if ending == ".yaml":
            read = command("run", path, "--output", output)
        elif number % 2:
            read = search_rows(path, output.with_suffix(".jsonl"))
        else:
            read = command("export", path, chance.choice(["retrieval", "sft", "kto"]), "--output", output)
        assert read.code in (0, 2, 3)
        if read.code:
            assert sum(line.startswith("hf-rare: ") for line in read.said.splitlines()) == 1, read.said
