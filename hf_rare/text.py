"""Texts: their words, when two are the same or nearly, and what of them can be shown. Plain values in and out."""

import re
import unicodedata
from dataclasses import dataclass

RUN = 3
"""Words in a row that texts are compared by."""
_CHARACTERS = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORDS = re.compile(rf"[{_CHARACTERS}]|[^\W{_CHARACTERS}]+")
_ASCII_GAPS = {code: " " for code in range(128) if not re.match(r"\w", chr(code))}
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Control characters, line separators, bidi controls, halves of surrogate pairs, invisible marks and tags."""
_TOKEN = re.compile(r"\bhf_(?!hub_|rare_)\w{8,}(\.[\w.-]+)?")
"""Tokens of users, of organisations and of a login in the browser (`hf_oauth_...`), and no function's name."""


def split_words(text: str) -> list[str]:
    """Cut a text into runs of letters and digits, and Chinese characters and kana, without spaces, one by one."""
    if text.isascii():  # the same, several times as fast
        return text.translate(_ASCII_GAPS).split()
    return _WORDS.findall(text)


def normalize(text: str) -> str:
    """Unify what looks alike: compatible characters (NFKC), letter case, and white space."""
    if text.isascii():  # the same, twice as fast
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


@dataclass(frozen=True)
class Signature:
    """What texts are compared by.

    Args:
        normalized (`str`): the text after [`normalize`].
        runs (`frozenset[int]`): a hash of each run of three words, or of all words where there are fewer; good in one
            process alone.
    """

    normalized: str
    runs: frozenset[int]

    def overlap(self, other: "Signature") -> float:
        """Measure which share of the distinct runs of the shorter text the other one has, from 0 to 1.

        Unlike Jaccard's index this is 1 for a text and any longer one that holds it, such as a page and its chunk.
        """
        smaller = min(len(self.runs), len(other.runs))
        return len(self.runs & other.runs) / smaller if smaller else 0.0

    def is_copy_of(self, other: "Signature", threshold: float | None) -> bool:
        """Tell whether the texts are equal after normalisation, or overlap by the threshold at least."""
        if self.normalized == other.normalized:
            return True
        return threshold is not None and self.overlap(other) >= threshold


def sign(text: str) -> Signature:
    """Make the signature of a text."""
    normalized = normalize(text)
    words = split_words(normalized)
    runs = zip(*(words[start:] for start in range(RUN)), strict=False) if len(words) >= RUN else [tuple(words)]
    return Signature(normalized, frozenset(map(hash, runs)) if words else frozenset())


def clean(text: object) -> str:
    """Give `text` with line feeds as its only line ends, and `�` for each character that cannot be seen."""
    return UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n").replace("\r", "\n"))


def shorten(text: str, limit: int) -> str:
    """Cut a text that is longer than `limit` characters, and say how much is missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} ... [{len(text) - limit} more characters]"


def hide_tokens(text: str) -> str:
    """Take tokens of the Hub out of a text."""
    return _TOKEN.sub("hf_...", text)
