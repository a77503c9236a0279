"""A generator of one's own, whose completions are written by a function of prompt and seed."""

from collections.abc import Callable

from hf_rare import Completion, EncodedPrompt, Encoder, Generator


class LastMessage(Encoder):
    """A prompt is its last message, without tokens."""

    def encode(self, conversations):
        return [EncodedPrompt(messages, messages[-1]["content"], []) for messages in conversations]


class ScriptedGenerator(Generator):
    """Answers what `write(text, seed)` gives: a text, or a completion. It notes what it was asked.

    Args:
        write (`Callable[[str, int], str | Completion]`): gives the completion of a prompt.
        name (`str`): tells its journal from others.
        is_sampling (`bool`): whether seeds matter.
    """

    encoder = LastMessage()
    is_sampling = True

    def __init__(self, write: Callable, name: str = "scripted", is_sampling: bool = True) -> None:
        self.write, self.name, self.is_sampling = write, name, is_sampling
        self.asked: list[tuple[str, int]] = []

    def __getstate__(self):
        return {**vars(self), "asked": []}

    def identity(self):
        return {"model_id": self.name}

    def generate(self, source, observer=None):
        while jobs := source.take(1):
            (job,) = jobs
            self.asked.append((job.prompt.text, job.seed))
            if observer is not None:
                observer.begin(jobs)
            written = self.write(job.prompt.text, job.seed)
            completion = written if isinstance(written, Completion) else Completion(written, "stop", 7, 3)
            if observer is not None and not completion.error:
                observer.add_tokens(completion.prompt_tokens, completion.completion_tokens)
            yield [(job, completion)]
