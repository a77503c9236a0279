"""Evidence of documents: the prompts as the teacher saw them, the numbers of a plain forward, and runs that go on."""

import logging
import pickle
from functools import partial

import pytest
import torch
from datasets import Dataset, DatasetDict, List, Value
from datasets.fingerprint import Hasher
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_rare import (
    EvidenceMeasure,
    TransformersGenerator,
    audit_grounding,
    keep_one_trace,
    measure_evidence,
    preview,
    summarize_grounding,
)
from hf_rare.errors import BatchTypeError, BudgetReachedError, ColumnError, ConfigError
from hf_rare.prompts.prompt import build_messages
from hf_rare.rows.columns import EVIDENCE_COLUMNS
from hf_rare.rows.row import read_row
from hf_rare.scoring.evidence import weigh_documents
from hf_rare.settings.writers import DistillConfig
from tests.support.distilled import distilled_rows
from tests.support.likelihood import log_probs_of

NAMES = [f"reasoning{ending}" for ending in EVIDENCE_COLUMNS]


@pytest.fixture
def distilled(rows) -> Dataset:
    return distilled_rows(rows)


def read(dataset) -> list[dict]:
    return dataset.select_columns(NAMES).with_format(None).to_list()


def numbers_of(dataset) -> list[list[float]]:
    return [row["reasoning_evidence"] for row in read(dataset)]


def render(values: dict, left_out: int | None = None, opening: str = "<think>\n") -> str:
    """The prompt of a row by hand: that of all documents, from which one is cut, with the number before it."""
    config = DistillConfig()
    row = read_row(values, config)
    order = values["reasoning_document_order"]
    (message,) = build_messages(row, [row.documents[i] for i in order], config)
    text = message["content"]
    if left_out is not None:
        block = f"[{order.index(left_out) + 1}] {row.documents[left_out]}\n\n"
        assert text.count(block) == 1
        text = text.replace(block, "")
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n{opening}"


def test_evidence_is_what_the_trace_loses_without_a_document(distilled, tiny):
    measured = measure_evidence(distilled, tiny)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    tokenize = partial(tokenizer.encode, add_special_tokens=False)
    for values, row in zip(distilled, read(measured), strict=True):
        trace = tokenize(values["reasoning"])
        whole, *without = (
            float(log_probs_of(model, tokenize(render(values, left_out)), trace).sum()) for left_out in (None, 0, 1, 2)
        )
        evidence = row["reasoning_evidence"]
        assert evidence == pytest.approx([whole - rest for rest in without], abs=1e-3)
        assert row["reasoning_evidence_per_token"] == pytest.approx([value / len(trace) for value in evidence])
        most = max(range(3), key=evidence.__getitem__) if max(evidence) > 0 else None
        assert row["reasoning_evidence_document"] == most
        assert row["reasoning_evidence_on_positive"] == (most == 0)
    assert measured.features["reasoning_evidence"] == List(Value("float64"))
    assert len({tuple(row) for row in numbers_of(measured)}) == len(distilled)


def test_the_thought_that_a_chat_template_opens_is_not_opened_again(distilled, tiny_thinking):
    measured = measure_evidence(distilled.select([0]), tiny_thinking)
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tiny_thinking),
        AutoTokenizer.from_pretrained(tiny_thinking),
    )
    tokenize = partial(tokenizer.encode, add_special_tokens=False)
    contexts = [tokenize(render(distilled[0], left_out)) for left_out in (None, 0)]
    whole, rest = (log_probs_of(model, one, tokenize(distilled[0]["reasoning"])).sum() for one in contexts)
    assert numbers_of(measured)[0][0] == pytest.approx(float(whole - rest), abs=1e-3)


def test_numbers_depend_on_nothing_but_the_row(distilled, tiny):
    expected = numbers_of(measure_evidence(distilled, tiny))
    for changed in (
        measure_evidence(distilled, tiny, batch_size=1),
        measure_evidence(distilled, tiny, batch_size=4),
        measure_evidence(distilled, TransformersGenerator.from_pretrained(tiny, max_new_tokens=9)),
        measure_evidence(distilled.select([*range(5, -1, -1)]), tiny).select([*range(5, -1, -1)]),
        measure_evidence(distilled.with_format("pandas"), tiny),
        measure_evidence(distilled.with_format("arrow"), tiny),
        measure_evidence(DatasetDict(train=distilled), tiny)["train"],
    ):
        assert [pytest.approx(row, abs=1e-4) for row in expected] == numbers_of(changed)
    streamed = list(measure_evidence(distilled.to_iterable_dataset(), tiny))
    assert [pytest.approx(row["reasoning_evidence"], abs=1e-4) for row in streamed] == expected


def test_half_precision_is_near(distilled, tiny):
    expected = torch.tensor(numbers_of(measure_evidence(distilled, tiny)))
    half = torch.tensor(numbers_of(measure_evidence(distilled, tiny, dtype="bfloat16")))
    assert torch.nn.functional.cosine_similarity(expected.flatten(), half.flatten(), dim=0) > 0.9


def test_workers_give_the_same_numbers(distilled, tiny):
    expected = numbers_of(measure_evidence(distilled, tiny))
    measured = measure_evidence(distilled, tiny, num_proc=2)
    assert [pytest.approx(row, abs=1e-4) for row in expected] == numbers_of(measured)


def test_a_run_that_a_limit_ends_goes_on_from_its_journal(distilled, tiny, tmp_path):
    settings = {"journal_dir": tmp_path / "journal"}
    expected = numbers_of(measure_evidence(distilled, tiny))
    with pytest.raises(BudgetReachedError, match="max_rows=2 is reached"):
        measure_evidence(distilled, tiny, max_rows=2, **settings)
    measure = EvidenceMeasure(tiny, **settings)
    assert numbers_of(measure.apply(distilled)) == expected
    assert measure.completer.generated == len(distilled) - 2
    again = EvidenceMeasure(tiny, **settings)
    again.scorer.generator.unload()
    assert numbers_of(again.apply(distilled, load_from_cache_file=False)) == expected
    assert again.completer.generated == 0
    assert not again.scorer.generator.is_loaded


def test_it_pickles_to_its_settings(tiny):
    measure = EvidenceMeasure(tiny, template="{% for d in documents %}{{ d.text }}{% endfor %}{{ question }}")
    before = Hasher.hash(measure)
    measure.scorer.load()
    assert Hasher.hash(measure) == before
    made_again = pickle.loads(pickle.dumps(measure))
    assert made_again.config == measure.config
    assert Hasher.hash(made_again) == before
    assert Hasher.hash(EvidenceMeasure(tiny)) != before


def test_rows_without_a_trace_or_a_prompt_have_nothing(distilled, tiny):
    changed = [dict(row) for row in distilled]
    changed[0] |= {"reasoning": ""}
    changed[1] |= {"reasoning_document_order": []}
    changed[2] |= {"hard_negatives": ["another one"]}
    changed[3] |= {"question": None}
    measured = read(measure_evidence(Dataset.from_list(changed, features=distilled.features), tiny))
    for row in measured[:4]:
        assert list(row.values()) == [[], [], None, None]
    assert all(len(row["reasoning_evidence"]) == 3 for row in measured[4:])
    nothing = Dataset.from_list(changed[:1], features=distilled.features)
    assert measure_evidence(nothing, tiny).features["reasoning_evidence"] == List(Value("float64"))
    assert measure_evidence(distilled.select([]), tiny).column_names[-4:] == NAMES


def make_lists(distilled: Dataset) -> Dataset:
    """Rows with two traces each, the second one that of another row."""
    columns = ["", "_answer", "_status", "_error", "_completion_tokens"]
    rows = [dict(row) for row in distilled]
    made = [
        row | {f"reasoning{ending}": [one[f"reasoning{ending}"] for one in (row, other)] for ending in columns}
        for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)
    ]
    return Dataset.from_list(made)


def test_several_traces_of_a_row_have_lists(distilled, tiny):
    expected = numbers_of(measure_evidence(distilled, tiny))
    measured = measure_evidence(make_lists(distilled), tiny)
    assert measured.features["reasoning_evidence"] == List(List(Value("float64")))
    assert measured.features["reasoning_evidence_document"] == List(Value("int64"))
    assert [pytest.approx(row[0], abs=1e-4) for row in numbers_of(measured)] == expected
    assert all(row[0] != row[1] for row in numbers_of(measured))
    for row, kept in zip(measured, keep_one_trace(measured), strict=True):
        assert kept["reasoning_evidence"] == row["reasoning_evidence"][row["reasoning"].index(kept["reasoning"])]


def test_documents_are_shortened_where_there_is_no_room(distilled, tiny, caplog):
    full = measure_evidence(distilled, tiny)
    with caplog.at_level(logging.WARNING):
        measured = measure_evidence(distilled, tiny, context_length=585)
        short = measure_evidence(distilled, tiny, context_length=60)
    for number, (one, other) in enumerate(zip(numbers_of(measured), numbers_of(full), strict=True)):
        assert len(one) == 3
        assert (one == pytest.approx(other, abs=1e-4)) == (number not in (2, 5))  # whose prompt and trace are longest
    assert numbers_of(short) == [[]] * len(distilled)
    assert "texts could not be measured: before a trace of" in caplog.text


def test_what_cannot_be_measured_is_an_error(distilled, tiny):
    with pytest.raises(ColumnError, match="no column 'reasoning_document_order'"):
        measure_evidence(distilled.remove_columns("reasoning_document_order"), tiny)
    with pytest.raises(ColumnError, match="already has a column 'reasoning_evidence'") as raised:
        measure_evidence(measure_evidence(distilled, tiny), tiny)
    assert str(raised.value).endswith("'reasoning_evidence_on_positive'])`).")  # no setting names it
    counting = "{% for document in documents %}[{{ loop.index }}] {{ document.text }} {% endfor %}{{ question }}"
    with pytest.raises(ConfigError, match=r"counts documents itself.* {{ document\.number }}"):
        measure_evidence(distilled, tiny, template=counting)
    with pytest.raises(ConfigError, match="temperature"):
        measure_evidence(distilled, tiny, temperature=1.0)
    with pytest.raises(ConfigError, match="num_proc=2 is for a Dataset"):
        measure_evidence(distilled.to_iterable_dataset(), tiny, num_proc=2)
    with pytest.raises(BatchTypeError, match="received list"):
        measure_evidence([], tiny)


def test_the_weights_of_documents_by_hand():
    texts = [{"log_probs": log_probs} for log_probs in ([-1.0, -0.5], [-1.5, -0.5], [-4.0, -1.0], [-1.0, -0.25])]
    assert weigh_documents(texts) == {
        "_evidence": [0.5, 3.5, -0.25],
        "_evidence_per_token": [0.25, 1.75, -0.125],
        "_evidence_document": 1,
        "_evidence_on_positive": False,
    }


@pytest.mark.parametrize("without", [[-1.0, -0.5], [-1.5, -1.5]])
def test_where_no_document_has_evidence_none_carries_the_trace(without):
    weighed = weigh_documents([{"log_probs": [-1.5]}, *({"log_probs": [value]} for value in without)])
    assert weighed["_evidence"] == [-1.5 - value for value in without]
    assert (weighed["_evidence_document"], weighed["_evidence_on_positive"]) == (None, False)


def test_a_trace_that_has_no_room_is_left_out_alone(distilled, tiny, caplog):
    several = make_lists(distilled.select([0, 1]))
    long = several.map(lambda row: {"reasoning": [row["reasoning"][0], "It is so. " * 310]})
    expected = [row[0] for row in numbers_of(measure_evidence(several, tiny))]
    with caplog.at_level(logging.WARNING):
        measured = read(measure_evidence(long, tiny, context_length=620))
    assert [row["reasoning_evidence"] for row in measured] == [[pytest.approx(one, abs=1e-4), []] for one in expected]
    assert [row["reasoning_evidence_document"][1] for row in measured] == [None, None]
    assert "2 texts could not be measured: before a trace of" in caplog.text


def test_documents_are_shortened_for_each_trace_by_itself(distilled, tiny):
    several = make_lists(distilled.select([0, 1]))
    long = several.map(lambda row: {"reasoning": [row["reasoning"][0], "It is so. " * 31]})
    expected = [row[0] for row in numbers_of(measure_evidence(several, tiny))]
    full, cut = (numbers_of(measure_evidence(long, tiny, **settings)) for settings in ({}, {"context_length": 620}))
    assert [row[0] for row in cut] == [pytest.approx(one, abs=1e-4) for one in expected]
    assert all(len(row[1]) == 3 for row in cut)
    assert all(one[1] != pytest.approx(other[1], abs=1e-4) for one, other in zip(full, cut, strict=True))


def test_plain_map_takes_the_types_that_the_measure_says(distilled, tiny):
    several = make_lists(distilled.select([0, 1]))
    rows = [several[0], {**several[1], "reasoning": None}]
    several = Dataset.from_list(rows, features=several.features)
    measure = EvidenceMeasure(tiny)
    for order in ([0, 1], [1, 0]):
        for some in (several.select(order), several.select(order).with_format("arrow")):
            measured = some.map(measure, batched=True, batch_size=1, features=measure.features(some.features))
            assert [[len(value) for value in row.values()] for row in read(measured)] == [
                [2 * (place == 0)] * 4 for place in order
            ]
            assert measured.features == measure.apply(some, batch_size=1).features
    assert "map(measure, batched=True, features=measure.features(ds.features))" in EvidenceMeasure.__doc__


def test_plain_map_takes_a_row_without_traces_behind_one_with_traces(distilled, tiny):
    several = make_lists(distilled.select([0, 1]))
    rows = [several[0], {**several[1], "reasoning": None}]
    several = Dataset.from_list(rows, features=several.features)
    measured = several.map(EvidenceMeasure(tiny), batched=True, batch_size=1)
    assert [len(row) for row in numbers_of(measured)] == [2, 0]


def test_the_audit_says_how_far_evidence_agrees(distilled, tiny):
    audited = audit_grounding(measure_evidence(distilled, tiny))
    summary = summarize_grounding(audited)
    on_positive = [row["reasoning_evidence_on_positive"] for row in audited if row["reasoning_status"] == "ok"]
    assert summary.evidence.traces == len(on_positive)
    assert summary.evidence.on_positive == sum(on_positive) == summary.evidence.cited_and_carried
    assert summary.evidence.cited_alone == len(on_positive) - sum(on_positive)
    assert str(summary).splitlines()[-1].startswith(f"evidence: {len(on_positive)} traces; ")
    assert "evidence" not in str(summarize_grounding(audit_grounding(distilled)))
    both = summary + summary
    assert both.evidence.traces == 2 * len(on_positive)


def test_the_preview_shows_it_beside_the_lexical_verdict(distilled, tiny):
    measured = audit_grounding(measure_evidence(distilled, tiny)).select([0])
    row = measured[0]
    place = row["reasoning_document_order"].index(row["reasoning_evidence_document"]) + 1
    nats = row["reasoning_evidence"][row["reasoning_evidence_document"]]
    words = f"most evidence from [{place}]: {nats:.1f} nats"
    assert "names the positive" in repr(preview(measured))
    assert words in repr(preview(measured))
    assert words in preview(measured)._repr_html_()
    several = repr(preview(measure_evidence(make_lists(distilled), tiny).select([0])))
    carried = [one for one in measure_evidence(make_lists(distilled), tiny)[0]["reasoning_evidence"] if max(one) > 0]
    assert several.count("most evidence from") == len(carried) >= 1
