"""Which documents a trace cites and quotes, and how often that is the positive."""

import pickle
import re

import pytest
from datasets import Dataset, DatasetDict, Features, List, Value, concatenate_datasets
from hypothesis import given
from hypothesis import strategies as st

from hf_rare.checks.citations import find_citations
from hf_rare.checks.evidence import assess_grounding, longest_quotes, tokenize
from hf_rare.checks.grounding import GroundingAudit, audit_grounding
from hf_rare.checks.grounding_rates import GroundingRates, summarize_grounding
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from tests.support.distilled import distilled_rows

POSITIVE = "Every part of a claim is counted once, whatever the order in which the parts came in that year."
NEGATIVE = "No part is counted on Sundays, unless the clerk who is in charge of the office has agreed in writing."
QUOTE = "every part of a claim is counted once, whatever the order"


@pytest.mark.parametrize(
    ("trace", "numbers"),
    [
        ("It says so [1].", [1]),
        ("counted once[2].", [2]),
        ("[2, 3] and [1]", [1, 2, 3]),
        ("[1][2]", [1, 2]),
        ("[1; 2] [4 and 5]", [1, 2, 4, 5]),
        ("[1, 2, and 4]", [1, 2, 4]),
        ("[1-3] or [5\u20136]", [1, 2, 3, 5, 6]),
        ("[3-1]", [1, 3]),
        ("[Document 2, Doc 3]", [2, 3]),
        ("\u30101\u3011", [1]),
        ("document 2 says", [2]),
        ("DOCUMENT 2's", [2]),
        ("Document [2]", [2]),
        ("**Document 2**, Document **3**", [2, 3]),
        ("Doc. #2, doc3, document no. 4, document number 5, passage (6)", [2, 3, 4, 5, 6]),
        ("documents 1, 2 and 4 say", [1, 2, 4]),
        ("Documents [1] and [2], sources 4 to 6", [1, 2, 4, 5, 6]),
        ("document 1, 20 people and 3 more", [1]),
        ("document 12", [12]),
        ("[0] and [99]", [0, 99]),
        ("", []),
        ("in [2023], document 1999, document 2.5, 2nd document", [2]),
        ("the second document, resource 4, 3 documents", [2]),
        ("Source\n1. An item", []),
        (r"\[1, 2\] and [^3] and [a1] and []", [1, 2, 3]),
    ],
)
def test_citations_are_found_in_their_forms(trace, numbers):
    assert find_citations(trace) == numbers


@pytest.mark.parametrize(
    ("trace", "numbers"),
    [
        ("[1] + [3] together", [1, 3]),
        ("as described in [1, 2]", [1, 2]),
        ("x in [1, 2]", []),
        ("a value in [1, 5]", []),
        ("A[1][2] = 3", []),
        ("bucket[2].min is less", []),
        ("SELECT '[1, 3]'::jsonb", []),
        ("`[1, 2]`", []),
        ("```\nsee [1]\n```\nbut [2]", [2]),
        ("los documentos 2 a 4", [2, 3, 4]),
        ("\u6587\u68631\u30012\u548c4", [1, 2, 4]),
        ("\ubb38\uc11c 2\uc5d0 \ub530\ub974\uba74", [2]),
        ("In the context 3 factors matter", []),
        ("Articles 5 and 6 GDPR", []),
        ("document 1,500", []),
        ("documents 1,3", [1, 3]),
        ("a second document would help", []),
        ("According to (1), it is", [1]),
        ("compared [1] to [3]", [1, 3]),
    ],
)
def test_what_stands_around_a_number_tells_whether_it_cites(trace, numbers):
    assert find_citations(trace) == numbers


def test_other_words_for_documents():
    assert find_citations("laut Dokument 3 und document 1", ("dokument",)) == [3]
    assert find_citations("a.b 3, axb 4", ("a.b",)) == [3]


@given(st.text(), st.lists(st.integers(1, 999), min_size=1, max_size=20))
def test_citations_are_found_in_any_text_without_code_and_formulas(text, numbers):
    text = re.sub(r"[`~$\\\[\]\u3010\uff3b]", "", text)
    found = find_citations(f"{text}\n\nIt is so [{', '.join(map(str, numbers))}].\n\n{text}")
    assert set(numbers) <= set(found)


@pytest.mark.parametrize(
    ("part", "cited", "quoted"),
    [
        ("[1, ", [1, 2], 4999),
        ("documents 1, 2 and ", [1, 2], 4209),
        ("[1", [1, 2], 9996),
        (" ", [1, 2], 0),
        ("document ", [2], 2222),
        ("doc. # * ", [2], 2222),
        ("[1 - ", [1, 2], 4000),
    ],
)
def test_long_texts_are_read(part, cited, quoted):
    """Where the time grew with the square of the length, the time limit of every test would end this one."""
    text = "documents [1" + part * (400_000 // len(part))
    assert find_citations(text + " [2]") == cited
    assert longest_quotes(text[:50_000], [text[:20_000]]) == [quoted]


def test_quotes_are_runs_of_words_without_case_and_punctuation():
    trace = f"The rule is that EVERY part of a claim -- is *counted* once whatever the order. {NEGATIVE[:30]}"
    assert longest_quotes(trace, [POSITIVE, NEGATIVE, ""]) == [11, 0, 0]
    assert longest_quotes(trace, [POSITIVE, NEGATIVE], min_tokens=5) == [11, 6]
    assert longest_quotes("", [POSITIVE]) == longest_quotes(trace, [""]) == [0]
    assert longest_quotes(trace, []) == []


def test_the_longest_run_counts():
    words = [f"w{i}" for i in range(40)]
    trace = " ".join([*words[3:15], "and", *words[10:30], "and", *words[:9]])
    assert longest_quotes(trace, [" ".join(words)]) == [20]


def test_a_word_that_only_begins_like_another_ends_a_run():
    assert longest_quotes("a b c d e f g h index", ["x a b c d e f g h in"]) == [8]
    assert longest_quotes("xa b c d e f g h", ["a b c d e f g h"]) == [0]


def test_what_the_question_says_is_not_quoted():
    asked = "Is it so that every part of a claim is counted once, whatever the order?"
    assert longest_quotes(QUOTE, [POSITIVE], [asked]) == [0]
    assert longest_quotes(POSITIVE, [POSITIVE], [asked]) == [len(tokenize(POSITIVE)) - 4]
    assert longest_quotes(QUOTE, [POSITIVE], ["Is every part of a claim counted?"]) == [11]


def test_scripts_without_spaces_count_characters():
    text = "数据库在提交之前写入日志"
    assert longest_quotes(f"文档说,{text}。", [text]) == [12]
    assert tokenize("snake_case Straße 3.5") == ["snake", "case", "strasse", "3", "5"]


def _longest_by_definition(trace: str, document: str, asked: str, size: int) -> int:
    ours, theirs, question = tokenize(trace), tokenize(document), tokenize(asked)

    def runs(tokens, length):
        return {tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)}

    for length in range(min(len(ours), len(theirs)), size - 1, -1):
        for run in runs(ours, length) & runs(theirs, length):
            if not runs(list(run), size) & runs(question, size):
                return length
    return 0


words = st.lists(st.sampled_from(["a", "b", "c", "ab"]), max_size=30).map(" ".join)


@given(words, words, words, st.integers(1, 4))
def test_the_longest_run_is_that_of_the_definition(trace, document, asked, size):
    expected = _longest_by_definition(trace, document, asked, size)
    assert longest_quotes(trace, [document], [asked], size) == [expected]


@given(st.text(), st.text(), st.text())
def test_any_text_can_be_judged(trace, positive, negative):
    grounding = assess_grounding(trace, [positive, negative], [1, 0])
    assert not (grounding.grounded_on_positive and grounding.distracted)
    assert set(grounding.cited_documents) <= {0, 1}


@pytest.mark.parametrize(
    ("trace", "cited", "unknown", "quoted", "grounded", "distracted"),
    [
        ("By [3] it is so.", [0], [], [], True, False),
        ("By [1] and [3].", [0, 2], [], [], True, False),
        ("By [1, 2].", [1, 2], [], [], False, True),
        ("By [4] and [0].", [], [0, 4], [], False, False),
        (f"It says: {QUOTE}.", [], [], [0], True, False),
        (f"It says: {NEGATIVE}", [], [], [1], False, True),
        (f"[2] But: {QUOTE}.", [1], [], [0], True, False),
        ("It is so.", [], [], [], False, False),
    ],
)
def test_what_a_trace_rests_on(trace, cited, unknown, quoted, grounded, distracted):
    found = assess_grounding(trace, [POSITIVE, NEGATIVE, "A third one."], [2, 1, 0])
    assert (found.cited_documents, found.unknown_citations, found.quoted_documents) == (cited, unknown, quoted)
    assert (found.grounded_on_positive, found.distracted) == (grounded, distracted)


def make_rows(traces: list, statuses: list) -> Dataset:
    """Rows whose positive stands second, after the one hard negative."""
    return Dataset.from_dict(
        {
            "id": list(range(len(traces))),
            "text": [POSITIVE] * len(traces),
            "hard_negatives": [[NEGATIVE]] * len(traces),
            "question": ["How often is it counted?"] * len(traces),
            "scenario": [None] * len(traces),
            "reasoning": traces,
            "reasoning_status": statuses,
            "reasoning_positive_position": [2] * len(traces),
            "reasoning_document_order": [[1, 0]] * len(traces),
        }
    )


def test_the_demo_rows_cite_their_positives(demo_rows):
    rows = distilled_rows(demo_rows)
    audited = audit_grounding(rows)
    assert audited.column_names[: len(rows.column_names)] == rows.column_names
    assert audited.select_columns(rows.column_names).to_list() == rows.to_list()
    for row in audited:
        has_trace = row["reasoning_status"] != "prompt_too_long"
        assert row["reasoning_cited_documents"] == ([0] if has_trace else [])
        assert row["reasoning_grounded_on_positive"] is has_trace
        assert row["reasoning_distracted"] is False
        assert len(row["reasoning_longest_quotes"]) == 4
    summary = summarize_grounding(audited)
    assert summary.overall.traces == summary.overall.cites_positive == 11
    assert sum(rates.traces for rates in summary.by_position.values()) == 11
    assert summarize_grounding(audited, statuses=None).overall.traces == 14


def test_samples_in_lists_give_lists():
    audited = audit_grounding(make_rows([["By [2].", "By [1]."], ["", ""]], [["ok", "truncated"], ["failed"] * 2]))
    assert audited["reasoning_cited_documents"][:] == [[[0], [1]], [[], []]]
    assert audited["reasoning_distracted"][:] == [[False, True], [False, False]]
    assert audited.features["reasoning_cited_documents"] == List(List(Value("int64")))
    assert audited.features["reasoning_grounded_on_positive"] == List(Value("bool"))
    assert summarize_grounding(audited).overall == GroundingRates(1, 1, 0, 1, 0, 0, 0)
    assert summarize_grounding(audited, statuses=None).overall == GroundingRates(4, 1, 0, 1, 1, 2, 0)


@pytest.mark.parametrize("kind", [None, "numpy", "torch", "pandas", "arrow", "polars"])
def test_a_row_without_a_list_of_traces_has_no_values(kind):
    rows = make_rows([["By [2].", "By [1]."], None, None], [["ok"] * 2, None, None])
    for some in (rows, rows.select([1, 0]), rows.select([1, 2])):
        audited = audit_grounding(some.with_format(kind)).with_format(None)
        expected = [[[0], [1]] if traces else [] for traces in some["reasoning"]]
        assert audited["reasoning_cited_documents"][:] == expected
        assert audited["reasoning_distracted"][:] == [[False, True] if traces else [] for traces in some["reasoning"]]
        assert audited.features["reasoning_cited_documents"] == List(List(Value("int64")))
    assert GroundingAudit()(rows[:])["reasoning_distracted"] == [[False, True], [], []]


def test_what_has_not_been_looked_at_does_not_count():
    lists = audit_grounding(make_rows([["By [2].", "By [1]."], [], None], [["ok", "failed"], [], None]))
    plain = audit_grounding(make_rows(["By [2].", ""], ["ok", "failed"]))
    for audited, all_traces in ((lists, 2), (plain, 2)):
        new = [name for name in audited.column_names if name not in make_rows([], []).column_names]
        measured = audited.add_column("reasoning_evidence_on_positive", audited["reasoning_grounded_on_positive"])
        both = concatenate_datasets([measured, audited, audited.remove_columns(new)])
        summary = summarize_grounding(both)
        assert (summary.overall.traces, summary.evidence.traces) == (2, 1)
        summary = summarize_grounding(both, statuses=None)
        assert (summary.overall.traces, summary.evidence.traces) == (2 * all_traces, all_traces)
        assert list(summary.by_position) == [2]


def test_rates_by_the_place_of_the_positive():
    rows = make_rows(["By [2].", "By [1] and [7].", "None."], ["ok"] * 3).remove_columns("reasoning_positive_position")
    summary = summarize_grounding(audit_grounding(rows.add_column("reasoning_positive_position", [2, 1, 2])))
    assert list(summary.by_position) == [1, 2]
    assert summary.by_position[1] == GroundingRates(1, 0, 0, 0, 1, 0, 1)
    assert summary.by_position[2].rates["grounded_on_positive"] == 0.5
    assert "positive at 2: 2 traces; 50.0% cites positive" in str(summary)
    assert GroundingRates().rates["distracted"] == 0.0


@pytest.mark.parametrize("kind", [None, "numpy", "torch", "pandas", "arrow", "polars"])
def test_every_format_gives_the_same(kind):
    rows = make_rows(["By [2].", f"It says: {NEGATIVE}", ""], ["ok"] * 3)
    expected = audit_grounding(rows).to_list()
    assert audit_grounding(rows.with_format(kind)).with_format(None).to_list() == expected
    assert rows.with_format(kind).map(GroundingAudit(), batched=True).with_format(None).to_list() == expected


def test_splits_streams_and_empty_datasets():
    rows = make_rows(["By [2].", "By [1]."], ["ok"] * 2)
    expected = audit_grounding(rows).to_list()
    assert audit_grounding(DatasetDict(test=rows))["test"].to_list() == expected
    features = Features({**rows.features, **GroundingAudit().features()})
    stream = rows.to_iterable_dataset().map(GroundingAudit(), batched=True, features=features)
    assert Dataset.from_list(list(stream), features=features).to_list() == expected
    empty = audit_grounding(rows.select([]))
    assert len(empty) == 0
    assert empty.features == audit_grounding(rows).features
    with pytest.raises(BatchTypeError, match=r"stream\.map\(GroundingAudit"):
        audit_grounding(rows.to_iterable_dataset())


def test_nulls_are_no_documents_and_no_traces():
    row = make_rows(["By [1]."], ["ok"]).to_list()[0]
    row |= {"text": None, "hard_negatives": None, "reasoning": None, "reasoning_document_order": None}
    (audited,) = audit_grounding(Dataset.from_list([row]))
    assert audited["reasoning_cited_documents"] == audited["reasoning_unknown_citations"] == []
    assert audited["reasoning_longest_quotes"] == [0]


def test_missing_and_existing_columns_are_errors():
    rows = make_rows(["By [2]."], ["ok"])
    with pytest.raises(ColumnError, match=r"'reasoning_document_order'.*columns='full'"):
        audit_grounding(rows.remove_columns("reasoning_document_order"))
    with pytest.raises(ColumnError, match="exists already"):
        audit_grounding(audit_grounding(rows))
    with pytest.raises(ColumnError, match="audit_grounding"):
        summarize_grounding(rows)
    assert audit_grounding(rows.remove_columns(["question", "scenario"]))[0]["reasoning_grounded_on_positive"]


@pytest.mark.parametrize(
    "settings", [{"min_quote_tokens": 0}, {"document_words": "doc"}, {"document_words": []}, {"min_tokens": 3}]
)
def test_wrong_settings_are_errors(settings):
    with pytest.raises(ConfigError):
        audit_grounding(make_rows(["By [2]."], ["ok"]), **settings)


def test_the_callable_pickles_to_its_settings():
    audit = GroundingAudit(min_quote_tokens=5, document_words=["Quelle"])
    again = pickle.loads(pickle.dumps(audit))
    assert again == audit
    assert pickle.dumps(again) == pickle.dumps(audit)


@pytest.mark.parametrize(
    "setting",
    [
        {"text_column": 3},
        {"output_column": ""},
        {"min_quote_tokens": True},
        {"document_words": "doc"},
        {"document_words": []},
    ],
    ids=str,
)
def test_settings_of_another_kind_are_refused(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=f"^{name}=.* cannot be right: expected "):
        GroundingAudit(**setting)
