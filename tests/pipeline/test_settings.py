"""What a pipeline says: names and kinds of values are checked before anything is loaded."""

import logging

import pytest

from hf_rare.errors import ConfigError
from hf_rare.pipeline.run import EXPORTS, FUNCTIONS
from hf_rare.pipeline.settings import check_pipeline, writer_settings

SECTIONS = {"input": "corpus.jsonl", "questions": {}, "distill": {}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": None}, "no section `input`"),
        ({"distill": {"max_newtokens": 3}}, "Did you mean 'max_new_tokens'"),
        ({"negatives": {"num_negativs": 3}}, "Did you mean 'num_negatives'"),
        ({"near_duplicates": {"treshold": 3}}, "Did you mean 'threshold'"),
        ({"distill": [1]}, "expected settings by name"),
        ({"export": {"x": {"format": "excel"}}}, "one of sft, preference, prompts, retrieval"),
        ({"card": {"licence": "mit"}}, "'licence' is not known in 'card'. Did you mean 'license'"),
        ({"push": True}, "'push' has repo_id=None; expected the name of a dataset"),
        ({"push": {"repo_id": "me/rare", "privat": True}}, "Did you mean 'private'"),
        ({"push": {"repo_id": "me/rare", "licence": "mit"}}, "Did you mean 'license'"),
        ({"push": {"repo_id": "me/rare"}, "card": {"plot_path": "x.png"}}, "'card' has 'plot_path'"),
        ({"export": {"x": {"format": "sft", "colum": "id"}}}, "'colum' is not known in the export 'x'"),
        ({"export": {"x": {"format": "retrieval", "pads": True}}}, "Did you mean 'pad'"),
        ({"export": {"x": {"format": "sft", "student_tokenizer": "me/student"}}}, "expected a loaded tokenizer"),
        ({"grounding": {"min_quote_token": 5}}, "Did you mean 'min_quote_tokens'"),
        ({"decontamination": {}}, "evaluation_sets=None; expected a list"),
        ({"decontamination": {"evaluation_sets": "eval.jsonl"}}, "expected a list"),
        ({"decontamination": {"evaluation_sets": [{"split": "test"}]}}, "An entry of evaluation_sets is"),
        ({"negatives": {"corpus": {"name": "pages.jsonl", "splt": "a"}}}, "'splt' is not known in the corpus of"),
        ({"retrieval": {}}, "nothing to search"),
        ({"input": {"split": "test"}}, "The pipeline's 'input' is"),
        ({"input": {"name": "corpus.jsonl", "rows": "4"}}, "has rows='4'"),
        ({"corpus": "c.jsonl", "retrieval": {"skip_top": 20}}, "'skip_top' is not known in 'retrieval'"),
    ],
)
def test_names_that_cannot_be_right_are_refused(change, reason):
    with pytest.raises(ConfigError, match=reason):
        check_pipeline({**SECTIONS, **change}, FUNCTIONS, EXPORTS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"near_duplicates": {"threshold": 2}}, "threshold=2 cannot be right: expected a number above 0 and up to 1"),
        ({"decontamination": {"evaluation_sets": ["x"], "n": 0}}, "'decontamination': n=0 cannot be right"),
        ({"verify": {"num_proc": 0}}, "'verify': num_proc=0 cannot be right: expected a whole number of at least 1"),
        (
            {"export": {"x": {"format": "sft", "positive_share": 8}}},
            "positive_share=8 .* a number from 0 to 1",
        ),
        ({"near_duplicates": {"threshold": "abc"}}, "'near_duplicates': threshold='abc' .* expected a number"),
        ({"near_duplicates": {"columns": "question"}}, "columns='question' .* expected a list of texts, or None"),
        ({"negatives": {"tokenizer": "jieba"}}, "'negatives': tokenizer='jieba' .* expected a function, or None"),
        ({"negatives": {"generator": "x"}}, "generator='x' cannot be right: expected Generator, or None"),
        ({"negatives": {"dense": "bge"}}, "dense='bge' cannot be right: expected names and values, or None"),
        ({"negatives": {"method": "bm52"}}, "method='bm52' .* expected 'bm25', 'dense' or 'generated'"),
        ({"negatives": {"max_score_ratio": 0}}, "max_score_ratio=0 cannot be right"),
        ({"verify": {"judge": "x"}}, "'verify': judge='x' cannot be right: expected Judge, or None"),
        ({"verify": {"tolerance": "small"}}, "tolerance='small' cannot be right"),
        ({"grounding": {"min_quote_tokens": 0}}, "'grounding': min_quote_tokens=0 cannot be right"),
        ({"export": {"x": {"format": "sft", "reasoning_format": "z"}}}, "The export 'x': reasoning_format='z' cannot"),
        ({"export": {"x": {"format": "sft", "num_samples": 0}}}, "The export 'x': num_samples=0 cannot be right"),
        ({"export": {"x": {"format": "sft", "statuses": ["okay"]}}}, r"'x': statuses=\['okay'\] cannot be right"),
        ({"export": {"x": {"format": "preference", "max_pairs": 0}}}, "'x': max_pairs=0 cannot be right"),
        ({"export": {"x": {"format": "retrieval", "num_negatives": -1}}}, "'x': num_negatives=-1 cannot be right"),
        ({"selection": {"student": "m", "keep": 0}}, "'selection': keep=0 cannot be right"),
        ({"export": {"x": {"format": "retrieval", "pad": "no"}}}, "pad='no' cannot be right: expected True or False"),
        ({"push": {"repo_id": "a/b", "private": "yes"}}, "'push': private='yes' .* expected True or False, or None"),
        ({"push": {"repo_id": "a/b", "source_datasets": "a"}}, "'push': source_datasets='a' .* a list of texts"),
        ({"card": {"language": 3}}, "'card': language=3 cannot be right: expected a text, a list of texts, or None"),
    ],
)
def test_values_of_another_kind_are_refused(change, reason):
    with pytest.raises(ConfigError, match=reason):
        check_pipeline({**SECTIONS, **change}, FUNCTIONS, EXPORTS)


def test_the_settings_of_what_is_called_are_known():
    push = {"repo_id": "me/rare", "private": True, "append": True, "language": "en", "source_datasets": ["me/pages"]}
    export = {"x": {"format": "preference", "form": "kto", "max_pairs": 2, "template": "plain", "one_trace": True}}
    given = {"push": push, "export": export, "grounding": {"min_quote_tokens": 5}, "verify": {"check": "text"}}
    checked = check_pipeline({**SECTIONS, **given}, FUNCTIONS, EXPORTS)
    assert given == {name: checked[name] for name in given}


def test_another_model_does_not_get_revision_and_adapter_of_the_one_it_stands_in_for(caplog):
    model = {"model_id": "me/teacher", "revision": "v1", "adapter": "me/adapter", "dtype": "float32"}
    settings = {"model": model}
    with caplog.at_level(logging.WARNING):
        own = {"max_new_tokens": 3}
        assert writer_settings("distill", settings, own, {}) == {**model, **own}
        assert writer_settings("distill", settings, own, {"model_id": "me/teacher"}) == {**model, **own}
        judge = {"model_id": "me/judge"}
        assert writer_settings("judge", settings, judge, {}) == {"model_id": "me/judge", "dtype": "float32"}
        assert caplog.messages == []
        other = {"model_id": "me/other", "revision": "v2"}
        assert writer_settings("distill", settings, own, other) == {**other, "dtype": "float32", **own}
    assert caplog.messages == [
        "distill: me/other stands in for the pipeline's model, without its adapter='me/adapter'."
    ]
