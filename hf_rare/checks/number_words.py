"""Numbers in words written as digits: "two and a half" is 2 1/2, "minus fifteen" is -15, 二十四 is 24.

The words are read by text2num; what it has no word for, such as parts of a whole, is read here.
"""

import re
from functools import lru_cache

SHORT = 3
"""Words of a text in which "one" is a number; in a longer one it is a pronoun."""

_FRACTION_WORDS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
_PART = re.compile(
    r"(?:(?P<whole>\d+)\s+and\s+)?(?P<count>\b\d+|\ba|\bone|\ban)[\s-]+"
    r"(?P<part>half|halves|(?:third|quarter|fourth|fifth|sixth|eighth|tenth)s?)\b|^\W*(?P<alone>half)\b",
    re.IGNORECASE,
)
_AND_A_PART = re.compile(r"\ban?\s+(\w+)\s+and\s+a\s+(half|quarter)\b", re.IGNORECASE)
_MINUS_WORD = re.compile(r"\b(?:minus|negative|moins|menos)\s+(?=\d)", re.IGNORECASE)
_HAN_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "兩": 2, "〇": 0}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN_NUMBER = re.compile("[零〇一二两兩三四五六七八九十百千万萬亿億]+")


def spell_digits(text: str) -> str:
    """Write numbers in words as digits, where a text has none: those of some languages of Europe, and Chinese."""
    spelt = _spell_words(_AND_A_PART.sub(r"one and a \2 \1", text))
    return _MINUS_WORD.sub("-", re.sub(r"\b[Aa]\s+(?=\d{2})", "", spelt) if spelt != text else spelt)


def _spell_words(text: str) -> str:
    if any(sign.isdigit() for sign in text):
        return text
    text = _HAN_NUMBER.sub(lambda match: _write_han(match.group(), text), text)
    if any(sign.isdigit() for sign in text):
        return text
    for language in ("en", "de", "fr", "es", "it", "pt", "nl"):
        spelt = _spell(text, language)
        if re.search(r"\d(?!\d*(?:st|nd|rd|th)\b)", spelt):
            return _spell_parts(spelt)
    return _spell_parts(text)


@lru_cache(maxsize=1000)
def _spell(text: str, language: str) -> str:
    from text_to_num import alpha2digit

    text = re.sub(r"\b(and\s+)?(?:a|one) (half|third|quarter|fifth)\b", r"\1a \2", text, flags=re.IGNORECASE)
    kept = {"half": "HLF", "third": "THR", "quarter": "QRT", "fifth": "FFT"} if language == "en" else {}
    for word, mark in kept.items():
        text = re.sub(rf"\b{word}(?=s?\b)", mark, text, flags=re.IGNORECASE)
    is_short = len(text.split()) <= SHORT and "no one" not in text.lower()
    spelt = str(alpha2digit(text, language, 0.0 if is_short else 1.0))
    for word, mark in kept.items():
        spelt = spelt.replace(mark, word)
    return spelt


def _spell_parts(text: str) -> str:
    def spell(match: re.Match[str]) -> str:
        if match.group("alone"):
            return "1/2"
        count = match.group("count") if match.group("count").isdigit() else "1"
        part = match.group("part").lower()
        divisor = 2 if part == "halves" else _FRACTION_WORDS[part.removesuffix("s")]
        return f"{match.group('whole') or ''} {count}/{divisor}".strip()

    return _PART.sub(spell, text)


def _write_han(number: str, text: str) -> str:
    """Write a Chinese number in digits, but for one character in a longer text, which is part of a word: 一样."""
    return str(_read_han(number)) if len(number) > 1 or len(text) <= SHORT + 1 else number


def _read_han(text: str) -> int:
    total = section = digit = 0
    for sign in text:
        if sign in _HAN_DIGITS:
            digit = _HAN_DIGITS[sign]
        elif (unit := _HAN_UNITS[sign]) >= 10**4:
            total, section, digit = (total + section + digit) * unit, 0, 0
        else:
            section, digit = section + max(digit, 1) * unit, 0
    return total + section + digit
