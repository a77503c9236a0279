"""Texts: their words, when two are the same or nearly, and what of them can be shown. Plain values in and out."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import regex

RUN = 3
"""Words in a row that texts are compared by."""
CHARACTERS = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters and kana, which come without spaces."""
LETTERS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
"""Letters of the other scripts without spaces: Thai, Lao, Burmese, Khmer and their neighbours."""
_ASCII_GAPS = {code: " " for code in range(128) if not re.match(r"\w", chr(code))}
_HAS_CHARACTERS = re.compile(f"[{CHARACTERS}]")
UNSPACED = re.compile(f"[{CHARACTERS}{LETTERS}]")
# What `regex` calls a word has combining marks and joiners in it, as Unicode wants it; what `re` calls one has not.
_WORDS = regex.compile(r"\w+")
_CHARACTERS_AND_WORDS = regex.compile(rf"[{CHARACTERS}]\p{{M}}*|(?:(?![{CHARACTERS}])\w)+")
_UNITS = regex.compile(rf"[{CHARACTERS}{LETTERS}]\p{{M}}*|(?:(?![{CHARACTERS}{LETTERS}])\w)+")
_OPTIONAL = re.compile(
    "[\xad\u200c\u200d\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u08ca-\u08e1\u08e3-\u08ff\ufe00-\ufe0f"
    "\U000e0100-\U000e01ef]|(?<=i)\u0307"
)
"""Written or left out in the same word: soft hyphens, joiners, the points of Arabic, Hebrew and Syriac, selectors of
variants; and the dot that is left of a Turkish capital."""
_SAME_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
    **dict.fromkeys("\xd7\xb7\u2217\u2219\u22c5", "*"),
    **dict.fromkeys("\xf7\u2215\u2044", "/"),
}
_OPERAND_BEFORE = r"(?<=[\d)\]}!]\s?.|(?<!\w)\w\s?.)"
_OPERAND_AFTER = r"(?=\s?(?:[-\d(\[{]|\p{Sm}|\w(?!\w)))"
_SIGNS = regex.compile(
    r"&&|\|\||!="
    r"|[[\p{Sm}\p{Sc}^%\xb0]--[|~$]]"
    rf"|[-*/&|]{_OPERAND_BEFORE}{_OPERAND_AFTER}"
    r"|-(?<![\w)\]}].)(?=[\d(]|\.\d|\w(?!\w))"
    r"|[$~](?=\d)|\.(?<!\w.)(?=\d)|\#(?<=\w.)|!(?<=(?:\d|(?<!\w)\w).)",
    regex.V1,
)
"""Signs by what stands around them; each looks back over itself, so that places are found by the sign."""
_ASCII_SIGNS = re.compile(r"&&|\|\||!=|[-+*/=<>^%&|!#]|[$~.](?=\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
SIGN = "_sign_"
"""What the word begins with that [`spell_signs`] makes of a sign."""
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f\u115f\u1160\u3164\uffa0]"
)
"""Control characters, line separators, bidi controls, halves of surrogate pairs, invisible marks, tags, fillers."""
_IGNORED = re.compile("[\xad\u034f\u17b4\u17b5\u180b-\u180f\U000e0100-\U000e0fff]")
"""What no reader misses: soft hyphens, joiners of graphemes, selectors of rare variants."""
_TOKEN = re.compile(r"\b(?:x?hf_(?!hub_|rare_)\w{8,}|hf_hub_(?=[a-z_]*[A-Z\d])\w{8,}|api_org_\w{8,})(\.[\w.-]+)?")
"""Tokens of users, of organisations and of a login in the browser (`hf_oauth_...`), and no function's name."""


def split_words(text: str) -> list[str]:
    """Cut a text into words: letters, digits and the marks that combine with them, up to the next other character.

    Chinese characters and kana, which come without spaces, stand one by one.
    """
    if text.isascii():  # the same, several times as fast
        return text.translate(_ASCII_GAPS).split()
    text = text.replace("\xad", "")
    words: list[str] = (_CHARACTERS_AND_WORDS if _HAS_CHARACTERS.search(text) else _WORDS).findall(text)
    return words


def split_units(text: str) -> list[str]:
    """Cut a text into what texts are compared by: words, and each character of all scripts without spaces.

    Left out of them is what one writer puts and another does not, such as the points of Arabic.
    """
    if text.isascii():
        return text.translate(_ASCII_GAPS).split()
    text = drop_optional(text)
    units: list[str] = (_UNITS if UNSPACED.search(text) else _WORDS).findall(text)
    return units


def drop_optional(text: str) -> str:
    """Take out of a text what one writer puts into a word and another does not."""
    return _OPTIONAL.sub("", text)


def spell_signs(text: str) -> str:
    """Write a word for each sign that calculates, compares or counts, so that `x + 2` and `x - 2` differ in words.

    A hyphen, slash or asterisk is such a sign between two operands (numbers, single letters, brackets) alone, and a
    hyphen before one too. What means the same, such as all dashes, is one sign, and 1,000 is 1000.
    """
    text = _THOUSANDS.sub("", text)
    if text.isascii():  # the same, several times as fast: looked at are places where a sign can stand
        return _ASCII_SIGNS.sub(lambda place: _spell(_SIGNS.match(text, place.start())) or place[0], text)
    text = "".join(_SAME_SIGNS.get(letter, letter) for letter in text)
    spelt: str = _SIGNS.sub(_spell, text)
    return spelt


def _spell(match: "regex.Match[str] | None") -> str:
    return "".join(f" {SIGN}{ord(sign):x} " for sign in match[0]) if match else ""


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

    @functools.cached_property
    def signed_runs(self) -> frozenset[int]:
        """The same of words and signs, such as those of `x + 2`."""
        return _hash_runs(split_units(spell_signs(self.normalized)))

    def overlap(self, other: "Signature") -> float:
        """Measure which share of the distinct runs of the shorter text the other one has, from 0 to 1.

        Unlike Jaccard's index this is 1 for a text and any longer one that holds it, such as a page and its chunk.
        """
        return _overlap(self.runs, other.runs)

    def is_copy_of(self, other: "Signature", threshold: float | None) -> bool:
        """Tell whether the texts are equal after normalisation, or overlap by the threshold, signs counted."""
        if self.normalized == other.normalized:
            return True
        if threshold is None or self.overlap(other) < threshold:
            return False
        return _overlap(self.signed_runs, other.signed_runs) >= threshold  # looked at last: signs take time to find


def sign(text: str) -> Signature:
    """Make the signature of a text."""
    normalized = normalize(text)
    return Signature(normalized, _hash_runs(split_units(normalized)))


def _hash_runs(words: list[str]) -> frozenset[int]:
    runs = zip(*(words[start:] for start in range(RUN)), strict=False) if len(words) >= RUN else [tuple(words)]
    return frozenset(map(hash, runs)) if words else frozenset()


def _overlap(one: frozenset[int], other: frozenset[int]) -> float:
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0


def clean(text: object) -> str:
    """Return `text` with line feeds as its only line ends, and `�` for each character that cannot be seen.

    What may stand unseen within a word, such as a soft hyphen, is left out.
    """
    lines = _IGNORED.sub("", str(text).replace("\r\n", "\n").replace("\r", "\n"))
    return UNSEEN.sub("\N{REPLACEMENT CHARACTER}", lines)


def in_one_line(text: object) -> str:
    """Return a text, such as what another library's error says, with single spaces for all its white space."""
    return " ".join(str(text).split())


def shorten(text: str, limit: int) -> str:
    """Cut a text that is longer than `limit` characters, and say how much is missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} ... [{len(text) - limit} more characters]"


def hide_credentials(address: str) -> str:
    """Take what may be a key out of an address: what stands before its host, and behind `?`."""
    return re.sub(r"(?<=://)[^/?#]*@", "***@", re.sub(r"\?.*", "?***", address))


def hide_tokens(text: str) -> str:
    """Take tokens of the Hub out of a text."""
    return _TOKEN.sub("hf_...", text)


def show_count(number: int, noun: str) -> str:
    """Write a number of things, such as `1 row`, `1,200 rows` or `2 entries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def show_cost(cost: float) -> str:
    """Write an amount of money with two places, or with two digits where it is less than a tenth."""
    return f"{cost:.2f}" if cost >= 0.1 else f"{cost:.2g}"


def show_time(hours: float) -> str:
    """Write a time in hours or minutes with one place, or in seconds."""
    seconds = 3600 * hours
    if seconds < 59.5:
        return f"{seconds:.0f} seconds" if seconds >= 1.5 else "about a second"
    minutes = seconds / 60
    return f"{hours:.1f} hours" if minutes >= 59.95 else f"{minutes:.1f} minutes"


def find_near_name(given: str, known: Iterable[str]) -> str | None:
    """Find the name that was meant: the same words in another order, nearly the same letters, or a longer one."""
    known = sorted(known)
    words = sorted(re.split("[-_]+", given))
    near = [name for name in known if sorted(re.split("[-_]+", name)) == words]
    near = near or difflib.get_close_matches(given, known, n=1)
    near = near or [name for name in known if len(given) > 4 and name.startswith(given)]
    return near[0] if near else None
