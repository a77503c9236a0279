"""How models mark their thoughts: one table of what is known, and which of its lines a completion follows.

Markers that are words of a text, in quotation marks or in code, mark nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

Tags = tuple[str, str]

DEFAULT_TAGS: Tags = ("<think>", "</think>")


@dataclass(frozen=True)
class ThoughtMarkers:
    """How a family of models marks a thought, and what it says aloud.

    Args:
        models (`str`): the models, for people.
        opening (`str`): what opens a thought, as a regular expression.
        closing (`str`): what ends it.
        answer (pair of `str`, *optional*): what encloses what it says aloud.
        has_channels (`bool`): whether what stands outside of thought and answer is meant for tools.
        closes_alone (`bool`): whether a closing marker without an opening one ends a thought from the beginning on.
        hint (`str`): what all of its markers have in common, in lower case: without it there is no need to look.
    """

    models: str
    opening: str
    closing: str
    answer: tuple[str, str] | None = None
    has_channels: bool = False
    closes_alone: bool = True
    hint: str = ""


class Mark(NamedTuple):
    """A marker in a text: where it begins and ends, and whether it closes a thought."""

    start: int
    end: int
    is_closing: bool


def make_markers(tags: Tags) -> ThoughtMarkers:
    """Make the markers of a pair of tags, in any case, with space and attributes before the bracket that ends them."""
    opening, closing = (re.sub(r"(?<=\w)(?=(?:>|\\\])$)", r"(?:\\s[^<>\\n]{0,80})?", re.escape(tag)) for tag in tags)
    return ThoughtMarkers("", opening, closing)


def _tags(models: str, name: str, brackets: str = "<>", answer: tuple[str, str] | None = None) -> ThoughtMarkers:
    left, right = brackets[0], brackets[1]
    made = make_markers((f"{left}{name}{right}", f"{left}/{name}{right}"))
    return ThoughtMarkers(models, made.opening, made.closing, answer, hint=name.lower())


_TURN = r"(?:<\|start\|>\s*assistant\s*)?"
_RESPONSE = (
    r"<(?:response|output|final|final_answer)>|<\|begin_of_box\|>",
    r"</(?:response|output|final|final_answer)>|<\|end_of_box\|>",
)
"""What encloses the answers of ERNIE 4.5 and Granite 3.3, of GLM-4.1V, and of prompts that ask for it."""


KNOWN = (
    ThoughtMarkers(  # openai/gpt-oss-20b, chat_template.jinja: channels analysis, commentary and final
        "GPT-OSS",
        rf"{_TURN}<\|channel\|>analysis[^<\n]*<\|message\|>",
        r"<\|end\|>",
        (rf"{_TURN}<\|channel\|>final[^<\n]*(?:<\|constrain\|>[^<\n]*)?<\|message\|>", r"<\|(?:return|end)\|>"),
        has_channels=True,
        closes_alone=False,
        hint="<|",
    ),
    ThoughtMarkers(  # the same, where a server has dropped the control tokens
        "GPT-OSS without its control tokens",
        r"^analysis(?=[^\s,.])(?=.*?assistantfinal)",
        r"(?=assistant(?:commentary|final))",
        (r"assistantfinal(?:json)?", r"$"),
        has_channels=True,
        closes_alone=False,
        hint="assistantfinal",
    ),
    ThoughtMarkers(  # Muse Glimmer, chat template: recipients self and user
        "Muse Glimmer",
        rf"{_TURN}to=self<\|message\|>",
        r"<\|eom\|>",
        (rf"{_TURN}(?:to=user)?<\|message\|>", r"<\|(?:eot|eom)\|>"),
        has_channels=True,
        closes_alone=False,
        hint="<|message|>",
    ),
    ThoughtMarkers("Gemma 4", r"<\|channel>thought\b", r"<channel\|>", (r"(?!)", r"<turn\|>"), hint="channel"),
    ThoughtMarkers(  # Kimi K3: tags of control tokens
        "Kimi K3",
        r"<\|open\|>think<\|sep\|>",
        r"<\|close\|>think<\|sep\|>",
        (r"<\|open\|>response<\|sep\|>", r"<\|close\|>(?:response|message)<\|sep\|>"),
        hint="<|sep|>",
    ),
    ThoughtMarkers(  # Command A Reasoning, Command R7B
        "Command A",
        r"<\|START_THINKING\|>",
        r"<\|END_THINKING\|>",
        (r"<\|START_(?:RESPONSE|TEXT)\|>", r"<\|END_(?:RESPONSE|TEXT)\|>"),
        hint="<|",
    ),
    ThoughtMarkers("Apertus", r"<\|inner_prefix\|>", r"<\|inner_suffix\|>", hint="<|inner_"),
    ThoughtMarkers(  # Sky-T1, OpenThinker
        "OpenThinker",
        r"<\|begin_of_thought\|>",
        r"<\|end_of_thought\|>",
        (r"<\|begin_of_solution\|>", r"<\|end_of_solution\|>"),
        hint="<|",
    ),
    ThoughtMarkers("Solar Open", r"<\|think:start\|>", r"<\|think:end\|>", hint="<|think:"),
    ThoughtMarkers("Pangu", r"\[unused16\]", r"\[unused17\]", hint="[unused1"),
    ThoughtMarkers(  # Apriel 1.5 and 1.6
        "Apriel",
        r"^\s*Here are my reasoning steps:",
        r"\[BEGIN FINAL RESPONSE\]",
        (r"(?!)", r"\[END FINAL RESPONSE\]"),
        hint="re",
    ),
    ThoughtMarkers(  # Granite 3.2; quantised ones contract
        "Granite 3.2",
        r"^\s*Here(?:'s|\u2019s| is) my thought process:(?=.*?Here(?:'s|\u2019s| is) my response:)",
        r"Here(?:'s|\u2019s| is) my response:",
        closes_alone=False,
        hint="my thought process:",
    ),
    _tags("Magistral, Ministral", "THINK", brackets="[]"),
    _tags("Seed-OSS", "seed:think"),
    _tags("MiniMax M3", "mm:think"),
    _tags("Kimi VL", "think", brackets="\u25c1\u25b7"),
    _tags("LongCat", "longcat_think"),
    ThoughtMarkers("K2 Horizon", r"<ifm\|think(?:_fast(?:er)?)?>", r"</ifm\|think(?:_fast(?:er)?)?>", hint="ifm|"),
    ThoughtMarkers("Hunyuan 4", r"<think:\w+>", r"</think:\w+>", hint="think:"),
    _tags("EXAONE Deep", "thought", answer=_RESPONSE),
    *(_tags(f"<{name}>", name, answer=_RESPONSE) for name in ("thinking", "thoughts", "reasoning", "scratchpad")),
)
"""The markers of models that do not write `<think>`: from the reasoning parsers of vLLM (vllm/reasoning) and SGLang,
the chat templates that come with TRL (trl/chat_templates), and what the models are seen to write. `<think>` is what
DeepSeek, Qwen3, GLM, Phi-4, Nemotron, EXAONE 4, Granite 3.3, Hunyuan, LFM2, MiMo, MiniMax M2, OLMo 3 and others
write."""

_QUOTES = {
    **{'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c"},
    **{"\u00ab": "\u00bb", "\u2039": "\u203a", "\u300c": "\u300d", "\u300e": "\u300f"},
}
_CONTROL = re.compile(  # each begins with a sign and is in any case only then: found ten times as fast
    r"<(?i:\|[^|<>\s]{1,40}\|>|\uff5c[^\uff5c<>]{1,40}\uff5c>|\|[a-z_]{2,30}>|[a-z_]{2,30}\|>"
    r"|/?(?:think|thinking|thought|thoughts|reasoning)(?:\s[^<>\n]{0,80})?>|/?(?:seed|mm):think\s*>|/?think:\w+>"
    r"|/?longcat_think>|/?ifm\|\w+>)"
    r"|\[(?i:/?(?:INST|THINK|TOOL_CALLS)\]|(?:BEGIN|END) FINAL RESPONSE\])|\u25c1/?\w{2,30}\u25b7"
)
"""What looks like a marker or a control token of a model."""

_OPENED_BY_TEMPLATE = re.compile(r"<(\w*(?:think|thought|reason|cot|reflect|inner|scratch|ponder)\w*)>\s*$")


def find_markers(completion: str, opening: str = "", tags: Tags = DEFAULT_TAGS) -> ThoughtMarkers:
    """Find the markers that a completion follows.

    Args:
        completion (`str`):
            The text of the completion.
        opening (`str`, *optional*):
            What the chat template wrote before it.
        tags (pair of `str`, *optional*):
            The tags that were set. Others than the default win over everything.

    Returns:
        [`ThoughtMarkers`]: those that come first in the completion, or that the template has opened; else the tags.
    """
    given = make_markers(tags)
    if tags != DEFAULT_TAGS:
        return given
    given = ThoughtMarkers("", given.opening, given.closing, _RESPONSE, hint="think")
    derived = _OPENED_BY_TEMPLATE.search(opening)
    families = [given, *KNOWN, *([_tags("the chat template", derived[1])] if derived else [])]
    first, lowered = list[tuple[int, int]](), completion.lower()
    for number, family in enumerate(families):
        if family.hint not in lowered:
            continue
        starts = [m.start for m in find_marks(completion, family) if family.closes_alone or not m.is_closing]
        if family.answer not in (None, _RESPONSE) and (said := re.search(family.answer[0], completion)):
            starts.append(said.start())
        if starts:
            first.append((min(starts), number))
    if first:
        return families[min(first)[1]]
    return next((family for family in families if is_open(opening, family)), given)


def is_open(opening: str, markers: ThoughtMarkers) -> bool:
    """Tell whether a chat template leaves a thought open: whether the last marker that it wrote opens one.

    Behind it there may be the first words of the thought, which some templates write, and nothing else.
    """
    marks = find_marks(opening, markers)
    return bool(marks) and not marks[-1].is_closing and not re.search(r"[<\[|\uff5c\u25c1]", opening[marks[-1].end :])


def find_marks(text: str, markers: ThoughtMarkers) -> list[Mark]:
    """Find the markers in a text that are no words of it, in order."""
    pattern = _compile(markers)
    found = [Mark(match.start(), match.end(), match.lastgroup == "closing") for match in pattern.finditer(text)]
    marks = [mark for mark in found if not is_quoted(text, mark.start, mark.end)]
    return _drop_fenced(text, marks)


def find_left_marker(*texts: str) -> str:
    """Find what looks like a marker or a control token and is no word of its text; empty where there is none."""
    for text in texts:
        found = [match for match in _CONTROL.finditer(text) if not is_quoted(text, *match.span())]
        for start, end, _ in _drop_fenced(text, [Mark(*match.span(), match[0][1:2] == "/") for match in found]):
            return text[start:end]
    return ""


def is_quoted(text: str, start: int, end: int) -> bool:
    """Tell whether a part of a text stands in quotation marks of its own, or in code within a line."""
    if text[end : end + 1] and _QUOTES.get(text[start - 1 : start]) == text[end : end + 1]:
        return True
    line = text.rfind("\n", 0, start) + 1
    before, after = text[line:start], text[end:].partition("\n")[0]
    if before.lstrip().startswith("```") or before.count("`") % 2 == 0 or "`" not in after:
        return False
    code = before.rpartition("`")[2] + text[start:end] + after.partition("`")[0]
    return code.strip()[0] in "<[(\u25c1" or code.strip()[-1] in ">])\u25b7"  # and no lone sign that another ends


def is_within_sentence(text: str, start: int, end: int) -> bool:
    """Tell whether a part of a text stands where a word of a sentence would: between words, with spaces."""
    return bool(re.search(r"[^\W\d_],? $", text[max(start - 3, 0) : start]) and re.match(r" [^\W\d_A-Z]", text[end:]))


def _drop_fenced(text: str, marks: list[Mark]) -> list[Mark]:
    """Drop those in blocks of code where all that opens there ends there: a block may go on behind the thought."""
    if not marks or "```" not in text:
        return marks
    dropped: set[Mark] = set()
    for start, end in _find_fences(text):
        inside = [mark for mark in marks if start <= mark.start < end]
        openings = sum(not mark.is_closing for mark in inside)
        if start and inside and openings * 2 == len(inside):
            dropped.update(inside)
    return [mark for mark in marks if mark not in dropped]


def _find_fences(text: str) -> Iterator[tuple[int, int]]:
    places = [match.start() for match in re.finditer(r"^[ \t]*```", text, re.MULTILINE)]
    yield from zip(places[::2], places[1::2], strict=False)


@lru_cache(maxsize=64)
def _compile(markers: ThoughtMarkers) -> re.Pattern[str]:
    return re.compile(f"(?P<opening>{markers.opening})|(?P<closing>{markers.closing})", re.IGNORECASE | re.DOTALL)
