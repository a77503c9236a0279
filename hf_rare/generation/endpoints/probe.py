"""Whether a server holds its answers to a JSON schema, found out by asking, and whether it thinks before them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from hf_rare.errors import ConfigError, EndpointError
from hf_rare.generation.endpoints.chat import ChatClient
from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.generation.endpoints.level import LONGEST_ASKED
from hf_rare.generation.protocol import Completion
from hf_rare.prompts.completion import split_completion
from hf_rare.settings.endpoint import make_response_format

QUESTION = ({"role": "user", "content": "Name a colour and say how many letters its name has."},)
"""What is asked: a model that is not held to the schema answers in words."""
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "maxLength": 20}, "letters": {"type": "integer"}},
    "required": ["colour", "letters"],
    "additionalProperties": False,
}
TRIES = 4
FIRST_PAUSE = 2.0
"""Seconds before a question is asked again, where the server does not say; twice as many each time."""
INSTEAD = "Pass json_schema=None: items are found in the text without it too."


async def probe_schema(client: ChatClient, fields: Mapping[str, Any]) -> None:
    """Find out whether a schema is kept, and whether the thought arrives with it that arrives without.

    Args:
        client ([`ChatClient`]): asks the server.
        fields (`Mapping[str, Any]`): the fields of every request, `response_format` among them.

    Raises:
        ConfigError: The server refuses or ignores a schema, or drops the thought where there is one.
        EndpointError: The server does not answer.
    """
    without = {name: value for name, value in fields.items() if name != "response_format"}
    held = await _ask(client, {**without, "response_format": make_response_format(SCHEMA)})
    if isinstance(held, Fault):
        if held.kind is not Kind.ROW:  # some servers answer 500 to what they do not know
            free = await _ask(client, without)
            if isinstance(free, Fault) and free.kind is not Kind.ROW:
                raise EndpointError(f"The server does not answer a first question: {free}.")
        raise ConfigError(f"The server refuses a JSON schema ({held}). {INSTEAD}")
    if held.is_cut:
        raise ConfigError(f"max_new_tokens is too low for thought and JSON: a short question was cut. {INSTEAD}")
    answer = split_completion(held.text)
    try:
        is_kept = set(json.loads(answer.visible)) == {"colour", "letters"}
    except (ValueError, TypeError):
        is_kept = False
    if not is_kept:
        raise ConfigError(f"The server ignores the JSON schema: it answers {answer.visible[:80]!r}. {INSTEAD}")
    if answer.thought:
        return
    free = await _ask(client, without)
    if isinstance(free, Completion) and split_completion(free.text).thought:
        raise ConfigError(
            "The model thinks before its answers, and under a JSON schema the server leaves the thought out. "
            f"{INSTEAD} Or turn thinking off, by what the server has for it in extra_body=..."
        )


async def _ask(client: ChatClient, fields: Mapping[str, Any]) -> Completion | Fault:
    """Return the answer, or what went wrong at last."""
    fault = Fault(Kind.BROKEN, "nothing was asked")
    for number in range(TRIES):
        try:
            return await client.complete(QUESTION, fields)
        except Fault as err:
            fault = err
        if fault.kind in (Kind.ROW, Kind.REFUSED) or (fault.wait or 0) > LONGEST_ASKED:
            break
        if number < TRIES - 1:
            await asyncio.sleep(FIRST_PAUSE * 2**number if fault.wait is None else fault.wait)
    return fault
