"""From a completion to reasoning, answer and status: plain texts in, plain texts out."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "truncated", "empty", "unparsed", "invalid_input", "prompt_too_long", "failed"]
STATUSES: tuple[Status, ...] = ("ok", "truncated", "empty", "unparsed", "invalid_input", "prompt_too_long", "failed")


@dataclass(frozen=True)
class ParsedCompletion:
    """What a completion says.

    Args:
        reasoning (`str`): the trace; empty where there is none.
        answer (`str`): the final answer, where the completion separates it; else empty.
        status (`str`): `ok`, `truncated`, `empty` or `unparsed`.
        error (`str`): why it is not `ok`, in words; else empty.
    """

    reasoning: str
    answer: str
    status: Status
    error: str = ""


def is_thought_open(prompt_text: str, thought_tags: tuple[str, str]) -> bool:
    """Tell whether a rendered prompt ends inside a thought, as with chat templates that pre-fill the opening tag."""
    return prompt_text.rstrip().endswith(thought_tags[0])


def parse_completion(
    completion: str,
    *,
    is_cut: bool = False,
    thought_is_open: bool = False,
    thought_tags: tuple[str, str] = ("<think>", "</think>"),
    answer_tags: tuple[str, str] = ("<answer>", "</answer>"),
    require_answer: bool = False,
) -> ParsedCompletion:
    """Split a completion into reasoning and answer.

    The thought is the reasoning, and what follows it the answer; with answer tags in what follows, the answer is what
    they enclose. Without a thought, or with an empty one, the reasoning is the visible text around the answer tags,
    if there are any. A closing tag alone ends a thought that began with the completion.

    Args:
        completion (`str`):
            The text of the completion, without the prompt and without the end-of-turn token.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether the token limit ended it.
        thought_is_open (`bool`, *optional*, defaults to `False`):
            Whether the prompt ends with the opening tag of the thought.
        thought_tags (pair of `str`, *optional*):
            The tags around the thought.
        answer_tags (pair of `str`, *optional*):
            The tags around the answer.
        require_answer (`bool`, *optional*, defaults to `False`):
            Whether a completion without an answer is `unparsed`.

    Returns:
        [`ParsedCompletion`]: `truncated` when `is_cut`, whatever was found; `empty` without reasoning; `unparsed` when
        a thought is never closed or a required answer is missing; else `ok`.
    """
    thought, visible, is_closed = _split_thought(completion, thought_tags, thought_is_open)
    if thought and is_closed:
        around_answer, answer, has_answer_tags = _split_answer(visible, answer_tags)
        reasoning = thought
        answer = answer if has_answer_tags else around_answer
    else:
        reasoning, answer, _ = _split_answer(thought or visible, answer_tags)
    if is_cut:
        return ParsedCompletion(reasoning, answer, "truncated", "the token limit ended the completion")
    if not is_closed:
        return ParsedCompletion(reasoning, answer, "unparsed", f"the thought is never closed with {thought_tags[1]}")
    if not reasoning:
        error = "the completion gives an answer only" if answer else "the completion is empty"
        return ParsedCompletion("", answer, "empty", error)
    if require_answer and not answer:
        return ParsedCompletion(reasoning, "", "unparsed", f"there is no {answer_tags[0]}...{answer_tags[1]}")
    return ParsedCompletion(reasoning, answer, "ok")


def _split_thought(completion: str, tags: tuple[str, str], thought_is_open: bool) -> tuple[str, str, bool]:
    """Give the thought, what is outside it, and whether it ends."""
    opening, closing = tags
    before, has_opening, after = completion.partition(opening)
    if has_opening and not before.strip():  # some models write the tag again after a template that pre-filled it
        return _split_at_close(after, closing, "")
    if thought_is_open or closing in before:
        return _split_at_close(completion, closing, "")
    if has_opening:
        return _split_at_close(after, closing, before)
    return "", completion, True


def _split_at_close(text: str, closing: str, before: str) -> tuple[str, str, bool]:
    thought, has_closing, after = text.partition(closing)
    return thought.strip(), before + after, bool(has_closing)


def _split_answer(text: str, tags: tuple[str, str]) -> tuple[str, str, bool]:
    """Give what stands around the last answer, the answer, and whether there are tags at all."""
    before, has_opening, rest = text.rpartition(tags[0])
    if not has_opening:
        return text.strip(), "", False
    answer, _, after = rest.partition(tags[1])
    return "\n\n".join(filter(None, (before.strip(), after.strip()))), answer.strip(), True
