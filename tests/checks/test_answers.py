"""Answers agree with the gold answer whatever their form, and wrong ones do not."""

import threading
import time
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hf_rare.checks import formulas
from hf_rare.checks.answer_forms import normalize_answer
from hf_rare.checks.answer_options import name_options
from hf_rare.checks.answer_statements import find_statements
from hf_rare.checks.answers import check_answer
from hf_rare.checks.formulas import is_same_formula
from hf_rare.checks.number_forms import find_numbers, to_plain
from hf_rare.errors import ConfigError, HfRareError
from hf_rare.rows.gold import list_golds

CITIES = ["Rome", "Paris", "New York", "York"]


def name_letters(text, options=None):
    return name_options(find_statements(text), options and list(zip("ABCDEFG", options, strict=False)))


@pytest.mark.parametrize(
    "answer",
    [
        "B", "b", "(B)", "B)", "b)", "B.", "B. Paris", "(B) Paris", "**B**", "Answer: B", "Option B", r"\boxed{B}",
        r"So the answer is \boxed{B}.", "The answer is B.", "the correct option is (B)",
        "The answer is B, not C.", "B is correct.", "Paris", "paris.", "The answer is Paris.",
        "It must be Paris, I think.",        "A is wrong. So B", "The final answer is: **B) Paris**", "Answer:\nB",
        r"\boxed{\text{B}}", r"\boxed{\textbf{(B)}}", r"\boxed{\textbf{(B) }Paris}", r"The answer is $\text{Paris}$.",
        r"\boxed{\text{Paris}}", "One might think the answer is A, but the correct answer is B.",
    ],
)  # fmt: skip
def test_the_right_option_in_many_forms(answer):
    for gold in ("B", "(B)", "Paris", "B. Paris"):
        assert check_answer(gold, answer, options=CITIES).outcome == "right", (gold, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "A", "C", "A city in France.", "A or B", "B or C", "A, B and C", "B. Rome", "Neither Rome nor Paris",
        "I do not know.",        "It is not B.", "The answer is not B", "New York", "Rome and Paris", "E",
    ],
)  # fmt: skip
def test_another_option_several_or_none_are_wrong(answer):
    assert check_answer("B", answer, options=CITIES).outcome == "wrong"


def test_letters_are_told_from_words():
    assert name_letters("A dog barks", ["x", "y"]) == set()
    assert name_letters("I am not sure") == set()
    assert name_letters("A") == name_letters("A is correct") == name_letters("The answer is A.") == {"A"}
    assert name_letters("It is vitamin B", ["vitamin A", "vitamin B"]) == {"B"}
    assert name_letters("I would say New York", CITIES) == {"C"}
    assert name_letters("York", CITIES) == {"D"}
    assert name_letters("Z", CITIES) == set()
    assert name_letters("D", ["One"] * 3) == set()


def test_a_whole_number_that_is_read_as_a_float_is_the_same_gold_answer():
    for options in (["Rome", "Paris", "York"], ["1", "3", "2"], None):
        for gold in (0, 1, 2, -3, 50):
            assert list_golds(float(gold), options) == list_golds(gold, options)
    assert list_golds(2.0, ["1.0", "2.0", "3.0"]) == ["2.0"]
    assert check_answer(2.0, "B", options=["1.0", "2.0", "3.0"]).outcome == "right"
    assert list_golds([2.0, 0.5, 1e300, float("nan"), float("inf")]) == ["2", "0.5", "1e+300", "inf"]


def test_options_that_read_the_same_are_both_right():
    assert check_answer("yes", "B", options=["Yes", "yes.", "no"]).outcome == "right"
    assert check_answer("yes", "C", options=["Yes", "yes.", "no"]).outcome == "wrong"


def test_a_number_for_an_option_is_its_text_or_else_counts_from_0():
    assert check_answer(4, "B", options=["3", "4"]).outcome == "right"
    assert check_answer(1, "B", options=["Rome", "Paris"]).outcome == "right"  # as class labels do
    assert check_answer(2, "B", check="choice", options=["Rome", "Paris"]).outcome == "unchecked"
    assert check_answer("1", "B", check="choice", options=["Rome", "Paris"]).outcome == "unchecked"


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (1234, "1,234"), ("1234.5", "$1,234.50"), (1234, "1 234"), ("0.5", "1/2"), ("50%", "50 %"), (0.5, "50%"),
        (50, "50%"),        ("1.5e5", "150,000"), (150000, r"1.5 \times 10^{5}"), ("3.5 kg", "3,5"), (-7, "\u22127"),
        (18, "She earns 9 * 2 = $18."),
        (12, "The answer is 12 apples."), ("1.234,5", "1234.5"), (3, r"\boxed{3}"), (0.75, r"\frac{3}{4}"), (7, "7.0"),
        ("2/3", "0.6666667"), (5, "5kg"), (3, "3 grams of CO2"),
        ("-$5", "-5"), (-5, "-$5.00"), (-5, r"$-\$5$"), (-5, "-\u20ac5"), (2e5, "2 \u00d7 10\u2075"),
        (2e-5, "2 x 10\u207b\u2075"), (2e100, "2 x 10^100"), ("1e999", "1e999"), (5, "5 m\u00b2"),
    ],
)  # fmt: skip
def test_numbers_agree_in_any_form(gold, answer):
    assert check_answer(gold, answer, check="number").outcome == "right"


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (35, "3.5"),
        (7, "-7"),
        (1000001, "1000002"),
        (12, "12 or 13"),
        (2, "CO2"),
        (5, "none"),
        (0.5, "0.51"),
        (1, "1/0"),
        (5, "-$5"),
        (2, "2 x 100"),
        (52, "5\u00b2"),
        (0.5, "1e999"),
        ("1e999", "0.5"),
        (1e-300, "1e-400"),
    ],
)
def test_other_numbers_do_not(gold, answer):
    assert check_answer(gold, answer, check="number").outcome == "wrong"


def test_the_tolerance_is_relative():
    assert check_answer(3.14159, "3.14", tolerance=0.001).outcome == "right"
    assert check_answer(3.14159, "3.14").outcome == "wrong"
    assert check_answer("a few", "2", check="number").outcome == "unchecked"


def test_texts_agree_but_for_form():
    for answer in ("The Eiffel Tower", "eiffel  tower.", "The answer is the Eiffel Tower.", "\uff25iffel Tower"):
        assert check_answer("Eiffel tower", answer).outcome == "right"
    assert check_answer("Eiffel tower", "Tower of London").outcome == "wrong"
    assert check_answer("Eiffel tower", "It is not the Eiffel Tower").outcome == "wrong"
    assert check_answer("C#", "C").outcome == "wrong"
    assert check_answer("St. Louis", "Answer: St. Louis. It is on the river.").outcome == "right"


def test_what_auto_chooses():
    assert check_answer("B", "Paris", options=CITIES).outcome == "right"
    assert check_answer("1,000", "1000.0").outcome == "right"
    assert check_answer("3 Doors Down", "3").outcome == "wrong"
    assert check_answer(True, "Yes.").outcome == "right"
    assert check_answer(False, "Yes.").outcome == "wrong"
    assert check_answer(["USA", "United States"], "The United States").outcome == "right"


@pytest.mark.parametrize(
    "trace",
    [
        "The answer is B, because the best choice is clear.",
        "The answer is B. This answer is supported by Document 1.",
        "The answer is B.\nThis answer is clearly stated in Document 1.",
        "The correct answer is B, since the best choice is the one that Document 1 names.",
        "Answer: B. The answer is correct.",
        "The answer is A. Wait, the answer is B.",
        "The answer is clear: B",
    ],
)
def test_what_is_stated_last_counts_and_remarks_about_the_answer_do_not(trace):
    assert check_answer("B", "", trace, options=CITIES).outcome == "right"


@pytest.mark.parametrize(
    "trace",
    [
        "The answer is 7.\nThis answer is supported by Document 1.",
        "The answer is 7, as the final result is clear.",
        "The answer is 5, but the correct answer is 7.",
        "The answer is 5.\nThe correct answer is given by 7.",
    ],
)
def test_the_number_that_is_stated_last_counts(trace):
    assert check_answer("7", "", trace).outcome == "right"


def test_the_text_that_is_stated_last_counts():
    assert check_answer("Paris", "", "The answer is Paris. This answer is the capital.").outcome == "right"
    assert check_answer("Paris", "", "The answer is Rome; no, the answer is Paris.").outcome == "right"
    assert check_answer("Rome", "", "The answer is Rome; no, the answer is Paris.").outcome == "wrong"
    assert check_answer("clear", "", "The answer is clear.").outcome == "right"


def test_a_text_that_repeats_itself_takes_no_time():
    start = time.process_time()
    check_answer("B", "", "I think the answer is unclear, and " * 20_000, options=CITIES)
    assert time.process_time() - start < 3


def test_latex_commands_for_words_are_no_part_of_a_text():
    for gold in ("Evelyn", r"\text{Evelyn}", r"\textbf{Evelyn}"):
        for answer in ("Evelyn", r"\boxed{\text{Evelyn}}", r"The answer is \mathrm{Evelyn}."):
            assert check_answer(gold, answer).outcome == "right", (gold, answer)
    assert check_answer("Evelyn", r"\boxed{\text{Lena}}").outcome == "wrong"
    assert normalize_answer(r"\text{}") == "text"


def test_without_an_answer_the_end_of_the_trace_counts():
    assert check_answer("B", "", "First A.\nThe answer is A. Wait.\nSo the answer is B.").outcome == "right"
    assert check_answer("42", "", "20 + 22\n\n42").outcome == "right"
    assert check_answer("42", "", "42\nThat is all.").outcome == "wrong"
    assert check_answer("42", "41", "The answer is 42").outcome == "wrong"
    assert find_statements("", "so \\boxed{a{b}c} holds").best == "a{b}c"


@pytest.mark.parametrize("answer", ["ไม่มีคำตอบในเอกสาร", "לא כתוב כאן", "لا أعرف"])
def test_what_cannot_be_read_is_unchecked(answer):
    assert check_answer(42, answer).outcome == "unchecked"
    assert check_answer("Paris", answer).outcome == "unchecked"
    assert check_answer("B", answer, options=CITIES).outcome == "unchecked"


def test_numbers_of_which_none_is_told_to_be_the_answer_are_unchecked_where_one_would_be_right():
    text = "Anna has 12 apples and Ben has 30."
    assert check_answer(30, text).outcome == "unchecked"
    assert check_answer(31, text).outcome == "wrong"


def test_a_whole_solution_as_gold_answer_is_read_as_what_it_states():
    for gold in ("She sells 9 eggs at $2.\n#### 18", r"So it is $9 \cdot 2 = \boxed{18}$ dollars."):
        assert check_answer(gold, "She makes $18 a day.").outcome == "right"
        assert check_answer(gold, "She makes $9 a day.").outcome == "wrong"


@pytest.mark.parametrize(
    "piece",
    [
        "1,",
        "(",
        "\\boxed{",
        "is ",
        "A, ",
        "\\frac{1}{",
        "no, ",
        "x=1, ",
        "1.000.",
        "A: no\n",
        "[1], ",
        "the answer is ",
        "√(",
    ],
)
def test_no_text_takes_long(piece):
    for gold, options in ((7, None), ("B", CITIES), ("Paris", None), ("(1,2)", None), (True, None)):
        start = time.process_time()
        check_answer(gold, piece * 3000 + "B", options=options)
        assert time.process_time() - start < 2


@pytest.mark.parametrize("gold", [None, "", "  ", [], float("nan"), {"text": "x"}])
def test_without_a_gold_answer_or_a_text_nothing_is_checked(gold):
    assert check_answer(gold, "B").outcome == "unchecked"
    verdict = check_answer("B", " ", "\n")
    assert (verdict.outcome, verdict.reason) == ("unchecked", "there is neither an answer nor a trace")


def test_reasons_say_what_was_compared():
    assert check_answer("B", "C", options=CITIES).reason == "the answer names C, and right is B"
    assert check_answer("7", "8").reason == "the answer is 8, not 7"
    assert "several numbers" in check_answer("7", "7 or 8").reason


@pytest.mark.parametrize("arguments", [{"check": "letter"}, {"tolerance": -1}, {"tolerance": True}])
def test_wrong_settings_are_errors(arguments):
    with pytest.raises(ConfigError, match="cannot be right"):
        check_answer("B", "B", **arguments)


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalize_answer(text)
    assert normalize_answer(once) == once
    assert bool(once) == bool(unicodedata.normalize("NFKC", text).strip())


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.sampled_from("!?;: \t()\"'"))
def test_case_space_and_marks_around_an_answer_change_nothing(word, mark):
    assume(normalize_answer(word) not in ("a", "an", "the"))  # what consists of articles alone stays as it is
    assert normalize_answer(f"{mark} the {word.upper()}{mark}") == normalize_answer(f"{word.upper()}")


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_any_way_to_write_a_whole_number_is_read(number):
    for text in (f"{number}", f"{number:,}", f"{number:,}.0", f"${number:,} in all", f"{number:_}"):
        assert [found.number.value for found in find_numbers(to_plain(text))] == [number], text


@settings(deadline=None)
@given(st.text(), st.text(), st.lists(st.text(), max_size=5))
def test_any_text_gets_a_verdict(gold, answer, options):
    for check in ("auto", "choice", "text", "number"):
        assert check_answer(gold, answer, check=check, options=options).outcome in ("right", "wrong", "unchecked")


def test_a_text_ten_times_as_long_takes_about_ten_times_as_long():
    def measure(sentences):
        trace, start = "The documents say so. " * sentences + "The answer is B.", time.process_time()
        for number in range(20):
            assert check_answer("B", "", trace, options=CITIES).outcome == "right"
            check_answer(number, f"{number:,} kg", trace)
        return time.process_time() - start

    assert min(measure(2000) for _ in range(3)) < 40 * min(measure(200) for _ in range(3))


def test_formulas_agree_in_any_form_and_in_threads():
    outcomes = {}

    def compare():
        outcomes["right"] = check_answer("x+1", "The answer is $1+x$.", check="math").outcome
        outcomes["same"] = is_same_formula(r"\frac{1}{2}", "0.5")
        outcomes["wrong"] = check_answer("x^2", "x^3", check="math").outcome

    thread = threading.Thread(target=compare)
    thread.start()
    thread.join()
    assert outcomes == {"right": "right", "same": True, "wrong": "wrong"}


@pytest.mark.parametrize(
    ("gold", "formula", "outcome"),
    [
        ("1.414", r"\sqrt{2}", "right"),
        ("1.5", r"\sqrt{2}", "wrong"),
        ("4", r"\sqrt{16.1}", "right"),  # 4.012
        ("400", r"20^2+1", "wrong"),  # whole numbers are exact
        ("3.14", r"\pi x", "wrong"),
    ],
)
def test_the_value_of_a_formula_may_differ_by_the_tolerance(gold, formula, outcome):
    assert check_answer(gold, f"The answer is ${formula}$.", tolerance=0.01).outcome == outcome


def test_a_formula_that_takes_too_long_is_given_up_and_the_next_one_compared():
    with pytest.raises(TimeoutError, match=r"within 0\.5 seconds"):
        is_same_formula("1", "$9^{9^{9^{9}}}!$", timeout=0.5)
    assert is_same_formula("2", "$1+1$") is True


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python"])
def test_a_process_for_formulas_that_does_not_start_is_an_error(monkeypatch, executable):
    monkeypatch.setattr(formulas, "worker", formulas.Worker())
    monkeypatch.setattr(formulas.sys, "executable", executable)
    command = rf"{executable} -m hf_rare\.checks\.formula_worker"
    for _ in range(2):
        with pytest.raises(HfRareError, match=f"does not start: .* Run `{command}`"):
            check_answer("x+1", "1+x", check="math")
