"""Whether what an answer says is a text: the same words, with a reason or a remark behind them or not."""

import re
import unicodedata

from hf_rare.checks.answer_forms import is_date, normalize_answer, read_date, take_off_latex
from hf_rare.checks.answer_phrases import TAIL
from hf_rare.checks.answer_statements import Statements, list_heads, split_sentences

_COPULA = re.compile(
    r"\b(?:is|was|are|were|be|'s|ist|war|est|était|es|era|on|in|by|called|named|known as)\b\s+|’s\s+", re.IGNORECASE
)
_IS = re.compile(r"\s(?:is|was|are|were)\s")
_HEDGE = re.compile(
    r"\b(?:whether|unclear|unlikely|if|or|either|could|might|may|wrong|false|incorrect|not|never|neither|nor|no)\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"^\s*(?:[-*•]\s+|\d{1,2}[.)]\s+)")
_LEAD = re.compile(r"^(?:(?:so|thus|therefore|hence|finally|well|okay)\b[,:]?\s+)+(?=\S)", re.IGNORECASE)
_HAN_COPULA = re.compile("[是为為は]")


def is_same_text(gold: str, statements: Statements) -> bool:
    """Tell whether an answer is a text, as a whole or before a reason, a remark or a second sentence."""
    if is_date(gold):
        return _is_same_date(gold, statements)
    words = normalize_answer(gold)
    stated = [*statements.stated[:1], *statements.denied[:1]] if statements.stated or statements.denied else []
    if any(_begins_with(text, words) for text in stated):
        return True
    if normalize_answer(statements.whole) == words:
        return True
    if statements.stated:
        return False
    whole = _LIST_MARK.sub("", statements.whole)
    if any(_begins_with(text, words) for text in [*statements.bold[:1], whole]):
        return True
    sentences = split_sentences(whole)
    for sentence in dict.fromkeys([*sentences[:1], *sentences[-1:]]):
        if _HEDGE.search(re.sub(re.escape(gold), "", sentence, flags=re.IGNORECASE)):
            continue
        subject = _IS.split(sentence, maxsplit=1)
        if len(subject) > 1 and normalize_answer(subject[0]) == words:
            return True
        starts = [match.end() for match in _COPULA.finditer(sentence)] + [
            m.end() for m in _HAN_COPULA.finditer(sentence)
        ]
        if any(_begins_with(sentence[start:], words) for start in starts):
            return True
    return False


def _begins_with(text: str, words: str) -> bool:
    """Tell whether a text, or what stands before a mark in it, reads as these words."""
    text = TAIL.sub("", text)
    text = _LEAD.sub("", unicodedata.normalize("NFC", take_off_latex(text)).strip("$ "))
    return any(normalize_answer(head) == words for head in [text, *list_heads(text)])


def _is_same_date(gold: str, statements: Statements) -> bool:
    right = read_date(gold)
    for text in [*statements.stated[:1], statements.whole]:
        given = read_date(text) if text else None
        if given is not None and right is not None:
            return given[: len(right)] == right
    return False
