"""Private names of huggingface_hub: what a commit leaves out, and how its client for inference sends a request."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import AsyncInferenceClient, CommitOperationAdd

from hf_rare.compat.private import look_up

SEEN = "2.4.0"
"""The version that was last seen to have these names."""


def is_ignored(addition: CommitOperationAdd) -> bool:
    """Tell of a file that was uploaded beforehand whether a `.gitignore` keeps it out: `_should_ignore`."""
    return bool(look_up(addition, "_should_ignore", "huggingface_hub", SEEN))


class ChatRequest(AsyncInferenceClient, abc.ABC):
    """One request for a chat completion, sent in a way of one's own: `_inner_post`.

    The client knows addresses, headers, keys and the ways of providers. It has one connection pool of its own, keeps
    streams open until it is closed, rewrites the schema of `response_format` for servers at an address, and gives back
    only the fields it knows. So it makes the request here, and [`ChatRequest.send`] of a subclass sends it.
    """

    async def make(self, messages: Sequence[Mapping[str, str]], model: str, fields: Mapping[str, Any]) -> None:
        """Make the request and send it.

        Args:
            messages (`Sequence[Mapping[str, str]]`): the conversation.
            model (`str`): what the server calls the model.
            fields (`Mapping[str, Any]`): the other fields of the request.
        """
        look_up(AsyncInferenceClient, "_inner_post", "huggingface_hub", SEEN)
        self._fields = dict(fields)
        await self.chat_completion([dict(message) for message in messages], model=model, extra_body=self._fields)

    async def _inner_post(self, request_parameters: Any, *, stream: bool = False) -> Any:
        body = {**request_parameters.json, **self._fields}
        await self.send(request_parameters.url, request_parameters.headers, body)
        return b"{}"  # what the client makes an answer of that nobody reads

    @abc.abstractmethod
    async def send(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        """Send the request that the client has made."""
