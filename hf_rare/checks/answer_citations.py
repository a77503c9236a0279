"""Citations taken out of an answer: "7 [2]" is 7, "12【4】" is 12, "as document 3 says" is nothing.

What is a citation is what `citations` finds; here are the words that lead to one, and marks that only an answer has.
"""

import re

from hf_rare.checks.citations import locate_citations

_MARK = "\ue000"
"""Stands where a citation stood, a character of private use that no text has."""
_MARKS = rf"{_MARK}(?:[\s,;–-]*(?:(?:and|or|und|et|y)\s*)?{_MARK})*"
_PAGES = r"(?:[,;]\s*(?:pp?|pages?|sec(?:tion)?|ch(?:apter)?|para(?:graph)?|lines?)\.?\s*\d+(?:\s?[-–]\s?\d+)?)*"
_SAYS = r"(?:\s+(?:says?|states?|shows?|confirms?|explains?|notes?|reports?|suggests?|implies|agrees?))?"
_BY = (
    r"(?:according to|based on|as (?:is )?(?:\w+ )?(?:in|by)|as per|per|by|from|in|as|following|see|cf\.?|laut|selon"
    r"|según|根据|根據)"
)
_IN_PARENTHESES = re.compile(rf"\s*\(\s*(?:(?:sources?|{_BY})[:\s]+)*{_MARKS}{_PAGES}\s*\)", re.IGNORECASE)
_CLAUSE = re.compile(rf"(?:^|(?<=[.!?\n]\s)|(?<=\n)|,\s*){_BY}\s+{_MARKS}{_SAYS}\s*[,:]?\s*", re.IGNORECASE)
_BARE = re.compile(rf"\s*{_MARKS}")
_BRACED = re.compile(r"(?<=[\w.)])(?<!box)(?<!boxed)\s+\{\d{1,2}\}(?=\s*[.,;]?\s*(?:$|\n))")
_RAISED = re.compile(r"(?:(?<=[\s.,;:!?)\"'])|(?<=[^\W\d_]{4}))[¹²³⁰⁴-⁹]+(?:\s*[,⁻]\s*[¹²³⁰⁴-⁹]+)*")
_RAISED_HTML = re.compile(r"(?:\s+|(?<=[^\W\d_]{4})|(?<=[.,;)]))<sup>[\[\]\d,\s]+</sup>", re.IGNORECASE)
_ANSWER_IN_BRACKETS = re.compile(r"(answer(?:\s+is)?\s*[:=]?\s*)\[(\d+)\](?=\s*\.?\s*(?:$|\n))", re.IGNORECASE)
_NUMBER_BEFORE_BRACKET = re.compile(r"(?<![\w.,])(\d+(?:[.,]\d+)*)\[")
_INTERVAL = re.compile(r"\[\s*-?[\d.]+\s*,\s*-?[\d.]+\s*\]")


def drop_citations(text: str, keep_intervals: bool = False) -> str:
    """Take citations of documents out of a text, with the words that lead to them.

    Args:
        text (`str`): the text.
        keep_intervals (`bool`, *optional*, defaults to `False`): whether two numbers in brackets are an interval.

    Returns:
        `str`: the rest; empty where the text is citations alone.
    """
    if not re.search(r"\d|[¹²³⁰⁴-⁹]", text):
        return text
    text = _ANSWER_IN_BRACKETS.sub(r"\1\2", text)
    text = _mark_citations(_NUMBER_BEFORE_BRACKET.sub(r"\1 [", text), keep_intervals)  # a number has no index
    text = _IN_PARENTHESES.sub("", text)
    text = _CLAUSE.sub(lambda match: ", " if match.group().startswith(",") else "", text)
    for pattern in (_BARE, _BRACED, _RAISED_HTML, _RAISED):
        text = pattern.sub("", text)
    return re.sub(r"<sup>(\d+)</sup>", r"^\1", text).strip()


def _mark_citations(text: str, keep_intervals: bool) -> str:
    parts, end = list[str](), 0
    for citation in locate_citations(text):
        cited = text[citation.start : citation.end]
        if citation.start >= end and not (keep_intervals and _INTERVAL.fullmatch(cited)):
            parts += [text[end : citation.start], _MARK]
            end = citation.end
    return "".join([*parts, text[end:]])
