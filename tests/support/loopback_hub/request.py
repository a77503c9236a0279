"""A request, and the token that it came with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Token:
    user: str
    role: str  # "write", "read" or "fine"
    repos: tuple[str, ...] = ()  # that a fine-grained token may write to


@dataclass
class Request:
    """A request as it was received; `status` is None where no answer was sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    user: str | None = None
    status: int | None = None
    token: Token | None = field(default=None, repr=False)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def json(self) -> Any:
        return json.loads(self.body or b"{}")
