"""The number that an answer gives, of those in it; `number_forms` reads how each is written."""

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from hf_rare.checks import answer_phrases as phrases
from hf_rare.checks.answer_forms import is_date, read_date
from hf_rare.checks.answer_statements import Statements, cut_reason, split_sentences
from hf_rare.checks.number_forms import Number, find_numbers, to_plain
from hf_rare.checks.number_words import spell_digits

_BOUND = re.compile(
    r"(?:[<>≤≥≠]|\\(?:leq?|geq?|neq?|lt|gt)\b|!=|\bat (?:least|most)|\b(?:more|less|fewer|greater|larger"
    r"|smaller|higher"
    r"|lower) than|\b(?:over|under|above|below|up to|exceeds?|no more than|no less than)|\bbetween"
    r"|\bnot\b(?: more| less)?|n['’]t"
    r"|\bmindestens|\bhöchstens|\bau moins|\bau plus|\bal menos|\bnicht|\bno es|\bn'est pas|\bpas|至少|至多"
    r"|超过|不到|不足|不是|不等于)\s*(?:\w+\s+){0,1}$",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\b(?:in|over|across|for|per|every|each|at|within|with|during|after|pendant|durante|während|nach|je)\s+"
    r"(?:(?:the|all|these|those|his|her|their|its|first|last|next|les|los|las|den|die)\s+)*$",
    re.IGNORECASE,
)
"""What leads to a number that is not the answer where there is another: "in 3 days she sells 36"."""

_AMOUNTS = re.compile(
    r"\d\D*?\b(?!(?<=which )\w+\s+[\d.,]+\s+(?:\w+\s+)?(?:more|less|fewer|times)\b)(?:is|are|was|were)\s+(?=-?\.?\d)",
    re.IGNORECASE,
)
_LED = re.compile(
    r"(?:having|after|since|because|as|given|if)\b[^\n]*?,\s+"
    r"(?=(?:she|he|they|it|we|you|there|the|(?-i:[A-Z][a-z]+))\b)",
    re.IGNORECASE,
)
"""A clause that leads to the one that counts: "since 15 + 25 = 40 are gone, she has 20 left"."""

_PURPOSE = re.compile(r":\s|,\s(?:on|out of|against|based on)\s|\s\(|\sto\s(?=[a-z])")
_LINK = re.compile(
    r"\s*(?:,?\s*(?:\b(?:or|and|und|oder|et|ou|y|o|to)\b|或|和|または)\s*(?:maybe |perhaps |possibly "
    r"|even )?|[-–—~～]\s*|[,;、]\s+)(?:[a-z]\s*=\s*)?",
    re.I,
)
_LISTED = re.compile(r"\s*[,;]\s*(?:and\s+)?$|\s*\band\b\s*$", re.IGNORECASE)
_OPERATION = re.compile(
    r"\d[\d.,]*\s*(?:times|plus|minus|divided by|multiplied by|over|[x×*+/-])\s*\d[^=.;\n]{0,60}?,?\s*"
    r"\b(?:which (?:is|equals|makes|gives)|equals?|is|gives?|makes?)\s+(?=-?\.?\d)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NumberReading:
    """What a text says for a number.

    Args:
        number ([`Number`], *optional*): the number.
        formula (`str`): a formula that stands in its place; empty where there is none.
        others (`list[Number]`): the numbers among which none is told to be the answer.
        problem (`str`): why there is no number, in words.
        is_unread (`bool`): whether there may be one that was not understood.
    """

    number: Number | None = None
    formula: str = ""
    others: tuple[Number, ...] = ()
    problem: str = ""
    is_unread: bool = False


def read_gold_number(text: str) -> Number | None:
    """Read a gold answer that is one number and nothing else but a sign of currency, a percent or a degree."""
    plain = to_plain(text).strip()
    numbers = find_numbers(plain)
    rest = (plain[: numbers[0].start] + plain[numbers[0].end :]).strip(" .") if len(numbers) == 1 else "?"
    return numbers[0].number if rest in ("", "°", "degrees", "dollars", "°C", "°F") else None


def read_quantity(text: str) -> tuple[Number, str] | None:
    """Read a gold answer that is a number with its unit, in a word or a sign; `None` where it is something else."""
    plain = to_plain(text).strip(" .")
    numbers = find_numbers(plain)
    unit = plain[numbers[0].end :].strip() if len(numbers) == 1 and not numbers[0].start else ""
    return (numbers[0].number, unit) if re.fullmatch(r"[^\W\d_]+(?:\s?[/·]\s?[^\W\d_]+|\^-?\d)*", unit) else None


def has_unit(text: str, unit: str) -> bool:
    """Tell whether a number of a text has a unit."""
    return bool(re.search(rf"\d\s*{re.escape(unit)}(?![^\W\d_])", to_plain(text)))


def read_one_number(text: str) -> Number | None:
    """Read the one number of a text; `None` where there is none, or several."""
    numbers = find_numbers(spell_digits(to_plain(text)))
    return numbers[0].number if len(numbers) == 1 else None


def read_number(statements: Statements, is_year: bool = False) -> NumberReading:
    """Read the number that a text gives as its answer."""
    best = NumberReading(problem="there is no number", is_unread=True)
    for text in [*statements.stated[:1], statements.whole] if is_year else ():
        if (day := read_date(text)) is not None:
            return NumberReading(number=Number(Decimal(day[0])))
    for statement in statements.stated:
        reading = _read_stated(statement)
        if reading.number is not None or reading.formula or not reading.is_unread:
            return reading
    if any(not phrases.REMARK.match(statement) for statement in statements.stated):
        return NumberReading(problem="there is no number")
    for bold in statements.bold:
        reading = _read_stated(bold)
        if reading.number is not None:
            return reading
    return _read_text(statements.whole) if statements.whole else best


def _read_stated(statement: str) -> NumberReading:
    """Read what stands behind "the answer is": its first number, or what its last equals sign gives."""
    if phrases.DENIAL.match(statement):
        return NumberReading(problem="a number is denied")
    plain = _OPERATION.sub("= ", spell_digits(to_plain(statement)).strip())
    if is_formula(plain):
        return _read_equation(plain)
    head = cut_reason(plain)
    reading = _read_head(head)
    return reading if reading.number is not None or reading.formula or head == plain else _read_head(plain)


def _read_equation(plain: str) -> NumberReading:
    """Read a formula: what its last equals sign gives."""
    text = re.sub(r"(?<=\d)\s\([^()]*\)?$", "", plain.strip(" .,;\n"))
    if re.search(r"[<>≤≥≠]|\\(?:leq?|geq?|neq?|lt|gt)\b|±", text):
        return NumberReading(problem="there is a range")
    if re.search(r"\d\s*_", text):
        return NumberReading(problem="there is a number of another base")
    sides = re.split(r"[=≈]", text)
    if len({side.strip() for side in re.findall(r"\b([a-z])\s*=", text)}) > 1:
        return NumberReading(problem="there are several numbers")
    side = sides[-1].strip()
    numbers = find_numbers(side)
    if len(numbers) == 1 and not is_formula(side) and "!" not in side:
        return NumberReading(number=numbers[0].number)
    return NumberReading(formula=side)


def _read_head(head: str) -> NumberReading:
    if "=" in head or "≈" in head:
        names = {name for name in re.findall(r"\b([A-Za-z])\s*=", head)}
        if len(names) > 1:
            return NumberReading(problem="there are several numbers")
        _, _, after = head.rpartition("≈" if "≈" in head else "=")
        if find_numbers(after):
            head = after
        elif is_formula(after.strip(" .")):
            return NumberReading(formula=after.strip(" ."))
    numbers = find_numbers(head)
    if not numbers:
        return NumberReading(problem="there is no number", is_unread=True)
    first = next((one for one in numbers if not _ASIDE.search(head[: one.start])), numbers[0])
    if _BOUND.search(head[: first.start]):
        return NumberReading(problem="there is a range")
    for one, other in pairwise(numbers):
        if one is first and _LINK.fullmatch(head[one.end : other.start]) and one.number != other.number:
            return NumberReading(problem="there are several numbers")
    return NumberReading(number=first.number)


def _read_text(text: str) -> NumberReading:
    """Read a text that states no answer: its one number, or the one that its last sentence concludes."""
    plain = _OPERATION.sub("= ", spell_digits(to_plain(text)).strip())
    if is_formula(plain):
        return _read_equation(plain)
    numbers = find_numbers(plain)
    if not numbers:
        return NumberReading(problem="there is no number", is_unread=not _is_latin(text))
    if len({found.number for found in numbers}) == 1:
        if _BOUND.search(plain[: numbers[0].start]):
            return NumberReading(problem="there is a range")
        return NumberReading(number=numbers[0].number)
    lines = [part for part in split_sentences(plain) if find_numbers(part)]
    for sentence in reversed(lines):
        if (led := _LED.match(sentence)) and find_numbers(sentence[led.end() :]):
            sentence = sentence[led.end() :]
        if sentence.count("=") and (reading := _read_head(cut_reason_behind_sign(sentence))).number is not None:
            return reading
        concluded = [match.end() for match in phrases.CONCLUSION.finditer(sentence)]
        for start in reversed(concluded):
            if find_numbers(sentence[start:]):
                return _read_head(cut_reason(sentence[start:].strip()))
        moved = re.search(
            r"\b(?:fell|rose|went|dropp?ed|increased|decreased|grew|changed|rises|falls|drops)\b[^.]*\bto\b(?=\s*[-+]?\d)",
            sentence,
        )
        if moved:
            return _read_head(sentence[moved.end() :])
        if amounts := [*_AMOUNTS.finditer(sentence)]:
            return _read_head(cut_reason(sentence[amounts[-1].end() :]))
        sentence = phrases.REPLACED.sub("", sentence, count=1)
        head = _PURPOSE.split(cut_reason(sentence), maxsplit=1)[0]
        candidates = [one for one in find_numbers(head) if not _ASIDE.search(head[: one.start])]
        if len({one.number for one in candidates}) > 1 and not _LINK.fullmatch(
            head[candidates[0].end : candidates[1].start]
        ):
            break
        reading = _read_head(cut_reason(sentence))
        reading = reading if find_numbers(cut_reason(sentence)) else _read_head(sentence)
        if reading.number is None and not reading.is_unread:
            return reading
        if reading.number is not None and find_numbers(cut_reason(sentence)):
            return reading
        break
    return NumberReading(problem="there are several numbers", others=tuple(found.number for found in numbers))


def cut_reason_behind_sign(sentence: str) -> str:
    """Give a sentence up to a reason that stands behind its last equals sign."""
    before, sign, after = sentence.rpartition("=")
    return before + sign + (cut_reason(after.strip()) if after.strip() else after)


_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi|max|min|gcd|lcm|mod|det|lim|arcsin|arccos|arctan)"
_FORMULA_SIGNS = re.compile(r"\\(?!text)[a-zA-Z]+|[√π∞^!±|<>≤≥≠+*×·÷=≈]|\d\s*/|/\s*\d|-|\b[a-zA-Z]\b|_|\d[a-z]\b")
_WORD = re.compile(rf"(?<!\\)(?<![A-Za-z\\])(?!{_FUNCTION}(?![A-Za-z]))[A-Za-zÀ-ÿ]{{2,}}")
_PLAIN_QUANTITY = re.compile(
    r"[-+]?\s?[\d.,\s\u202f'/]+(?:\s?[x×*·]\s?10\s?\^\s?[-+]?\d+|[eE][-+]?\d+)?\s*(?:%|°\s?[CF]?)?"
    r"\s*(?:(?<=\s)[a-zA-ZμµΩ]{1,4}(?:\^-?\d)?(?:\s?[/·*]\s?[a-zA-Z]{1,4}(?:\^-?\d)?)*|[A-WYZa-df-hk-mosw]{1,3})?\s*\.?"
)


def is_formula(text: str) -> bool:
    """Tell whether a plain text is a formula, with no words in it, and no plain number with a unit."""
    text = text.strip().strip("$").strip()
    if not text or not _FORMULA_SIGNS.search(text) or _WORD.search(re.sub(r"\\[a-zA-Z]+", " ", text)):
        return False
    if re.search(r"[^\x00-\x7f√π∞±×·÷≤≥≠≈°\u202fα-ωΑ-Ω∪∩∈]", text) or _PLAIN_QUANTITY.fullmatch(text):
        return bool(re.search(r"(?<![a-zA-Z])\d+\s?[xyzniπ]\b(?!\s?10)", text)) and not re.search(
            r"[^\x00-\x7fπ]", text
        )
    return True


def is_gold_formula(text: str) -> bool:
    """Tell whether a gold answer is a formula: one that a name, a grade (A+) or a range of years cannot be."""
    plain = to_plain(text).strip()
    if re.fullmatch(r"\d+\s?-\s?\d+", plain) or is_date(text):
        return False
    signs = r"\\[a-zA-Z]+|[\^=√π∞<>≤≥≠]|\d\s?[a-z]\b|[A-Za-z\d)]\s*[+*/·×-]\s*[A-Za-z\d(\\]|[a-z]\(|\d!"
    return is_formula(plain) and bool(re.search(signs, plain))


def _is_latin(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return sum(ord(sign) < 0x250 for sign in letters) * 2 >= len(letters)
