"""The numbers of a card are those that counting row by row gives."""

from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from hf_rare import ReasonDistiller
from hf_rare.rows.statistics import BATCH_SIZE, Distribution, Statistics, measure
from hf_rare.writers.summary import Summary
from tests.support.distilled import distilled_rows


def test_the_counts_are_those_of_the_rows(demo_rows):
    rows = distilled_rows(demo_rows)
    statistics = measure(rows)
    there = [row for row in rows if row["reasoning"]]
    assert statistics.rows == 14
    assert statistics.statuses == Counter(ok=11, truncated=2, prompt_too_long=1)
    assert statistics.completion_tokens.counts == Counter(row["reasoning_completion_tokens"] for row in there)
    assert statistics.trace_characters.counts == Counter(len(row["reasoning"]) for row in there)
    assert statistics.positive_positions.counts == Counter(row["reasoning_positive_position"] for row in there)
    assert statistics.documents.counts == Counter({4: 13})
    assert statistics.documents_truncated.total == 1
    documents = [text for row in rows for text in (row["text"], *row["hard_negatives"])]
    assert statistics.document_characters.counts == Counter(map(len, documents))
    summary = Summary.of_dataset(rows)
    assert (statistics.prompt_tokens.total, statistics.completion_tokens.total) == (
        summary.prompt_tokens,
        summary.completion_tokens,
    )


@pytest.mark.parametrize("expand", [False, True])
def test_rows_with_several_samples_count_their_prompt_once(rows, tiny, expand):
    distilled = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=4, num_samples=3, expand=expand, generation_kwargs={"temperature": 1.0}
    ).apply(rows)
    statistics, summary = measure(distilled), Summary.of_dataset(distilled)
    assert statistics.statuses == summary.statuses
    assert statistics.traces == 18
    assert statistics.prompt_tokens.count == statistics.positive_positions.count == 6
    assert statistics.prompt_tokens.total == summary.prompt_tokens
    assert statistics.completion_tokens.total == summary.completion_tokens


def test_verdicts_and_answers_are_counted_in_lists_too():
    columns = {"reasoning_verdict": ["right", "wrong"], "reasoning_answer": ["", "Yes."]}
    plain = measure(Dataset.from_dict(columns))
    assert (plain.verdicts, plain.answer_characters.counts) == ({"right": 1, "wrong": 1}, {4: 1})
    lists = Dataset.from_dict({name: [values, values[:1]] for name, values in columns.items()})
    assert (measure(lists).verdicts, measure(lists).answer_characters.counts) == ({"right": 2, "wrong": 1}, {4: 1})


def test_batches_indices_and_formats_change_nothing(demo_rows):
    rows = distilled_rows(demo_rows)
    many = Dataset.from_list(rows.to_list() * (2 * BATCH_SIZE // len(rows) + 1), features=rows.features)
    statistics = measure(many)
    assert statistics.rows > 2 * BATCH_SIZE
    assert measure(many.shuffle(seed=1)) == measure(many.with_format("numpy")) == statistics
    half = len(many) // 2
    parts = (measure(many.select(range(half))), measure(many.select(range(half, len(many)))))
    assert sum(parts, Statistics()) == statistics


def test_columns_of_other_names_and_types_count_what_they_can():
    rows = Dataset.from_dict(
        {
            "out_status": [0, 1],
            "out_completion_tokens": [1.5, 2.5],
            "out": ["aé", None],
            "q": [None, "??"],
            "hard_negatives": [None, [None, "four"]],
            "out_document_order": ["a", "b"],
            "out_sample": ["a", "b"],
        },
        features=Features(
            out_status=ClassLabel(names=["ok", "no"]),
            out_completion_tokens=Value("float64"),
            out=Value("large_string"),
            q=Value("string"),
            hard_negatives=List(Value("string")),
            out_document_order=Value("string"),
            out_sample=Value("string"),
        ),
    )
    names = {
        "output_column": "out",
        "question_column": "q",
        "text_column": "t",
        "hard_negatives_column": "hard_negatives",
    }
    statistics = measure(rows, names)
    assert statistics.trace_characters.counts == {2: 1}
    assert statistics.question_characters.counts == {2: 1}
    assert statistics.document_characters.counts == {4: 1}
    assert not statistics.traces
    assert not statistics.completion_tokens
    assert not statistics.documents
    assert measure(rows.select([]), names) == Statistics()
    assert measure(Dataset.from_dict({"a": [1, 2]})) == Statistics(rows=2)


@given(st.lists(st.integers(-5, 2**40), min_size=1, max_size=50), st.sampled_from([0.01, 0.5, 0.95, 1]))
def test_a_distribution_is_what_numpy_says(numbers, share):
    distribution = Distribution(Counter(numbers))
    assert distribution.total == sum(numbers)
    assert distribution.mean == pytest.approx(np.mean(numbers))
    assert distribution.quantile(share) == np.quantile(numbers, share, method="inverted_cdf")
