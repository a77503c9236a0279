"""The words of an answer: normalised texts, LaTeX and Markdown taken off, dates, and what means yes or no."""

import re
import unicodedata
from datetime import date

from hf_rare.text import normalize

_ARTICLES = frozenset(("a", "an", "the"))
_KEPT_MARKS = frozenset("#%&@")
"""Punctuation that is part of a name: C# is not C."""

_LATEX_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt|bb|cal)|mbox|emph|underline|operatorname)\*?"
    r"\s*\{([^{}]*)\}"
)
_LATEX_SPACE = re.compile(r"\\(?:quad|qquad|[,;:! ])|(?<=\w)~(?=\w)")
_EMPHASIS = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)|__|`|(?<!\d)\*(?=\S[^*\n]*\S\*(?!\d))|(?<=\S)\*(?![\d\s*])")
_UNDERLINED = re.compile(r"(?<![\w\\}])_([^_\n]{2,}?)_(?!\w)")
_TAG = re.compile(r"</?(?:answer|final|final_answer|b|strong|i|em|p|br)\s*/?>")
_LINE_MARK = re.compile(r"(?m)^[ \t]*(?:>(?![ \t]*[-+.\d$\\=])[ \t]*|(?!####[ \t]+[-+$]?\.?\d)#{1,6}[ \t]+)")
_MINUS = str.maketrans({"\u2212": "-", "\u2012": "-", "\u2013": "-"})

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero",
            "february feb februar février febrero",
            "march mar märz mars marzo",
            "april apr avril abril",
            "may mai mayo",
            "june jun juni juin junio",
            "july jul juli juillet julio",
            "august aug août agosto",
            "september sep sept septembre septiembre",
            "october oct oktober octobre octubre",
            "november nov novembre noviembre",
            "december dec dezember décembre diciembre",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH = rf"({'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?\.?"
_DATES = [
    (re.compile(rf"\b{_DAY}\s+(?:of\s+|de\s+)?{_MONTH},?\s+(?:de\s+)?(\d{{4}})\b"), "dmy"),
    (re.compile(rf"\b{_MONTH}\s+{_DAY},?\s+(\d{{4}})\b"), "mdy"),
    (re.compile(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b"), "ymd"),
    (re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日"), "ymd"),
    (re.compile(r"\b(\d{1,2})\.\s?(\d{1,2})\.(\d{4})\b"), "dmy"),
    (re.compile(rf"\b{_MONTH},?\s+(?:of\s+|de\s+)?(\d{{4}})\b"), "my"),
]

_YES = (
    "yes|yeah|yep|true|correct|ja|wahr|richtig|oui|vrai|sí|si|verdadero"
    "|sì|vero|sim|да|はい|正しい|是|是的|对|對|正确|正確|네|예"
)
_NO = (
    "no|nope|false|incorrect|nein|falsch|non|faux|falso|não|nee|нет"
    "|いいえ|違います|否|不是|不|不对|不對|错|錯|错误|아니요|아니오"
)
_WORD_OF = {word: True for word in _YES.split("|")} | {word: False for word in _NO.split("|")}
_HAN_FIRST = re.compile("是的?|不是|不对|不對|不|否|对|對|正确|正確|错误|错|錯|はい|いいえ")
_CLAUSE_OF_ONE = re.compile(
    r"(?:^|[,.;:\n]|\b(?:so|is|answer|thus|therefore|says|say|indeed)\b)\s*(\w+)\s*(?=[.,;!\n]|$)"
)


def take_off_latex(text: str) -> str:
    r"""Take LaTeX's commands for words and spaces away, and leave the words: `\text{New}\ \text{York}` is New York."""
    if "\\" not in text and "~" not in text:
        return text
    before = ""
    while before != text:
        before, text = text, _LATEX_TEXT.sub(r" \1 ", text)
    return _LATEX_SPACE.sub(" ", text)


def take_off_marks(text: str) -> str:
    """Take Markdown's bold and italic marks, code quotes, quotes of lines and heads of sections away."""
    if "*" in text or "`" in text or "_" in text:
        text = _EMPHASIS.sub("", text)
        text = _UNDERLINED.sub(r"\1", text)
    if "<" in text:
        text = _TAG.sub("", text)
    return _LINE_MARK.sub("", text) if ">" in text or "#" in text else text


def normalize_answer(text: str) -> str:
    """Unify answers that differ in form alone: characters, case, white space, punctuation and English articles.

    After the evaluation script of SQuAD (Rajpurkar et al. 2016), with two changes: signs and points inside numbers
    stay, so that -3.5 is not 35, and no article stands last: the option "A" and "vitamin A" stay as they are.
    """
    text = normalize(take_off_latex(text).translate(_MINUS)) or normalize(text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    kept: list[str] = [text] if text.replace(" ", "").isalnum() else []
    for place, mark in enumerate(text if not kept else ""):
        if not unicodedata.category(mark).startswith("P") or mark in _KEPT_MARKS:
            kept.append(mark)
            continue
        is_before_digit = text[place + 1 : place + 2].isdigit()
        before = text[place - 1 : place] if place else ""
        after = text[place + 1 : place + 2]
        if is_before_digit and ((mark in ".:" and before.isdigit()) or (mark == "-" and not before.strip())):
            kept.append(mark)
        elif mark == "-" and before.isalpha() and len(_last_word(text[:place])) == 1 and not after.isalnum():
            kept.append(mark)  # a grade: A- is not A+
        elif mark not in ".'\u2019":
            kept.append(" ")
    words = normalize("".join(kept)).split()
    return " ".join([*(word for word in words[:-1] if word not in _ARTICLES), *words[-1:]]) or text


def _last_word(text: str) -> str:
    return text.rsplit(None, 1)[-1] if text.split() else ""


def read_date(text: str) -> tuple[int, ...] | None:
    """Read the first date of a text.

    Returns:
        `tuple[int, ...]`: year, month and, where it is given, day; `None` where there is no date.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    for pattern, order in _DATES:
        if match := pattern.search(text):
            parts = dict(zip(order, match.groups(), strict=True))
            month = _MONTHS.get(parts["m"]) or int(parts["m"])
            found = (int(parts["y"]), month, *([int(parts["d"])] if "d" in parts else []))
            try:
                date(found[0], month, found[2] if len(found) > 2 else 1)
            except ValueError:
                continue
            return found
    return None


def is_date(text: str) -> bool:
    """Tell whether a text is a date and nothing else."""
    text = unicodedata.normalize("NFKC", text).strip().lower()
    return any(pattern.fullmatch(text) for pattern, _ in _DATES) and read_date(text) is not None


def read_yes_or_no(text: str) -> bool | None:
    """Read whether a text means yes or no: by its first word, or by the one word of a clause.

    Returns:
        `bool`: `None` where it means neither, or both.
    """
    text = unicodedata.normalize("NFKC", take_off_latex(text)).strip(" \n\t\"'.,:;!*()$").lower()
    if re.match(r"\w+\s+(?:and|or|und|oder|et|ou|y|o)\s+\w+", text) and _WORD_OF.get(text.split()[2]) is not None:
        return None
    named = re.match(r"\w+\s*[:：]\s*(\w+)", text)
    if named and named.group(1) in _WORD_OF:
        return _WORD_OF[named.group(1)]
    first = re.match(r"\w+", text)
    if first and first.group() in _WORD_OF:
        return _WORD_OF[first.group()]
    if han := _HAN_FIRST.match(text):
        return _WORD_OF[han.group()]
    said = {_WORD_OF[word] for word in _CLAUSE_OF_ONE.findall(text) if word in _WORD_OF}
    return said.pop() if len(said) == 1 else None


def is_yes_or_no(text: str) -> bool:
    """Tell whether a gold answer is a word for yes or no."""
    return normalize(text).strip(" .!") in _WORD_OF
