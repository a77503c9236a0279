"""Evidence finds what a trace was written from, with a model that was trained."""

import pytest

from benchmarks.evidence import area_under_curve, count_words, make_rows, spell
from hf_rare import EvidenceMeasure, audit_grounding

ROWS = 8


def test_made_rows_are_what_they_are_made_for():
    rows, cited = make_rows(30), make_rows(30, "added")
    assert len({row["text"] for row in rows}) == 30
    assert {row["planted"] for row in rows} == set(range(4))
    for row, with_citation in zip(rows, cited, strict=True):
        assert row["reasoning"][:-1] == with_citation["reasoning"].partition(" [")[0]
        assert with_citation["cited"] != with_citation["planted"] == row["planted"]
    audited = audit_grounding(make_rows(30, "added"))
    assert audited["reasoning_cited_documents"][:] == [[document] for document in audited["cited"]]
    assert not any(audited["reasoning_quoted_documents"])
    without_names = make_rows(30, "used", in_words=True)
    assert not any(character.isdigit() for row in without_names for character in row["reasoning"].partition(" [")[0])


@pytest.mark.parametrize(("number", "words"), [(11, "eleven"), (20, "twenty"), (98, "ninety-eight")])
def test_figures_are_spelt(number, words):
    assert spell(number) == words


def test_the_area_under_the_curve_by_hand():
    assert area_under_curve([3.0, 1.0], [2.0, 1.0]) == (1 + 1 + 0 + 0.5) / 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_document_that_a_trace_was_written_from_is_found_and_added_citations_are_told(smollm2):
    measure = EvidenceMeasure(smollm2, template="plain", dtype="float32")
    planted = measure.apply(make_rows(ROWS))
    assert sum(row["reasoning_evidence_document"] == row["planted"] for row in planted) >= 0.95 * ROWS
    used, added = (audit_grounding(measure.apply(make_rows(ROWS, kind, 1))) for kind in ("used", "added"))
    areas = {}
    for name in ("evidence", "longest_quotes"):
        scores = [[row[f"reasoning_{name}"][row["cited"]] for row in rows] for rows in (used, added)]
        areas[name] = area_under_curve(*scores)
    assert areas["evidence"] > 0.95 > areas["longest_quotes"]
    assert 0 < count_words(used[0]) < 1
