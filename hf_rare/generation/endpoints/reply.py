"""What comes back from an endpoint, read whole: thought and answer, how it ended, tokens, and who has written it.

Servers disagree on names and shapes. Whatever is there is read, and what cannot be a completion is a [`Fault`].
"""

import re
from collections.abc import Iterable
from typing import Any

from hf_rare.generation.endpoints.faults import Fault, Kind, from_words
from hf_rare.generation.protocol import Completion
from hf_rare.generation.repetition import LOOP

THOUGHT_FIELDS = ("reasoning", "reasoning_content", "thinking", "reasoning_details")
"""What servers call the thought that they have separated: vLLM has renamed it once already."""
ENDED = ("stop", "eos", "eos_token", "stop_sequence", "end_turn", "completed")
CUT = ("length", "max_tokens", "max_output_tokens", "model_length")
LOOPED = ("repetition",)
"""What vLLM calls it where its `repetition_detection` has ended a loop."""
CALLED = ("tool_calls", "function_call")
FILTERED = ("content_filter", "safety", "sensitive", "refusal")
THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "reasoning.text", "summary_text", "reasoning.summary")


def read_reply(output: Any) -> Completion:
    """Read an answer of the chat completions of OpenAI, whoever has written it.

    Args:
        output: the answer, as its JSON was read.

    Returns:
        [`Completion`]: what the model wrote. A thought that the server has separated stands in front, in
        `<think>` tags, as the model would have written it.

    Raises:
        Fault: This is no answer, or one that the server itself calls a failure.
    """
    if error := _get(output, "error"):
        raise from_words(read_text(_get(error, "message")) or str(error))
    choice = _first(_get(output, "choices"))
    message = _get(choice, "message")
    if not isinstance(message, dict):
        raise Fault(Kind.BROKEN, "the answer has no choice")
    thought = next(filter(None, (read_text(_get(message, name)) for name in THOUGHT_FIELDS)), "")
    content = _get(message, "content")
    if isinstance(content, list):  # some servers give the thought as one of the parts
        thought = thought or read_text([part for part in content if _get(part, "type") in THOUGHT_PARTS])
        content = [part for part in content if _get(part, "type") not in THOUGHT_PARTS]
    answer = read_text(content)
    reason = _get(choice, "finish_reason")
    reason = reason.lower() if isinstance(reason, str) else ""
    usage = _Usage(_get(output, "usage"))
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "cached_tokens": usage.cached,
        "reasoning_tokens": usage.reasoning,
        "served_by": name_server(output),
    }
    if reason in FILTERED:
        return Completion("", "error", **counts, error="the server's filter has withheld the answer")
    if not answer and (refusal := read_text(_get(message, "refusal"))):
        return Completion("", "error", **counts, error=f"the model has refused: {refusal}")
    if reason in CALLED or (_get(message, "tool_calls") and not answer):
        return Completion("", "error", **counts, error="the model has called a tool in the place of an answer")
    if reason in CUT:
        return Completion(join_thought(thought, answer, is_cut=True), "length", **counts)
    if reason in LOOPED:
        error = f"{LOOP}: the server has ended it"
        return Completion(join_thought(thought, answer, is_cut=True), "repetition", **counts, error=error)
    if reason in ENDED:
        return Completion(join_thought(thought, answer), "stop", **counts)
    how = f"finish_reason is {reason!r}" if reason else "there is no finish_reason"
    raise Fault(Kind.BROKEN, "the answer does not say how it ended", how)


def join_thought(thought: str, answer: str, is_cut: bool = False) -> str:
    """Put a thought that the server has separated in front of the answer, in the tags that models write."""
    if not thought.strip() or thought.strip() in answer:
        return answer
    if is_cut and not answer.strip():
        return f"<think>\n{thought}"
    return f"<think>\n{thought.strip()}\n</think>\n\n{answer.lstrip()}"


def read_text(value: Any) -> str:
    """Read a text that may be a list of parts, or a dict that has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(read_text, value))
    for name in ("text", "content", "thinking", "reasoning", "summary"):
        if inner := _get(value, name):
            return read_text(inner)
    return ""


def name_server(output: Any) -> str:
    """Say which model has answered, by whom it was served, and with what fingerprint, as far as the answer says so."""
    model, provider, fingerprint = (_get(output, name) for name in ("model", "provider", "system_fingerprint"))
    if isinstance(model, str):
        model = _without_folders(model)
    parts = (("", model), (" by ", provider), (", ", fingerprint))
    return "".join(before + value for before, value in parts if value and isinstance(value, str))[:200]


def _without_folders(model: str) -> str:
    """Leave the folders out of a model's name that is a path: they are the server's own business."""
    is_path = model.startswith(("/", "./", "../", "~")) or "\\" in model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] if is_path else model


class StreamedReply:
    """An answer that comes piece by piece, put together into the shape of a whole one."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._reason: Any = None
        self._top: dict[str, Any] = {}
        self._refusal = ""
        self._calls_tool = False
        self.pieces = 0

    def add(self, piece: Any) -> None:
        """Take the next piece."""
        for name in ("model", "provider", "system_fingerprint", "usage", "error"):
            if (value := _get(piece, name)) is not None:
                self._top[name] = value
        choice = _first(_get(piece, "choices"))
        if choice is None:
            return
        self._reason = _get(choice, "finish_reason") or self._reason
        delta = _get(choice, "delta")
        self._calls_tool = self._calls_tool or bool(_get(delta, "tool_calls"))
        self._refusal += read_text(_get(delta, "refusal"))
        content = _get(delta, "content")
        parts = content if isinstance(content, list) else [content]
        named = [*_named_parts(delta), *(("content", part) for part in parts)]
        for name, part in named:
            is_thought = _get(part, "type") in THOUGHT_PARTS
            if text := read_text(part):
                self._texts.setdefault("reasoning" if is_thought else name, []).append(text)
                self.pieces += 1

    def whole(self) -> dict[str, Any]:
        """Return what has come, in the shape of a whole answer."""
        if not self._texts and self._reason is None:
            return self._top
        message: dict[str, Any] = {name: "".join(texts) for name, texts in self._texts.items()}
        message |= {"refusal": self._refusal, "tool_calls": self._calls_tool}
        counted = {"usage": {"completion_tokens": self.pieces}}  # for servers that say nothing of it in a stream
        return {**counted, **self._top, "choices": [{"message": message, "finish_reason": self._reason}]}


def _named_parts(delta: Any) -> Iterable[tuple[str, Any]]:
    """Return the pieces of the thought: of several fields with the same text, one."""
    for name in THOUGHT_FIELDS:
        if value := _get(delta, name):
            return [(name, value)]
    return []


class _Usage:
    """The tokens that an answer says it took; 0 for what it does not say."""

    def __init__(self, usage: Any) -> None:
        self.prompt = _count(usage, "prompt_tokens", "input_tokens")
        self.completion = _count(usage, "completion_tokens", "output_tokens")
        of_prompt = _get(usage, "prompt_tokens_details") or _get(usage, "input_tokens_details")
        of_completion = _get(usage, "completion_tokens_details") or _get(usage, "output_tokens_details")
        cached = _count(of_prompt, "cached_tokens") or _count(usage, "cached_tokens", "prompt_cache_hit_tokens")
        self.cached = min(cached, self.prompt)
        self.reasoning = _count(of_completion, "reasoning_tokens") or _count(usage, "reasoning_tokens")


def _count(source: Any, *names: str) -> int:
    for name in names:
        value = _get(source, name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
            return int(value)
    return 0


def _get(source: Any, name: str) -> Any:
    """Get a value of a JSON object by name; `None` where there is none, or no object."""
    return source.get(name) if isinstance(source, dict) else None


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None
