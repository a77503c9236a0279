"""From a completion to reasoning, answer and status: plain texts in, plain texts out."""

from dataclasses import dataclass

from hf_rare.rows.columns import Status


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


def is_thought_open(opening: str, thought_tags: tuple[str, str]) -> bool:
    """Tell whether a chat template leaves a thought open: whether what it wrote last ends with the opening tag."""
    return opening.rstrip().endswith(thought_tags[0])


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

    The thought is the reasoning (several thoughts are joined), and the visible text outside it the answer; with answer
    tags in it, the answer is what they enclose. Without a thought, or with an empty one, the reasoning is the visible
    text around the answer tags; with nothing but a thought, it is the thought around them. A closing tag alone ends a
    thought that began with the completion.

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
    thought, visible, is_closed = split_thoughts(completion, thought_tags, thought_is_open)
    around_answer, answer, has_answer_tags = _split_answer(visible, answer_tags)
    if not thought:
        reasoning = around_answer
    elif visible.strip():
        reasoning, answer = thought, answer if has_answer_tags else around_answer
    else:
        reasoning, answer, _ = _split_answer(thought, answer_tags)
    if is_cut:
        return ParsedCompletion(reasoning, answer, "truncated", "the token limit ended the completion")
    if not reasoning:
        error = "the completion gives an answer only" if answer else "the completion is empty"
        return ParsedCompletion("", answer, "empty", error)
    if not is_closed:
        return ParsedCompletion(reasoning, answer, "unparsed", f"the thought is never closed with {thought_tags[1]}")
    if require_answer and not answer:
        return ParsedCompletion(reasoning, "", "unparsed", f"there is no {answer_tags[0]}...{answer_tags[1]}")
    return ParsedCompletion(reasoning, answer, "ok")


def split_thoughts(completion: str, tags: tuple[str, str], thought_is_open: bool) -> tuple[str, str, bool]:
    """Give the thoughts, what is outside them, and whether the last one ends.

    A thought that opens behind visible text and never ends is no thought: text and tag stay as they are.
    """
    opening, closing = tags
    first = completion.find(opening)
    if thought_is_open or closing in completion[: first if first >= 0 else None]:
        before, rest = "", completion.lstrip().removeprefix(opening)  # some models write a pre-filled tag again
    else:
        before, has_opening, rest = completion.partition(opening)
        if not has_opening:
            return "", completion, True
    thought, has_closing, visible = rest.partition(closing)
    if not has_closing:
        return ("", completion, False) if before.strip() else (rest.strip(), "", False)
    thoughts, visible = [thought.strip()], before + visible
    while opening in visible and closing in visible.partition(opening)[2]:
        before, _, rest = visible.partition(opening)
        thought, _, after = rest.partition(closing)
        thoughts, visible = [*thoughts, thought.strip()], before + after
    return "\n\n".join(filter(None, thoughts)), visible, opening not in visible


def _split_answer(text: str, tags: tuple[str, str]) -> tuple[str, str, bool]:
    """Give what stands around the last answer, the answer, and whether there are tags at all.

    The last answer that is closed counts; without one, what follows the last opening tag.
    """
    opening, closing = tags
    end = text.rfind(closing)
    start = text.rfind(opening, 0, end) if end >= 0 else -1
    if start < 0:
        start, end = text.rfind(opening), len(text)
    if start < 0:
        return text.strip(), "", False
    before, answer, after = text[:start], text[start + len(opening) : end], text[end + len(closing) :]
    return "\n\n".join(filter(None, (before.strip(), after.strip()))), answer.strip(), True
