"""The number that an answer gives, of those in it; `number_forms` reads how each is written."""

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from hf_rare.checks import answer_phrases as phrases
from hf_rare.checks.answer_clauses import ROLES, concludes, split_clauses
from hf_rare.checks.answer_forms import is_date, read_date
from hf_rare.checks.answer_statements import Statements, cut_reason, split_sentences
from hf_rare.checks.number_forms import Found, Number, find_numbers, to_plain
from hf_rare.checks.number_words import spell_digits

_BOUND = re.compile(
    r"(?:[<>≤≥≠]|\\(?:leq?|geq?|neq?|lt|gt)\b|!=|\bat (?:least|most)|\b(?:more|less|fewer|greater|larger"
    r"|smaller|higher"
    r"|lower) than|\b(?:over|under|above|below|(?<!add )(?<!adds )(?<!adding )(?<!added )(?<!sum )(?<!sums )up to"
    r"|exceeds?|no more than|no less than)|\bbetween"
    r"|\bnot\b(?: more| less)?|n['’]t"
    r"|\bmindestens|\bhöchstens|\bau moins|\bau plus|\bal menos|\bnicht|\bno es|\bn'est pas|\bpas|至少|至多"
    r"|超过|不到|不足|不是|不等于)\s*(?:\w+\s+){0,1}$",
    re.IGNORECASE,
)
_DETERMINER = (
    r"(?:(?:the|all|these|those|this|his|her|their|its|our|my|your|both|first|last|next|other|initial|original)"
    r"|\w+['’]s?)"
)
_ASIDE = re.compile(
    rf"(?:\b(?:(?:in|into|over|across|among|for|per|every|each|at|within|with|using|during|after|from|than|as|out of"
    rf"|on|upon|against|through|until|pendant|durante|während|nach|je|pour|por|für|sur|avec|auf|aus|bei|mit|con"
    rf"|voor|met)\s+(?:(?:about|only|just|around|another)\s+)?"
    rf"(?:(?:{_DETERMINER}|les|los|las|den|die|de|het|le|la|el)\s+)*"
    rf"|(?:of|de)\s+(?:all\s+)?(?:{_DETERMINER}|ses|sus|leurs|les|los|las)\s+"
    rf"|(?<!has )(?<!have )(?<!had )(?<!needs )(?<!need )(?<!able )(?<!going )to\s+[a-z]+\s+(?:the\s+|a\s+)?"
    rf"|(?:on|in|at|from|against|after)\s+(?:an?|the|his|her|their|its)\s+(?:[a-z]+\s+){{0,2}}of\s+"
    rf"|(?:step|day|week|month|year|hour|part|question|problem|grade|chapter|room|line|case|method|level|round"
    rf"|page|table|figure|equation|number|no\.)\s+)|\d\s+(?:of|von|de|di)\s+)$",
    re.IGNORECASE,
)
"""What leads to a number that is given, and not the answer where there is another: "in 3 days she sells 36"."""

_DETERMINED = re.compile(rf"\b{_DETERMINER}\s+$", re.IGNORECASE)
_COUNTED = re.compile(
    r"\s+(?!left\b|remaining\b|more\b|fewer\b|less\b|in\b|for\b|and\b|or\b|per\b|each\b|every\b)[a-z]", re.I
)
"""What stands around a number of things that were told of: "the 4 boxes"."""

_PREDICATE = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|will|would|can|could|must|should|may|might|do|does|did|get|gets|got"
    r"|comes?|came|leaves?|left|equals?|gives?|gave|yields?"
    r"|(?:make|cost|weigh|earn|need|pay|take|receive|spend|save|use|read|sell|buy|hold|contain|carr(?:y|ie)|fill|reach"
    r"|walk|run|drive|travel|cover|produce|require|own|keep|bring|serve|seat|last|eat|drink|bake|collect|finish|work"
    r"|score|win|lose|raise|measure|amount|total|add|sum|turn|end|grow|owe|charge|lift|pick|plant|send|print|share)s?"
    r"|\w{2,}(?<!hundr)(?<!ne)ed|made|paid|took|spent|sold|bought|held|ran|drove|ate|drank|won|lost|kept|brought)\b",
    re.IGNORECASE,
)
"""A verb between two numbers of a clause: the one before it is the subject's, the one behind it is said of it."""

_AMOUNT = re.compile(
    r"\b(?:is|are|was|were|be)\s+(?:exactly |about |only |just |now |still |then |therefore |thus )?(?=-?\.?\d)", re.I
)
_CHANGED = re.compile(
    r"\b(?:fell|rose|went|dropp?ed|increased|decreased|grew|changed|rises|falls|drops|reduced|shrank|risen|fallen"
    r"|climbed)\b"
    r"(?=(?P<by>\s+(?:\w+ )?by\s+)?)(?:(?P=by)|[^.]*?\bto\b\s*(?=[-+]?\d))",
    re.IGNORECASE,
)
_QUANTITY = re.compile(r"\W*[\d.,/]+(?:\s+[a-z]+)?\W*", re.IGNORECASE)
_SHARE = re.compile(r"^\W*\d+(?:\.\d+)?\s?(?:%|percent)\s+of\s+(?:the\s+)?\d+(?:\s+\w+)?\W*$")
_RESTATED = re.compile(
    r"(?P<unit>[a-z]+),?\s+or\s+(?:about\s+|roughly\s+)?"
    r"[\d.,/]+\s+(?!(?P=unit)\b)[a-z]+(?:,?\s+(?:and\s+)?[\d.,/]+\s+[a-z]+)*",
    re.IGNORECASE,
)
"""An amount said again in another unit: "160 minutes, or 2 hours and 40 minutes"."""

_CHECK = re.compile(
    r"\(|(?:to (?:check|verify)|(?:let['’]?s |let me |we can )?(?:double-)?(?:check|verif\w+|confirm)\w*|note"
    r"|recall|remember"
    r"|this is because|because|indeed|for (?:example|instance)|e\.g|where|in \w+ (?:year|month|week|day)s\b)\b",
    re.IGNORECASE,
)
"""How a sentence begins that supports an answer and does not state it."""

_LINK = re.compile(
    r"\s*(?:,?\s*(?:\b(?:or|and|und|oder|et|ou|y|o|to)\b|或|和|または)\s*(?:maybe |perhaps |possibly "
    r"|even )?|[-–—~～]\s*|[,;、]\s+)(?:[a-z]\s*=\s*)?",
    re.I,
)
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
    first = next((one for one in numbers if not _is_aside(head, one)), numbers[0])
    if _BOUND.search(head[: first.start]):
        return NumberReading(problem="there is a range")
    for one, other in pairwise(numbers):
        if one is first and _LINK.fullmatch(head[one.end : other.start]) and one.number != other.number:
            return NumberReading(problem="there are several numbers")
    return NumberReading(number=first.number)


def _is_aside(text: str, found: Found) -> bool:
    """Tell whether a number of a text is given, and said of no one."""
    before = text[: found.start]
    return bool(_ASIDE.search(before) or (_DETERMINED.search(before) and _COUNTED.match(text, found.end)))


def _read_text(text: str) -> NumberReading:
    """Read a text that states no answer: its one number, or the one that its last sentence states."""
    plain = _OPERATION.sub("= ", _spell_sentences(to_plain(text)).strip())
    if is_formula(plain):
        return _read_equation(plain)
    numbers = find_numbers(plain)
    if not numbers:
        return NumberReading(problem="there is no number", is_unread=not _is_latin(text))
    if len({found.number for found in numbers}) == 1:
        if _BOUND.search(plain[: numbers[0].start]):
            return NumberReading(problem="there is a range")
        return NumberReading(number=numbers[0].number)
    sentences = [part for part in split_sentences(plain) if find_numbers(part)][::-1]
    stating = [sentence for sentence in sentences if not _CHECK.match(sentence)] or sentences
    beside = stating[1:2] if plain.rstrip(" .").endswith("; " + stating[0].rstrip(" .")) else []
    for sentence in [*stating[:1], *beside, *filter(concludes, stating[1:])]:
        reading = _read_sentence(sentence)
        is_list = reading is not None and reading.number is None and not reading.formula and sentence not in beside
        if reading is not None and not (beside and is_list):
            return reading
    return NumberReading(problem="there are several numbers", others=tuple(found.number for found in numbers))


def _spell_sentences(text: str) -> str:
    """Write numbers in words as digits, in a text with digits only where a sentence begins or concludes with them."""
    text = spell_digits(text)
    for sentence in split_sentences(text):
        words = re.split(r"\d", sentence, maxsplit=1)[0]
        spelt = spell_digits(words)
        if spelt[:1].isdigit() or (words == sentence != spelt and concludes(sentence)):
            text = text.replace(sentence, spelt + sentence[len(words) :])
    return text


def _read_sentence(sentence: str) -> NumberReading | None:
    """Read the number that a sentence states: that of the clause which concludes, or else of its one main clause."""
    head, colon, tail = sentence.partition(": ")
    if colon and any(not _is_aside(head, one) for one in find_numbers(head)):
        sentence = tail if _QUANTITY.fullmatch(tail) else head
    sentence = _RESTATED.sub(r"\g<unit>", phrases.REPLACED.sub("", sentence, count=1))
    clauses = [clause for clause in split_clauses(sentence) if find_numbers(sentence[clause.start : clause.end])]
    texts = {clause: sentence[clause.start : clause.end] for clause in clauses}
    for role in ROLES:
        own = [clause for clause in clauses if clause.role == role]
        if role == "reason":
            own = [clause for clause in own if not clause.is_marked] or own
        if not own:
            continue
        cued = [clause for clause in own if phrases.CONCLUSION.search(texts[clause])]
        if role == "conclusion" or len(own) == 1 or cued:
            reading = _read_clause(texts[(cued or own)[-1] if role != "conclusion" else own[-1]])
        else:
            reading = _read_clause(sentence[own[0].start : own[-1].end])
        if reading is not None or role != "conclusion":
            return reading
    return None


def _read_clause(text: str) -> NumberReading | None:
    """Read the number that a clause states; `None` where it has several, and none is told to be the one."""
    if "=" in text or "≈" in text:
        return _read_head(text)
    for cue in reversed([*phrases.CONCLUSION.finditer(text)]):
        if any(not _is_aside(text[cue.end() :], one) for one in find_numbers(text[cue.end() :])):
            text = text[cue.end() :]
            break
    if _SHARE.search(text):
        return NumberReading(problem="there is a share")
    if (changed := _CHANGED.search(text)) and find_numbers(text[changed.end() :]):
        return _read_head(text[changed.end() :])
    amounts = [*_AMOUNT.finditer(text)]
    if len(amounts) > 1 and re.search(r"\band\b", text[amounts[0].end() : amounts[-1].start()]):
        return None
    if amounts and not _ASIDE.search(text[: amounts[-1].end()]):
        return _read_head(text[amounts[-1].end() :])
    numbers = find_numbers(text)
    for one, other in pairwise(numbers):
        if re.search(r"\b(?:from|between)\s+$", text[: one.start]) and _LINK.fullmatch(text[one.end : other.start]):
            return NumberReading(problem="there is a range")
    candidates = [one for one in numbers if not _is_aside(text, one)]
    if len({one.number for one in candidates}) < 2:
        return _read_head(text)
    before = text[: candidates[-1].start]
    for one, other in pairwise(candidates):
        if one.number != other.number and _LINK.fullmatch(text[one.end : other.start]):
            return NumberReading(problem="there are several numbers")
    if _PREDICATE.search(text, candidates[-2].end, candidates[-1].start) and not re.search(r"\band\b|[,;]", text):
        return _read_head(text[len(before) :])
    return None


_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi|max|min|gcd|lcm|mod|det|lim|arcsin|arccos|arctan)"
_FORMULA_SIGNS = re.compile(r"\\(?!text)[a-zA-Z]+|[√π∞^!±|<>≤≥≠+*×·÷=≈]|\d\s*/|/\s*\d|-|\b[a-zA-Z]\b|_|\d[a-z]\b")
_WORD = re.compile(rf"(?<!\\)(?<![A-Za-z\\])(?!{_FUNCTION}(?![A-Za-z]))[A-Za-zÀ-ÿ]{{2,}}")
_PLAIN_QUANTITY = re.compile(
    r"[-+]?\s?[\d.,\s\u202f'/]+(?:\s?[x×*·]\s?10\s?\^\s?[-+]?\d+|[eE][-+]?\d+)?\s*(?:%|°\s?[CF]?)?"
    r"\s*(?:(?<=\s)[a-zA-ZμµΩ]{1,4}(?:\^-?\d)?(?:\s?[/·*]\s?[a-zA-Z]{1,4}(?:\^-?\d)?)*"
    r"|[A-WYZa-df-hk-mosw]{1,3})?\s*\.?"
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
