"""Which function answers which request."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.storage import Answer

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

Route = Callable[..., Answer]
GROUPS = {"repo": "[^/]+/[^/]+", "path": ".+", "num": r"\d+", "action": "[a-z]+", "kind": "read|write"}
API = "/api/datasets/{repo}"


class Routes(list[tuple[str, re.Pattern[str], Route]]):
    """Methods and paths, each with the function that answers such requests: it takes the hub and the request."""

    def add(self, method: str, path: str) -> Callable[[Route], Route]:
        """Let a function answer requests; what stands in braces becomes an argument."""
        pattern = re.sub(r"{(\w+)}", lambda match: f"(?P<{match[1]}>{GROUPS.get(match[1], '[^/]+')})", path)

        def register(function: Route) -> Route:
            self.append((method, re.compile(pattern), function))
            return function

        return register


def give_page(hub: "LoopbackHub", request: Request, items: list[Any]) -> Answer:
    """Return the items of the page that is asked for, and the address of the next."""
    query = request.query
    start = int(query.get("cursor", 0))
    end = start + min(hub.page_size, int(query.get("limit", hub.page_size)))
    headers = {}
    if end < len(items):
        path = urlsplit(request.path).path
        headers["Link"] = f'<{hub.url}{path}?{urlencode(query | {"cursor": str(end)})}>; rel="next"'
    return Answer(items[start:end], headers=headers)
