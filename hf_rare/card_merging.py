"""A card merged into the one that a repository has already, so that each of its configs keeps its part.

What is generated for a config stands between two comments, and only that is ever replaced.
"""

import re

from hf_rare.card_header import line_end_of, merge_headers, split_header
from hf_rare.errors import ConfigError

OPENING = re.compile(r"^<!-- hf_rare: config (.*?) -->[ \t]*\r?$", re.MULTILINE)
CLOSING_MARKER = "<!-- /hf_rare -->"
CLOSING = re.compile(r"^<!-- /hf_rare -->[ \t]*\r?(?:\n|\Z)", re.MULTILINE)


def opening_marker(config_name: str) -> str:
    """Give the line in front of what is generated for a config.

    Raises:
        ConfigError: No config can have this name.
    """
    if not re.fullmatch(r"[^\x00-\x1f<>:/\\|?*\u2028\u2029]+", config_name) or config_name != config_name.strip():
        raise ConfigError(
            f"config_name={config_name!r} cannot be the name of a config: expected letters, digits and punctuation "
            r"other than <>:/\|?*."
        )
    return f"<!-- hf_rare: config {config_name} -->"


def merge_cards(existing: str, new: str, *, keep_splits: bool = True) -> str:
    """Merge a new card into the card that is there already.

    What the new card says of its configs replaces what the existing one says of them; other configs, and every line
    that a person wrote, stay as they are. The keys of the YAML header that a person wrote win, apart from what
    describes the data (`configs`, `dataset_info`, `size_categories`); `tags`, `base_model` and `source_datasets` are
    united. Merging the same card again changes nothing.

    Args:
        existing (`str`):
            The card that is there; empty where there is none.
        new (`str`):
            A card from [`build_card`].
        keep_splits (`bool`, *optional*, defaults to `True`):
            Whether splits of the same config that the new card does not have stay in the header.

    Returns:
        `str`: the merged card.

    Raises:
        ConfigError: The YAML header of a card cannot be read, or a generated part has lost its end.
    """
    if not existing.strip("\ufeff \t\r\n"):
        return new
    old_header, old_body = split_header(existing)
    new_header, new_body = split_header(new)
    header = merge_headers(old_header, new_header, keep_splits)
    body = _merge_bodies(old_body, new_body) if old_body.strip() else new_body
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
    for opening in OPENING.finditer(body):
        name, closing = opening[1], CLOSING.search(body, opening.end())
        following = OPENING.search(body, opening.end())
        if closing is None or (following and following.start() < closing.start()):
            raise ConfigError(
                f"The card's generated part for config {name!r} has lost its end. Put a line {CLOSING_MARKER} behind "
                "it, or delete it with its first line."
            )
        if name in blocks:
            raise ConfigError(f"The card has two generated parts for config {name!r}. Delete one of them.")
        blocks[name] = (opening.start(), closing.end())
    return blocks


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
