"""How a chat template reads the content of a message: as a text, or as a list of parts of which one is a text."""

from collections.abc import Callable

from hf_rare.errors import ConfigError

Content = str | list[dict[str, str]]

PROBES = ("hf-rare-first", "hf-rare-second")


def as_text(text: str) -> Content:
    """Return a text as it is."""
    return text


def as_parts(text: str) -> Content:
    """Return a text as the only part of a list, as templates of models that see read it."""
    return [{"type": "text", "text": text}]


def choose_content(render: Callable[[Content], str]) -> Callable[[str], Content]:
    """Choose how messages are given to a chat template: as text, or as parts where a text leaves no trace.

    Args:
        render (`Callable`): renders a conversation with one user message of this content.

    Returns:
        `Callable`: makes the content of a message from its text.

    Raises:
        ConfigError: The template renders a question, and drops its text in either form.
    """
    failed = False
    for content in (as_text, as_parts):
        try:
            first, second = (render(content(probe)) for probe in PROBES)
        except Exception:  # a template raises what it likes
            failed = True
            continue
        if first != second:
            return content
    if failed:
        return as_text  # the error is told where the first conversation is rendered
    raise ConfigError(
        "The chat template of the model drops the text of a question, given as a text and as a list of parts. Set "
        "tokenizer.chat_template to one that writes it, or check chat_template_kwargs."
    )
