"""The query generator: what is asked, how answers are read, attempts, shapes, and what the distiller has too."""

import json
import pickle

import datasets
import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher

from hf_rare import QueryGenerator
from hf_rare.errors import ColumnError, ConfigError, TemplateError
from hf_rare.generation.protocol import Completion
from hf_rare.writers.questions import Question, parse_questions
from hf_rare.writers.recipe import make_recipe
from hf_rare.writers.summary import Summary
from tests.support.scripted import ScriptedGenerator

DOCUMENTS = Dataset.from_dict({"id": [1, 2, 3], "text": ["Ebb and flood.", "Rye and wheat.", "Owls and mice."]})


def answer(text: str, seed: int, count: int = 1) -> str:
    topic = text.partition("Document:\n\n")[2].split(" ")[0]
    questions = [{"scenario": f"A case of {topic} {i}.", "question": f"What of {topic} {i}?"} for i in range(count)]
    return f"<think>A [draft]</think>\n```json\n{json.dumps({'questions': questions})}\n```"


def ask(write=answer, **settings) -> QueryGenerator:
    return QueryGenerator(ScriptedGenerator(write), **settings)


def test_a_question_and_a_scenario_for_each_document():
    query_fn = ask()
    asked = DOCUMENTS.map(query_fn, batched=True)
    assert asked["question"][:] == ["What of Ebb 0?", "What of Rye 0?", "What of Owls 0?"]
    assert asked["scenario"][:] == ["A case of Ebb 0.", "A case of Rye 0.", "A case of Owls 0."]
    assert asked["question_status"][:] == ["ok"] * 3
    assert asked["question_attempts"][:] == [1] * 3
    assert asked["question_completion_tokens"][:] == [3] * 3
    assert asked.column_names == [*DOCUMENTS.column_names, *query_fn.output_features]
    assert asked.features == query_fn.features(DOCUMENTS.features)
    assert str(query_fn.summary).startswith("3 texts: 3 ok")


def test_several_questions_as_lists_and_as_rows():
    def three(text, seed):
        return answer(text, seed, 3)

    lists = DOCUMENTS.map(ask(three, num_questions=3), batched=True)
    assert lists[0]["question"] == ["What of Ebb 0?", "What of Ebb 1?", "What of Ebb 2?"]
    assert len(lists[0]["scenario"]) == 3
    rows = ask(three, num_questions=3, expand=True).apply(DOCUMENTS)
    assert rows["id"][:] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert rows["question_sample"][:] == [0, 1, 2] * 3
    assert rows["question"][:3] == lists[0]["question"]
    assert sum(rows["question_completion_tokens"]) == sum(lists["question_completion_tokens"]) == 9
    assert Summary.of_dataset(rows, "question").prompt_tokens == Summary.of_dataset(lists, "question").prompt_tokens
    assert len(DOCUMENTS.map(ask(three, num_questions=2), batched=True)[0]["question"]) == 2  # the first ones


@pytest.mark.parametrize("expand", [False, True])
def test_attempts_have_seeds_of_their_own_and_all_their_questions_count(expand):
    written = {}

    def one_by_one(text, seed):
        attempt = written[text] = written.get(text, 0) + 1
        if "Rye" in text or attempt == 2:
            return "I would rather not."
        return answer(text, seed).replace(" 0", f" {attempt}")

    generator = ScriptedGenerator(one_by_one)
    asked = QueryGenerator(generator, num_questions=2, max_attempts=4, expand=expand).apply(DOCUMENTS)
    assert len(generator.asked) == 3 + 4 + 3
    assert len({seed for _, seed in generator.asked}) == len(generator.asked)
    by_id = {1: ["What of Ebb 1?", "What of Ebb 3?"], 2: [], 3: ["What of Owls 1?", "What of Owls 3?"]}
    for row in asked:
        expected = by_id[row["id"]]
        assert row["question"] == ((expected or [""])[row["question_sample"]] if expand else expected)
        assert row["question_status"] == ("ok" if expected else "unparsed")
        assert row["question_attempts"] == (3 if expected else 4)
    assert len(asked) == (5 if expand else 3)  # no document is lost


def test_fewer_than_asked_is_ok_and_said():
    (row,) = ask(num_questions=3).apply(DOCUMENTS.select([0])).to_list()
    assert (row["question"], row["question_status"]) == (["What of Ebb 0?"], "ok")
    assert row["question_error"] == "1 of 3 questions in 3 attempts"


def test_what_yields_nothing_is_a_status():
    def fail(text, seed):
        if "Ebb" in text:
            return Completion("", "error", 7, 0, "out of memory")
        return Completion("<think>on and on", "length", 7, 9) if "Rye" in text else "<think>on and on"

    bad = datasets.concatenate_datasets([DOCUMENTS, Dataset.from_dict({"id": [4, 5], "text": [None, " "]})])
    asked = bad.map(ask(fail), batched=True).to_list()
    assert [row["question_status"] for row in asked] == [
        "failed", "truncated", "unparsed", "invalid_input", "invalid_input",
    ]  # fmt: skip
    assert [row["question_error"] for row in asked] == [
        "out of memory",
        "the token limit ended the completion",
        "the thought is never closed with </think>",
        "text is null; expected a text",
        "text is empty; expected a text",
    ]
    assert all(row["question"] == row["scenario"] == "" for row in asked)


@pytest.mark.parametrize(("settings", "is_said"), [({"max_attempts": 5}, True), ({}, False)])
def test_without_sampling_an_attempt_is_not_repeated_in_vain(caplog, settings, is_said):
    generator = ScriptedGenerator(lambda text, seed: "no", is_sampling=False)
    asked = DOCUMENTS.map(QueryGenerator(generator, **settings), batched=True)
    assert max(asked["question_attempts"]) == 1
    assert ("each row is tried once" in caplog.text) is is_said  # where several were asked for


def test_the_prompt_asks_for_what_is_read():
    generator = ScriptedGenerator(answer)
    QueryGenerator(generator, num_questions=3, system_prompt="Be brief.").apply(DOCUMENTS.select([0]))
    (text, _), *_ = generator.asked
    assert text.startswith("Document:\n\nEbb and flood.")
    assert "3 different questions" in text
    assert '{"questions": [{"scenario": "...", "question": "..."}, ...]}' in text
    assert parse_questions(text) == []  # a model that repeats the example asks nothing


def test_the_answers_of_reasonir_are_read():
    text = (
        'Step by step ...\n```json\n{"hard_query": ["A case. A question?", {"scenario": "s", "question": "q"}]}\n```'
    )
    assert parse_questions(text) == [Question("A case. A question?"), Question("q", "s")]
    assert parse_questions('{"questions": ["", {"question": " "}, {"question": "q", "scenario": 3}]}') == [
        Question("q")
    ]


def test_own_columns_and_template():
    query_fn = ask(
        lambda text, seed: f'["{text}"]', text_column="body", question_column="query", scenario_column="case",
        columns="minimal", template="{{ document }} {{ title }} {{ num_questions }}", template_columns=["title"],
    )  # fmt: skip
    asked = Dataset.from_dict({"body": ["b"], "title": ["t"]}).map(query_fn, batched=True)
    assert asked.to_list() == [{"body": "b", "title": "t", "query": "b t 1", "case": ""}]


def test_wrong_settings_and_columns_are_found_out_at_once():
    with pytest.raises(ConfigError, match="num_questions=0"):
        ask(num_questions=0)
    with pytest.raises(TemplateError, match=r"uses 'question'; available are 'document', 'num_questions'"):
        ask(template="{{ question }}")
    with pytest.raises(TemplateError, match="built-in template \\(questions\\)"):
        ask(template="rare")
    with pytest.raises(ColumnError, match="no column 'text'"):
        ask().apply(DOCUMENTS.remove_columns("text"))
    with pytest.raises(ColumnError, match="already has a column 'scenario'"):
        ask().apply(DOCUMENTS.add_column("scenario", ["a", "b", "c"]))


def test_nothing_is_asked_twice_with_a_journal(tiny, tmp_path):
    settings = {"max_new_tokens": 8, "journal_dir": tmp_path, "generation_kwargs": {"temperature": 1.0}}
    first, second = (QueryGenerator.from_pretrained(tiny, **settings) for _ in range(2))
    assert (
        first.apply(DOCUMENTS, load_from_cache_file=False).to_list()
        == second.apply(DOCUMENTS, load_from_cache_file=False).to_list()
    )
    assert (first.completer.generated, second.completer.generated) == (9, 0)  # three attempts each
    assert len(second.select_finished(DOCUMENTS)) == 3
    other = QueryGenerator.from_pretrained(tiny, **{**settings, "max_attempts": 4})
    assert len(other.select_finished(DOCUMENTS)) == 0


def test_it_pickles_to_its_settings_and_comes_back_from_a_recipe(tiny):
    query_fn = QueryGenerator.from_pretrained(tiny, num_questions=2, max_new_tokens=8)
    assert Hasher.hash(query_fn) == Hasher.hash(pickle.loads(pickle.dumps(query_fn)))
    recipe = make_recipe(query_fn)
    assert (recipe["kind"], recipe["questions"]["num_questions"]) == ("questions", 2)
    again = QueryGenerator.from_recipe(json.loads(json.dumps(recipe)), model_id=tiny)
    assert Hasher.hash(again) == Hasher.hash(query_fn)
    with pytest.raises(ConfigError, match="kind='distill'"):
        from hf_rare import ReasonDistiller

        ReasonDistiller.from_recipe(recipe, model_id=tiny)
