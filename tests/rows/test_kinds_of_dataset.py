"""Whatever is passed in as a dataset: what is none is named, with how one is made of it."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict, IterableDataset

import hf_rare
from hf_rare.errors import BatchTypeError, ConfigError

CALLS: dict[str, Callable[..., Any]] = {
    "estimate": lambda given, fn, _: fn.estimate(given),
    "select_finished": lambda given, fn, _: fn.select_finished(given),
    "apply": lambda given, fn, _: fn.apply(given),
    "Summary.of_dataset": lambda given, *_: hf_rare.Summary.of_dataset(given),
    "preview": lambda given, *_: hf_rare.preview(given),
    "report": lambda given, *_: hf_rare.report(given),
    "verify": lambda given, *_: hf_rare.verify(given),
    "audit_grounding": lambda given, *_: hf_rare.audit_grounding(given),
    "summarize_grounding": lambda given, *_: hf_rare.summarize_grounding(given),
    "mine_hard_negatives": lambda given, *_: hf_rare.mine_hard_negatives(given),
    "drop_near_duplicates": lambda given, *_: hf_rare.drop_near_duplicates(given),
    "decontaminate": lambda given, *_: hf_rare.decontaminate(given, [given]),
    "to_sft": lambda given, *_: hf_rare.to_sft(given),
    "to_preference": lambda given, *_: hf_rare.to_preference(given),
    "to_prompts": lambda given, *_: hf_rare.to_prompts(given),
    "to_retrieval": lambda given, *_: hf_rare.to_retrieval(given),
    "build_card": lambda given, *_: hf_rare.build_card(given),
    "plot_statistics": lambda given, *_: hf_rare.plot_statistics(given, "plot.png"),
    "push_to_hub": lambda given, *_: hf_rare.push_to_hub(given, "me/rows"),
    "evaluate": lambda given, _, tiny: hf_rare.evaluate(tiny, given),
    "measure_evidence": lambda given, _, tiny: hf_rare.measure_evidence(given, tiny),
    "select_traces": lambda given, _, tiny: hf_rare.select_traces(given, student=tiny),
    "compare_teachers": lambda given, _, tiny: hf_rare.compare_teachers({"one": given}, student=tiny),
}
ROWS = [{"question": "Why?", "text": "So."}]
NO_DATASETS = [pd.DataFrame(ROWS), ROWS, {"question": ["Why?"]}, "rows.jsonl", None]


@pytest.mark.parametrize("given", NO_DATASETS, ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_no_dataset_is_named(call, given, distill_fn, tiny):
    with pytest.raises((BatchTypeError, ConfigError), match=type(given).__name__):
        call(given, distill_fn, tiny)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (pd.DataFrame(ROWS), "Dataset.from_pandas(frame)"),
        (DatasetDict(train=Dataset.from_list(ROWS)), "ds['train']"),
        (IterableDataset.from_generator(lambda: iter(ROWS)), "Dataset.from_list(list(stream.take(100)))"),
    ],
    ids=["frame", "splits", "stream"],
)
def test_how_a_dataset_is_made_of_it_is_said(given, advice):
    with pytest.raises(BatchTypeError) as raised:
        hf_rare.preview(given)
    assert advice in str(raised.value)
