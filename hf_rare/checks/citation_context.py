"""What looks like a citation and is none: code and formulas, lists, intervals and indices, and what is measured."""

import re
import unicodedata

from hf_rare.checks.citation_forms import DIGITS, Forms

MEASURES = (
    r"(?:years?|days?|weeks?|months?|hours?|minutes?|seconds?|times|pages|people|persons|[mck]?m|km|miles?|feet|ft"
    r"|inch(?:es)?|met(?:re|er)s?|lit(?:re|er)s?|[mk]?g|tons?|volts?|watts?|amps?|[kMG]?Hz|[kmM]?[VWA]|ms|min|%|°"
    r"|percent"
    r"|euros?|dollars?|Jahre|Tage|Seiten|Mal|ans|jours|fois|años|días|veces|年|天|次|页)(?![^\W\d_])"
)
_FENCED = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"`([^`\n]{1,200})`")
_MATHS = re.compile(
    r"\$\$.{1,2000}?\$\$|\$(?=\S)[^$\n]{1,200}(?<=\S)\$(?!\d)|\\\(.{1,500}?\\\)"
    r"|\\\[(?!\s*[0-9, \u2013-]{1,20}\\\]).{1,2000}?\\\]|\\[A-Za-z]+\[[^\]\n]{1,20}\]|\\boxed\s*\{[^{}]{0,100}\}"
    r"|https?://\S+|\[(?:\s*\[[^\[\],]{1,20},[^\[\]]{1,80}\]\s*,?)+\s*\]",
    re.DOTALL,
)
_BEFORE_MATHS = re.compile(r"(?:[=\u2208\u2282\u2286\u222a\u2229\u00d7]|\\in|\\cup|\\times|\\subset\w*)\s*$")
_AFTER_MATHS = re.compile(r"\s*(?:[=\u222a\u2229\u00d7\u2192\u2282\u2286^*]|->|\\to\b|\\cup|\\times)")
_BEFORE_LIST = re.compile(
    r"\b(?:intervals?|ranges?|lists?|vectors?|arrays?|sequences?|sets?|tuples?|points?|matri(?:x|ces)|rows?"
    r"|columns?|domain"
    r"|coordinates?|pairs?|triples?|permutations?|values?|scores?|weights?|inputs?|outputs?|sort(?:s|ed)?|gets?"
    r"|returns?"
    r"|returned|prints?|printed|yields?|between|intervall|liste|vektor|intervalle|vecteur|intervalo|lista)\W{0,3}$"
    r"|区间\s*$|列表\s*$|数组\s*$",
    re.IGNORECASE,
)
_AFTER_LIST = re.compile(r"\s*(?:interval|range|list|array|vector|tuple)\b", re.IGNORECASE)
_IN_INTERVAL = re.compile(
    r"(?:(?:^|[\s(,$])[A-Za-z\u0391-\u03c9](?:_\w|\([a-z]\))?\s+(?:(?:is|lies|be|must|falls|stays)\s+){0,3}"
    r"|\b(?:lies?|lying|falls?|falling|rang(?:es?|ing)|var(?:y|ies|ying)|values?|bounded|numbers?|probabilit\w+"
    r"|integers?|uniform\w*|drawn"
    r"|contained|remains?|stays?|defined|continuous)\s+(?:\w+\s+){0,2})(?:in|within|on|over)\s*$",
    re.IGNORECASE,
)
_OTHER_NUMBERED = re.compile(
    r"\b(?:(?:fig|eq|eqn)s?\.?|(?:figure|table|equation|step|section|chapter|option|page|appendix|theorem|lemma"
    r"|footnote"
    r"|abbildung|tabelle|gleichung|schritt|étape|paso)s?)\s*$",
    re.IGNORECASE,
)
_SHORT_WORDS = re.compile("it|is|so|to|of|in|on|at|by|as|us|we|he|me|up|no|do|go|an|or|if|be|my|am", re.IGNORECASE)
_ARRAYS = re.compile(
    "arr|array|list|lst|nums|dp|args|argv|vec|mat|data|items|rows|cols|matrix|vector|tuple|stack|queue", re.IGNORECASE
)


def hide_code_and_formulas(trace: str, forms: Forms) -> str:
    """Put spaces in the place of code, formulas and addresses, so that all else stays where it is."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    def blank_code(match: re.Match[str]) -> str:
        plain = re.fullmatch(rf"(?:\[\s?{DIGITS}\s?\])+|(?:{forms.plain_name})[ _-]?{DIGITS}", match[1], re.IGNORECASE)
        return match[0] if plain else blank(match)

    text = _FENCED.sub(blank, trace) if "```" in trace or "~~~" in trace else trace
    text = _INLINE_CODE.sub(blank_code, text) if "`" in text else text
    text = _MATHS.sub(blank, text).replace("\u00a0", " ").replace("\u202f", " ")
    if text.isascii():
        return text
    folded = (unicodedata.normalize("NFKC", char) if "\uff10" <= char <= "\uff19" else char for char in text)
    return "".join(folded)


def is_maths(text: str, match: re.Match[str], numbers: tuple[int, ...], is_adjacent: bool) -> bool:
    """Tell whether what stands in brackets is no citation: by what stands around it."""
    before, after = text[max(0, match.start() - 60) : match.start()], text[match.end() : match.end() + 30]
    is_list = re.search(r"\d\s*,\s*\d", match[1]) is not None
    if is_list and (0 in numbers or _BEFORE_LIST.search(before) or _AFTER_LIST.match(after)):
        return True
    if is_list and before[-1:] in ("'", '"') and after[:1] == before[-1:]:
        return True
    if is_list and (_AFTER_MATHS.match(after) or (len(numbers) == 2 and _IN_INTERVAL.search(before))):
        return True
    if _BEFORE_MATHS.search(before) or _OTHER_NUMBERED.search(before) or re.match(r"[A-Za-z0-9{^]", after):
        return True
    if not is_list and re.match(rf"\s+{MEASURES}", after):
        return True
    return not is_adjacent and _is_index(before, after)


def _is_index(before: str, after: str) -> bool:
    """Tell whether a bracket stands behind a name of a program, and not behind a word of a sentence."""
    name = re.search(r"[A-Za-z0-9_)]+$", before)
    if name is None:
        return False
    if re.match(r"\s*(?:[=+*/^<>]|-\s)|\[|\.[a-z_]", after) and not re.match(r"\[\s?\d{1,3}\s?\]", after):
        return True
    word = name[0]
    if re.search(r"[0-9_)]", word) or _ARRAYS.fullmatch(word) or re.search(r"[a-z][A-Z]", word):
        return not (word.endswith(")") or (word.isdigit() and len(word) > 2))
    return len(word) <= 2 and not _SHORT_WORDS.fullmatch(word)
