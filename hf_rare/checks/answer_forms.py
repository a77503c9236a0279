"""The forms an answer can have: where a text states it, its normalised words, its number, its option letter.

Plain values in, plain values out; `answers` compares them with the gold answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from string import ascii_uppercase

from hf_rare.text import normalize

_ARTICLES = frozenset(("a", "an", "the"))
_KEPT_MARKS = frozenset("#%&@")
"""Punctuation that is part of a name: C# is not C."""

_STATED = re.compile(
    r"\b(this |that )?(?:answer(?: option| choice)?|(?:correct|right|best) (?:option|choice)|final (?:result|choice))"
    r"(?: (?:to|for) [^.:\n]{1,80}?)?\s*(?:\bis\b|\bare\b|\bwould be\b|\bmust be\b|[:=])(?!\s*not\b)[\s:]*(?=\S)",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(?:(?:also|clearly|directly|explicitly|therefore|thus) )?(?:based|because|clear|confirmed|consistent|correct"
    r"|derived|evident|found(?! to be\b)|given(?! (?:as|by)\b)|in (?:the )?(?:document|passage|source|text)s?"
    r"|mentioned|obvious|stated(?! as\b)|supported)\b(?!:)",
    re.IGNORECASE,
)
"""What stands behind "the answer is" where a sentence says something about the answer, and not which it is.

So do sentences that begin with "this answer is".
"""

LAST_STATEMENTS = 5
"""Statements that are looked at, so that a text which repeats itself takes no time."""

_SENTENCE_END = re.compile(r"(?<=\w\w[\w)])[.!?](?=\s|$)|[;\n]")

_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<!\d)[-+][$€£¥]?)?(?:\d{1,3}(?:[,\u2009\u202f'_ ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)*|\.\d+)"
    r"(?:e[-+]?\d{1,3}(?!\d)|\s?[x\u00d7*]\s?10\s?\^\s?\{?[-+]?\d{1,3}\}?)?"
    r"(?:\s?/\s?\d+(?:\.\d+)?)?\s?%?",
    re.IGNORECASE,
)
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")
_LATEX = [
    (re.compile(r"\\d?frac\{([^{}]+)\}\{([^{}]+)\}"), r"\1/\2"),
    (_LATEX_TEXT, r" \1 "),
    (re.compile(r"\\times|\\cdot"), "\u00d7"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;! ]|\\left|\\right"), ""),
    (re.compile(r"\\([%$])"), r"\1"),
]
_MINUS = str.maketrans({"\u2212": "-", "\u2012": "-", "\u2013": "-"})
_SUPERSCRIPT = re.compile(r"(?<=\d)[\u207b\u207a]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")

_FULL_LETTER = re.compile(r"(?:(?:option|choice|answer)\s+)?[^\w]*([A-Za-z])[^\w]*", re.IGNORECASE)
_LEADING_LETTER = re.compile(r"[^\w(]*(?:\(([A-Za-z])\)|([A-Za-z])\)|([A-Z])[.:])\s*(.*)", re.DOTALL)
_BARE = r"\(?(?<![\w'\u2019])([A-Z])(?![\w'\u2019])\)?"
_BARE_LETTER = re.compile(_BARE)
_CLAIM_BEFORE = re.compile(
    r"(?:^|\b(?:is|are|be|option|choice|answer|letter|choose|chose|select|pick|therefore|thus|so|hence)\b|:)[\s,:(*]*$",
    re.IGNORECASE,
)
_CLAIM_AFTER = re.compile(
    r"\s+(?:is|are|would be|must be)\s+(?:the\s+)?(?:correct|right|best|true|answer)\b", re.IGNORECASE
)
_DENIAL_AFTER = re.compile(r"\s+(?:is|are)(?:\s+(?:not|wrong|incorrect|false)|n['\u2019]t)\b", re.IGNORECASE)
_ARTICLE_AFTER = re.compile(r"\s+(?!is\b|are\b|and\b|or\b|because\b|since\b|as\b|but\b|not\b)[^\W\d_]", re.IGNORECASE)
_LINK = re.compile(r"\s*(?:,|/|&|\band\b|\bor\b|,\s*(?:and|or)\b)\s*(?:option\s+|choice\s+)?", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|neither|nor|never|except)\b|n['\u2019]t\b", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number as a text gives it: `value`, with a percent sign not applied, and whether it has one."""

    value: Decimal
    is_percent: bool = False


def find_stated_answer(text: str) -> str:
    r"""Find the answer that a text states last: in `\boxed{}`, or behind "the answer is" or "Answer:".

    Returns:
        `str`: the rest of that line, or what the box holds; empty where there is none.
    """
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start >= 0 and (boxed := _read_braces(text, text.index("{", start))):
        return boxed.strip()
    return next(iter(_list_statements(text)), "")


def list_candidates(answer: str, trace: str = "") -> list[str]:
    """List the texts that can be the answer, the most certain first.

    Args:
        answer (`str`): the separate answer; empty where there is none.
        trace (`str`, *optional*): the trace, whose end is read where there is no answer.

    Returns:
        `list[str]`: what is stated, its first sentence, what the same line states before it, and, of an answer, the
        whole; empty where there is no text.
    """
    text = answer.strip() or trace.strip()
    if not text:
        return []
    whole = _strip_emphasis(text if answer.strip() else text.splitlines()[-1]).strip()
    stated = find_stated_answer(text)
    best = stated or whole
    candidates = [best, _SENTENCE_END.split(best, maxsplit=1)[0].strip()]
    candidates += [statement for statement in _list_statements(text) if statement.endswith(best)]
    return [text for text in dict.fromkeys([*candidates, whole] if answer.strip() else candidates) if text]


def normalize_answer(text: str) -> str:
    """Unify answers that differ in form alone: characters, case, white space, punctuation and English articles.

    After the evaluation script of SQuAD (Rajpurkar et al. 2016), with two changes: signs and points inside numbers
    stay, so that -3.5 is not 35, and what consists of articles alone (the option "A") stays as it is.
    """
    text = normalize(_unwrap(text).translate(_MINUS)) or normalize(text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    kept: list[str] = [text] if text.replace(" ", "").isalnum() else []
    for place, mark in enumerate(text if not kept else ""):
        if not unicodedata.category(mark).startswith("P") or mark in _KEPT_MARKS:
            kept.append(mark)
            continue
        is_before_digit = text[place + 1 : place + 2].isdigit()
        before = text[place - 1 : place] if place else ""
        if is_before_digit and ((mark == "." and before.isdigit()) or (mark == "-" and not before.strip())):
            kept.append(mark)
        elif mark not in ".'\u2019":
            kept.append(" ")
    words = normalize("".join(kept)).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words) or text


def read_numbers(text: str) -> list[Number]:
    """Read the numbers of a text: separators of thousands, decimals, percent, powers of ten, simple fractions.

    A comma before three digits separates thousands, any other one decimals. Digits inside a word (`CO2`) are none.
    """
    if not text.isascii():
        text = _SUPERSCRIPT.sub(lambda match: "^" + match.group(), text)
        text = unicodedata.normalize("NFKC", text).translate(_MINUS)
    for pattern, replacement in _LATEX if "\\" in text or "{" in text else ():
        text = pattern.sub(replacement, text)
    return [number for match in _NUMBER.finditer(text) if (number := _to_number(match.group()))]


def read_single_number(text: str) -> Number | None:
    """Read the one number that a text gives: the only one, or the one behind the last "="; else `None`."""
    numbers = read_numbers(text)
    if len(set(numbers)) > 1 and "=" in text:
        numbers = read_numbers(text.rpartition("=")[2])
    return numbers[0] if numbers and len(set(numbers)) == 1 else None


def is_number(text: str) -> bool:
    """Tell whether a text is a number and nothing else but a currency sign in front of it or behind."""
    text = re.sub(r"^[-+]?\s*[$€£¥]\s*|\s*[$€£¥]$", "", text.strip().translate(_MINUS))
    match = _NUMBER.fullmatch(text)
    return match is not None and _to_number(match.group()) is not None


def name_letters(text: str, options: Sequence[str] | None = None) -> set[str]:
    """Name the letters of the options that a text gives as its answer: none, one, or several.

    Understood are a letter alone ("B", "(B)", "b)"), one in front of its text ("B. Paris"), one that a sentence claims
    ("it is B, not C"), and the text of an option, or the only option that a sentence names. The A of "A dog" is none.

    Args:
        text (`str`): the answer.
        options (`Sequence[str]`, *optional*): the texts of the options, A first. Without them, any letter can be one.

    Returns:
        `set[str]`: upper-case letters.
    """
    text = _unwrap(text)
    letters = ascii_uppercase[: len(options)] if options else ascii_uppercase
    if (match := _FULL_LETTER.fullmatch(text)) and match.group(1).upper() in letters:
        return {match.group(1).upper()}
    words = normalize_answer(text)
    texts = [normalize_answer(option) for option in options or ()]
    if same := {letters[i] for i, option in enumerate(texts[: len(letters)]) if option == words}:
        return same
    if match := _LEADING_LETTER.match(text):
        letter = next(filter(None, match.groups()[:3])).upper()
        rest = normalize_answer(match.group(4)) if match.group(4).strip() else ""
        if letter in letters:
            return {letter} | {letters[i] for i, option in enumerate(texts[: len(letters)]) if option == rest}
    claimed = _find_claims(text, letters)
    return claimed or _find_options(text, words, texts[: len(letters)])


def _find_claims(text: str, letters: str) -> set[str]:
    """Find the letters that a sentence claims, and those that a comma, "and" or "or" joins to them."""
    claimed: set[str] = set()
    end_of_claim = -1
    for match in _BARE_LETTER.finditer(text):
        letter, behind = match.group(1), text[match.end() :]
        if letter not in letters or _DENIAL_AFTER.match(behind):
            continue
        if letter in "AI" and "(" not in match.group() and _ARTICLE_AFTER.match(behind):
            continue
        is_joined = end_of_claim >= 0 and _LINK.fullmatch(text[end_of_claim : match.start()])
        if is_joined or _CLAIM_BEFORE.search(text[: match.start()]) or _CLAIM_AFTER.match(behind):
            claimed.add(letter)
            end_of_claim = match.end()
    return claimed


def _find_options(text: str, words: str, options: Sequence[str]) -> set[str]:
    """Find the options whose text a sentence names; one that is part of another named one does not count."""
    named = [option for option in options if option and f" {option} " in f" {words} "]
    named = [
        option for option in named if not any(option != other and f" {option} " in f" {other} " for other in named)
    ]
    if _NEGATION.search(text) and not any(_NEGATION.search(option) for option in named):
        return set()
    return {ascii_uppercase[i] for i, option in enumerate(options) if option in named}


def _list_statements(text: str) -> list[str]:
    """List what the lines of a text state behind "the answer is", the last first, and mere remarks about it last."""
    text = _strip_emphasis(text) + "\n"
    stated: list[str] = []
    remarks: list[str] = []
    for match in reversed([*_STATED.finditer(text)][-LAST_STATEMENTS:]):
        statement = text[match.end() : text.index("\n", match.end())].strip()
        (remarks if match.group(1) or _REMARK.match(statement) else stated).append(statement)
    return [*stated, *remarks]


def _to_number(text: str) -> Number | None:
    text = text.strip()
    is_percent = text.endswith("%")
    mantissa, _, divisor = text.rstrip("% ").partition("/")
    mantissa = re.sub(r"\s?[x\u00d7*]\s?10\s?\^\s?\{?([-+]?\d+)\}?", r"e\1", mantissa, flags=re.IGNORECASE)
    digits, e, exponent = mantissa.strip().lower().partition("e")
    digits = re.sub(r"[\u2009\u202f'_ $€£¥]", "", digits)
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+|[-+]?\d{1,3}(?:\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[-+]?\d+,\d+", digits):
        digits = digits.replace(",", ".")
    try:
        value = Decimal(f"{digits}{e}{exponent}")
        return Number(value / Decimal(divisor.strip()) if divisor else value, is_percent)
    except ArithmeticError:  # 1.2.3, 1/0
        return None


def _read_braces(text: str, start: int) -> str:
    """Give what stands in the braces that open at `start`; empty where they never close."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[start + 1 : place]
    return ""


def _unwrap(text: str) -> str:
    """Take LaTeX's commands for words away and leave the words."""
    return _LATEX_TEXT.sub(r" \1 ", text) if "\\" in text else text


def _strip_emphasis(text: str) -> str:
    """Take Markdown's bold marks and code quotes away."""
    return text.replace("**", "").replace("__", "").replace("`", "")
