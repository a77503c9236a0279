"""A Markdown extension: links to files of the repository that are no pages lead to the repository on the site."""

import re
from pathlib import Path
from typing import Any

from markdown import Extension
from markdown.preprocessors import Preprocessor

REPOSITORY = Path(__file__).parent.parent.parent
LINK = re.compile(r"\]\((?:\.\./)+([^)\s#]+)")


class RepositoryLinks(Preprocessor):
    """Leads links out of `docs/` to the address of the repository."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def run(self, lines: list[str]) -> list[str]:
        """Change the lines of a page."""
        return [LINK.sub(self._lead, line) for line in lines]

    def _lead(self, match: re.Match[str]) -> str:
        is_of_repository = (REPOSITORY / match[1]).exists()
        return f"]({self._address}/{match[1]}" if is_of_repository else match[0]


class RepositoryLinksExtension(Extension):
    """Takes the address of the repository's files as `address`."""

    def __init__(self, **kwargs: Any) -> None:
        self.config = {"address": ["", "Address of the repository's files"]}
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Any) -> None:
        """Register the preprocessor."""
        md.preprocessors.register(RepositoryLinks(self.getConfig("address")), "repository_links", 5)


def makeExtension(**kwargs: Any) -> RepositoryLinksExtension:
    """Make the extension, under the name that Markdown looks for."""
    return RepositoryLinksExtension(**kwargs)
