"""Nothing generated is lost: runs that end early go on where they were."""

import json
import os
import pickle
import signal
from pathlib import Path

import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher
from hypothesis import given
from hypothesis import strategies as st

from hf_rare import ReasonDistiller
from hf_rare.errors import BudgetReachedError, ConfigError, JournalError
from hf_rare.generation.protocol import EncodedPrompt
from hf_rare.runs.keys import hash_job, journal_folder
from hf_rare.settings.run import RunConfig
from tests.support import fault_job
from tests.support.journalled import SETTINGS, distill, entries, make
from tests.support.plain import see_micro_batches
from tests.support.waiting import wait_until

# resume


def test_a_second_run_reads_the_journal_and_loads_no_model(rows, tiny, journal_dir):
    first = make(tiny, journal_dir)
    expected = distill(first, rows)
    assert first.completer.generated == len(rows)
    second = make(tiny, journal_dir)
    second.generator.unload()
    assert distill(second, rows) == expected
    assert second.completer.generated == 0
    assert not second.generator.is_loaded
    assert len(entries(journal_dir)) == len(rows)


@pytest.mark.parametrize("generation_kwargs", [{}, {"temperature": 1.2}])
def test_a_run_goes_on_with_another_batch_size_order_and_more_rows(rows, tiny, journal_dir, generation_kwargs):
    settings = {"generation_kwargs": generation_kwargs}
    expected = distill(make(tiny, None, **settings), rows)
    distill(make(tiny, journal_dir, **settings), rows.select([1, 3]))
    later = make(tiny, journal_dir, **settings)
    assert distill(later, rows.select(range(5, -1, -1)), batch_size=2)[::-1] == expected
    assert later.completer.generated == 4


def test_two_processes_share_a_journal(rows, tiny, journal_dir):
    expected = distill(make(tiny, None), rows)
    distill_fn = make(tiny, journal_dir)
    assert distill(distill_fn, rows, num_proc=2) == expected
    assert len(entries(journal_dir)) == len(rows)
    again = make(tiny, journal_dir)
    assert distill(again, rows) == expected
    assert again.completer.generated == 0


def test_an_exception_in_the_middle_costs_nothing_that_was_written(rows, tiny, journal_dir, monkeypatch):
    expected = distill(make(tiny, None), rows)
    calls = []

    def interrupted(self, write, jobs, *arguments):
        calls.append(len(jobs))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(jobs, *arguments)

    see_micro_batches(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(make(tiny, journal_dir), rows)
    monkeypatch.undo()
    safe = sum(calls[:2])
    assert len(entries(journal_dir)) == safe
    again = make(tiny, journal_dir)
    assert distill(again, rows) == expected
    assert again.completer.generated == len(rows) - safe


def test_an_interruption_says_what_is_safe(rows, tiny, journal_dir, monkeypatch, caplog):
    distill(make(tiny, journal_dir), rows.select([0]))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    see_micro_batches(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(make(tiny, journal_dir), rows)
    assert f"Stopped. 0 completions of this run are safe in {journal_dir}" in caplog.text
    assert "(1 in all); run the same script again to go on" in caplog.text


def test_equal_rows_are_written_once_and_samples_are_not_equal(rows, tiny, journal_dir):
    twice = Dataset.from_list([rows[0], rows[1], rows[0]])
    distill_fn = make(tiny, journal_dir)
    distilled = distill(distill_fn, twice)
    assert distilled[0] == distilled[2]
    assert distill_fn.completer.generated == 2
    sampler = make(tiny, journal_dir, num_samples=2, generation_kwargs={"temperature": 1.5})
    assert len(set(distill(sampler, rows.select([0]))[0]["reasoning"])) == 2


# keys: all that changes a completion, and nothing else


@pytest.mark.parametrize(
    "settings",
    [
        {"output_column": "trace"},
        {"max_batch_tokens": 5000},
        {"thought_tags": ("[T]", "[/T]")},
        {"require_answer": True},
        {"columns": "minimal"},
        {"context_length": 2000},
        {"dtype": "float32"},
        {"generation_kwargs": {"do_sample": False}},
        {"generation_kwargs": {"temperature": 0}},
        {"chat_template_kwargs": {"unused": 1}},
        {"on_error": "raise"},
        {"max_rows": 100},
        {"stall_timeout": None},
    ],
)
def test_settings_that_do_not_change_a_completion_find_it_in_the_journal(rows, tiny, journal_dir, settings):
    distill(make(tiny, journal_dir), rows)
    other = make(tiny, journal_dir, **settings)
    distill(other, rows)
    assert other.completer.generated == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 13},
        {"template": "plain"},
        {"system_prompt": "Be brief."},
        {"seed": 1},  # another order of the documents
        {"dtype": "float64"},
        {"attn_implementation": "eager"},
        {"generation_kwargs": {"temperature": 1.0}},
        {"generation_kwargs": {"repetition_penalty": 1.1}},
        {"generation_kwargs": {"stop_strings": ["a"]}},
        {"generation_kwargs": {"eos_token_id": [2, 5]}},
        {"context_length": 440},  # documents are cut
    ],
)
def test_settings_that_change_a_completion_do_not(rows, tiny, journal_dir, settings):
    distill(make(tiny, journal_dir), rows)
    other = make(tiny, journal_dir, **settings)
    distill(other, rows)
    assert other.completer.generated > 0


texts = st.text(alphabet="ab1", max_size=3)
jobs = st.tuples(texts, st.lists(st.tuples(texts, texts), max_size=2), st.none() | st.integers(0, 12))


@given(jobs, jobs)
def test_keys_are_equal_for_equal_jobs_and_no_others(first, second):
    def key(job):
        text, messages, seed = job
        messages = [{"role": role, "content": content} for role, content in messages]
        return hash_job(bytes(16), EncodedPrompt(messages, text, []), seed)

    assert (key(first) == key(second)) == (first == second)


def test_the_seed_counts_only_where_it_changes_something(rows, tiny, journal_dir):
    alone = rows.map(lambda row: {"hard_negatives": []}, features=rows.features)  # nothing to shuffle
    distill(make(tiny, journal_dir), alone)
    greedy = make(tiny, journal_dir, seed=1)
    distill(greedy, alone)
    assert greedy.completer.generated == 0
    kwargs = {"generation_kwargs": {"temperature": 1.0}}
    distill(make(tiny, journal_dir, **kwargs), alone)
    sampled = make(tiny, journal_dir, seed=1, **kwargs)
    distill(sampled, alone)
    assert sampled.completer.generated == len(alone)


def test_another_model_and_another_revision_of_the_prompts_do_not_share(
    rows, tiny, tiny_thinking, journal_dir, monkeypatch
):
    distill(make(tiny, journal_dir), rows)
    other = make(tiny_thinking, journal_dir, chat_template_kwargs={"enable_thinking": False})
    distill(other, rows)
    assert other.completer.generated == len(rows)
    monkeypatch.setattr("hf_rare.runs.completions.GENERATION_REVISION", -1)
    revised = make(tiny, journal_dir)
    distill(revised, rows)
    assert revised.completer.generated == len(rows)


# where it lies


def test_where_the_journal_lies(monkeypatch, tmp_path):
    assert journal_folder(RunConfig(journal_dir=tmp_path)) == tmp_path
    assert journal_folder(RunConfig(journal_dir=None)) is None
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path / "moved"))
    assert journal_folder(RunConfig()) == tmp_path / "moved"
    monkeypatch.setenv("HF_RARE_JOURNAL", "off")
    assert journal_folder(RunConfig()) is None
    monkeypatch.delenv("HF_RARE_JOURNAL")
    folder = journal_folder(RunConfig())
    assert folder.parts[-2:] == ("hf_rare", "journal")
    assert str(folder).startswith(os.environ["HF_HOME"])


def test_run_settings_do_not_change_the_hash_of_the_callable(tiny, journal_dir):
    plain = Hasher.hash(ReasonDistiller.from_pretrained(tiny, **SETTINGS))
    assert Hasher.hash(make(tiny, journal_dir, max_rows=3, on_error="raise")) == plain


def test_no_path_is_in_the_journal(rows, tiny, journal_dir):
    distill(make(tiny, journal_dir), rows.select([0]))
    (path,) = journal_dir.rglob("*.jsonl")
    assert str(Path(tiny).parent) not in path.read_text()
    header = json.loads(path.read_text().splitlines()[0])
    assert header["revision"].startswith("local-")
    assert header["generation_revision"] == 1


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").is_dir(), reason="needs a folder no one can write to")
def test_a_journal_that_cannot_be_written_stops_the_run_before_the_model_is_loaded(rows, tiny):
    distill_fn = make(tiny, "/proc/self/journal")
    distill_fn.generator.unload()
    with pytest.raises(JournalError, match=r"cannot be opened.*journal_dir"):
        distill(distill_fn, rows)
    assert not distill_fn.generator.is_loaded


def test_distillers_that_differ_in_run_settings_alone_keep_their_own_in_workers(rows, tiny, tmp_path):
    first, second = (make(tiny, tmp_path / name) for name in ("first", "second"))
    make(tiny, "auto")
    distill(first, rows, num_proc=2)
    assert len(entries(tmp_path / "first")) == len(rows)
    assert entries(tmp_path / "second") == []
    assert pickle.loads(pickle.dumps(second)).run == second.run


def test_a_limit_that_is_reached_with_the_last_row_ends_nothing(rows, tiny, journal_dir):
    assert distill(make(tiny, journal_dir, max_tokens=1, max_rows=1), rows.select([0]))


def test_equal_samples_are_refused_before_the_model_is_loaded(rows, tiny):
    distill_fn = make(tiny, None, num_samples=2)
    distill_fn.generator.unload()
    for ask in (distill_fn.apply, distill_fn.estimate, distill_fn.select_finished):
        with pytest.raises(ConfigError, match="num_samples=2 asks for different traces of a row, and the model does"):
            ask(rows)
    assert not distill_fn.generator.is_loaded


def test_the_summary_tells_what_was_generated_now(rows, tiny, journal_dir):
    distill(make(tiny, journal_dir), rows.select(range(4)))
    later = make(tiny, journal_dir)
    distill(later, rows)
    assert later.summary.statuses.total() == 6
    assert later.summary.generated == 2
    assert "2 generated now in" in str(later.summary)
    assert later.summary.generated_tokens < later.summary.completion_tokens
    ended = make(tiny, journal_dir, max_rows=1, seed=1)
    with pytest.raises(BudgetReachedError):
        ended.apply(rows)
    assert ended.summary.generated == ended.completer.generated >= 1


# limits


@pytest.mark.parametrize("limit", [{"max_rows": 3}, {"max_tokens": 20}, {"max_hours": 1e-9}])
def test_a_limit_ends_the_run_and_the_next_one_goes_on(rows, tiny, journal_dir, limit):
    expected = distill(make(tiny, None), rows)
    runs = 0
    while True:
        distill_fn = make(tiny, journal_dir, **limit)
        runs += 1
        try:
            distilled = distill(distill_fn, rows)
            break
        except BudgetReachedError as err:
            assert next(iter(limit)) in str(err)
            assert "run the same script again to go on" in str(err)
            assert 0 < distill_fn.completer.generated < len(rows)
        assert runs < 8
    assert distilled == expected
    assert runs > 1


def test_the_rows_that_a_limited_run_has_done_can_be_had(rows, tiny, journal_dir):
    many = rows.add_item({**rows[0], "question": ""})  # cannot be generated, and so is done
    limited = make(tiny, journal_dir, max_rows=3)
    assert len(limited.select_finished(many)) == 1
    with pytest.raises(BudgetReachedError):
        distill(limited, many)
    finished = limited.select_finished(many)
    assert len(finished) == 4
    assert limited.completer.generated == 3
    done = limited.apply(finished, keep_in_memory=True, load_from_cache_file=False)
    whole = {row["id"] + row["question"]: row for row in distill(make(tiny, None), many)}
    assert done.to_list() == [whole[row["id"] + row["question"]] for row in finished]


# real processes


ROWS = 80


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> str:
    rows = [
        {"question": f"What of {i}?", "scenario": "", "text": f"Rule {i} counts. " * 8, "hard_negatives": [f"No {i}."]}
        for i in range(ROWS)
    ]
    path = tmp_path_factory.mktemp("many") / "rows.jsonl"
    Dataset.from_list(rows).to_json(path)
    return str(path)


class Run:
    """Starts of one run in processes of their own."""

    def __init__(self, context, many: str, tiny: str, folder: Path) -> None:
        self.context = context
        self.journal, self.output, self.errors = folder / "journal", folder / "out.jsonl", folder / "errors"
        self.arguments = (many, tiny, *map(str, (self.journal, self.output, self.errors)))

    def start(self, *pause_after):
        arguments = (*self.arguments, *pause_after)
        process = self.context.Process(target=fault_job.distil_and_say, args=arguments, daemon=True)
        process.start()
        return process

    def finish(self) -> str:
        """Run to the end, and give the output."""
        (process := self.start()).join()
        assert process.exitcode == 0
        return self.output.read_text()


@pytest.fixture(scope="module")
def whole(context, many, tiny, tmp_path_factory) -> str:
    """The output of a run that is not ended."""
    return Run(context, many, tiny, tmp_path_factory.mktemp("whole")).finish()


@pytest.mark.parametrize(
    "ending",
    [signal.SIGTERM, *(pytest.param(ending, marks=pytest.mark.slow) for ending in (signal.SIGINT, signal.SIGKILL))],
)
def test_a_process_that_is_ended_goes_on_where_it_was(context, many, whole, tiny, tmp_path, ending):
    run = Run(context, many, tiny, tmp_path)
    process = run.start(20)
    wait_until(lambda: len(entries(run.journal)) >= 20)
    os.kill(process.pid, ending)
    process.join()
    safe = len(entries(run.journal))
    assert 20 <= safe < ROWS
    assert process.exitcode not in (0, None)
    if ending != signal.SIGKILL:
        assert f"Stopped. {safe} completions of this run are safe in" in run.errors.read_text()
    if ending == signal.SIGTERM:
        assert process.exitcode == 143
    assert run.finish() == whole
    assert f"generated {ROWS - safe}\n" in run.errors.read_text()
