"""Hard negatives in several columns of texts are those of one column of lists, for all that reads rows."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset, List, Value

import hf_rare
from hf_rare.cli.main import main
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.prompts.prompt import input_columns
from hf_rare.rows.hard_negatives import gather, list_cell
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.recipe import make_recipe
from tests.support.commands import RAN
from tests.support.distilled import distilled_rows
from tests.support.report_pages import unpack

NAMES = ("neg1", "neg2", "neg3", "neg4")
EMPTY = (None, "", " \n", None)


def spread(rows: Dataset) -> Dataset:
    """Put the hard negatives of each row into columns of their own, with an empty cell among them somewhere."""

    def cells(number: int, texts: list[str]) -> list[str | None]:
        place = number % (len(texts) + 1)
        return [*texts[:place], EMPTY[number % len(EMPTY)], *texts[place:], *[None] * len(NAMES)][: len(NAMES)]

    values = [cells(number, row["hard_negatives"]) for number, row in enumerate(rows)]
    rows = rows.remove_columns("hard_negatives")
    for name, column in zip(NAMES, zip(*values, strict=True), strict=True):
        rows = rows.add_column(name, list(column), feature=Value("string"))
    return rows


@pytest.fixture
def traces(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


READERS: dict[str, Callable[..., Any]] = {
    "sft": lambda rows, **names: hf_rare.to_sft(rows, **names).to_list(),
    "sft with fewer documents": lambda rows, **names: hf_rare.to_sft(
        rows, student_documents=1, positive_share=0.5, **names
    ).to_list(),
    "kto": lambda rows, **names: hf_rare.to_preference(rows, form="kto", **names).to_list(),
    "prompts": lambda rows, **names: hf_rare.to_prompts(rows, form="self-distillation", **names).to_list(),
    "triplets": lambda rows, **names: hf_rare.to_retrieval(rows, **names).to_list(),
    "audit": lambda rows, **names: hf_rare.audit_grounding(rows, **names).select_columns(
        ["reasoning_cited_documents", "reasoning_quoted_documents", "reasoning_longest_quotes", "reasoning_distracted"]
    ).to_list(),
    "preview": lambda rows, **names: repr(hf_rare.preview(rows, len(rows), **names)),
    "report": lambda rows, **names: unpack(hf_rare.report(rows, key_column="id", **names).html)[1],
}  # fmt: skip


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_several_columns_say_what_one_column_of_lists_says(traces, read):
    expected = read(traces)
    assert read(spread(traces), hard_negatives_column=list(NAMES)) == expected
    with pytest.raises(AssertionError):  # so that what is compared depends on them
        assert read(spread(traces), hard_negatives_column=NAMES[:2]) == expected


def test_traces_are_the_same_whichever_way_they_are_given(rows, tiny):
    made = {}
    for given, columns in ((rows, "hard_negatives"), (spread(rows), NAMES), (spread(rows), list(NAMES))):
        distiller = hf_rare.ReasonDistiller.from_pretrained(tiny, max_new_tokens=6, hard_negatives_column=columns)
        written = distiller.apply(given)
        made[str(columns)] = written.select_columns(list(distiller.output_features)).to_list()
        assert given.map(distiller, batched=True, batch_size=4).to_list() == written.to_list()
    one, *others = made.values()
    assert [one] * 2 == others
    assert all(sorted(row["reasoning_document_order"]) == [0, 1, 2] for row in one)


def test_a_recipe_keeps_several_columns(rows, tiny):
    distiller = hf_rare.ReasonDistiller.from_pretrained(tiny, max_new_tokens=6, hard_negatives_column=list(NAMES))
    recipe = json.loads(json.dumps(make_recipe(distiller)))
    again = hf_rare.ReasonDistiller.from_recipe(recipe, model_id=tiny)
    assert again.config == distiller.config
    assert again.config.hard_negatives_column == NAMES
    assert again.input_columns == ["text", "question", *NAMES, "scenario"]
    written = again.apply(spread(rows))
    assert len(hf_rare.to_sft(written, recipe=recipe, statuses=None)) == len(rows)
    assert len(hf_rare.to_sft(written, recipe=distiller, statuses=None)) == len(rows)


def test_a_card_names_several_columns(traces, rows, tiny):
    distiller = hf_rare.ReasonDistiller.from_pretrained(tiny, max_new_tokens=6, hard_negatives_column=NAMES)
    given = spread(traces)
    card = hf_rare.build_card(given, distiller)
    described = [line for line in card.splitlines() if line.startswith("| `neg")]
    assert len(described) == len(NAMES)
    assert all("only look as if they helped" in line for line in described)


def test_students_are_asked_with_several_columns(rows, tiny):
    settings = {"gold_column": "answer", "max_new_tokens": 4, "num_resamples": 10}
    one = hf_rare.evaluate({"tiny": tiny}, rows, **settings)
    several = hf_rare.evaluate({"tiny": tiny}, spread(rows), hard_negatives_column=NAMES, **settings)
    kept = ["condition", "reasoning_document_order", "reasoning", "reasoning_status"]
    assert several.rows.select_columns(kept).to_list() == one.rows.select_columns(kept).to_list()


def test_one_name_in_a_list_is_a_column_of_texts():
    config = DistillConfig(hard_negatives_column=["negative"])
    assert input_columns(config) == ["text", "question", "negative", "scenario"]
    values = {"text": "It is so.", "question": "Is it?", "negative": "It rains."}
    assert read_row(values, config).hard_negatives == ("It rains.",)
    assert read_row({**values, "negative": None}, config).hard_negatives == ()
    assert read_row({**values, "negative": ["It rains.", None, "It snows."]}, config).hard_negatives[1] == "It snows."


def test_cells_are_gathered_in_the_order_of_the_names():
    values = {"b": "two", "a": ["one", "", None], "c": None}
    assert gather(values, ("a", "b", "c", "d")) == ["one", "two"]
    assert gather(values, "a") == ["one", "", None]
    assert list_cell(5) == [5]


@pytest.mark.parametrize("columns", [(), ("neg1", ""), 3, ("neg1", 2)])
def test_names_that_are_none_are_refused(columns):
    with pytest.raises(ConfigError, match="hard_negatives_column"):
        DistillConfig(hard_negatives_column=columns)


def test_a_column_of_texts_alone_is_refused_with_the_way_out(rows, distill_fn):
    given = rows.remove_columns("hard_negatives").add_column("hard_negatives", ["One text."] * len(rows))
    for run in (distill_fn.apply, lambda rows: rows.map(distill_fn, batched=True), distill_fn.select_finished):
        with pytest.raises(ColumnError, match="'hard_negatives' holds texts; expected lists of texts") as raised:
            run(given)
        assert "hard_negatives_column=['hard_negatives']" in str(raised.value)
    assert not distill_fn.generator.is_loaded


def test_objects_are_refused_with_how_to_take_their_texts(rows, distill_fn):
    given = rows.remove_columns("hard_negatives").add_column("hard_negatives", [[{"id": 1, "body": "a"}]] * len(rows))
    with pytest.raises(
        ColumnError, match="'hard_negatives' holds lists of objects; expected lists of texts"
    ) as raised:
        distill_fn.apply(given)
    advice = str(raised.value).partition("dataset.map(")[2].removesuffix(").")
    taken = given.map(eval(advice))  # the advice is code
    assert taken["hard_negatives"][0] == ["a"]


def test_rows_without_hard_negatives(rows, tiny):
    bare = rows.remove_columns("hard_negatives")
    with pytest.raises(ColumnError, match=r"Where there is none to read, .*hard_negatives_column=None"):
        hf_rare.ReasonDistiller.from_pretrained(tiny, max_new_tokens=6).apply(bare)
    distiller = hf_rare.ReasonDistiller.from_pretrained(tiny, max_new_tokens=6, hard_negatives_column=None)
    written = distiller.apply(bare)
    usual = hf_rare.ReasonDistiller.from_pretrained(tiny, max_new_tokens=6)
    empty = usual.apply(bare.add_column("hard_negatives", [[]] * len(rows), feature=List(Value("string"))))
    assert written.select_columns(list(distiller.output_features)).to_list() == (
        empty.select_columns(list(distiller.output_features)).to_list()
    )
    recipe = json.loads(json.dumps(make_recipe(distiller)))
    assert hf_rare.ReasonDistiller.from_recipe(recipe, model_id=tiny).config == distiller.config
    exported = hf_rare.to_sft(written, recipe=recipe, statuses=None)
    assert exported["prompt"][:] == hf_rare.to_sft(empty, statuses=None)["prompt"][:]
    audited = hf_rare.audit_grounding(written, hard_negatives_column=None)
    assert "reasoning_cited_documents" in audited.column_names
    assert "(positive)" in repr(hf_rare.preview(written, hard_negatives_column=None))
    assert [len(row["documents"]) for row in unpack(hf_rare.report(written, recipe=recipe).html)[1]] == [1] * len(rows)
    left_over = written.add_column("hard_negatives", [["unused"]] * len(rows))
    assert "only look as if" not in hf_rare.build_card(left_over, recipe).split("| column")[1]
    assert "only look as if" in hf_rare.build_card(left_over).split("| column")[1]
    assert hf_rare.to_retrieval(written, hard_negatives_column=None).column_names == ["anchor", "positive"]


def test_the_command_line_goes_by_a_recipe_without_hard_negatives(rows, tiny, tmp_path, capsys):
    rows.remove_columns(["hard_negatives", "scenario"]).to_json(tmp_path / "rows.jsonl")
    traces = str(tmp_path / "traces.parquet")
    none = ["--hard-negatives-column", "none", "--scenario-column", "none", "--system-prompt", "Be brief."]
    asked = ["--model", tiny, "--max-new-tokens", "6", "--output", traces]
    assert main(["distill", str(tmp_path / "rows.jsonl"), *none, *asked]) in RAN
    assert main(["prompt", traces]) == 0
    assert "Be brief." in capsys.readouterr().out
    assert main(["audit", traces, "--output", str(tmp_path / "audited.parquet")]) == 0
    assert main(["preview", traces]) == 0
    assert main(["export", traces, "sft", "--statuses", "all", "--output", str(tmp_path / "sft.parquet")]) == 0
