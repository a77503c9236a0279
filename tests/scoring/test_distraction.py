"""How much documents distract: the probability that a model does not say that they hold no answer."""

import logging
import math

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_rare import TransformersGenerator, mine_hard_negatives
from hf_rare.errors import ConfigError
from hf_rare.scoring.distraction import NO_ANSWER, PROMPT, DistractionMeasure, rank_by_distraction
from tests.support.likelihood import log_probs_of

KINDS = ["claim", "report", "ticket", "letter", "parcel"]


@pytest.fixture
def pairs() -> Dataset:
    return Dataset.from_list(
        [
            {
                "question": f"Who signs a {kind} of the north office?",
                "scenario": "",
                "text": f"A {kind} of the north office is signed by clerk {number}, who keeps a copy of it.",
            }
            for number, kind in enumerate(KINDS)
        ]
    )


def effect_of(folder: str, question: str, document: str) -> float:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    text = PROMPT.format(question=question, document=document)
    prompt = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    context, continuation = (tokenizer.encode(part, add_special_tokens=False) for part in (prompt, NO_ANSWER))
    return 1 - math.exp(float(log_probs_of(model, context, continuation).sum()))


def test_the_effect_is_one_minus_the_probability_of_no_answer(tiny):
    documents = ["Clerks are away on Sundays.", "A copy is kept for ten years in the archive."]
    rows = Dataset.from_list(
        [{"question": "Who signs?", "hard_negatives": documents}, {"question": "", "hard_negatives": []}]
    )
    measured = DistractionMeasure(tiny).apply(rows)
    expected = [effect_of(tiny, "Who signs?", document) for document in documents]
    assert measured["hard_negatives_distraction"][:] == [pytest.approx(expected, rel=1e-5), []]


def test_a_document_that_has_no_room_is_null_alone_and_comes_last(tiny, caplog):
    documents = ["Clerks are away. " * 80, "Clerks are away on Sundays.", "A copy is kept for ten years."]
    rows = Dataset.from_list([{"question": "Who signs?", "hard_negatives": documents}])
    generator = TransformersGenerator.from_pretrained(tiny, max_new_tokens=1, context_length=200)
    with caplog.at_level(logging.WARNING):
        measured = DistractionMeasure(generator).apply(rows)
    expected = [effect_of(tiny, "Who signs?", document) for document in documents[1:]]
    assert measured["hard_negatives_distraction"][0] == [None, *pytest.approx(expected, rel=1e-5).expected]
    assert "1 texts could not be measured: document, question and answer have" in caplog.text
    ranked = rank_by_distraction(rows, DistractionMeasure(generator), 3, ["hard_negatives"], True)[0]
    assert ranked["hard_negatives"][2] == documents[0]
    assert ranked["hard_negatives_distraction"] == [*sorted(measured[0]["hard_negatives_distraction"][1:])[::-1], None]
    nothing = rows.map(lambda row: {"hard_negatives": documents[:1]})
    assert DistractionMeasure(generator).apply(nothing)["hard_negatives_distraction"][:] == [[None]]


def test_the_candidates_that_distract_most_are_kept(pairs, tiny):
    kwargs = {"num_negatives": 2, "query": "question", "duplicate_threshold": None}
    candidates = mine_hard_negatives(pairs, **kwargs | {"num_negatives": 4})
    ranked = mine_hard_negatives(pairs, distractor_model=tiny, num_candidates=4, keep_scores=True, **kwargs)
    effects = DistractionMeasure(tiny).apply(candidates)
    for row, all_of_row in zip(ranked, effects, strict=True):
        order = sorted(range(4), key=lambda i: -all_of_row["hard_negatives_distraction"][i])[:2]
        assert row["hard_negatives"] == [all_of_row["hard_negatives"][i] for i in order]
        assert row["hard_negatives_distraction"] == sorted(all_of_row["hard_negatives_distraction"], reverse=True)[:2]
        assert len(row["hard_negatives_scores"]) == 2
    assert ranked.column_names == [*candidates.column_names, "hard_negatives_scores", "hard_negatives_distraction"]
    plain = mine_hard_negatives(pairs.with_format("numpy"), distractor_model=tiny, num_candidates=4, **kwargs)
    assert plain.column_names == candidates.column_names
    assert plain.format["type"] == "numpy"
    assert plain.with_format(None)["hard_negatives"][:] == ranked["hard_negatives"][:]
    assert (
        mine_hard_negatives(pairs.select([]), distractor_model=tiny, **kwargs).column_names == candidates.column_names
    )


def test_what_does_not_go_with_it_is_an_error(pairs, tiny):
    with pytest.raises(ConfigError, match="num_candidates is for distractor_model"):
        mine_hard_negatives(pairs, num_candidates=8)
    with pytest.raises(ConfigError, match="num_candidates=2 cannot be right: expected a whole number of at least"):
        mine_hard_negatives(pairs, distractor_model=tiny, num_candidates=2)
    with pytest.raises(ConfigError, match="distractor_model is not for method='generated'"):
        mine_hard_negatives(pairs, method="generated", generator=object(), distractor_model=tiny)
