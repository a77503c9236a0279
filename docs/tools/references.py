"""What griffe makes of the docstrings: types and references as Hugging Face writes them become those of the site.

[`Name`] leads to the page of the name, where it has one. Of "`str`, *optional*, defaults to 1" the type `str` is left,
since the site knows defaults from the signature.
"""

import re
from pathlib import Path
from typing import Any

import griffe

REFERENCE = re.compile(r"\[`(~?)([\w.]+)`\](?![\[(])")
PARAMETER = re.compile(r"^( +\*{0,2}\w+ )\((.*`.*)\):", re.MULTILINE)
RETURNED = re.compile(r"^( *(?:Returns|Yields):\n +)((?:\[?`[^`]+`\]?(?:, | or )?)+):", re.MULTILINE)
DIRECTIVE = re.compile(r"^::: (hf_rare[\w.]*)$", re.MULTILINE)
PAGES = Path(__file__).parent.parent / "reference"


class References(griffe.Extension):
    """Turns types and references in docstrings into those of the site; names without a page become code."""

    def __init__(self) -> None:
        paths = [path for page in PAGES.glob("*.md") for path in DIRECTIVE.findall(page.read_text(encoding="utf-8"))]
        self._paths = {path.rpartition(".")[2]: path for path in paths}

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is None:
            return
        text = PARAMETER.sub(lambda match: f"{match[1]}({read_type(match[2])}):", obj.docstring.value)
        text = text.replace("Example:\n", "Examples:\n")  # by this name griffe knows code
        text = RETURNED.sub(lambda match: f"{match[1]}{read_type(match[2])}:", text)
        obj.docstring.value = REFERENCE.sub(self._lead, text)

    def _lead(self, match: re.Match[str]) -> str:
        name = match[2].rpartition(".")[2] if match[1] else match[2]
        first, *rest = match[2].split(".")
        path = self._paths.get(first)
        return f"[`{name}`][{'.'.join([path, *rest])}]" if path else f"`{name}`"


def read_type(text: str) -> str:
    """Read a type, such as `str` in "`str`, *optional*, defaults to 1"."""
    kind = re.split(r", \*optional\*|, defaults to", text)[0]
    kind = re.sub(r"\[?`~?([^`]+)`\]?", r"\1", kind)
    return re.sub(r",? or |, (?=[\w\"'][^\[\]]*$)", " | ", kind) if " of " not in kind else kind
