"""Pages of documentation: their code blocks, links and headings, and what running the blocks takes."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.conftest import REPOSITORY
from tests.support.chat_server import complete, serving
from tests.support.rote import SHA, put_into_cache, save_stand_ins

FACTS = {
    "bread": "Dough for bread rises twice as fast in a bakery that is ten degrees warmer.",
    "the ferry": "A ferry leaves late when the ropes are wet, since wet ropes take longer to untie.",
    "the bees": "Bees of a crowded hive swarm in May, unless a second box gives them room.",
    "the well": "Water in a well stands lower in autumn, after months in which the ground gave more than it got.",
    "the clock": "A clock with a brass pendulum loses time in summer, because brass grows longer when warm.",
    "the kite": "A kite pulls harder when its tail is short, and turns over when it has none.",
}
QUESTIONS = [
    {
        "id": f"q{i}",
        "question": f"What will become of {subject} in this case?",
        "scenario": f"Somebody has looked after {subject} since a warm day in May.",
        "text": fact,
        "hard_negatives": [f"Old books praise {subject} {place}." for place in ("at sea", "in towns", "in winter")],
        "answer": fact,
    }
    for i, (subject, fact) in enumerate(FACTS.items())
]
EXAM = [
    {
        "question": row["question"],
        "options": ["Nothing follows.", row["answer"], "The case is closed."],
        "answer": "B" if i % 2 else "A",
        "text": row["text"],
    }
    for i, row in enumerate(QUESTIONS[:4])
]


@dataclass(frozen=True)
class Block:
    """A code block: its language, what stands behind the language, its text, and the line it begins at."""

    language: str
    info: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """A Markdown file of the repository."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(REPOSITORY).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    @property
    def blocks(self) -> list[Block]:
        fences = [token for token in self.tokens if token.type == "fence"]
        return [Block(*token.info.partition(" ")[::2], token.content, token.map[0] + 2) for token in fences]

    def blocks_of(self, language: str) -> list[Block]:
        return [block for block in self.blocks if block.language == language]

    @property
    def links(self) -> list[str]:
        inline = [child for token in self.tokens for child in token.children or ()]
        return [str(token.attrGet("href") or token.attrGet("src")) for token in inline if token.type in KINDS]

    @property
    def headings(self) -> list[str]:
        opened = [i for i, token in enumerate(self.tokens) if token.type == "heading_open"]
        inline = [self.tokens[i + 1].children or () for i in opened]
        return ["".join(child.content for child in children if child.content) for children in inline]

    @property
    def anchors(self) -> set[str]:
        return {make_anchor(heading) for heading in self.headings}

    def section(self, heading: str) -> str:
        """The text below a heading, up to the next one of its level or above."""
        opening = re.search(rf"^(#+) {re.escape(heading)}$", self.text, re.MULTILINE)
        assert opening, f"{self} has no heading {heading!r}"
        rest = self.text[opening.end() :]
        return re.split(rf"^#{{1,{len(opening[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


KINDS = ("link_open", "image")


def make_anchor(heading: str) -> str:
    """Make the anchor of a heading, as GitHub does."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def find_pages() -> list[Page]:
    """Find the pages for users, and that for contributors."""
    docs = sorted((REPOSITORY / "docs").rglob("*.md"))
    return [Page(path) for path in (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *docs)]


def write_inputs(folder: Path) -> None:
    """Write the files that pages read: questions with documents, documents alone, and questions with options."""
    rows = Dataset.from_list(QUESTIONS)
    rows.to_json(folder / "questions.jsonl")
    (folder / "questions").mkdir()
    rows.to_parquet(folder / "questions" / "0.parquet")
    rows.select_columns("text").to_json(folder / "corpus.jsonl")
    Dataset.from_list(EXAM).to_json(folder / "exam.jsonl")
    rows.select(range(1)).select_columns("question").to_json(folder / "benchmark.jsonl")
    shutil.copytree(REPOSITORY / "pipelines", folder / "pipelines")


def run_blocks(page: Page, folder: Path) -> Iterator[tuple[Block, dict[str, Any]]]:
    """Run the Python blocks of a page one after another, in one namespace; YAML blocks with a title become files."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in page.blocks:
        if title := re.fullmatch(r'title="([\w./-]+)"', block.info):
            (folder / title[1]).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.text
            exec(compile(code, str(page.path), "exec"), namespace)
            yield block, namespace


def serve_models(hub: Any) -> None:
    """Let a loopback Hub know every model, all files of which are in the cache."""
    answer_datasets = hub.answer

    def answer(request: Any) -> Any:
        answer = answer_datasets(request)
        if re.fullmatch(r"/api/models/[^/]+/[^/?]+", request.path):
            answer.body, answer.status, answer.headers = {"id": "me/model", "sha": SHA}, 200, {}
        elif re.match(r"/api/models/|/[\w.-]+/[\w.-]+/resolve/", request.path):
            answer.headers = {**answer.headers, "X-Error-Code": "EntryNotFound"}
        return answer

    hub.answer = answer


ENDPOINT = 'base_url="http://localhost'
HUB_CALLS = ("push_to_hub(", "from_recipe(", "checkpoint_repo=")


@pytest.fixture(name="stand_ins", scope="module")
def stand_ins_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of what stands in for the models that the documentation names."""
    return save_stand_ins(tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture(name="enter")
def enter_fixture(
    request: pytest.FixtureRequest, stand_ins: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Path]]:
    """Go where some code can run: inputs and models are there, and a Hub or a server where it needs one."""

    def enter(code: str) -> Path:
        if any(call in code for call in HUB_CALLS):
            serve_models(request.getfixturevalue("hub"))
        else:
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        if ENDPOINT in code:
            server = stack.enter_context(serving(complete("<think>It follows from the document.</think>It is so.")))
            monkeypatch.setenv("http_proxy", server.base_url.removesuffix("/v1"))  # it answers whatever the address
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
        for name, model in stand_ins.items():
            put_into_cache(name, model)
        folder = tmp_path / "inputs"
        folder.mkdir()
        write_inputs(folder)
        monkeypatch.chdir(folder)
        return folder

    with contextlib.ExitStack() as stack:
        yield enter
