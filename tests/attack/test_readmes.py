"""Cards of any bytes: a push to a repository that has one ends soon, and no word of a person is lost."""

import json
import random
import signal
import time

import pytest

from hf_rare.hub.card.merge import CLOSING_MARKER, NO_LICENCE, opening_marker
from tests.attack.conftest import IS_WHOLE
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.readme_job import push_twice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SECONDS = 300
"""From which on a try hangs that waits for something; one that computes is ended sooner."""
OPENING, CLOSING = opening_marker("default"), CLOSING_MARKER
BLOCK = f"{OPENING}\nwhat was generated\n{CLOSING}\n"
WORDS = "# Mine\n\nWhat a person has written:  ü \u202e\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 9)}]\n" for name in "bcdefghij"
)
CONFIGS = "configs:\n" + "".join(f"- config_name: c{i}\n  data_files: c{i}/*.parquet\n" for i in range(20_000))
DICE = random.Random(0)


def card(header: str, *parts: str, line_end="\n"):
    """Make a card of a header and of what a person has written before and behind what was generated."""
    body = BLOCK.join(parts)
    whole, *kept = (text.replace("\n", line_end).encode() for text in (f"---\n{header}\n---\n{body}", *parts))
    return whole, kept


def text(*parts: str, between: str = BLOCK):
    """Make a card without a header."""
    return between.join(parts).encode(), [part.encode() for part in parts]


def only(whole: bytes):
    return whole, [whole]


READMES = {
    # bytes
    "nothing": only(b""),
    "white space": (b" \r\n\t\n", []),
    "Latin-1": only("# Größe\n".encode("latin-1")),
    "UTF-16": only(WORDS.encode("utf-16")),
    "UTF-16 without a mark": only(WORDS.encode("utf-16-be")),
    "zeros": only(b"\0" * 1000 + WORDS.encode()),
    "half a character": only(b"# \xed\xa0\x80\n"),
    "too long a form": only(b"# \xc0\xaf\n"),
    "a cut character": only(WORDS.encode() + b"\xf0\x9f"),
    "a picture": only(b"\x89PNG\r\n\x1a\n" + DICE.randbytes(100_000)),
    "a mark alone": (b"\xef\xbb\xbf", []),
    "a mark and words": (b"\xef\xbb\xbf" + WORDS.encode(), [WORDS.encode()]),
    "a mark and a header": (b"\xef\xbb\xbf" + card("license: mit", WORDS)[0], [WORDS.encode()]),
    "line ends of Windows": card("license: mit", WORDS, WORDS, line_end="\r\n"),
    "line ends of old": card("license: mit", WORDS, line_end="\r"),
    "line ends of every kind": text("a\r\nb\rc\nd\u0085e\u2028f\u2029g\x0bh\x0ci\n\r\n\r", "k\r"),
    "no line end": text("a", "b", between=f"\n{BLOCK}"),
    "signs that are not seen": text("\u200b\u200d\u2066\ufeff\u00ad\u034f\n", "\U000e0041\U0010ffff\n"),
    # headers
    "a header without an end": only(f"---\nlicense: mit\n{WORDS}".encode()),
    "a line": only(b"---"),
    "two lines": (b"---\n---\n" + WORDS.encode(), [WORDS.encode()]),
    "lines": (b"---\n" * 100_000, [b"---\n" * 99_998]),
    "headers": card("license: mit", "---\nlicense: gpl\n---\n" * 1000),
    "a key twice": card("license: mit\nlicense: gpl", WORDS),
    "a list": card("- license\n- mit", WORDS),
    "a word": card("license", WORDS),
    "a bomb": card(BOMB, WORDS),
    "a bomb of names": card(BOMB + "tags: *j", WORDS),
    "a list in itself": card("a: &a [*a]", WORDS),
    "a dict in itself": card("a: &a {b: *a}\ntags: *a", WORDS),
    "merges": card("a: &a {b: 1}\nc: {<<: *a, d: 2}  # kept", WORDS),
    "merges of itself": card("a: &a {<<: *a}", WORDS),
    "a value of 10 MB": card("license: " + "x" * 10_000_000, WORDS),
    "a value of 900 KB": card("x: " + "y" * 900_000, WORDS),
    "20,000 configs": card(CONFIGS, WORDS),
    "5,000 keys": card("".join(f"k{i}: 1\n" for i in range(5_000)), WORDS),
    "lists in lists": card("a: " + "[" * 50_000, WORDS),
    "lists in lists that end": card("a: " + "[" * 3000 + "]" * 3000, WORDS),
    "lines in lines": card("".join(" " * i + "a:\n" for i in range(1300)), WORDS),
    "code": card("license: !!python/object/apply:os.system ['true']", WORDS),
    "other tags": card("a: !!binary aGVsbG8=\nb: !!set {x, y}\nc: !!omap [x: 1]", WORDS),
    "no country": card("language: no\nlicense: off\n1: 2\n~: 3\n1.5: x\n2024-01-05: y", WORDS),
    "a key of many": card("? [a, b]\n: c\n? {d: e}\n: f", WORDS),
    "digits": card("a: " + "9" * 10_000, WORDS),
    "sexagesimal digits": card("a: " + "1:59" * 5000, WORDS),
    "a day that is none": card("a: 2024-13-45", WORDS),
    "no numbers": card("a: .nan\nb: .inf\nc: -.inf", WORDS),
    "tabs": card("a:\t1\n\tb: 2", WORDS),
    "an end of YAML": card("license: mit\n...\na: 1", WORDS),
    "instructions of YAML": card("%YAML 9.9\n%TAG ! tag:x,2000:\n", WORDS),
    "on one line": card("{license: mit, tags: [a, b], pretty_name: 'By hand'}", WORDS),
    "comments": card("# first\nlicense: mit  # mine\n\n# last", WORDS),
    "tags that are none": card("tags: {a: 1}\nbase_model: 7\nsource_datasets: [[x], {y: z}]", WORDS),
    "sizes that are none": card("size_categories: {a: 1}\nlicense: [a, {b: c}]\nlanguage: 7", WORDS),
    "configs that are none": card("configs: 3\ndataset_info: x", WORDS),
    "configs of no name": card("configs:\n- {config_name: [a], data_files: 7}\n- {}\n- {config_name: null}", WORDS),
    "a config twice": card("configs:\n- config_name: a\n- config_name: a\n  data_files: a/*", WORDS),
    "files elsewhere": card(
        "configs:\n- config_name: a\n  data_files: ['../../etc/*', 'http://127.0.0.1:9/*']", WORDS
    ),
    "all files": card("configs:\n- config_name: a\n  data_files: '**/**/**/**/**/**/**/*'", WORDS),
    "files that are none": card("configs:\n- config_name: default\n  data_files: {train: {a: [1]}, 7: null}", WORDS),
    "columns that are none": card("dataset_info:\n  config_name: default\n  features: 7\n  splits: {a: 1}", WORDS),
    "columns of another kind": card(
        "dataset_info:\n- config_name: other\n  features:\n  - name: x\n    dtype: nonsense\n  splits: [{name: [x]}]",
        WORDS,
    ),
    # what was generated
    "in a fence": text(f"```\n{BLOCK}```\n"),
    "in tildes": text(f"~~~~ markdown\n~~~\n{BLOCK}~~~~\n", "b\n"),
    "in a fence of fences": text(f"`````\n```\n{BLOCK}```\n`````\n", "b\n"),
    "behind a fence without an end": text("```python\nforgotten\n\n", "b\n"),
    "between two fences without an end": text("```\na\n", "~~~\nb\n"),
    "in indented code": text(f"    {OPENING}\n    {CLOSING}\n", "b\n"),
    "in a quote": text(f"> {OPENING}\n> {CLOSING}\n", "b\n"),
    "in a comment": text(f"<!--\n{OPENING}\n-->\n{WORDS}"),
    "an end alone": text(f"{CLOSING}\n{WORDS}", f"{CLOSING}\n"),
    "a beginning alone": only(f"{WORDS}{OPENING}\n{WORDS}".encode()),
    "two beginnings": only(f"{OPENING}\n{OPENING}\n{CLOSING}\n".encode()),
    "two parts": only(f"{BLOCK}{WORDS}{BLOCK}".encode()),
    "the part of another": text(f"{opening_marker('other')}\n{WORDS}{CLOSING}\n", "b\n"),
    "20,000 parts": text("".join(f"{opening_marker(f'c{i}')}\n{CLOSING}\n" for i in range(20_000)), "b\n"),
    "20,000 beginnings": only("".join(f"{opening_marker(f'c{i}')}\n" for i in range(20_000)).encode()),
    "names that are none": only(
        f"<!-- hf_rare: config a --> -->\n{WORDS}<!-- hf_rare: config {'x' * 10**6} -->\n".encode()
    ),
    "white space behind marks": text("a\n", "b\n", between=f"{OPENING} \t\r\nx\n{CLOSING}\t \r\n"),
    "200,000 fences": text("```\n" * 199_999 + "~~~\n"),
    "a line of ticks": text("`" * 1_000_000 + "\n", "`~" * 100_000 + "\n"),
    "50,000 licences": text(f"## Licence\n\n{NO_LICENCE}\n\n" * 50_000, "b\n"),
    "10 MB of words": text(WORDS * 200_000, WORDS),
    "10 MB in a line": text("x" * 10_000_000, between=""),
    "a line of openings": text("<!-- hf_rare: config " * 100_000 + "\n", "b\n"),
}
TRIES = list(READMES) if IS_WHOLE else list(READMES)[:: len(READMES) // 10]
PARTS = 4 if IS_WHOLE else 1


def find_missing(words: list[bytes], readme: bytes) -> list[bytes]:
    """Find the words that do not stand in a card, in their order."""
    missing, place = [], 0
    for part in words:
        found = readme.find(part, place)
        if found < 0:
            missing.append(part[:100])
        else:
            place = found + len(part)
    return missing


def push_to_all(context, hub, folder, repo_ids):
    """Push to repositories one by one in a process of its own; give each with its outcome, once that is known."""
    left = list(repo_ids)
    while left:
        process = context.Process(target=push_twice, args=(hub.url, hub.environment(), str(folder), left), daemon=True)
        process.start()
        ending = "works"
        while left and ending not in ("hung", "foreign"):
            path, deadline = folder / left[0].replace("/", "-"), time.monotonic() + SECONDS
            while not path.exists() and process.exitcode is None and time.monotonic() < deadline:
                time.sleep(0.01)
            if path.exists():
                yield left.pop(0), json.loads(path.read_text())
            else:
                ending = "hung" if process.exitcode in (None, -signal.SIGXCPU) else "foreign"
                yield left.pop(0), {"ending": ending, "message": f"exit code {process.exitcode}", "again": False}
        process.kill()
        process.join()


@pytest.mark.parametrize("part", range(PARTS))
def test_a_push_ends_soon_and_keeps_what_a_person_wrote(context, hub, tmp_path, count, part):
    names = {f"me/rare-{number}": name for number, name in enumerate(TRIES[part::PARTS])}
    for repo_id, name in names.items():
        hub.create_repo(repo_id)
        hub.commit(repo_id, {"README.md": READMES[name][0]})
    bad = []
    for repo_id, outcome in push_to_all(context, hub, tmp_path, names):
        before, words = READMES[names[repo_id]]
        after, ending = hub.read(repo_id, "README.md"), outcome["ending"]
        missing = find_missing(words, after) if ending == "works" else [b"all"] * (after != before)
        count(tried=1, lost=int(bool(missing)), repeated=int(outcome["again"]))
        count(hung=int(ending == "hung"), foreign_exceptions=int(ending == "foreign"))
        if missing or outcome["again"] or ending in ("hung", "foreign"):
            bad.append((names[repo_id], outcome, missing))
    assert not bad, "\n".join(map(str, bad))
