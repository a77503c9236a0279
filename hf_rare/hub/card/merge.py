"""A card merged into the one that a repository has already, so that each of its configs keeps its part.

What is generated for a config stands between two comments, and that is replaced. Outside of it only two sentences are,
where they stand as they were generated: which datasets the rows come from, and that no licence was given.
"""

import bisect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.hub.card.header import Header, explaining_header, line_end_of, merge_headers, read_header, split_header
from hf_rare.hub.card.markdown import code, join

OPENING = re.compile(r"^<!-- hf_rare: config (.*?) -->[ \t]*\r?$", re.MULTILINE)
CLOSING_MARKER = "<!-- /hf_rare -->"
CLOSING = re.compile(r"^<!-- /hf_rare -->[ \t]*\r?(?:\n|\Z)", re.MULTILINE)
LINE = re.compile(r"^ {0,3}([`~]{3}[^\n]*)$", re.MULTILINE)
FENCE = re.compile(r"(`{3,}(?=[^`]*$)|~{3,})")
"""The line that begins a block of code, by CommonMark 0.31, section 4.5."""
NO_LICENCE = "No licence was given: ask the owner what you may do with these rows."
LICENCE = re.compile(r"^## Licence\r?\n\r?\n([^\r\n]+)", re.MULTILINE)
INTRODUCTION = (
    "These rows are made to train smaller models that reason over retrieved documents instead of memorising them."
)


def describe_sources(names: Any) -> str:
    """Say in a sentence which datasets the rows come from, as a header names them."""
    listed = list(names) if isinstance(names, list | tuple) else [names] if names else []
    return f"The rows come from {join(map(code, listed))}." if listed else "Where the rows come from was not recorded."


def opening_marker(config_name: str) -> str:
    """Return the line in front of what is generated for a config.

    Raises:
        ConfigError: No config can have this name.
    """
    if not re.fullmatch(r"[^\x00-\x1f<>:/\\|?*\u2028\u2029]+", config_name) or config_name != config_name.strip():
        raise ConfigError(
            f"config_name={config_name!r} cannot be the name of a config: expected letters, digits and punctuation "
            r"other than <>:/\|?*."
        )
    return f"<!-- hf_rare: config {config_name} -->"


def merge_cards(existing: str, new: str) -> str:
    """Merge a new card into the card that is there already.

    What the new card says of its configs replaces what the existing one says of them; other configs, and every line
    that a person wrote, stay as they are. The keys of the YAML header that a person wrote win, apart from what
    describes the data (`configs`, `dataset_info`, `size_categories`); `tags`, `base_model` and `source_datasets` are
    united. What was generated of sources and licence is brought up to the header. Merging the same card again changes
    nothing.

    Args:
        existing (`str`):
            The card that is there; empty where there is none.
        new (`str`):
            A card from [`build_card`].

    Returns:
        `str`: the merged card.

    Raises:
        ConfigError: The YAML header of a card cannot be read, or a generated part has lost its end.
    """
    if not existing.strip("\ufeff \t\r\n"):
        return new
    old_header, old_body = split_header(existing)
    new_header, new_body = split_header(new)
    with explaining_header():
        header = merge_headers(old_header, new_header)
    body = _merge_bodies(old_body, new_body) if old_body.strip() else new_body
    body = _merge_sentences(body, new_body, *map(read_header, (old_header, new_header, header)))
    if header.rstrip("\r\n") == old_header.rstrip("\r\n") and body == old_body:
        return existing
    line_end = line_end_of(existing)
    return f"---{line_end}{header}---{line_end}{body}"


def find_blocks(body: str) -> dict[str, tuple[int, int]]:
    """Find what was generated for each config: where it begins and ends in the text.

    Raises:
        ConfigError: A generated part does not end, or there are two of a config.
    """
    blocks: dict[str, tuple[int, int]] = {}
    fences = list(_find_fences(body))
    openings = [found for found in OPENING.finditer(body) if not _is_within(found.start(), fences)]
    closings = [found for found in CLOSING.finditer(body) if not _is_within(found.start(), fences)]
    for number, opening in enumerate(openings):
        name = opening[1]
        place = bisect.bisect_left(closings, opening.end(), key=re.Match.start)
        closing = closings[place] if closings[place:] else None
        following = openings[number + 1] if openings[number + 1 :] else None
        if closing is None or (following and following.start() < closing.start()):
            raise ConfigError(
                f"The card's generated part for config {name!r} has lost its end. Put a line {CLOSING_MARKER} behind "
                "it, or delete it with its first line."
            )
        if name in blocks:
            raise ConfigError(f"The card has two generated parts for config {name!r}. Delete one of them.")
        blocks[name] = (opening.start(), closing.end())
    return blocks


def _find_fences(body: str) -> Iterator[tuple[int, int]]:
    """Find the blocks of code between fences, in which people may show what a generated part looks like.

    A fence that never closes is taken for none.
    """
    start, mark = -1, ""
    for line in LINE.finditer(body):
        found = line[1].rstrip()
        if start < 0 and (opening := FENCE.match(found)):
            start, mark = line.start(), opening[1]
        elif start >= 0 and set(found) == {mark[0]} and len(found) >= len(mark):
            # one that a person has forgotten to close is none: it would end within what was generated below it
            last = max((marker.end() for marker in OPENING.finditer(body, start, line.end())), default=start)
            if last == start or CLOSING.search(body, last, line.end()):
                yield start, line.end()
            start = -1


def _is_within(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    number = bisect.bisect_right(spans, (place, len(spans) and spans[-1][1])) - 1
    return number >= 0 and place < spans[number][1]


def _merge_bodies(old: str, new: str) -> str:
    line_end = line_end_of(old)
    for name, (start, end) in find_blocks(new).items():
        block = new[start:end].rstrip("\r\n").replace("\n", line_end) + line_end
        blocks = find_blocks(old)
        if name in blocks:
            start, end = blocks[name]
            old = old[:start] + block + old[end:]
        elif blocks:
            place = max(end for _, end in blocks.values())
            gap = "" if old[:place].endswith("\n") else line_end
            old = old[:place] + gap + line_end + block + old[place:]
        else:
            gap = "" if old.endswith("\n") else line_end
            old += gap + line_end + block
    return old


def _merge_sentences(body: str, new_body: str, old: Header, new: Header, merged: Header) -> str:
    """Bring what is said outside of the blocks up to the header, where it stands word for word as it was generated."""
    if merged.get("license") == new.get("license") and len(licences := _find_outside(new_body, LICENCE)) == 1:
        body = _replace_outside(body, r"## Licence", NO_LICENCE, licences[0][1])
    for sentence in {describe_sources(old.get("source_datasets")), describe_sources(None)}:
        body = _replace_outside(body, INTRODUCTION, sentence, describe_sources(merged.get("source_datasets")))
    return body


def _replace_outside(body: str, above: str, old: str, new: str) -> str:
    """Replace a sentence in the place where it was generated: below the line `above`, and once."""
    pattern = re.compile(rf"^{re.escape(above)}\r?\n\r?\n({re.escape(old)})(?=\s)", re.MULTILINE)
    found = _find_outside(body, pattern)
    return body[: found[0].start(1)] + new + body[found[0].end(1) :] if len(found) == 1 else body


def _find_outside(body: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Find a pattern outside of what was generated for a config."""
    blocks = find_blocks(body).values()
    return [found for found in pattern.finditer(body) if not any(a <= found.start() < b for a, b in blocks)]
