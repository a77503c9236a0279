"""From the values of a batch to prompts that fit the model: rows are checked, prompts built, encoded, and shortened.

What is wrong with a row becomes its status here, before anything is generated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hf_rare.errors import TemplateError
from hf_rare.generation.protocol import EncodedPrompt, Encoder, Generator
from hf_rare.prompts.budget import MIN_DOCUMENT_TOKENS, shorten_documents
from hf_rare.prompts.prompt import Prompt, PromptBuilder
from hf_rare.rows.columns import Status
from hf_rare.rows.row import InvalidRowError, JudgedAnswer, Row

FIT_ATTEMPTS = 8
"""Cutting a text can change how its end is tokenised, so a cut is measured and repeated; two attempts are the rule."""


@dataclass
class PreparedRow:
    """A row on its way to the model.

    Args:
        row ([`Row`] or [`JudgedAnswer`], *optional*): its content; `None` when it is invalid.
        prompt ([`Prompt`], *optional*): its messages.
        encoded ([`EncodedPrompt`], *optional*): its tokens.
        status (`str`): `ok` when it can be generated.
        error (`str`): why it cannot.
    """

    row: Row | JudgedAnswer | None = None
    prompt: Prompt | None = None
    encoded: EncodedPrompt | None = None
    status: Status = "ok"
    error: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it can be generated."""
        return self.status == "ok"

    @property
    def prompt_tokens(self) -> int:
        """Tokens of its prompt; 0 where none was made."""
        return len(self.encoded.token_ids) if self.encoded is not None else 0

    def reject(self, status: Status, error: str) -> None:
        """Set why this row cannot be generated."""
        self.status, self.error = status, error


def prepare_rows(
    batch: Iterable[Mapping[str, Any]], prompts: PromptBuilder[Any], generator: Generator
) -> list[PreparedRow]:
    """Prepare the rows of a batch for the model.

    Args:
        batch (`Iterable[Mapping[str, Any]]`):
            The rows, value by column name.
        prompts ([`PromptBuilder`]):
            Checks the values of a row and makes its prompt.
        generator ([`Generator`]):
            Encodes the prompts and knows how long they may be.

    Returns:
        `list[PreparedRow]`: one for each row, in order.
    """
    prepared = [_build(values, prompts) for values in batch]
    to_encode = [row for row in prepared if row.prompt is not None]
    encoder = generator.encoder
    encoded = encoder.encode([row.prompt.messages for row in to_encode if row.prompt is not None])
    limit = encoder.max_prompt_tokens
    for row, prompt in zip(to_encode, encoded, strict=True):
        row.encoded = prompt
        if prompt.error:
            row.reject("failed", prompt.error)
        elif limit is not None and len(prompt.token_ids) > limit:
            try:
                fit_prompt(row, prompts, encoder, limit)
            except TemplateError as err:  # a template may fail on a shorter text alone
                row.reject("failed", str(err))
    return prepared


def _build(values: Mapping[str, Any], prompts: PromptBuilder[Any]) -> PreparedRow:
    prepared = PreparedRow()
    try:
        prepared.row = prompts.read(values)
        prepared.prompt = prompts.build(prepared.row, {})
    except InvalidRowError as err:
        prepared.reject("invalid_input", str(err))
    except TemplateError as err:
        prepared.reject("failed", str(err))
    return prepared


def fit_prompt(prepared: PreparedRow, prompts: PromptBuilder[Any], encoder: Encoder, limit: int) -> None:
    """Shorten the documents of a row until its prompt fits, or set the status `prompt_too_long`.

    Args:
        prepared ([`PreparedRow`]): the row, with its encoded prompt.
        prompts ([`PromptBuilder`]): makes the prompt with shortened documents.
        encoder ([`Encoder`]): counts and shortens.
        limit (`int`): most tokens of the prompt.

    Raises:
        TemplateError: The template fails on a shorter text.
    """
    if prepared.row is None or prepared.encoded is None:
        return
    documents, full_length = prepared.row.documents, len(prepared.encoded.token_ids)
    lengths = encoder.count_tokens(documents)
    shortest = [min(length, MIN_DOCUMENT_TOKENS) for length in lengths]
    kept, excess = lengths, full_length - limit
    for _ in range(FIT_ATTEMPTS):
        if kept == shortest:
            break
        # a template may use a document twice: then `excess` overstates what must go, and the shortest is tried at last
        kept = shorten_documents(lengths, excess) or shortest
        cut = [i for i in range(len(lengths)) if kept[i] < lengths[i]]
        prompt = prompts.build(prepared.row, {i: encoder.shorten(documents[i], kept[i]) for i in cut})
        (encoded,) = encoder.encode([prompt.messages])
        if encoded.error:
            prepared.reject("failed", encoded.error)
            return
        if len(encoded.token_ids) <= limit:
            prepared.prompt, prepared.encoded = prompt, encoded
            return
        excess += len(encoded.token_ids) - limit
    prepared.reject(
        "prompt_too_long",
        f"the prompt has {full_length} tokens, the context leaves {limit} for it, and cutting documents is not enough",
    )
