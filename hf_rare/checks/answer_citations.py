"""Citations taken out of an answer: "7 [2]" is 7, "12【4】" is 12, "as document 3 says" is nothing."""

import re

_KIND = (
    r"(?:documents?|docs?\b\.?|sources?|passages?|references?|refs?\b\.?|dokumente?n?|quellen?|fuentes?|documentos?"
    r"|文档|文檔|文献|文獻|资料|資料|来源)"
)
_JOIN = r"\s*(?:,|;|&|-|–|—|\band\b|\bor\b|\bto\b|\bund\b|\bet\b|\by\b|和|与|、)+\s*"
_LISTED_NAMES = rf"{_KIND}[\s\-#]*(?:no\.?|nr\.?)?\s*\[?\d+\]?(?:{_JOIN}(?:{_KIND}[\s\-#]*)?\[?\d+\]?)*"
_NAMED = (
    rf"{_KIND}[\s\-#]*(?:no\.?|nr\.?)?\s*\[?\d+\]?"
    rf"(?:\s*(?:,\s*(?=\[?\d+\]?\s*,?\s*(?:and|or|und|et|y)\b)|,?\s*(?:&|-|–|—|\b(?:and|or|to|und|et|y)\b|和|与|、))\s*"
    rf"(?:{_KIND}[\s\-#]*)?\[?\d+\]?(?![.,]?\d))*"
)
_PAGES = r"(?:[,;]\s*(?:pp?|pages?|sec(?:tion)?|ch(?:apter)?|para(?:graph)?|lines?)\.?\s*\d+(?:\s?[-–]\s?\d+)?)*"
_LISTED = r"[A-Z]?[1-9]\d{0,2}(?:\s*[,;–-]\s*[A-Z]?[1-9]\d{0,2})*"
_BRACKETS = rf"\[\s*(?:\^?{_LISTED}|{_LISTED_NAMES}){_PAGES}\s*\](?:\([^()\s]*\))?"
_MARK = rf"(?:{_BRACKETS}|【[^】]*\d[^】]*】)"
_MARKS = rf"{_MARK}(?:[\s,;–-]*(?:and\s*)?{_MARK})*"
_CITED = rf"(?:{_MARKS}|\(\s*{_LISTED_NAMES}{_PAGES}\s*\)|{_NAMED})"
_SAYS = r"(?:\s+(?:says?|states?|shows?|confirms?|explains?|notes?|reports?|suggests?|implies|agrees?))?"
_BY = (
    r"(?:according to|based on|as (?:is )?(?:\w+ )?(?:in|by)|as per|per|by|from|in|as|following|see|cf\.?|laut|selon"
    r"|según|根据|根據)"
)

_IN_PARENTHESES = re.compile(
    rf"\s*\(\s*(?:(?:see|cf\.?|source|sources|from|per|{_BY})[:\s]+)*(?:{_LISTED_NAMES}|{_CITED}){_PAGES}\s*\)", re.I
)
_CLAUSE = re.compile(rf"(?:^|(?<=[.!?\n]\s)|(?<=\n)|,\s*){_BY}\s+{_CITED}{_SAYS}\s*[,:]?\s*", re.IGNORECASE)
_BARE = re.compile(rf"\s*{_MARKS}|{_NAMED}", re.IGNORECASE)
_BRACED = re.compile(r"(?<=[\w.)])(?<!box)(?<!boxed)\s+\{\d{1,2}\}(?=\s*[.,;]?\s*(?:$|\n))")
_RAISED = re.compile(r"(?:(?<=[\s.,;:!?)\"'])|(?<=[^\W\d_]{4}))[¹²³⁰⁴-⁹]+(?:\s*[,⁻]\s*[¹²³⁰⁴-⁹]+)*")
_RAISED_HTML = re.compile(r"(?:\s+|(?<=[^\W\d_]{4})|(?<=[.,;)]))<sup>[\[\]\d,\s]+</sup>", re.IGNORECASE)
_ANSWER_IN_BRACKETS = re.compile(r"(answer(?:\s+is)?\s*[:=]?\s*)\[(\d+)\](?=\s*\.?\s*(?:$|\n))", re.IGNORECASE)
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
    kept: list[str] = []
    if keep_intervals:
        kept = _INTERVAL.findall(text)
        for number, interval in enumerate(kept):
            text = text.replace(interval, f"\0{number}\0", 1)
    text = _IN_PARENTHESES.sub("", text)
    text = _CLAUSE.sub(lambda match: ", " if match.group().startswith(",") else "", text)
    for pattern in (_BARE, _BRACED, _RAISED_HTML, _RAISED):
        text = pattern.sub("", text)
    text = re.sub(r"<sup>(\d+)</sup>", r"^\1", text)
    for number, interval in enumerate(kept):
        text = text.replace(f"\0{number}\0", interval)
    return text.strip()
