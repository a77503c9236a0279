"""The documentation is true: its code runs, its links lead somewhere, its tables name what there is."""

import ast
import configparser
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

import hf_rare
from benchmarks import student_table
from benchmarks.batch_invariance import SAMPLING
from benchmarks.machine import RESULTS
from benchmarks.plot_throughput import make_table
from hf_rare import ReasonDistiller
from hf_rare.checks.answers import CHECKS
from hf_rare.cli.flags import MODEL_GROUPS
from hf_rare.cli.main import build_parser
from hf_rare.pipeline.run import EXPORTS, FUNCTIONS
from hf_rare.pipeline.settings import INPUT_NAMES, names_of, parameters_of
from hf_rare.rows.columns import GROUNDING_COLUMNS, STATUSES
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.registry import WRITERS
from tests.conftest import REPOSITORY
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pages import (  # noqa: F401
    Page,
    enter_fixture,
    find_pages,
    run_blocks,
    stand_ins_fixture,
)
from tests.support.quick import mostly_slow
from tests.support.scripted import ScriptedGenerator

PAGES = find_pages()
DOCS = REPOSITORY / "docs"
WITH_RAY = DOCS / "ray.md"
"""Runs in `tests/writers/test_ray.py`, with real actors."""
WITH_LOGGERS = DOCS / "callbacks.md"
"""Runs in `tests/writers/test_callbacks.py`, with stand-ins for loggers."""


SECTIONS = re.findall(r"^ *- `(\w+)`:", hf_rare.run_pipeline.__doc__, re.MULTILINE)[4:]
"""The sections of a pipeline that something runs for, behind those that say from where, to where and with what."""


def page_of(name: str) -> Page:
    return Page(DOCS / name)


def read_table(text: str, heading: str) -> list[list[str]]:
    """The rows of the table with this heading, each as its cells."""
    rows = text.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def names_in(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


WITH_CODE = [page for page in PAGES if page.blocks_of("python") and page.path not in (WITH_RAY, WITH_LOGGERS)]
QUICK = [page for page in WITH_CODE if page.path.name in ("README.md", "running.md", "exports.md", "rows.md")]


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
@pytest.mark.parametrize("page", mostly_slow(WITH_CODE, QUICK), ids=str)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, enter, capsys):
    printed = {}
    folder = enter("".join(block.text for block in page.blocks_of("python")))
    for block, _ in run_blocks(page, folder):
        printed[block] = capsys.readouterr().out
    assert printed
    for block, following in itertools.pairwise(page.blocks):
        if block in printed and following.language == "text" and page.path.name != "README.md":
            assert printed[block] == following.text
    if page.path.name in ("README.md", "running.md"):
        assert len(datasets.Dataset.from_parquet("traces.parquet")) == 6


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page):
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            assert re.fullmatch(r"https://[\w.-]+\.(ai|co|com|io|org)/[\w./-]*", link), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        assert not anchor or anchor in Page(target).anchors, link


@pytest.mark.parametrize("page", [page for page in PAGES if page.path.is_relative_to(DOCS)], ids=str)
def test_a_page_opens_with_the_job_it_does_and_for_whom_and_can_be_found(page):
    title, first = page.text.split("\n\n")[:2]
    assert title == f"# {page.headings[0]}"
    assert first.startswith("For who")
    indices = [page_of("index.md"), page_of("migration.md"), page_of("reference/index.md")]
    linked = {(index.path.parent / link).resolve() for index in indices for link in index.links if ":" not in link}
    assert page.path in {*linked, *(index.path for index in indices)}


def test_every_command_can_be_given():
    parser = build_parser()
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    seen = set()
    for page in PAGES:
        for line in "".join(block.text for block in page.blocks_of("bash")).splitlines():
            program, *arguments = shlex.split(line, comments=True)
            seen.add(program)
            if program == "hf-rare":
                assert callable(parser.parse_args(arguments).run)
            elif program == "pip":
                extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", arguments[-1])[1]
                assert all(extra in setup["options.extras_require"] for extra in (extras or "").split(",") if extra)
            elif program == "make":
                assert arguments[0] in targets
            elif "hf_rare" in arguments:
                assert callable(parser.parse_args(arguments[arguments.index("hf_rare") + 1 :]).run)
            else:
                script = next(argument for argument in arguments if argument.startswith("examples/"))
                assert (REPOSITORY / script).is_file()
    assert {"hf-rare", "pip", "make", "torchrun", "sbatch", "python"} <= seen


def test_the_extras_are_listed():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    listed = names_in([row[0] for row in read_table(page_of("running.md").text, "extra")])
    assert sorted(listed) == sorted(set(setup["options.extras_require"]) - {"dev"})


def test_every_setting_is_in_the_table():
    named = names_in([row[0] for row in read_table(page_of("settings.md").text, "setting")])
    assert len(named) == len(set(named))
    assert set(named) == {name for config in (DistillConfig, *MODEL_GROUPS.values()) for name in config.names()}


def keys_of(what: str) -> set[str]:
    rows = read_table(page_of("pipeline-reference.md").text, f"key of {what}")
    return set(names_in([row[0] for row in rows]))


@pytest.mark.parametrize("section", FUNCTIONS)
def test_every_key_of_a_section_is_in_its_table(section):
    assert keys_of(f"`{section}`") == set(names_of(section, FUNCTIONS))


def test_every_key_of_inputs_and_exports_is_in_its_table():
    assert keys_of("`input`") == set(INPUT_NAMES)
    own = {name for export in EXPORTS.values() for name in parameters_of(export)}
    assert keys_of("an export") == own


def test_every_key_of_what_a_model_writes_is_in_the_table():
    rows = read_table(
        page_of("pipeline-reference.md").text, "section | what it takes beside the settings of its model"
    )
    named = {row[0].split("`")[1]: set(names_in([row[1]])) for row in rows}
    for section in ("questions", "negatives", "judge"):
        assert named[section] == set(WRITERS[section].config.names())


def test_every_new_column_is_explained_with_its_type():
    text = page_of("rows.md").text
    rows = [(row[0].strip("`"), row[1]) for row in read_table(text, "new column")]
    assert [name for name, _ in rows] == list(ReasonDistiller(ScriptedGenerator(str)).features())
    further = [(row[0].strip("`"), row[1]) for row in read_table(text, "further column")]
    features = ReasonDistiller(
        ScriptedGenerator(str), gold_column="answer", keep_attempts=True, expand=True
    ).features()
    assert {name for name, _ in rows + further} == set(features)
    for name, kind in rows + further:
        feature = features[name]
        assert kind == (feature.dtype if hasattr(feature, "dtype") else f"list of {feature.feature.dtype}")


@pytest.mark.parametrize(
    ("page", "heading", "expected"),
    [
        ("rows.md", "status", STATUSES),
        ("verification.md", "`check=`", CHECKS),
        ("verification.md", "column", [f"reasoning{ending}" for ending in GROUNDING_COLUMNS]),
        ("prompts.md", "`template=`", DistillConfig.builtin_templates),
        ("recipes.md", "section", SECTIONS),
    ],
)
def test_a_table_names_all_that_there_is(page, heading, expected):
    assert sorted(names_in([row[0] for row in read_table(page_of(page).text, heading)])) == sorted(expected)


def test_every_command_is_in_the_table():
    named = names_in([row[0] for row in read_table(page_of("command-line.md").text, "command")])
    (commands,) = (action.choices for action in build_parser()._actions if action.choices)
    assert sorted(named) == sorted(f"hf-rare {name}" for name in commands)


def test_the_commands_of_a_pipelines_stages_are_there():
    (commands,) = (action.choices for action in build_parser()._actions if action.choices)
    cells = [row[2] for row in read_table(page_of("recipes.md").text, "section | what runs | command")]
    named = [command for cell in cells for command in re.findall(r"`hf-rare (\w+)", cell)]
    assert len(named) > 8
    assert set(named) <= set(commands)
    assert all("`hf-rare" in cell or "none" in cell for cell in cells)


def test_the_original_operators_parameters_are_mapped():
    rows = dict(row[:2] for row in read_table(page_of("migration/dataflow.md").text, "operator"))
    names = [*(f"input_{name}_key" for name in ("text", "question", "scenario", "hardneg")), "output_key"]
    assert [old.partition("=")[0].strip("`") for old in rows] == ["llm_serving", "storage", *names]
    defaults = DistillConfig()
    for old, new in rows.items():
        if match := re.fullmatch(r'`(\w+)="(\w+)"`', new):
            assert getattr(defaults, match[1]) == match[2]
            assert f'="{match[2]}"' in old


def texts_of(path: Path) -> list[str]:
    """The texts that a module holds, with nothing where an f-string has a value."""
    return [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "" for part in getattr(node, "values", [node]))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]


def test_the_words_of_every_error_stand_in_the_code():
    ours = [text for path in (REPOSITORY / "hf_rare").rglob("*.py") for text in texts_of(path) if "\n    " not in text]
    theirs = texts_of(Path(datasets.utils.py_utils.__file__))
    rows = page_of("troubleshooting.md").text.split("\n| `")[1:]
    quoted = names_in(["`" + row.split(" | ")[0] for row in rows])
    assert len(quoted) > 40
    for words in quoted:
        assert any(words in text for text in ours + theirs), words


def test_the_table_of_speeds_is_that_of_the_result():
    assert make_table(json.loads((RESULTS / "throughput.json").read_text())) in page_of("speed.md").text


def test_what_students_have_learnt_is_what_was_measured():
    result = json.loads((RESULTS / "student.json").read_text())
    readme, page = (REPOSITORY / "README.md").read_text(encoding="utf-8"), page_of("evaluation.md").text
    assert student_table.make_short_table(result) in readme
    assert student_table.make_table(result) in page
    assert student_table.make_sentence(result) in re.sub(r"\s+", " ", page)


def show_areas(result: dict[str, Any], score: str) -> str:
    areas = result["area under the curve, used against added citations"]
    return " | ".join(f"{of_kind[score]:.2f}" for of_kind in areas.values())


ATTACKS = {
    "Runs that are ended anywhere": (
        "runs ended anywhere, by KILL, TERM, INT, INT twice and HUP, in batches of 7, 64 and 1,000 rows"
    ),
    "Parents of workers that are killed": "parents of `num_proc` workers that are killed",
    "Ranks of which one is killed": "ranks of a launcher of which one is killed",
    "Pushes to a Hub in any mood": "pushes to a Hub in any mood: other pages, other shapes, torn answers",
    "Cards of any bytes": "cards of any bytes in the way of a push",
    "Recipes and pipelines": "recipes and pipelines that cost too much, or reach for too much",
    "Injections": "documents that would end the turn",
    "Rows of every kind in every format": "rows of every kind in every format",
}
OF_ATTACKS = ("lost", "hung", "let in", "foreign exceptions")
FIGURES = {
    "attack": lambda r: " ".join(
        f"| {ATTACKS[name]} | {counts['tried']:,} | "
        + "".join(f"{'–' if counts[column] is None else counts[column]} | " for column in OF_ATTACKS).rstrip()
        for name, counts in sorted(r["attacks"].items(), key=lambda item: list(ATTACKS).index(item[0]))
    ),
    "batch_invariance": lambda r: f"about {r['greedy']['seconds']['batch size 48'] / 60:.1f} minutes",
    "batch_invariance on rows.md": lambda r: [
        f"greedy, {sum(r['greedy']['rows that differ from batch size 1'].values()) or 'none'} did between batch sizes",
        r["machine"]["date"],
    ],
    "endpoint": lambda r: (
        f"{r['short']['whole']['seconds']:.2f} seconds and {r['short']['whole']['CPU milliseconds a request']:.2f} "
        f"milliseconds of CPU time a request (streamed: {r['short']['streamed']['seconds']:.2f} and "
        f"{r['short']['streamed']['CPU milliseconds a request']:.2f}); a bare httpx2 client that sends the same takes "
        f"{r['short']['whole']['CPU milliseconds a request, httpx2 alone']:.2f}"
    ),
    "estimate": lambda r: f"{100 * abs(r['estimated / measured seconds'] - 1):.1f} % off",
    "evidence": lambda r: [
        f"in {100 * r['planted document found']:.0f} % of {r['rows of each kind']} rows",
        f"| evidence of the cited document | {show_areas(r, 'evidence')} | "
        f"| longest quote from it (`audit_grounding`) | {show_areas(r, 'lexical audit')} | "
        f"| share of the trace's words that it holds | {show_areas(r, 'share of words')} |",
    ],
    "evidence_cost": lambda r: (
        f"{r['rows']:,} real rows of up to three hard negatives and a trace of 150 words took "
        f"{100 * r['seconds / bound of all readings']:.0f} % of the time of reading every prompt whole, and "
        f"{100 * r['seconds / bound less shared beginnings'] - 100:.1f} % more than if shared beginnings were free",
        f"it took {100 * r['by the best times: seconds / bound of all readings']:.0f} % and "
        f"{100 * r['by the best times: seconds / bound less shared beginnings'] - 100:.1f} % more",
        f"On two cores of an {r['machine']['cpu']} a row took {r['seconds a row']:.1f} seconds",
    ),
    "first_row": lambda r: (
        f"after {r['median seconds']['first row']:.1f} seconds, where `from_pretrained` alone takes "
        f"{r['median seconds']['from_pretrained by hand']:.1f}"
    ),
    "grounding": lambda r: f"{r['seconds']['audit, 1 process(es)'] / r['rows'] * 1000:.1f} milliseconds a row",
    "grounding on speed.md": lambda r: (
        f"{r['seconds']['audit, 1 process(es)']:.0f} s with one process, "
        f"{r['seconds']['audit, 2 process(es)']:.0f} s with two on {r['machine']['cores']} cores"
    ),
    "journal_open": lambda r: (
        f"one of {r['rows'] / 1e6:.0f} million rows opens in {r['seconds to open']:.1f} seconds and "
        f"{r['MB of memory']} MB"
    ),
    "journal_overhead": lambda r: f"{r['tiny']['microseconds a row in the journal']:.0f} microseconds a row",
    "loops": lambda r: (
        f"{r['greedy']['settings'][0]['rows ended']} greedy ones were ended, which saved "
        f"{r['greedy']['settings'][0]['tokens saved']:,} of {r['greedy']['tokens']:,} tokens, and "
        f"{r['sampled']['settings'][0]['rows ended']} of {r['sampled']['rows']} sampled ones; of the "
        f"{r['greedy']['rows that end by themselves'] + r['sampled']['rows that end by themselves']} that end by "
        f"themselves {sum(r[how]['settings'][0]['rows ended that had ended by themselves'] for how in SAMPLING)} were"
    ),
    "negatives": lambda r: f"{r['runs'][1]['seconds']:.0f} s and {r['runs'][1]['peak MiB'] / 1024:.1f} GiB",
    "own_cost": lambda r: f"{1000 / r['with fastokens']['rows a second']:.2f} milliseconds a row with `[fast]`",
    "push": lambda r: f"{r['seconds']:.0f} seconds and {r['MB of memory at most'] / 1000:.1f} GB",
    "report": lambda r: (
        f"{r['rows']:,} rows of real questions and documents make a page of {r['page, MB']:.1f} MB in "
        f"{r['seconds to make it']:.0f} seconds. In headless Chromium its first paint comes after "
        f"{r['first paint, ms']} milliseconds, and no filter took longer than {r['filter, worst ms']}, no search of "
        f"all texts longer than {r['search of all texts, worst ms']}"
    ),
    "ranks": lambda r: (
        f"On {r['rows']} real rows {r['processes']} processes write the same text as one. On {r['machine']['cores']} "
        f"cores they are slower: with a real model (SmolLM2-135M) the run took "
        f"{r['seconds']['one process, 2 threads']:.1f} seconds with one process of 2 threads, and "
        f"{r['seconds']['torchrun, 1 thread each']:.1f} with {r['processes']} processes of 1 thread each"
    ),
    "sampled_texts": lambda r: f"{max(r['rows that differ from generate for one row at a time'].values())} differed",
    "sampled_texts on rows.md": lambda r: [
        f"{max(r['rows that differ from generate for one row at a time'].values())} differed",
        r["machine"]["date"],
    ],
    "scheduling": lambda r: (
        f"| `apply` | {r['apply']['share of the ideal']:.3f} | "
        f"| `map`, `batch_size=1000` | {r['map, batch_size=1000']['share of the ideal']:.3f} |"
    ),
    "skew": lambda r: [
        f"{r['2 processes']['torchrun, batch_size=1000']['ratio']:.2f} times the ideal time",
        "sleeps and computes nothing",
    ],
    "skew on ray.md": lambda r: [
        f"{r['2 processes']['Ray Data']['ratio']:.2f} times the ideal time with 2 processes and "
        f"{r['4 processes']['Ray Data']['ratio']:.2f} times with 4",
        "sleeps and computes nothing",
    ],
    "throughput": lambda r: f"`static` reaches {r['real']['ways']['static']['bound / seconds']:.2f} of the speed",
    "throughput on README.md": lambda r: (
        f"{r['real']['ways']['static']['times as fast as map + generate, 8 rows']} times as fast as `map` with "
        "`generate` in batches of 8"
    ),
    "vllm_overhead": lambda r: (
        f'in {r["median seconds"]["VLLMGenerator"]:.1f} seconds with `engine="vllm"`: `VLLMGenerator` takes '
        f"{100 * r['ours / theirs']:.1f} % of the time of `LLM.chat`"
    ),
    "vllm_overhead on vllm.md": lambda r: (
        "about as fast as `LLM.chat`" if abs(r["ours / theirs"] - 1) < 0.1 else "not as fast as `LLM.chat`"
    ),
    "words": lambda r: "{} % of Thai, {} % of Hindi and {} % of English questions".format(
        *(round(100 * r[language]["terms"]["first"]) for language in ("Thai", "Hindi", "English"))
    ),
    "assembly_and_parsing": lambda r: f"{r['microseconds a row']:.0f} microseconds a row",
}
"""What a page says of a result, made from the result: a text, or several. `NAME on PAGE` is for that page alone."""


def pages_with(name: str) -> list[Page]:
    """The pages with a link to a result."""
    return [page for page in PAGES if any(link.endswith(f"results/{name}.json") for link in page.links)]


OF_PAGES = [
    (key, page)
    for key in FIGURES
    for name, _, on in [key.partition(" on ")]
    for page in pages_with(name)
    if (page.path.name == on if on else f"{name} on {page.path.name}" not in FIGURES)
]
"""What each page with a link to a result says of it."""


@pytest.mark.parametrize(("key", "page"), OF_PAGES, ids=lambda value: value if isinstance(value, str) else str(value))
def test_what_a_page_says_of_a_result_is_what_the_result_says(key, page):
    made = FIGURES[key](json.loads((RESULTS / f"{key.partition(' on ')[0]}.json").read_text()))
    text = re.sub(r"\s+", " ", page.text)
    for part in [made] if isinstance(made, str) else made:
        assert part in text, part


def test_every_figure_stands_on_a_page():
    assert {key for key, _ in OF_PAGES} == set(FIGURES)


def test_the_numbers_of_a_table_have_the_dates_of_their_results():
    rows = read_table(page_of("speed.md").text, "what | cost | measured")
    assert len(rows) > 10
    for _, cost, measured in rows:
        (name,) = re.findall(r"results/(\w+)\.json", cost)
        assert json.loads((RESULTS / f"{name}.json").read_text())["machine"]["date"] == measured, name


def test_every_result_is_linked():
    linked = {Path(link).stem for page in PAGES for link in page.links if "benchmarks/results/" in link}
    assert linked == {path.stem for path in RESULTS.iterdir()}


def test_nobody_is_sent_into_a_module():
    pages = [page.path for page in PAGES if page.path.name != "architecture.md" and "reference" not in str(page)]
    for path in (*pages, *(REPOSITORY / "examples").iterdir(), *(REPOSITORY / "notebooks").iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:from|import) hf_rare\.\w+|`hf_rare\.\w+\.\w+", text), path
        imported = re.findall(r"from hf_rare import ([\w, ]+)", text)
        assert {name for names in imported for name in names.split(", ")} <= set(hf_rare.__all__), path


def names_defined_in(path: Path) -> set[str]:
    """The functions and classes of a module, and the methods of its classes."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def test_what_the_architecture_names_is_there():
    text, package = page_of("architecture.md").text, REPOSITORY / "hf_rare"
    assert not [path for path in re.findall(r"`([\w/]+\.py)`", text) if not (package / path).is_file()]
    items = re.findall(r"^\d+\. `([\w/]+\.py)`: (.*(?:\n {3}.*)*)", text, re.MULTILINE)
    assert len(items) > 25
    for path, words in items:
        names = [name.removesuffix("()") for name in re.findall(r"`([A-Z]\w+|[\w.]+\(\))`", words)]
        assert names, path
        missing = set(names) - names_defined_in(package / path)
        assert not missing, f"{path}: {missing}"


def test_the_rooms_are_those_of_the_package_with_their_purposes():
    rows = read_table(page_of("architecture.md").text, "room")
    rooms = {row[0].strip("`/"): re.sub(r"[^\w ]", "", row[1]).lower() for row in rows}
    package = REPOSITORY / "hf_rare"
    assert sorted(rooms) == sorted(path.parent.name for path in package.glob("*/__init__.py"))
    for name, purpose in rooms.items():
        (said, *_) = re.findall(r'"""(.*?)[.:;"]', (package / name / "__init__.py").read_text(), re.DOTALL)
        assert purpose.startswith(re.sub(r"[^\w ]", "", said).lower()), name
    order = re.findall(r'^    "(\w+)",$', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in order if name in rooms] == list(rooms)


@pytest.mark.parametrize("question", ["prompt made", "written by the static", "one stream", "push", "rows shared"])
def test_the_architecture_answers_a_question_in_at_most_six_files(question):
    page = page_of("architecture.md")
    (heading,) = (heading for heading in page.headings if question in heading.lower())
    assert 2 <= len(set(re.findall(r"`([\w/]+\.py)`", page.section(heading)))) <= 6


def test_a_rows_way_is_a_tree_of_calls_in_at_most_fifteen_files():
    """A dozen do the work, and three hold what goes between them: the stream, a result, the names of columns."""
    section, package = page_of("architecture.md").section("A row's way from `map` to columns"), REPOSITORY / "hf_rare"
    (tree,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    calls = re.findall(r"^([│├└─ ]*)([\w.]+)\(\) +([\w/]+\.py) ", tree, re.MULTILINE)
    assert len(calls) == len(tree.splitlines())
    for _, name, path in calls:
        assert name in names_defined_in(package / path), f"{path}: {name}"
    depths = [len(marks) // 3 for marks, _, _ in calls]
    assert depths[0] == 0
    assert all(0 < depth <= before + 1 for before, depth in itertools.pairwise(depths))
    assert 8 <= len({path for _, _, path in calls} | set(re.findall(r"`([\w/]+\.py)`", section))) <= 15


@pytest.mark.slow
def test_the_site_is_built_and_every_public_name_is_in_it(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": "docs/tools"}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    anchors = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "reference").glob("*.html"))
    for name in set(hf_rare.__all__) - {"__version__"}:
        assert f'id="hf_rare.{name}"' in anchors, name
    assert '<a class="autorefs autorefs-internal"' in anchors
    assert "[`" not in anchors
