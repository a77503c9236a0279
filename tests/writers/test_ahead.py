"""`apply` lets a whole dataset run ahead of `map`: one stream across batches and splits, and the same columns."""

import json

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict

from hf_rare import AnswerJudge, Completion, NegativeWriter, QueryGenerator, ReasonDistiller
from hf_rare.errors import BudgetReachedError, GenerationError
from hf_rare.runs.completer import Completer
from tests.support.scripted import ScriptedGenerator

PLACES = 5


class Together(ScriptedGenerator):
    """Writes the jobs that it has in the order in which they came, and keeps taking others; notes how many it has."""

    most = 0

    def generate(self, source, observer=None):
        in_hand = []
        while in_hand := [*in_hand, *(source.take(PLACES - len(in_hand)) if len(in_hand) < PLACES else [])]:
            self.most = max(self.most, len(in_hand))
            job = in_hand.pop(0)
            self.asked.append((job.prompt.text, job.seed))
            written = self.write(job.prompt.text, job.seed)
            yield [(job, written if isinstance(written, Completion) else Completion(written, "stop", 7, 3))]


def reason(text, seed):
    return f"<think>Because {seed}.</think><answer>{seed % 3}</answer>"


def make(tmp_path, write=reason, **settings):
    return ReasonDistiller(Together(write), journal_dir=tmp_path / "journal", **settings)


@pytest.fixture
def many(rows):
    numbered = [rows.map(lambda row, i=i: {"question": f"{row['question']} {i}"}) for i in range(4)]
    return datasets.concatenate_datasets(numbered)


SETTINGS = [
    {},
    {"num_samples": 3},
    {"num_samples": 2, "expand": True},
    {"gold_column": "gold", "max_attempts": 4},
    {"gold_column": "gold", "max_attempts": 3, "columns": "minimal"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_columns_are_those_of_map(many, tmp_path, settings):
    gold = many.add_column("gold", ["1"] * len(many))
    expected = gold.map(ReasonDistiller(Together(reason), **settings), batched=True, batch_size=7)
    distill_fn = make(tmp_path, **settings)
    distilled = distill_fn.apply(gold, batch_size=2)
    assert distilled[:] == expected[:]
    assert distill_fn.generator.most == PLACES  # though `map` hands over two rows at a time
    assert len(distill_fn.generator.asked) == len(set(distill_fn.generator.asked)) == distill_fn.completer.generated


def test_every_writer_runs_ahead(many, tmp_path):
    question, negative = {"question": "Why?", "scenario": ""}, {"document": "Beside the point."}
    text = json.dumps({"questions": [question], "hard_negatives": [negative]})
    numbered = many.map(lambda row, number: {"text": f"{row['text']} {number}"}, with_indices=True)
    for kind, settings in ((QueryGenerator, {"num_questions": 1}), (NegativeWriter, {"num_negatives": 1})):
        dataset = numbered.select_columns(["text"] if kind is QueryGenerator else ["text", "question", "scenario"])
        writer = kind(Together(lambda *prompt: text), journal_dir=tmp_path / kind.kind, **settings)
        written = writer.apply(dataset, batch_size=2)
        assert writer.generator.most == PLACES
        assert set(written[f"{writer.output_prefix}_status"]) == {"ok"}


def test_a_judge_reads_many_answers_together(many, tmp_path):
    gold = many.add_column("gold", ["1"] * len(many))
    judge = AnswerJudge(
        Together(lambda text, seed: '{"verdict": "right"}', is_sampling=False), journal_dir=tmp_path / "j"
    )
    distill_fn = make(tmp_path, gold_column="gold", judge=judge)
    distilled = distill_fn.apply(gold, batch_size=2)
    assert set(distilled["reasoning_verdict"]) == {"right"}
    assert judge.generator.most > 1


def test_splits_are_one_stream(many, tmp_path):
    splits = DatasetDict(train=many.select(range(20)), test=many.select(range(20, 24)))
    distill_fn = make(tmp_path)
    distilled = distill_fn.apply(splits, batch_size=2)
    assert {name: split.num_rows for name, split in distilled.items()} == {"train": 20, "test": 4}
    assert distilled["test"]["reasoning"][:] == make(tmp_path / "other").apply(splits["test"])["reasoning"][:]
    assert len(distill_fn.generator.asked) == 24


def test_what_the_cache_of_datasets_has_is_not_read_again(many, tmp_path, monkeypatch):
    many.to_parquet(tmp_path / "rows.parquet")
    stored = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    expected = make(tmp_path).apply(stored)
    again = make(tmp_path)
    monkeypatch.setattr(Completer, "run_ahead", lambda *arguments: pytest.fail("it ran ahead"))
    assert again.apply(stored)[:] == expected[:]
    assert again.generator.asked == []


def test_a_row_that_fails_is_tried_once_in_a_run(many, tmp_path):
    def fail(text, seed):
        return Completion("", "error", 7, 0, "it fails")

    first = make(tmp_path, fail)
    assert set(first.apply(many)["reasoning_status"]) == {"failed"}
    again = make(tmp_path, fail, retry_failed=True)
    assert set(again.apply(many, load_from_cache_file=False)["reasoning_status"]) == {"failed"}
    assert len(again.generator.asked) == len(many)


def test_class_labels_are_named_ahead_as_they_are_in_map(many, tmp_path):
    labels = ClassLabel(names=["0", "1", "2"])
    gold = many.add_column("gold", [i % 3 for i in range(len(many))]).cast_column("gold", labels)
    distill_fn = make(tmp_path, gold_column="gold", max_attempts=5)
    distilled = distill_fn.apply(gold, batch_size=2)
    written = len(distill_fn.generator.asked)
    assert written == sum(distilled["reasoning_attempts"])
    assert len(distill_fn.select_finished(gold)) == len(gold)
    assert set(distilled["reasoning_verdict"]) <= {"right", "wrong"}
    for row in distilled:
        assert (str(row["gold"]) == row["reasoning_answer"]) == (row["reasoning_verdict"] == "right")


def test_a_limit_ends_the_stream_and_the_next_run_goes_on(many, tmp_path):
    with pytest.raises(BudgetReachedError, match="max_rows=9 is reached: 9 completions"):
        make(tmp_path, max_rows=9).apply(many)
    distill_fn = make(tmp_path)
    distill_fn.apply(many)
    assert len(distill_fn.generator.asked) == len(many) - 9


def test_without_a_journal_rows_go_batch_by_batch(many, tmp_path):
    distill_fn = ReasonDistiller(Together(reason), journal_dir=None)
    distilled = distill_fn.apply(many, batch_size=2)
    assert distill_fn.generator.most <= 2
    assert distilled["reasoning"][:] == make(tmp_path).apply(many)["reasoning"][:]


def test_an_iterable_dataset_goes_batch_by_batch(many, tmp_path):
    distilled = make(tmp_path).apply(many.to_iterable_dataset(), batch_size=4)
    expected = make(tmp_path / "other").apply(many)
    assert [row["reasoning"] for row in distilled] == expected["reasoning"][:]


def test_a_generator_that_leaves_out_jobs_is_told_so(many, tmp_path):
    class Lazy(Together):
        def generate(self, source, observer=None):
            source.take(3)
            yield from ()

    with pytest.raises(GenerationError, match="Lazy has ended with 3 jobs in hand"):
        ReasonDistiller(Lazy(reason), journal_dir=tmp_path / "journal").apply(many)


def test_a_transform_goes_batch_by_batch(many, tmp_path):
    many = many.with_transform(lambda batch: batch | {"question": [f"{text} Why?" for text in batch["question"]]})
    distill_fn = make(tmp_path)
    distill_fn.apply(many)
    assert len(distill_fn.generator.asked) == len(many)
    assert all("Why?" in text for text, _ in distill_fn.generator.asked)


def test_a_judge_without_a_journal_is_asked_once(many, tmp_path):
    gold = many.add_column("gold", ["1"] * len(many))
    judge = AnswerJudge(ScriptedGenerator(lambda *prompt: '{"verdict": "right"}', is_sampling=False), journal_dir=None)
    make(tmp_path, gold_column="gold", judge=judge).apply(gold)
    assert len(judge.generator.asked) <= len(gold)


@pytest.mark.parametrize("how", ["map", "apply"])
def test_a_limit_that_the_last_row_reaches_ends_nothing(many, tmp_path, how):
    distill_fn = ReasonDistiller(ScriptedGenerator(reason), journal_dir=tmp_path / "journal", max_tokens=3 * len(many))
    distilled = distill_fn.apply(many) if how == "apply" else many.map(distill_fn, batched=True)
    assert set(distilled["reasoning_status"]) == {"ok"}


@pytest.mark.parametrize("how", ["map", "apply"])
def test_a_judge_whose_limit_is_reached_ends_the_run(many, tmp_path, how):
    gold = many.add_column("gold", ["1"] * len(many))
    generator = ScriptedGenerator(lambda *prompt: '{"verdict": "right"}', is_sampling=False)
    judge = AnswerJudge(generator, journal_dir=tmp_path / "judge", max_rows=1)
    distill_fn = make(tmp_path, gold_column="gold", judge=judge)
    distill_fn.apply(gold.select([0]))
    for rows in (gold.select([1]), gold):  # the last row that is left, and one of many
        with pytest.raises(BudgetReachedError, match="max_rows=1 is reached"):
            distill_fn.apply(rows) if how == "apply" else rows.map(distill_fn, batched=True)
    assert len(generator.asked) == 1
