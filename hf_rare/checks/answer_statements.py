r"""Where a text states its answer: in a box, behind "the answer is", before "is the answer"; the last one counts.

`answer_phrases` says how languages put it; what the statement means is left to the readers of each kind.
"""

import json
import re
from dataclasses import dataclass

from hf_rare.checks import answer_phrases as phrases
from hf_rare.checks.answer_citations import drop_citations
from hf_rare.checks.answer_forms import take_off_latex, take_off_marks

MOST_HEADS = 12
"""Places at which a reason can begin that are looked at."""

LAST_STATEMENTS = 8
"""Statements that are looked at, so that a text which repeats itself takes no time."""

SHORT = 400
"""Characters of a text that is searched as a whole."""

LONGEST_STATEMENT = 600
"""Characters of a statement that are read."""

LONGEST_WHOLE = 2000
"""Characters of an answer that states nothing, of which beginning and end are read."""

SUPPOSED_WITHIN = 80
"""Characters before a statement in which stands whether it is only supposed."""

LONGEST = 20_000
"""Characters of the end of a text that are searched."""

_BOX = re.compile(
    r"\\?(?<![A-Za-z])(?:boxed|fbox|framebox)\s*(?:(?P<open>\{)|\s(?P<bare>[\w.,/-]+)|(?P<digit>[\d.,]+))"
)
_PLACEHOLDER = re.compile(r"\W*(?:your |final |the )?(?:answer|result|letter|option|here|x{3,})?(?: here)?\W*", re.I)
_SENTENCE_END = re.compile(
    r"(?<=\w\w[\w)%°])[.!?](?=\s|$)|(?<=[✓✔✅☑])[.!]?(?=\s|$)|(?<=\d)\.(?=\s+[A-Z]|$)|(?<=\b[B-HJ-Z])\.(?=\s|$)"
    r"|[;\n。！？]"
)
_NO_ANSWER = re.compile(r"(?:this|that|it|which|what|the|my|your|his|(?:the |this |that )?(?:reasoning|claim))", re.I)


@dataclass(frozen=True)
class Statements:
    """What a text says of its answer.

    Args:
        stated (`list[str]`): what it states in so many words, the last first.
        denied (`list[str]`): what it says that the answer is not, with the "not".
        bold (`list[str]`): what it sets in bold, the last first.
        whole (`str`): all of an answer, or the last line of a trace, without citations and marks.
    """

    stated: list[str]
    denied: list[str]
    bold: list[str]
    whole: str

    @property
    def best(self) -> str:
        """What is taken for the answer first."""
        return self.stated[0] if self.stated else self.whole


def find_statements(answer: str, trace: str = "", keep_intervals: bool = False) -> Statements:
    """Find what states the answer.

    Args:
        answer (`str`): the separate answer; empty where there is none.
        trace (`str`, *optional*): the trace, whose statements and last line are read where there is no answer.
        keep_intervals (`bool`, *optional*, defaults to `False`): whether two numbers in brackets are no citation.

    Returns:
        [`Statements`]: what it says.
    """
    raw = drop_citations(_open_json((answer.strip() or trace.strip())[-LONGEST:]), keep_intervals)
    text = take_off_marks(raw).strip()
    lines = text.splitlines()
    whole = text if answer.strip() else (lines[-1].strip() if lines else "")
    if (explained := phrases.EXPLANATION.search(whole)) and whole[: explained.start()].strip():
        whole = whole[: explained.start()].strip()
    if len(whole) > LONGEST_WHOLE:
        whole = whole[: LONGEST_WHOLE // 2] + "\n" + whole[-LONGEST_WHOLE // 2 :]
    bold = [found.strip() for found in re.findall(r"\*\*([^*\n]*[^*\n:])\*\*(?!:)", raw) if found.strip(" :.")]
    stated, denied = _list_stated(text)
    return Statements(stated, denied, bold[::-1] if answer.strip() else [], whole)


def _open_json(text: str) -> str:
    """Return the answer that a JSON object holds, where a text is one."""
    held = re.sub(r"^```\w*\s*|\s*```$", "", text)
    if not (held.startswith("{") and held.endswith("}") and "answer" in held.lower()):
        return text
    try:
        values = json.loads(held)
    except (ValueError, RecursionError):
        return text
    answers = [
        value for key, value in values.items() if "answer" in key.lower() and isinstance(value, str | int | float)
    ]
    return str(answers[-1]) if answers else text


def _list_stated(text: str) -> tuple[list[str], list[str]]:
    """List what a text states, the last first and mere remarks last, and what it says that the answer is not."""
    found: list[tuple[int, str]] = []
    remarks: list[str] = []
    denied: list[str] = []
    boxes = [*_BOX.finditer(text)][-LAST_STATEMENTS:] if "box" in text else []
    spans = [(match.start(), box) for match in boxes if (box := _read_box(text, match)) is not None]
    found += [(start, box) for start, box in spans if not _PLACEHOLDER.fullmatch(take_off_latex(box))]
    windows = _list_windows(text)
    for match in _find_last(phrases.BEFORE, text, windows):
        if phrases.SUPPOSED.search(
            re.sub(r"\bthe\s*$", "", text[max(0, match.start() - SUPPOSED_WITHIN) : match.start()])
        ):
            continue
        statement = _read_line(text, match.end())
        if not statement or _BOX.search(statement):
            continue
        if match.group().lower().startswith(("this ", "that ")) or phrases.REMARK.match(statement):
            remarks.insert(0, statement)
        elif phrases.DENIAL.match(statement):
            denied.insert(0, statement)
        else:
            found.append((match.start(), statement))
    for match in _find_last(phrases.BEHIND, text, windows):
        said = next(filter(None, match.groups())).strip()
        if not (
            _NO_ANSWER.fullmatch(said) or _BOX.search(said) or re.search(r"\banswer|\bnot\b|n't\b|不", said, re.I)
        ):
            found.append((match.start(), said))
    found.sort(key=lambda one: one[0])
    stated = [_take_off_tail(statement) for _, statement in reversed(found)]
    return [statement for statement in dict.fromkeys([*stated, *remarks]) if statement], denied


def _list_windows(text: str) -> list[tuple[int, int]]:
    """List where a text can state an answer: around the last places of each keyword, since the patterns are slow."""
    lower = text.lower()
    if len(text) < SHORT or len(lower) != len(text):
        return [(0, len(text))]
    places: list[int] = []
    for keyword in phrases.KEYWORDS:
        place = len(lower)
        for _ in range(LAST_STATEMENTS):
            place = lower.rfind(keyword, 0, place)
            if place < 0:
                break
            places.append(place)
    windows: list[tuple[int, int]] = []
    for place in sorted(places):
        start, end = max(0, place - 120), min(len(text), place + 160)
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return windows


def _find_last(pattern: re.Pattern[str], text: str, windows: list[tuple[int, int]]) -> list[re.Match[str]]:
    """Find the last matches of a pattern in some parts of a text, in order."""
    found: list[re.Match[str]] = []
    for start, end in reversed(windows):
        found = [*pattern.finditer(text, start, end), *found]
        if len(found) >= LAST_STATEMENTS:
            break
    return found[-LAST_STATEMENTS:]


def _read_line(text: str, start: int) -> str:
    """Return the rest of the line, or the next one that is not empty, without a denial before what counts."""
    end = text.find("\n", start)
    line = text[start : end if end >= 0 else len(text)].strip()
    if not line.strip(" :*_") and end >= 0:
        rest = text[end:].strip()
        line = rest.splitlines()[0].strip() if rest else ""
    line = line[:LONGEST_STATEMENT].rstrip("!")  # of a sentence, and no factorial
    return phrases.REPLACED.sub("", line, count=1) if phrases.REPLACED.match(line) else line


def _take_off_tail(statement: str) -> str:
    return phrases.TAIL.sub("", statement).strip()


def _read_box(text: str, match: re.Match[str]) -> str | None:
    """Return what a box holds, of boxes in boxes the innermost; what never closes ends with its line."""
    if not match.group("open"):
        return match.group("bare") or match.group("digit")
    held = read_braces(text, match.end() - 1)
    if held is None:
        held = text[match.end() :].split("\n")[0].rstrip("$ ")
    return None if _BOX.search(held) else held.strip()[:LONGEST_STATEMENT]


def read_braces(text: str, start: int) -> str | None:
    """Return what stands in the braces that open at `start`; `None` where they never close."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[start + 1 : place]
    return None


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences and lines."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def cut_reason(text: str) -> str:
    """Return what stands before a reason, a remark in parentheses, or a second sentence."""
    sentences = split_sentences(text)
    head = sentences[0] if sentences else text
    match = phrases.REASON.search(head, 1)
    return head[: match.start()].strip() if match and head[: match.start()].strip(" (,") else head


def list_heads(text: str) -> list[str]:
    """List what a text says before each mark at which a reason can begin, the whole first."""
    heads = [text]
    for match in re.finditer(
        r"(?<=\w[\w)\"'”])[.!?](?=\s|$)|[,;(（，。；：！\n]|\s[-–—/]\s|[–—]|:\s|\s(?=(?:because|since|as"
        r"|which|due|that|and not"
        r"|is because|in|for|with|by|weil|denn|car|porque)\b)|因为|因為",
        text,
    ):
        heads.append(text[: match.start()])
        if len(heads) > MOST_HEADS:
            break
    return [head.strip() for head in dict.fromkeys(heads) if head.strip()]


def find_gold_statement(gold: str) -> str:
    r"""Find the answer in a gold answer that is a whole solution: behind `####`, in `\boxed{}`, or at its start."""
    text = take_off_marks(gold.strip())
    if not ("####" in text or _BOX.search(text) or phrases.BEFORE.match(text)):
        return ""
    stated, _ = _list_stated(text)
    return stated[0] if stated else ""


_READABLE = re.compile(r"[A-Za-z\u00c0-\u024f\u0400-\u04ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0370-\u03ff]")


def is_readable(text: str, gold: str = "") -> bool:
    """Tell whether a text is in a writing that statements can be read in, or in the one of the gold answer."""
    letters = [sign for sign in text if sign.isalpha()]
    known = sum(bool(_READABLE.match(sign)) for sign in letters)
    return known * 2 >= len(letters) or any(sign.isalpha() and not _READABLE.match(sign) for sign in gold)
