"""The distiller and `verify` read options and gold answers alike, and refuse what cannot be gold."""

from datetime import date, datetime
from decimal import Decimal

import pytest
from datasets import Audio, ClassLabel, Dataset, Features, List, Value

from hf_rare import ColumnError, ReasonDistiller, verify
from tests.support.scripted import ScriptedGenerator

METALS = ["copper", "zinc", "iron", "lead"]
BASE = {"question": "Which?", "scenario": "", "text": "Iron rusts.", "hard_negatives": ["Zinc does not."]}


def distiller(completion: str, **settings) -> ReasonDistiller:
    generator = ScriptedGenerator(lambda prompt, seed: f"<think>It is so.</think>{completion}")
    return ReasonDistiller(generator, gold_column="answer", max_attempts=1, journal_dir=None, **settings)


def verdicts(gold, completion: str, options=None, feature=None) -> set[str]:
    rows = Dataset.from_list([{**BASE, "answer": gold, **({"options": options} if options else {})}])
    if feature is not None:
        rows = rows.cast(Features({**rows.features, "answer": feature}))
    template = "rare" if options is None else "rare-qa"
    write = distiller(completion, template=template, require_answer=False)
    distilled = rows.map(write, batched=True, load_from_cache_file=False)
    checked = verify(distilled.remove_columns("reasoning_verdict"))
    return {
        write.apply(rows)["reasoning_verdict"][0],
        distilled["reasoning_verdict"][0],
        checked["reasoning_verdict"][0],
    }


@pytest.mark.parametrize(
    "options",
    [
        METALS,
        dict(zip("ABCD", METALS, strict=True)),
        {"A": None, "B": "zinc", "C": "iron", "D": "lead"},
        {"C": "iron", "A": "copper", "B": "zinc", "D": "lead"},
        dict(zip("EFGH", METALS, strict=True)),
        dict(zip("1234", METALS, strict=True)),
        dict(zip(("I", "II", "III", "IV"), METALS, strict=True)),
        {"label": list("ABCD"), "text": METALS},
        [{"key": key, "text": text} for key, text in zip("ABCD", METALS, strict=True)],
    ],
)
def test_the_key_of_an_option_is_its_letter(options):
    pairs = options if isinstance(options, dict) and "label" not in options else dict(zip("ABCD", METALS, strict=True))
    right = next(key for key, text in pairs.items() if text == "iron")
    wrong = next(key for key, text in pairs.items() if text == "lead")
    for gold in (right, "iron"):
        assert verdicts(gold, "The answer is iron.", options) == {"right"}
        assert verdicts(gold, f"The answer is {right}.", options) == {"right"}
        assert verdicts(gold, f"The answer is {wrong}, not {right}.", options) == {"wrong"}
        assert verdicts(gold, "lead", options) == {"wrong"}


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "feature"),
    [
        (True, "Yes, both are metals.", "No.", None),
        (False, "No, since only one is.", "Yes.", None),
        (date(2019, 5, 3), "It was on May 3, 2019.", "4 May 2019", None),
        (datetime(2019, 5, 3), "3 May 2019", "4 May 2019", None),
        (Decimal("12.50"), "$12.5 in all", "$12.05", Value("decimal128(8, 2)")),
        ({"text": ["Nile", "the Nile"], "answer_start": [1, 1]}, "The Nile.", "Congo", None),
        (["UK", "United Kingdom"], "the United Kingdom", "France", None),
        (1, "The answer is iron.", "copper", ClassLabel(names=["copper", "iron"])),
        (1, "No, it is not.", "Yes.", ClassLabel(names=["yes", "no", "maybe"])),
        ([0, 1], "It is iron.", "zinc", List(ClassLabel(names=["copper", "iron"]))),
        (7.0, "7 apples", "8", None),
    ],
)
def test_gold_answers_of_any_type(gold, right, wrong, feature):
    assert verdicts(gold, right, feature=feature) == {"right"}
    assert verdicts(gold, wrong, feature=feature) == {"wrong"}


def test_a_class_label_is_its_name_or_else_the_number_of_an_option():
    letters, numbers = ClassLabel(names=list("ABCD")), ClassLabel(names=["w", "x", "y", "z"])
    metals = ClassLabel(names=METALS[::-1])
    assert verdicts(2, "The answer is iron.", METALS, letters) == {"right"}
    assert verdicts(2, "The answer is iron.", METALS, numbers) == {"right"}
    assert verdicts(2, "The answer is zinc.", METALS, metals) == {"right"}
    assert verdicts(2, "The answer is iron.", METALS, metals) == {"wrong"}


def test_a_row_without_a_class_label_has_no_gold_answer():
    feature = ClassLabel(names=["yes", "no"])
    assert verdicts(-1, "It is -1.", None, feature) == {"unchecked"}
    assert verdicts(-1, "The answer is iron.", METALS, ClassLabel(names=METALS)) == {"unchecked"}
    assert verdicts([-1, 0], "Yes.", None, List(feature)) == {"right"}


@pytest.mark.parametrize("format", ["numpy", "torch", "pandas", "polars", "arrow"])
def test_verify_names_class_labels_in_any_format(format):
    feature = ClassLabel(names=["yes", "no"])
    rows = Dataset.from_dict(
        {"answer": [1], "reasoning": ["So."], "reasoning_answer": ["No."], "reasoning_status": ["ok"]}
    )
    rows = rows.cast(Features({**rows.features, "answer": feature}))
    assert verify(rows.with_format(format)).with_format(None)["reasoning_verdict"][:] == ["right"]


@pytest.mark.parametrize(
    ("value", "feature"),
    [
        (b"iron", Value("binary")),
        ({"metal": "iron"}, {"metal": Value("string")}),
        ([["iron"]], List(List(Value("string")))),
        (None, Audio()),
    ],
)
def test_a_type_that_cannot_be_gold_is_refused_before_anything_is_generated(value, feature):
    features = Features(
        {name: Value("string") for name in ("question", "scenario", "text")}
        | {"hard_negatives": List(Value("string")), "answer": feature}
    )
    rows = Dataset.from_list([{**BASE, "answer": value}], features=features)
    asked: list[str] = []
    generator = ScriptedGenerator(lambda prompt, seed: asked.append(prompt) or "7")
    write = ReasonDistiller(generator, gold_column="answer", journal_dir=None)
    for run in (write.apply, lambda rows: rows.map(write, batched=True)):
        with pytest.raises(ColumnError, match=r"column 'answer' cannot hold gold answers: it is .*; expected a text"):
            run(rows)
    with pytest.raises(ColumnError, match="'answer' cannot hold gold answers"):
        verify(rows.add_column("reasoning", ["So."]).add_column("reasoning_status", ["ok"]))
    assert asked == []


def test_a_value_that_cannot_be_gold_is_refused_where_a_batch_has_no_types():
    batch = {name: [value] for name, value in BASE.items()} | {"answer": [{"metal": "iron"}]}
    with pytest.raises(ColumnError, match="it holds a struct of 'metal'; expected a text"):
        distiller("iron")(batch)
