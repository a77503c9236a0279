r"""How numbers are written: sign, thousands, decimals, magnitude, fraction and percent, in any language's digits.

A number that is part of a formula (`\sqrt{2}`, `2x`, `2^n`), of a name (H2O) or of an order (2nd) is none.
"""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

from hf_rare.checks.answer_forms import take_off_latex
from hf_rare.checks.answer_statements import read_braces

_MAGNITUDES = {
    "dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "k": 10**3, "mn": 10**6, "bn": 10**9, "tn": 10**12, "m": 10**6, "b": 10**9, "lakh": 10**5, "crore": 10**7,
    "tausend": 10**3, "mio": 10**6, "millionen": 10**6, "mrd": 10**9, "milliarden": 10**9, "mille": 10**3,
    "millions": 10**6, "millones": 10**6, "millón": 10**6, "milliards": 10**9, "milliard": 10**9, "mil": 10**3,
    "百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8, "億": 10**8,
}  # fmt: skip
_DIGITS = (
    r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?![\d.])|\d{1,3}(?:\.\d{3})+,\d+(?![\d,])"
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?![\d,])"
    r"|\d{1,3}(?:[,\u2009\u202f'_ ]\d{3})+(?!\d)(?:\.\d+)?|\d+[.,]\d+(?![,.]?\d)|\d+|\.\d+"
)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.\\^])(?<!\^[-+])(?<!\d[,:])(?P<sign>(?:(?<![\d\w)%])[-+±])\s?)?"
    rf"(?:(?P<whole>\d+)[ \u2064](?=\d+\s?/\s?\d))?(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<e>[-+]?\d{1,4})(?![\dA-Za-z]))?"
    r"(?:\s?[x×*·]\s?10\s?(?:\^|\*\*)\s?[{(]?(?P<ten>[-+]?\d{1,4})[})]?)?"
    r"(?:\s?/\s?(?P<divisor>\d+(?:\.\d+)?)(?!\s?\^))?"
    r"(?:\s?(?P<magnitude>(?<=[\d.])(?:k|M|B|bn|mn|tn)(?![\w^])|\b(?:dozen|hundred|thousand|million|billion|trillion"
    r"|lakh|crore|tausend|mio|millionen|mrd|milliarden|millions|millones|millón|milliards?|mil)\b|百万|千万|万|萬|亿|億))?"
    r"(?P<percent>\s?(?:%|％|per\s?cent\b|Prozent\b|pour cent\b|por ciento\b))?",
    re.IGNORECASE,
)
_NO_NUMBER_BEHIND = re.compile(
    r"(?:st|nd|rd|th)\b|\s?:\s?\d|!(?!\s*$)|(?:[xyznieabtruvpqj]|pi|π)(?![A-Za-z])|\s[xyzniπ](?![A-Za-z])|\s?√|_"
    r"|\s?\\[a-z]"
    r"|\s?\^|\s?\(\s?[a-z]\s?[)+-]|[A-Za-z]\d|\s?[+*·×/]\s?[a-z(](?![a-z])|[A-Z]{2,}\d",
)
_VULGAR = re.compile(r"(\d?)\s?([¼½¾⅐-⅞])")
_RAISED = re.compile(r"(?<=[\w)])[\u207b\u207a]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_FRAC = re.compile(r"(?P<before>\d?)\s*\\[dtc]?frac\s*(?=[{\d])")
_LATEX = [
    (re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}|(?<=\s)&(?==)"), " "),
    (re.compile(r"\\\\(?=\s)"), "\n"),
    (re.compile(r"\\(?:times|cdot|ast)\b"), "×"),
    (re.compile(r"\{,\}|,\\!"), ","),
    (re.compile(r"(?<=\d)\\[,;: ](?=\d{3}(?!\d))"), "\u202f"),
    (re.compile(r"\\[,;:! ]|\\left|\\right|\\q?quad|\\displaystyle|\\(?=\n)"), " "),
    (re.compile(r"\^\s*\{?\s*(?:\\circ|\\degree|∘)\s*\}?|\\degree\b"), "°"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\pm\b"), "±"),
    (re.compile(r"\\infty\b"), "∞"),
    (re.compile(r"\\approx\b|\\simeq\b|\\sim\b|≃|≅"), "≈"),
]
_POINTED = re.compile(
    r"\b(?:der|das|einen?|eine[mrs]?|und|ist|sind|insgesamt|el|las|una?|es|gana|uma|são|il|gli|sono)\b",
    re.IGNORECASE,
)
"""Words of languages that part thousands with a point."""
_POINTED_THOUSANDS = re.compile(r"(?<![\d.,])([1-9]\d{0,2})\.(\d\d0)(?![\d]|[.,]\d)")
_MINUS = str.maketrans({"\u2212": "-", "\u2012": "-", "\u2013": "-"})


@dataclass(frozen=True)
class Number:
    """A number as a text gives it: `value`, with a percent sign not applied, and whether it has one."""

    value: Decimal
    is_percent: bool = False


@dataclass(frozen=True)
class Found:
    """A number, and where it stands in a text."""

    number: Number
    start: int
    end: int


def to_plain(text: str) -> str:
    r"""Write numbers as on a keyboard: `1\frac{1}{2}` and 1½ as 1 1/2, 10⁻³ as 10^-3, and no currency signs."""
    text = _VULGAR.sub(lambda match: f"{match[1]} {_spell_vulgar(match[2])} ", text)
    if not text.isascii():
        text = _RAISED.sub(lambda match: "^" + unicodedata.normalize("NFKC", match.group()), text)
        text = unicodedata.normalize("NFKC", text).translate(_MINUS)
    if "\\" in text or "{" in text:
        text = _spell_fractions(text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
        text = take_off_latex(text)
        text = re.sub(r"\\[()\[\]]", " ", text)
    text = re.sub(r"\^\s*[{(]\s*([-+]?\s*\w+)\s*[})]", r"^\1", text)
    text = re.sub(r"\\(?=\$)|\$|[€£¥₹₩]|\b(?:USD|EUR|GBP|US)\s?(?=\d)", "", text)
    text = re.sub(r"\s+\^", "^", text)
    if _POINTED.search(text):
        text = _POINTED_THOUSANDS.sub(r"\1,\2", text)
    return re.sub(r"\*\*(?=\d)", "^", text)


def _spell_vulgar(sign: str) -> str:
    return unicodedata.normalize("NFKC", sign).replace("\u2044", "/")


def _spell_fractions(text: str) -> str:
    r"""Write `\frac{a}{b}` and `\frac12` of plain numbers as a/b; other fractions stay formulas."""
    pieces, end = [], 0
    for match in _FRAC.finditer(text):
        if match.start() < end:
            continue
        place, parts = match.end(), []
        for _ in range(2):
            while place < len(text) and text[place] == " ":
                place += 1
            if place < len(text) and text[place] == "{" and (held := read_braces(text, place)) is not None:
                parts.append(held)
                place += len(held) + 2
            elif place < len(text) and text[place].isdigit():
                parts.append(text[place])
                place += 1
        parts = [re.sub(r"\\[,;:! ]|[{}\s]", "", part) for part in parts]
        if (
            len(parts) < 2
            or not re.fullmatch(r"-?\d+(?:\.\d+)?", parts[0])
            or not re.fullmatch(r"\d+(?:\.\d+)?", parts[1])
        ):
            continue
        before = match.group("before")
        pieces += [text[end : match.start()], before, " " if before else "", f"{parts[0]}/{parts[1]}"]
        end = place
    return "".join(pieces) + text[end:]


def find_numbers(text: str) -> list[Found]:
    """Find the numbers of a plain text; digits that belong to a word, a formula or a rank are none."""
    found = []
    for match in _NUMBER.finditer(text):
        behind = text[match.end() :]
        if _NO_NUMBER_BEHIND.match(behind) and not match.group("percent"):
            continue
        if (number := _to_number(match)) is not None:
            if re.match(r"\s?(?:°\s?C?|degrees?)?\s*(?:\w+\s+)?below zero\b", behind):
                number = Number(-abs(number.value), number.is_percent)
            found.append(Found(number, match.start(), match.end()))
    return found


def _to_number(match: re.Match[str]) -> Number | None:
    digits = re.sub(r"[\u2009\u202f'_ ]", "", match.group("digits"))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    else:
        digits = digits.replace(",", ".")
    try:
        value = Decimal(digits)
        if match.group("divisor"):
            value /= Decimal(match.group("divisor"))
        if match.group("whole"):
            value += Decimal(match.group("whole"))
        value = value.scaleb(int(match.group("e") or 0) + int(match.group("ten") or 0))
        if magnitude := match.group("magnitude"):
            value *= _MAGNITUDES[magnitude if magnitude in _MAGNITUDES else magnitude.lower()]
    except ArithmeticError:  # 1/0, and powers that are no number
        return None
    sign = (match.group("sign") or "").strip()
    return None if sign == "±" else Number(-value if sign == "-" else value, bool(match.group("percent")))
