"""A generator of one's own, whose completions are written by a function of prompt and seed."""

from collections.abc import Callable

from hf_rare.generation.protocol import Completion, EncodedPrompt


class ScriptedGenerator:
    """Answers what `write(text, seed)` gives: a text, or a completion. It notes what it was asked.

    Args:
        write (`Callable[[str, int], str | Completion]`): gives the completion of a prompt.
        name (`str`): tells its journal from others.
        is_sampling (`bool`): whether seeds matter.
    """

    max_prompt_tokens = None
    spans_processes = False

    def __init__(self, write: Callable, name: str = "scripted", is_sampling: bool = True) -> None:
        self.write, self.name, self.is_sampling = write, name, is_sampling
        self.asked: list[tuple[str, int]] = []

    def identity(self):
        return {"model_id": self.name}

    def settings(self):
        return {}

    def encode(self, conversations):
        return [EncodedPrompt(messages, messages[-1]["content"], []) for messages in conversations]

    def pack(self, lengths, processes=1):
        return [[place] for place in range(len(lengths))]

    def load(self):
        pass

    def generate(self, prompts, seeds, observer=None):
        for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            self.asked.append((prompt.text, seed))
            written = self.write(prompt.text, seed)
            yield [(i, written if isinstance(written, Completion) else Completion(written, "stop", 7, 3))]
