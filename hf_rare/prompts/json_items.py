"""The items that a model was asked for as JSON, whatever it wraps them in and writes beside them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hf_rare.prompts.json_text import Located, locate_json, unescape
from hf_rare.text import split_words

_DRAFTS = {"draft", "example", "positive", "original", "rejected", "discarded", "previous", "attempt"}
_DRAFTS |= {"source", "reference", "citation"}
_BESIDE = _DRAFTS.union(
    ("answer", "choice", "comment", "concept", "constraint", "difficulty", "error", "explanation", "hint", "issue"),
    ("key", "keyword", "message", "note", "option", "plan", "principle", "rationale", "reason", "reasoning"),
    ("refusal", "apology", "requirement", "status", "step", "suggestion", "summary", "tag"),
    ("term", "thinking", "thought", "title", "topic", "type", "warning", "word", "check"),
)
"""Words, in the singular, by which names of other things than items are known."""

_GENERIC = ("text", "passage")
"""Names that other things than items have too."""

_REVISED = re.compile(
    r"\b(?:final|revised?|improved|better|instead|rather|corrected|updated|rewritten|rewrite|endg\u00fcltig|besser|"
    r"version finale|mejor|definitiv[ao]?)\b|\u6700\u7ec8|\u6539\u8fdb|\u4fee\u6539",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"(?:I'?m sorry|Sorry|I (?:cannot|can't|can not|am unable)|Unable to|As an AI)\b[^?]*$")
_FENCE = re.compile(r"(?:```|~~~)\w*")
_MIN_WORDS = 4
"""Fewer words are a keyword, unless they ask something."""


def find_items(text: str, names: Sequence[str], is_cut: bool = False) -> list[Any]:
    """Find the items that a model was asked for.

    Args:
        text (`str`):
            The text, without the thought.
        names (`Sequence[str]`):
            Keys that an item has as a dict, the first of them as it was asked for.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether the end of the text is missing.

    Returns:
        `list`: dicts that have one of `names`, in lower case, with a text that has words; where no JSON value holds
        one, texts: in a list under such a name, or in a list of sentences and nothing else. Of several JSON values
        that hold a list of items the last one counts, since a model may draft before it decides; so does what stands
        behind a word such as "better". What stands under names such as `keywords` or `draft` is no item.
    """
    text = unescape(text)
    found = locate_json(text, is_cut)
    found = found[_count_drafts(text, found, names) :]
    for find in (_find_dicts, _find_named_texts):
        values = [value for value, _, _ in found]
        lists = [value for value in values if isinstance(value, list) or any(map(_is_container, value.values()))]
        items = next((items for value in reversed(lists) if (items := list(find(value, names)))), [])
        if items := items or [item for value in values for item in find(value, names)]:
            return items
    return _find_sentences(text, found)


def _count_drafts(text: str, found: Sequence[Located], names: Sequence[str]) -> int:
    """Count the JSON values that stand before one that is said to be better and holds items."""
    for number in range(len(found) - 1, 0, -1):
        between = text[found[number - 1].end : found[number].start]
        if _REVISED.search(between) and any(_find_dicts(found[number].value, names)):
            return number
    return 0


def _find_dicts(value: Any, names: Sequence[str]) -> Iterator[Any]:
    """Find the dicts that are items; of one that holds a list under their name, only what is in it."""
    if isinstance(value, list):
        for part in value:
            yield from _find_dicts(part, names)
    if not isinstance(value, Mapping):
        return
    item = {str(name).lower(): _as_valid(part) for name, part in value.items()}
    if any(isinstance(item.get(name), str) and split_words(item[name]) for name in names):
        yield item
        return
    named = [part for name, part in item.items() if _is_name_of_items(name, names)]
    items = [found for part in named for found in _find_in_named(part, names)]
    if items:
        yield from items
        return
    for name, part in item.items():
        if not _words(name) & _DRAFTS:  # a note too has a text
            own = [known for known in names if known not in _GENERIC] if _words(name) & _BESIDE else names
            yield from _find_dicts(part, own)


def _find_in_named(value: Any, names: Sequence[str]) -> list[Any]:
    """Find the dicts that are items, and the sentences in a list with them."""
    found = list(_find_dicts(value, names))
    if not found or not isinstance(value, list):
        return found
    parts = ([_as_valid(part)] if isinstance(part, str) else _find_dicts(part, names) for part in value)
    return [item for items in parts for item in items if not isinstance(item, str) or _is_sentence(item)]


def _find_named_texts(value: Any, names: Sequence[str]) -> Iterator[str]:
    """Find the texts under names of items, in lists or alone."""
    if isinstance(value, list):
        for part in value:
            yield from _find_named_texts(part, names)
    if not isinstance(value, Mapping):
        return
    for name, part in value.items():
        if _is_name_of_items(str(name), names):
            texts = part if isinstance(part, list) else [part]
            yield from (_as_valid(text) for text in texts if isinstance(text, str) and _says_something(text))
        if not _words(str(name)) & _BESIDE:
            yield from _find_named_texts(part, names)


def _find_sentences(text: str, found: Sequence[Located]) -> list[str]:
    """Find the texts of a list that is all there is, or the only one and holds sentences."""
    if len(found) != 1:
        return []
    value, start, end = found[0]
    around = _FENCE.sub("", text[:start] + text[end:]).strip(" \n\t`")
    if isinstance(value, Mapping):
        (name, value), *others = value.items()
        if others or _words(str(name)) & _BESIDE or not isinstance(value, list):
            return []
        around = str(name)
    texts = [_as_valid(part) for part in value if isinstance(part, str)]
    if len(texts) < len(value) or (around and not all(map(_is_sentence, texts))):
        return []
    return [part for part in texts if _says_something(part)]


def _says_something(text: str) -> bool:
    return bool(split_words(text)) and not _REFUSED.match(text)


def _is_sentence(text: str) -> bool:
    words = split_words(text)
    return len(words) >= _MIN_WORDS or bool(words and re.search(r"[?\uff1f\u061f]\W*$", text))


def _is_name_of_items(name: str, names: Sequence[str]) -> bool:
    """Tell whether items are named so: `questions`, `hardQueries`, `question_1`, `negative documents`, `list`."""
    words = _split_name(name)
    words = words[:-1] if len(words) > 1 and words[-1] in ("list", "array", "set") else words
    if not words or set(words) & _BESIDE:
        return False
    return any(words[-1] == part for part in (*(_split_name(known)[-1] for known in names), "negative"))


def _words(name: str) -> set[str]:
    return set(_split_name(name))


def _split_name(name: str) -> list[str]:
    """Split a name into its words, in lower case and the singular, without numbers."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    return [word[:-3] + "y" if word.endswith("ies") else re.sub(r"(?<=[a-rt-z])s$", "", word) for word in words]


def _as_valid(value: Any) -> Any:
    """Put a question mark in the place of half a surrogate pair, which JSON can escape and Unicode does not have."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)
