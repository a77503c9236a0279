"""The clauses of a sentence and what each does in it: it concludes, states, gives a reason, or sets something apart.

How the readers of numbers and of options tell what a sentence states from what it only mentions.
"""

import re
import typing
from dataclasses import dataclass
from typing import Literal

Role = Literal["conclusion", "main", "reason", "contrast"]
"""What a clause does, the one that an answer is looked for first in front."""

ROLES: tuple[Role, ...] = typing.get_args(Role)

MOST_CLAUSES = 40
"""Clauses of a sentence that are told apart; the rest is one."""

_BREAK = re.compile(
    r"\s*[,;:](?:\s+|(?=[\u3000-\u9fff\uac00-\ud7af]))|\s*[;?!]\s*|\s*\n\s*|\.\s+|(?<![\d)])\s+[-–—]+\s+|\s*—\s*"
    r"|(?<![A-Za-z\d)(*/^])(?P<open>\()|(?P<close>\))\s*[,;]?\s*"
    r"|(?<!rather)(?<!other)(?<!instead)(?<!must)(?<!\bis)(?<!are)(?<!was)(?<!were)(?<!ould)(?<!will)(?<!\bto)\s+"
    r"(?=(?:but|because|since|so|although|though|whereas|while|unlike|rather than|instead of|as opposed to"
    r"|except|therefore|hence|thus|given that|due to|if|when|after|before|than|and so|which)\b)|\s*[，；：。]\s*",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"(?:and\s+|but\s+)?(?:so(?! that\b| far\b| many\b| much\b)|therefore|thus|hence|then|consequently|accordingly"
    r"|finally|overall"
    r"|altogether|(?:that|this)(?:['’]s| is| was)|in (?:total|all|conclusion|summary|short|the end)|(?:which|this"
    r"|that) (?:makes|gives|means|leaves|brings"
    r"|is why|results? in|implies|suggests|points to|leads to|comes to|adds up)|making|giving|leaving|bringing"
    r"|resulting in|yielding|totall?ing|for a total"
    r"|(?:for )?an? (?:\w+ ){1,3}of(?= \D?\d)|i\.e|that is|namely|in other words"
    r"|(?:and )?(?:it|this|that|he|she|they|we) (?:must|has to|have to|can only) be|(?:but )?it(?:['’]s"
    r"| is) \S+ (?:that|who|which)"
    r"|also\b(?=.*\b(?:ist|sind|bleib\w*|Antwort|Option)\b)|daher|somit|folglich|donc|por (?:lo )?tanto|así que"
    r"|quindi)\b"
    r"|因此|所以|故|よって|したがって|따라서",
    re.IGNORECASE,
)
_REASONS = re.compile(
    r"(?:and\s+)?(?:just\s+|only\s+|simply\s+)?(?:because|since|as(?! (?:the|a|an) (?:result|consequence))|given"
    r"|due to"
    r"|considering|knowing|seeing|if|when|where|once|after|before"
    r"|having|for(?= (?:it|he|she|they|we|the|a)\b)|with|out of|based on|compared|from|who|whose|which"
    r"|that(?!['’]s| is)|assuming"
    r"|provided|for example|for instance|e\.g|recall|note|at|per|on|in|of|to|against|by|half|twice"
    r"|\d\S*\s+(?:\w+\s+)?(?:more|less|fewer|below|above|over|under|short|ahead|behind|higher|lower|times)"
    r"|weil|denn|da|car|parce que|puisque|porque|ya que|puesto que|perché)\b|因为|因為|由于",
    re.IGNORECASE,
)
_CONTRASTS = re.compile(
    r"(?:and |but )?(?:not|never|neither|nor|rather than|instead of|unlike|although|though|even (?:though|if)|while"
    r"|whereas|despite|in spite of|as opposed to|except|other than|than|contrary to|up from|down from|vs|versus"
    r"|nicht|obwohl|pas|bien que|aunque|不是|虽然|雖然|而不是)\b",
    re.IGNORECASE,
)
_JOINED = re.compile(r"(?:and|or|und|et|y|nor)\b", re.IGNORECASE)
_PREDICATE = re.compile(r"(?:is|are|was|were|has|have|had|will|would|must|should|can)\b", re.IGNORECASE)
_BUT = re.compile(
    r"(?:but|however|yet|still|nevertheless|instead|aber|sondern|mais|pero|sino|但是?|而是?)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Clause:
    """A clause: where it stands in its sentence, what it does, and whether it says so itself.

    Args:
        start (`int`): where it begins.
        end (`int`): where it ends.
        role (`str`): what it does.
        is_marked (`bool`): whether its own first word says so; else it goes on as the clause before it.
    """

    start: int
    end: int
    role: Role
    is_marked: bool = False


def split_clauses(sentence: str) -> list[Clause]:
    """Split a sentence into clauses, and tell what each does.

    What follows a reason is the statement that the reason led to where nothing was stated yet ("since it rains, we
    stay"), else a part of the reason ("we stay, since it rains, and pours"). What stands before "but" is conceded.
    """
    clauses: list[Clause] = []
    start, is_aside = 0, False
    for match in [*[*_BREAK.finditer(sentence)][:MOST_CLAUSES], None]:
        if match and is_aside != bool(match["close"]):  # what stands in parentheses is one aside
            continue
        end = match.start() if match else len(sentence)
        if sentence[start:end].strip():
            clauses = _add(clauses, sentence, start, end, is_aside)
        if match:
            start, is_aside = match.end(), bool(match["open"])
    return clauses


def _add(clauses: list[Clause], sentence: str, start: int, end: int, is_aside: bool) -> list[Clause]:
    text = sentence[start:end].lstrip()
    before = clauses[-1] if clauses else None
    has_stated = any(clause.role in ("main", "conclusion") for clause in clauses)
    if is_aside:
        return [*clauses, Clause(start, end, "reason", is_marked=True)]
    if _BUT.match(text) and not _CONTRASTS.match(text):
        conceded = [
            Clause(one.start, one.end, "contrast" if one.role in ("main", "conclusion") else one.role, one.is_marked)
            for one in clauses
        ]
        return [*conceded, Clause(start, end, "main", is_marked=True)]
    if _CONCLUDES.match(text):
        return [*clauses, Clause(start, end, "conclusion", is_marked=True)]
    if _CONTRASTS.match(text):
        return [*clauses, Clause(start, end, "contrast", is_marked=True)]
    if _REASONS.match(text):
        return [*clauses, Clause(start, end, "reason", is_marked=True)]
    if before is None or before.role in ("main", "conclusion"):
        return [*clauses, Clause(start, end, before.role if before else "main")]
    if has_stated and _PREDICATE.match(text):
        return [*clauses, Clause(start, end, "main")]
    if _JOINED.match(text) or has_stated:
        return [*clauses, Clause(start, end, before.role)]
    return [*clauses, Clause(start, end, "main")]


def concludes(sentence: str) -> bool:
    """Tell whether a sentence begins as a conclusion does."""
    return bool(_CONCLUDES.match(sentence))
