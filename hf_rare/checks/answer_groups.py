r"""Answers of several parts: pairs and intervals with their brackets, lists, `\pm 5`, ratios and times of day."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from hf_rare.checks.answer_numbers import is_formula, read_gold_number
from hf_rare.checks.answer_statements import cut_reason
from hf_rare.checks.number_forms import find_numbers, to_plain

_OPEN, _CLOSE = "([{", ")]}"
_BRACKETED = re.compile(
    r"([(\[{])((?:[^()\[\]{}]|\([^()]*\)|\{[^{}]*\})*[,;](?:[^()\[\]{}]|\([^()]*\)|\{[^{}]*\})*)([)\]}])"
)
_AND = re.compile(r"\s*[,;]\s*(?:and|or|und|et|y)?\s+|\s*[,;]\s*|\s+(?:and|or|und|oder|et|ou|y|o)\s+|\s*[、和与]\s*")
_NAME = re.compile(r"^\s*(?:[a-zA-Z](?:_\d)?\s*(?:=|∈)\s*)")
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*(?::|∶|\bto\b)\s*\d+(?:\.\d+)?)+")
_ARGUMENTS = re.compile(r"[A-Za-z]$|\\(?:sqrt|sin|cos|log|ln)\s*$")


@dataclass(frozen=True)
class Group:
    """Several values that are one answer.

    Args:
        items (`tuple[str, ...]`): the values, as plain text.
        brackets (`str`): what encloses them, as `(]`; empty where nothing does, `:` for a ratio.
    """

    items: tuple[str, ...]
    brackets: str = ""

    @property
    def is_ordered(self) -> bool:
        """Whether the order counts."""
        return self.brackets not in ("", "{}")


def read_gold_group(text: str) -> Group | None:
    """Read a gold answer that has several parts, each a number or a formula; `None` where it is something else."""
    plain = _to_plain(text)
    if match := re.fullmatch(r"±\s*([\d./]+)", plain):
        return Group((match[1], "-" + match[1]))
    if _RATIO.fullmatch(plain):
        return _read_ratio(plain)
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|-?[\d ]+", plain):
        return None
    if match := _BRACKETED.fullmatch(_take_off_name(plain)):
        return _make(match)
    if not re.search(r"[,;]|\band\b|\bor\b", plain):
        return None
    items = _split(plain)
    are_values = all(map(_is_balanced, items)) and all(
        read_gold_number(item) is not None or is_formula(item) or _is_variable(item) for item in items
    )
    return Group(items) if len(items) > 1 and are_values and re.search(r"\d", plain) else None


def read_group(statement: str, gold: Group) -> Group | None:
    """Read an answer as a group like the gold one; `None` where it is none."""
    plain = _to_plain(statement)
    if gold.brackets == ":":
        match = _RATIO.search(plain)
        return _read_ratio(match.group()) if match else None
    if match := re.search(r"±\s*([\d./]+)", plain):
        return Group((match[1], "-" + match[1]))
    if "=" in plain and _BRACKETED.search(plain.rpartition("=")[2]):
        plain = plain.rpartition("=")[2].strip()
    for match in _BRACKETED.finditer(plain):
        if not _ARGUMENTS.search(plain[: match.start()]):
            return _make(match)
    if re.fullmatch(r"[\d\s.-]+", plain) and len(plain.split()) == len(gold.items):
        return Group(tuple(plain.split()))
    head = cut_reason_but_commas(plain)
    items = _split(head)
    if len(items) > 1 and len(items) == len(gold.items):
        return Group(items)
    found = [head[one.start : one.end].strip() for one in find_numbers(head)]
    return Group(tuple(found)) if len(found) > 1 else (Group(items) if len(items) > 1 else None)


def is_same_group(given: Group, gold: Group, is_same: Callable[[str, str], bool]) -> bool:
    """Tell whether two groups hold the same values, in the same order and brackets where these mean something."""
    if len(given.items) != len(gold.items):
        return False
    if gold.is_ordered and given.brackets not in ("", gold.brackets):
        return False
    if gold.is_ordered and not given.brackets and gold.brackets != "()":
        return False
    if gold.brackets == "" and set(given.brackets) & set("[]") and given.brackets != "[]":
        return False
    if gold.is_ordered:
        return all(is_same(one, other) for one, other in zip(gold.items, given.items, strict=True))
    rest = list(given.items)
    for item in gold.items:
        same = next((other for other in rest if is_same(item, other)), None)
        if same is None:
            return False
        rest.remove(same)
    return True


def cut_reason_but_commas(text: str) -> str:
    """Return what stands before a reason in words; commas are part of a list."""
    head = cut_reason(text.replace(",", "\1").replace(";", "\2"))
    return head.replace("\1", ",").replace("\2", ";")


def _to_plain(text: str) -> str:
    plain = to_plain(text).replace("\\{", "{").replace("\\}", "}")
    return re.sub(r"\\in\b", "∈", plain).strip().strip(".").strip()


def _is_balanced(text: str) -> bool:
    return sum(text.count(sign) for sign in _OPEN) == sum(text.count(sign) for sign in _CLOSE)


def _make(match: re.Match[str]) -> Group:
    return Group(_split(match[2], commas_alone=True), match[1] + match[3])


def _read_ratio(text: str) -> Group:
    return Group(tuple(part.strip() for part in re.split(r":|∶|\bto\b", text)), ":")


def _split(text: str, commas_alone: bool = False) -> tuple[str, ...]:
    parts = re.split(r"\s*[,;]\s*", text) if commas_alone else _AND.split(text)
    return tuple(_take_off_name(part).strip(" .$") for part in parts if part.strip(" .$"))


def _take_off_name(text: str) -> str:
    return _NAME.sub("", text).strip()


def _is_variable(text: str) -> bool:
    return bool(re.fullmatch(r"[a-zA-Z]|-?∞", text))
