"""Columns that nothing reads are never decoded; texts and lists are such in every type that Arrow has for them."""

import logging

import pyarrow as pa
import pytest
from datasets import Audio, Dataset, DatasetDict, Features, Image, LargeList, List, Value

import hf_rare
from hf_rare.checks.contamination import decontaminate
from hf_rare.checks.grounding import audit_grounding
from hf_rare.checks.near_duplicates import drop_near_duplicates
from hf_rare.checks.verify import verify
from hf_rare.negatives.mine import mine_hard_negatives
from hf_rare.negatives.retrieve import retrieve_documents
from hf_rare.pipeline.outputs import save_output
from hf_rare.training.one_trace import keep_one_trace
from hf_rare.training.retrieval import to_retrieval
from hf_rare.training.trl import to_preference, to_sft
from tests.support.commands import command
from tests.support.distilled import distilled_rows
from tests.support.quick import mostly_slow
from tests.support.versions import skip_before_datasets_5

STORAGE = {"bytes": Value("binary"), "path": Value("string")}


def with_media(dataset: Dataset) -> Dataset:
    """Add a picture that is none, one whose file is gone, and a sound whose codec is not installed."""
    columns = {
        "picture": ([{"bytes": b"no picture", "path": None}] * len(dataset), Image()),
        "gone": ([{"bytes": None, "path": "/nowhere/picture.png"}] * len(dataset), Image()),
        "sound": ([{"bytes": b"RIFF", "path": None}] * len(dataset), Audio()),
    }
    for name, (values, feature) in columns.items():
        dataset = dataset.add_column(name, values, feature=STORAGE).cast_column(name, feature)
    return dataset


@pytest.fixture
def traces(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


@pytest.fixture
def sampled(traces) -> Dataset:
    """Two samples a row: right and wrong."""
    lists = ("reasoning", "reasoning_answer", "reasoning_status", "reasoning_error", "reasoning_completion_tokens")
    rows = [
        {**row, **{name: [row[name], row[name]] for name in lists}, "reasoning_verdict": ["right", "wrong"]}
        | {"reasoning": [row["reasoning"], "Other words."], "reasoning_status": ["ok", "ok"]}
        for row in traces.select(range(4))
    ]
    return Dataset.from_list(rows)


MEDIA = ["picture", "gone", "sound"]
READERS = {
    "verify": lambda traces, sampled: verify(traces),
    "verify samples": lambda traces, sampled: verify(sampled.remove_columns("reasoning_verdict")),
    "verify in processes": lambda traces, sampled: verify(traces, num_proc=2),
    "audit": lambda traces, sampled: audit_grounding(traces),
    "audit samples": lambda traces, sampled: audit_grounding(sampled),
    "near-duplicates": lambda traces, sampled: drop_near_duplicates(traces),
    "decontaminate": lambda traces, sampled: decontaminate(traces, [["no such words anywhere at all in it"]]),
    "decontaminate, marking": lambda traces, sampled: decontaminate(traces, [["words"]], mark="shared"),
    "mine": lambda traces, sampled: mine_hard_negatives(traces, hard_negatives_column="mined"),
    "mine a corpus": lambda traces, sampled: mine_hard_negatives(traces, traces, hard_negatives_column="mined"),
    "retrieve": lambda traces, sampled: retrieve_documents(
        traces, traces, text_column="found", hard_negatives_column="others", num_documents=2
    ),
    "one trace": lambda traces, sampled: keep_one_trace(sampled),
    "one trace, right ones": lambda traces, sampled: keep_one_trace(sampled, fallback="none"),
    "sft": lambda traces, sampled: to_sft(traces, keep_columns=MEDIA),
    "kto": lambda traces, sampled: to_preference(sampled, form="kto", keep_columns=MEDIA),
    "dpo": lambda traces, sampled: to_preference(sampled, keep_columns=MEDIA),
    "retrieval": lambda traces, sampled: to_retrieval(traces, keep_columns=MEDIA),
}


@pytest.mark.parametrize("call", READERS.values(), ids=READERS)
def test_what_is_not_read_is_not_decoded(traces, sampled, call):
    made = call(with_media(traces), with_media(sampled))
    expected = call(traces, sampled) if "MEDIA" not in call.__code__.co_names else None
    assert set(MEDIA) <= set(made.column_names)
    assert isinstance(made.features["picture"], Image)
    assert isinstance(made.features["sound"], Audio)
    plain = made.with_format("arrow")[:]
    assert set(map(str, plain["gone"].to_pylist())) == {str({"bytes": None, "path": "/nowhere/picture.png"})}
    if expected is not None:
        assert made.remove_columns(MEDIA).to_list() == expected.to_list()


@pytest.mark.parametrize("settings", [{}, {"num_samples": 2}, {"num_samples": 2, "expand": True}])
def test_a_distiller_decodes_what_it_reads(rows, distill_fn, tiny, settings):
    distiller = hf_rare.ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=4, generation_kwargs={"temperature": 1.0}, **settings
    )
    written = distiller.apply(with_media(rows.select(range(2))))
    assert isinstance(written.features["picture"], Image)
    assert written.remove_columns(MEDIA).to_list() == distiller.apply(rows.select(range(2))).to_list()
    mapped = with_media(rows.select(range(2))).map(distiller, batched=True)
    assert isinstance(mapped.features["picture"], Image)
    assert mapped.remove_columns(MEDIA).to_list() == written.remove_columns(MEDIA).to_list()
    assert len(distiller.select_finished(with_media(rows))) == 0
    stream = distiller.apply(with_media(rows.select(range(2))).to_iterable_dataset())
    assert isinstance(stream.features["picture"], Image)
    assert list(stream.remove_columns(MEDIA)) == written.remove_columns(MEDIA).to_list()


def test_dense_mining_decodes_what_it_reads(rows, tiny_embedder):
    options = {"method": "dense", "model": tiny_embedder, "hard_negatives_column": "mined", "num_negatives": 1}
    mined = mine_hard_negatives(with_media(rows), **options)
    assert mined.remove_columns(MEDIA).to_list() == mine_hard_negatives(rows, **options).to_list()


def test_views_and_commands_decode_what_they_read(traces, tmp_path):
    spoilt = with_media(traces)
    assert repr(hf_rare.preview(spoilt, rows=2)) == repr(hf_rare.preview(traces, rows=2))
    assert "picture" in hf_rare.build_card(spoilt)
    assert "picture" in hf_rare.build_card(DatasetDict({"train": spoilt, "test": spoilt}))
    save_output(spoilt, tmp_path / "rows")
    output = tmp_path / "out.jsonl"
    assert command("export", tmp_path / "rows", "sft", "--output", output).code == 0
    assert command("card", tmp_path / "rows", "--output", tmp_path / "README.md").code == 0
    arguments = ["negatives", tmp_path / "rows", "--hard-negatives-column", "mined"]
    for ending in (".parquet", ""):
        said = command(*arguments, "--output", tmp_path / f"mined{ending}")
        assert said.code == 0, said.said


TYPES = {
    "large strings": (pa.large_string(), pa.list_),
    "large lists": (pa.string(), pa.large_list),
    "large lists of large strings": (pa.large_string(), pa.large_list),
    "string views": (pa.string_view(), pa.list_),
    "large lists of string views": (pa.string_view(), pa.large_list),
}


def retype(dataset: Dataset, text: pa.DataType, make_list) -> Dataset:
    """Change the type of every text and every list."""

    def change(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_list(kind):
            return make_list(change(kind.value_type))
        return text if pa.types.is_string(kind) else kind

    table = dataset.with_format("arrow")[:]
    arrays = {name: pa.array(table[name].to_pylist(), change(table[name].type)) for name in table.column_names}
    return Dataset(pa.table(arrays))


WITHOUT_MEDIA = {name: call for name, call in READERS.items() if "MEDIA" not in call.__code__.co_names}


@pytest.mark.parametrize("kind", mostly_slow(TYPES, ["large lists of large strings", "string views"]))
@pytest.mark.parametrize("call", WITHOUT_MEDIA.values(), ids=WITHOUT_MEDIA)
def test_every_kind_of_text_and_list_is_one(traces, sampled, call, kind):
    text, make_list = TYPES[kind]
    if text == pa.string_view():
        skip_before_datasets_5("it has no views of texts")
    made = call(retype(traces, text, make_list), retype(sampled, text, make_list))
    assert made.to_list() == call(traces, sampled).to_list()


EXPORTS = {
    "sft": to_sft,
    "sft of right ones": lambda rows: to_sft(rows, correct_column="reasoning_verdict"),
    "kto": lambda rows: to_preference(rows, form="kto"),
    "dpo": to_preference,
    "retrieval": to_retrieval,
    "one trace": keep_one_trace,
    "statistics": lambda rows: hf_rare.build_card(rows).split("# Dataset")[-1].split("Columns")[0],
}


@pytest.mark.parametrize("kind", [*TYPES, "lists of fixed size", "polars"])
@pytest.mark.parametrize("call", EXPORTS.values(), ids=EXPORTS)
def test_exports_of_samples_go_by_what_is_there(sampled, kind, call):
    if kind == "polars" or "views" in kind:
        skip_before_datasets_5("it has no views of texts")
    if kind == "polars":
        other = Dataset.from_polars(sampled.to_polars())
    elif kind in TYPES:
        other = retype(sampled, *TYPES[kind])
    else:
        fixed = {
            name: List(feature.feature, length=len(sampled[0][name]))
            for name, feature in sampled.features.items()
            if isinstance(feature, List)
        }
        other = sampled.cast(Features({**sampled.features, **fixed}))
    made, expected = call(other), call(sampled)
    if isinstance(made, Dataset):
        assert made.to_list() == expected.to_list()
        assert len(made)


def test_grades_in_large_lists(sampled):
    grades = sampled.add_column("grade", [[0.9, 0.1]] * len(sampled))
    large = grades.cast_column("grade", LargeList(Value("float64")))
    assert (
        to_preference(large, correct_column="grade").to_list()
        == to_preference(grades, correct_column="grade").to_list()
    )


def test_statistics_and_cards_count_what_is_there(sampled, traces):
    skip_before_datasets_5("it has no views of texts")
    for rows in (sampled, traces):
        plain = hf_rare.build_card(rows)
        for kind in TYPES.values():
            other = hf_rare.build_card(retype(rows, *kind))
            for line in plain.splitlines():
                if line.startswith("|") and "string" not in line:
                    assert line in other, line


def test_texts_that_are_sorted_may_be_more_than_32_bits_can_count(traces, caplog):
    """A column of texts is 2 GiB at most where their places are 32 bits: what is put together has 64."""
    from hf_rare.negatives.corpus import Documents

    caplog.set_level(logging.ERROR)
    documents = Documents(traces, "text", "id", in_order=False)
    for table in documents.tables:
        assert [pa.types.is_large_string(field.type) for field in table.schema] == [True, True]
