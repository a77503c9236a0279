"""From a completion to reasoning, answer and status: plain texts in, plain texts out."""

import re
from dataclasses import dataclass

from hf_rare.prompts.thought_markers import (
    DEFAULT_TAGS,
    KNOWN,
    Tags,
    ThoughtMarkers,
    find_left_marker,
    find_markers,
    find_marks,
    is_open,
    is_quoted,
    is_within_sentence,
    make_markers,
)
from hf_rare.rows.columns import Status

_NAMED = re.compile(r"\W{0,3}(?:tag|element|marker)s?\b")
_UNFINISHED_TURN = re.compile(r"<\|start\|>\s*assistant\s*(?:<\|channel\|>.*)?\Z", re.DOTALL)


@dataclass(frozen=True)
class ParsedCompletion:
    """What a completion says.

    Args:
        reasoning (`str`): the trace; empty where there is none.
        answer (`str`): the final answer, where the completion separates it; else empty.
        status (`str`): `ok`, `truncated`, `empty` or `unparsed`.
        error (`str`): why it is not `ok`, in words; else empty.
        models (`str`): the models whose markers it was read by; empty where these are the tags that were set.
    """

    reasoning: str
    answer: str
    status: Status
    error: str = ""
    models: str = ""


@dataclass(frozen=True)
class SplitCompletion:
    """A completion in two.

    Args:
        thought (`str`): the thoughts, joined; empty where there is none.
        visible (`str`): what the model says aloud.
        is_closed (`bool`): whether the last thought ends.
        markers ([`ThoughtMarkers`]): the markers that were followed.
    """

    thought: str
    visible: str
    is_closed: bool
    markers: ThoughtMarkers

    def say_unclosed(self, thought_tags: Tags) -> str:
        """Say that a thought is never closed, and with what it would be."""
        models = self.markers.models
        return f"the thought is never closed with {thought_tags[1] if not models else f'the marker of {models}'}"


def is_thought_open(opening: str, thought_tags: Tags) -> bool:
    """Tell whether a chat template leaves a thought open: what it wrote last opens one, and nothing ends it."""
    known = KNOWN if thought_tags == DEFAULT_TAGS else ()
    return any(is_open(opening, markers) for markers in (make_markers(thought_tags), *known))


def split_completion(
    completion: str, opening: str = "", thought_tags: Tags = DEFAULT_TAGS, thought_is_open: bool | None = None
) -> SplitCompletion:
    """Split a completion into thought and what is said aloud, by the markers that it follows.

    Args:
        completion (`str`):
            The text of the completion, without the prompt and without the end-of-turn token.
        opening (`str`, *optional*):
            What the chat template wrote before it.
        thought_tags (pair of `str`, *optional*):
            The tags around the thought. `<think>`, the default, stands for those of other known models too.
        thought_is_open (`bool`, *optional*):
            Whether the prompt leaves a thought open. By default what `opening` says.

    Returns:
        [`SplitCompletion`]: the parts.
    """
    markers = find_markers(completion, opening, thought_tags)
    starts_open = is_open(opening, markers) if thought_is_open is None else thought_is_open
    thought, visible, is_closed = _split_thoughts(completion, markers, starts_open)
    if markers.answer is not None:
        visible = _unwrap(visible, markers.answer, markers.has_channels)
    if markers.models:  # what the model says aloud may hold the thought that the prompt asked for
        asked, around, is_asked_closed = _split_thoughts(visible, make_markers(thought_tags), False)
        if asked and is_asked_closed:
            thought, visible = "\n\n".join(filter(None, (thought, asked))), around
    return SplitCompletion(thought, visible, is_closed, markers)


def parse_completion(
    completion: str,
    *,
    is_cut: bool = False,
    thought_is_open: bool | None = None,
    thought_tags: Tags = DEFAULT_TAGS,
    answer_tags: Tags = ("<answer>", "</answer>"),
    require_answer: bool = False,
    opening: str = "",
) -> ParsedCompletion:
    """Split a completion into reasoning and answer.

    The thought is the reasoning (several thoughts are joined), and the visible text outside it the answer; with answer
    tags in it, the answer is what they enclose. Without a thought, or with an empty one, the reasoning is the visible
    text around the answer tags; with nothing but a thought, it is the thought around them. A closing tag alone ends a
    thought that began with the completion. Tags in quotation marks or in code are words of the text.

    Args:
        completion (`str`):
            The text of the completion, without the prompt and without the end-of-turn token.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether the token limit ended it.
        thought_is_open (`bool`, *optional*):
            Whether the prompt leaves a thought open. By default what `opening` says.
        thought_tags (pair of `str`, *optional*):
            The tags around the thought. `<think>`, the default, stands for those of other known models too.
        answer_tags (pair of `str`, *optional*):
            The tags around the answer.
        require_answer (`bool`, *optional*, defaults to `False`):
            Whether a completion without an answer is `unparsed`.
        opening (`str`, *optional*):
            What the chat template wrote before the completion.

    Returns:
        [`ParsedCompletion`]: `truncated` when `is_cut`, whatever was found; `empty` without reasoning; `unparsed` when
        a thought is never closed, a marker is left in the text, or a required answer is missing; else `ok`.
    """
    split = split_completion(completion, opening, thought_tags, thought_is_open)
    thought, visible = split.thought, split.visible
    around_answer, answer, has_answer_tags = _split_answer(visible, answer_tags)
    if not thought:
        reasoning = around_answer
    elif visible.strip():
        reasoning, answer = thought, answer if has_answer_tags else around_answer
    else:
        reasoning, answer, _ = _split_answer(thought, answer_tags)
    status: Status = "ok"
    error = ""
    if is_cut:
        status, error = "truncated", "the token limit ended the completion"
    elif not reasoning:
        status, error = "empty", "the completion gives an answer only" if answer else "the completion is empty"
    elif not split.is_closed:
        status, error = "unparsed", split.say_unclosed(thought_tags)
    elif left := find_left_marker(reasoning, answer):
        status, error = "unparsed", f"{left} is left in it; set thought_tags to what opens and ends a thought"
    elif require_answer and not answer:
        status, error = "unparsed", f"there is no {answer_tags[0]}...{answer_tags[1]}"
    return ParsedCompletion(reasoning, answer, status, error, split.markers.models)


def _split_thoughts(completion: str, markers: ThoughtMarkers, starts_open: bool) -> tuple[str, str, bool]:
    """Return the thoughts, what is outside them, and whether the last one ends.

    A thought that opens behind visible text and never ends is no thought: text and marker stay as they are.
    """
    marks = find_marks(completion, markers)
    in_thought = starts_open or bool(marks and marks[0].is_closing and markers.closes_alone)
    thoughts, visible, place, opened = list[str](), "", 0, 0
    for mark in marks:
        piece = completion[place : mark.start]
        if mark.is_closing and in_thought:
            thoughts.append(piece.strip())
            in_thought, place = False, mark.end
        elif not mark.is_closing and not in_thought:
            visible += piece
            in_thought, place, opened = True, mark.end, mark.start
        elif not piece.strip() and (mark.is_closing == bool(thoughts)):  # the same marker twice
            place = mark.end
    rest = completion[place:]
    if not in_thought:
        return "\n\n".join(filter(None, thoughts)), visible + rest, True
    if not thoughts and not visible.strip():
        return rest.strip(), "", False
    return "\n\n".join(filter(None, thoughts)), visible + completion[opened:], False


def _unwrap(visible: str, answer: tuple[str, str], has_channels: bool) -> str:
    """Return what is said aloud without what encloses it, and of channels only the one that is for the reader."""
    opening, closing = (re.compile(pattern, re.IGNORECASE) for pattern in answer)
    starts = [match for match in opening.finditer(visible) if not is_quoted(visible, *match.span())]
    if not starts:
        return _UNFINISHED_TURN.sub("", visible) if has_channels else closing.sub("", visible)
    before, inside = visible[: starts[-1].start()], visible[starts[-1].end() :]
    end = closing.search(inside)
    inside, after = (inside[: end.start()], inside[end.end() :]) if end else (inside, "")
    if has_channels:
        return inside
    return "\n\n".join(filter(None, map(str.strip, (before, inside, closing.sub("", after)))))


def _split_answer(text: str, tags: Tags) -> tuple[str, str, bool]:
    """Return what stands around the last answer, the answer, and whether there are tags at all.

    The last answer that is closed and says something counts; without one, what follows the last opening tag.
    """
    opening, closing = (re.compile(pattern, re.IGNORECASE) for pattern in _answer_patterns(tags))
    openings = [match.span() for match in opening.finditer(text) if not is_quoted(text, *match.span())]
    closings = [match.span() for match in closing.finditer(text) if not is_quoted(text, *match.span())]
    pairs = list[tuple[int, int, int, int]]()
    for number, (start, begin) in enumerate(openings):
        if pairs and start < pairs[-1][3]:
            continue
        following = openings[number + 1][0] if number + 1 < len(openings) else len(text)
        closed = _find_end(text, begin, closings, tags)
        if closed is None or (following < closed[0] and is_within_sentence(text, start, begin)):
            continue  # one that the text speaks of
        pairs.append((start, begin, *closed))
    telling = [pair for pair in pairs if text[pair[1] : pair[2]].strip()] or pairs
    if not telling:
        telling = [(*span, len(text), len(text)) for span in openings if not _NAMED.match(text, span[1])]
    if not telling:
        return text.strip(), "", False
    start, begin, end, after = telling[-1]
    around = (text[:start].strip(), text[after:].strip())
    return "\n\n".join(filter(None, around)), text[begin:end].strip(), True


def _answer_patterns(tags: Tags) -> tuple[str, str]:
    markers = make_markers(tags)
    return markers.opening, markers.closing


def _find_end(text: str, begin: int, closings: list[tuple[int, int]], tags: Tags) -> tuple[int, int] | None:
    """Find the closing tag of an answer that begins at a place; a bracket ends where those within it have ended."""
    if tags[0][-1:] + tags[1] not in ("{}", "[]", "()"):
        return next((span for span in closings if span[0] >= begin), None)
    depth = 1
    for place in range(begin, len(text)):
        depth += (text[place] == tags[0][-1]) - (text[place] == tags[1])
        if depth == 0:
            return place, place + 1
    return None
