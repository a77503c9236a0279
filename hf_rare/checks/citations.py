"""The numbers by which a text cites documents, in the forms in which people and models write them.

What has the form of a citation and is none is left out: intervals and lists, indices, roots, code, what is counted.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

DOCUMENT_WORDS = (
    *("document", "doc", "passage", "source", "text", "article", "reference", "ref", "excerpt", "snippet", "context"),
    *("dokument", "quelle", "documento", "documenti", "fuente", "fonte", "документ", "источник"),
    *("文档", "文献", "文件", "资料", "文書", "資料", "ドキュメント", "문서"),
)
"""Words that a number stands behind when it means a document."""

MAX_RANGE = 100
"""Documents of the longest range that is read as one."""

_ONE_TO_TEN = "one two three four five six seven eight nine ten"
_WORDS = {word: number for number, word in enumerate(_ONE_TO_TEN.split(), start=1)}
_ROMAN = {"II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10}
_CHINESE = {sign: number for number, sign in enumerate("一二三四五六七八九十", start=1)}
_ORDINALS = {
    pattern: number
    for number, patterns in enumerate(
        (
            ("first", "1st", "erste[nrms]?", "premi(?:er|ère)", "primero?", "primo", "перв\\w{2,3}"),
            ("second", "2nd", "zweite[nrms]?", "deuxième|seconde?", "segundo", "secondo", "втор\\w{2,3}"),
            ("third", "3rd", "dritte[nrms]?", "troisième", "tercero?", "terzo", "трет\\w{2,3}"),
            ("fourth", "4th", "vierte[nrms]?", "quatrième", "cuarto", "quarto"),
            ("fifth", "5th", "fünfte[nrms]?", "cinquième", "quinto"),
            ("sixth", "6th", "sechste[nrms]?", "sixième", "sexto", "sesto"),
            ("seventh", "7th", "siebte[nrms]?", "septième", "séptimo", "settimo"),
            ("eighth", "8th", "achte[nrms]?", "huitième", "octavo", "ottavo"),
            ("ninth", "9th", "neunte[nrms]?", "neuvième", "noveno", "nono"),
            ("tenth", "10th", "zehnte[nrms]?", "dixième", "décimo", "decimo"),
        ),
        start=1,
    )
    for pattern in patterns
}

_DIGITS = r"[0-9]{1,3}"
_DASH = r"[\u2010-\u2015~\uff5e-]"
_RANGE = rf"(?:{_DASH}|a(?=\s[0-9])|(?:to|through|until|bis|à|hasta)\b|[至到])"
_AND = r"(?:and|or|nor|as well as|und|oder|sowie|et|ou|y|o|e|и|или)\b|[和与及或、&]"
_SEPARATOR = rf"\s{{0,3}}(?:[,;\uff0c]\s{{0,3}}(?:{_AND})?|{_AND}|/|{_RANGE})\s{{0,3}}"
_LEAD = r"(?:(?:see|see also|cf\.?|refs?\.?|siehe|vgl\.?|voir|cited?|citing|\^)\s{0,2})?"
_LOCATOR = (
    r"(?:\s*[:\u2020]\s*(?=[^\W\d])[^\[\]]*|:[0-9]+\u2020.*|\u2020.*"
    r"|,\s*(?:(?:p{1,2}|s|ch|chap|sec|fig|l|n)\.|pages?|sections?|chapters?|lines?|paragraphs?|seite|§|¶|[12][0-9]{3}\b).*)?"
)
_MEASURES = (
    r"(?:years?|days?|weeks?|months?|hours?|minutes?|seconds?|times|pages|people|persons|[mck]?m|km|miles?|feet|ft"
    r"|inch(?:es)?|met(?:re|er)s?|lit(?:re|er)s?|[mk]?g|tons?|volts?|watts?|amps?|[kMG]?Hz|[kmM]?[VWA]|ms|min|%|°|percent"
    r"|euros?|dollars?|Jahre|Tage|Seiten|Mal|ans|jours|fois|años|días|veces|年|天|次|页)(?![^\W\d_])"
)
_UNITS = (
    rf"(?:{_MEASURES}|(?:words?|lines?|items?|points|copies|men|women|others?|more|reasons?|cases?|examples?|kinds?|types?"
    r"|ways|steps?|parts?)(?![^\W\d_]))"
)
_VERBS = (
    "address|agree|answer|apply|argue|claim|clarify|concern|confirm|contain|cover|deal|define|describe|detail|discuss|do|"
    "establish|explain|focus|give|have|help|highlight|hold|imply|indicate|list|mention|mean|name|note|offer|outline|point|"
    "provide|prove|refer|reinforce|relate|report|rest|reveal|say|settle|show|speak|state|stress|suggest|support|talk|tell"
)
_NO_VERB = re.compile(rf"\s+(?!(?:{_VERBS})(?:e?s)?\b|(?:is|was|has|does|as|this|us|its)\b)[a-z]+s\b")
_COUNTED = re.compile(rf"[ \t]{{0,2}}-?{_UNITS}")
_END = re.compile(r"(?![0-9A-Za-z_]|[.:][0-9]|,[0-9]{3}|-[A-Za-z])")

_FENCED = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"`([^`\n]{1,200})`")
_MATHS = re.compile(
    r"\$\$.{1,2000}?\$\$|\$(?=\S)[^$\n]{1,200}(?<=\S)\$(?!\d)|\\\(.{1,500}?\\\)"
    r"|\\\[(?!\s*[0-9, \u2013-]{1,20}\\\]).{1,2000}?\\\]|\\[A-Za-z]+\[[^\]\n]{1,20}\]|\\boxed\s*\{[^{}]{0,100}\}"
    r"|https?://\S+|\[(?:\s*\[[^\[\],]{1,20},[^\[\]]{1,80}\]\s*,?)+\s*\]",
    re.DOTALL,
)
_BRACKETED = re.compile(r"\\?[\[\u3010\uff3b]([^\[\]\u3010\u3011\uff3b\uff3d\n]{1,120}?)\\?[\]\u3011\uff3d]")
_SUPERSCRIPT = re.compile(rf"(?:^|[.,;:!?)\"\u201d\s]|[a-z]{{4}})<sup>\s*({_DIGITS}(?:\s*,\s*{_DIGITS})*)\s*</sup>")
_CITED_IN_PARENTHESES = re.compile(
    rf"\b(?:see|cf\.|according to|siehe|vgl\.|laut|selon|voir|según)\s\(({_DIGITS})\)", re.IGNORECASE
)
_RANGE_ALONE = re.compile(rf"\s{{0,3}}(?:{_RANGE}|a)\s{{0,3}}", re.IGNORECASE)
_LAW = re.compile(r"\s(?:of|der|des|de|du|del)\b|\s[A-Z]{2}")
_COMPARED = re.compile(
    r"\b(?:compar\w+|contrast\w*|oppos\w+|relat\w+|link\w*|connect\w*|add\w*)\W+(?:\w+\W+){0,2}$", re.IGNORECASE
)

_BEFORE_MATHS = re.compile(r"(?:[=\u2208\u2282\u2286\u222a\u2229\u00d7]|\\in|\\cup|\\times|\\subset\w*)\s*$")
_AFTER_MATHS = re.compile(r"\s*(?:[=\u222a\u2229\u00d7\u2192\u2282\u2286^*]|->|\\to\b|\\cup|\\times)")
_BEFORE_LIST = re.compile(
    r"\b(?:intervals?|ranges?|lists?|vectors?|arrays?|sequences?|sets?|tuples?|points?|matri(?:x|ces)|rows?|columns?|domain"
    r"|coordinates?|pairs?|triples?|permutations?|values?|scores?|weights?|inputs?|outputs?|sort(?:s|ed)?|gets?|returns?"
    r"|returned|prints?|printed|yields?|between|intervall|liste|vektor|intervalle|vecteur|intervalo|lista)\W{0,3}$"
    r"|区间\s*$|列表\s*$|数组\s*$",
    re.IGNORECASE,
)
_AFTER_LIST = re.compile(r"\s*(?:interval|range|list|array|vector|tuple)\b", re.IGNORECASE)
_IN_INTERVAL = re.compile(
    r"(?:(?:^|[\s(,$])[A-Za-z\u0391-\u03c9](?:_\w|\([a-z]\))?\s+(?:(?:is|lies|be|must|falls|stays)\s+){0,3}"
    r"|\b(?:lies?|lying|falls?|falling|rang(?:es?|ing)|var(?:y|ies|ying)|values?|bounded|numbers?|probabilit\w+|integers?|uniform\w*|drawn"
    r"|contained|remains?|stays?|defined|continuous)\s+(?:\w+\s+){0,2})(?:in|within|on|over)\s*$",
    re.IGNORECASE,
)
_OTHER_NUMBERED = re.compile(
    r"\b(?:(?:fig|eq|eqn)s?\.?|(?:figure|table|equation|step|section|chapter|option|page|appendix|theorem|lemma|footnote"
    r"|abbildung|tabelle|gleichung|schritt|étape|paso)s?)\s*$",
    re.IGNORECASE,
)
_SHORT_WORDS = re.compile("it|is|so|to|of|in|on|at|by|as|us|we|he|me|up|no|do|go|an|or|if|be|my|am", re.IGNORECASE)
_ARRAYS = re.compile(
    "arr|array|list|lst|nums|dp|args|argv|vec|mat|data|items|rows|cols|matrix|vector|tuple|stack|queue", re.IGNORECASE
)
_AMBIGUOUS = ("text", "context", "article", "reference", "source")
"""Words for documents that are used for much else."""

_OTHER_SOURCES = re.compile(
    r"\b(?:data|power|light|heat|energy|noise|water|voltage|current|radiation|sound|point|neutron|food|open|a|another|any|each"
    r"|every|no|one)\s+$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Citation:
    """Documents that a text cites in one place.

    Args:
        start (`int`): where it begins.
        end (`int`): where it ends.
        numbers (`tuple[int, ...]`): the documents, as they are numbered there.
    """

    start: int
    end: int
    numbers: tuple[int, ...]


def find_citations(trace: str, document_words: tuple[str, ...] = DOCUMENT_WORDS) -> list[int]:
    """Find the numbers by which a trace cites documents.

    Read are numbers of up to three digits in brackets, alone, in lists and in ranges, with what else stands there
    (`[1]`, `[2, 3]`, `[1][2]`, `[1]-[3]`, `[Document 2, p. 4]`, `【3†source】`, `[^2]`), and behind a word for
    documents, also in words (`document 2`, `Doc. #2`, `documents 1, 2 and 4`, `document 1 and 3`, `the second
    document`). Not read are years, and what only looks so: intervals, lists and indices (`in [0, 1]`, `x[1]`),
    formulas, code, and what is counted ("documents 10 years old"). A mention is a citation whatever it says:
    "document 2 does not help" cites 2.

    Args:
        trace (`str`):
            The trace.
        document_words (`tuple[str, ...]`, *optional*):
            Words in the singular that a number stands behind. By default `DOCUMENT_WORDS`, in several languages. Case
            does not matter.

    Returns:
        `list[int]`: the numbers as written, each once, ascending; also those that no document has.
    """
    return sorted({number for citation in locate_citations(trace, document_words) for number in citation.numbers})


def locate_citations(trace: str, document_words: tuple[str, ...] = DOCUMENT_WORDS) -> list[Citation]:
    """Find the citations of a trace and where they stand; see [`find_citations`]."""
    forms = _compile(document_words)
    text = _hide(trace, forms)
    citations = [*_find_bracketed(text, forms), *_find_mentions(text, forms), *_find_ordinals(text, forms)]
    for match in (*_SUPERSCRIPT.finditer(text), *_CITED_IN_PARENTHESES.finditer(text)):
        citations.append(Citation(*match.span(), tuple(map(int, re.findall(r"\d+", match[1])))))
    return sorted(citations, key=lambda citation: citation.start)


class _Forms:
    """The forms of citations with some words for documents, as regular expressions."""

    def __init__(self, document_words: tuple[str, ...]) -> None:
        spaced = [word for word in document_words if not _is_unspaced(word)]
        unspaced = [word for word in document_words if _is_unspaced(word)]
        latin = "|".join(sorted(map(re.escape, spaced), key=len, reverse=True)) or "(?!)"
        chinese = "|".join(sorted(map(re.escape, unspaced), key=len, reverse=True)) or "(?!)"
        plural = r"(?P<plural>\(s\)|['\u2019]s|es|en|e|s|n|[\u0430-\u044f]{1,3})?"
        self.name = rf"(?:(?<!\w)(?P<word>{latin}){plural}|(?:{chinese}))"
        self._plain_name = re.sub(r"\(\?P<\w+>", "(?:", self.name)
        self._latin, self._chinese = latin, chinese

    @cached_property
    def mention(self) -> re.Pattern[str]:
        """A word for documents, and what may stand between it and a number."""
        sign = r"(?:[ \t]{0,3}(?:number|num|no|nr|n[°º]|№)(?![^\W\d_])\.?)?"
        return re.compile(rf"{self.name}\.?{sign}(?:[ \t]?:|[_-])?[ \t*_(\[#]{{0,4}}", re.IGNORECASE)

    @cached_property
    def number(self) -> re.Pattern[str]:
        """A number, or a word for one."""
        words = "|".join(_WORDS)
        return re.compile(
            rf"(?P<digits>{_DIGITS})|(?P<word>(?i:{words}))\b|(?P<roman>[IVX]{{1,4}})\b|(?P<chinese>[一二三四五六七八九十])"
        )

    @cached_property
    def next_number(self) -> re.Pattern[str]:
        """What stands between a number and the next one of a list."""
        return re.compile(
            rf"[\])*_]{{0,3}}(?P<separator>{_SEPARATOR})(?:both\s)?"
            rf"[*(\[#_]{{0,3}}(?:{self._plain_name}\.?[ \t]?)?[*(\[#_]{{0,3}}",
            re.IGNORECASE,
        )

    @cached_property
    def in_brackets(self) -> re.Pattern[str]:
        """All that stands in brackets."""
        item = rf"(?:{self._plain_name}\.?[ \t_:#-]{{0,3}})?#?{_DIGITS}(?-i:[a-z])?"
        return re.compile(
            rf"\s{{0,3}}{_LEAD}(?P<items>{item}(?:{_SEPARATOR}{item})*){_LOCATOR}\s{{0,3}}", re.IGNORECASE
        )

    @cached_property
    def ordinal(self) -> re.Pattern[str]:
        """A document by its place."""
        ordinals = "|".join(_ORDINALS)
        latin = rf"(?P<first>{ordinals})(?:(?:,|\s(?:{_AND}))\s?(?P<second>{ordinals}))?\s(?:{self._latin})(?:e?s)?\b"
        counted = r"第(?P<chinese>[0-9]{1,3}|[一二三四五六七八九十])(?:篇|份|个|個|条|番目の)?"
        chinese = rf"{counted}(?:{self._chinese}|段落|文章)"
        return re.compile(
            rf"(?<!\w)(?:{latin})(?!\sof\s(?!the\b))|{chinese}|(?P<japanese>[0-9]{{1,3}})(?:番目|つ目)の(?:{self._chinese})",
            re.IGNORECASE,
        )


def _hide(trace: str, forms: _Forms) -> str:
    """Put spaces in the place of code, formulas and addresses, so that all else stays where it is."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    def blank_code(match: re.Match[str]) -> str:
        plain = re.fullmatch(
            rf"(?:\[\s?{_DIGITS}\s?\])+|(?:{forms._plain_name})[ _-]?{_DIGITS}", match[1], re.IGNORECASE
        )
        return match[0] if plain else blank(match)

    text = _FENCED.sub(blank, trace) if "```" in trace or "~~~" in trace else trace
    text = _INLINE_CODE.sub(blank_code, text) if "`" in text else text
    text = _MATHS.sub(blank, text).replace("\u00a0", " ").replace("\u202f", " ")
    if text.isascii():
        return text
    folded = (unicodedata.normalize("NFKC", char) if "\uff10" <= char <= "\uff19" else char for char in text)
    return "".join(folded)


def _find_bracketed(text: str, forms: _Forms) -> Iterator[Citation]:
    last_end, last_was_citation, last_number = -1, False, 0
    for match in _BRACKETED.finditer(text):
        found = forms.in_brackets.fullmatch(match[1])
        numbers = _expand(found["items"]) if found else ()
        is_adjacent = match.start() == last_end
        if not numbers or (is_adjacent and not last_was_citation) or _is_maths(text, match, numbers, is_adjacent):
            last_end, last_was_citation = match.end(), False
            continue
        between = text[last_end : match.start()] if last_was_citation else ""
        is_range = len(between) < 12 and _RANGE_ALONE.fullmatch(between) and numbers[0] - last_number <= MAX_RANGE
        if is_range and not _COMPARED.search(text[max(0, last_end - 60) : last_end].rpartition("[")[0]):
            numbers = (*range(last_number + 1, numbers[0]), *numbers)
        yield Citation(*match.span(), numbers)
        last_end, last_was_citation, last_number = match.end(), True, numbers[-1]


def _is_maths(text: str, match: re.Match[str], numbers: tuple[int, ...], is_adjacent: bool) -> bool:
    """Tell whether what stands in brackets is no citation: by what stands around it."""
    before, after = text[max(0, match.start() - 60) : match.start()], text[match.end() : match.end() + 30]
    is_list = re.search(r"\d\s*,\s*\d", match[1]) is not None
    if is_list and (0 in numbers or _BEFORE_LIST.search(before) or _AFTER_LIST.match(after)):
        return True
    if is_list and (_AFTER_MATHS.match(after) or (len(numbers) == 2 and _IN_INTERVAL.search(before))):
        return True
    if _BEFORE_MATHS.search(before) or _OTHER_NUMBERED.search(before) or re.match(r"[A-Za-z0-9{^]", after):
        return True
    if not is_list and re.match(rf"\s+{_MEASURES}", after):
        return True
    return not is_adjacent and _is_index(before, after)


def _is_index(before: str, after: str) -> bool:
    """Tell whether a bracket stands behind a name of a program, and not behind a word of a sentence."""
    name = re.search(r"[A-Za-z0-9_)]+$", before)
    if name is None:
        return False
    if re.match(r"\s*(?:[=+*/^<>]|-\s)|\[", after) and not re.match(r"\[\s?\d{1,3}\s?\]", after):
        return True
    word = name[0]
    if re.search(r"[0-9_)]", word) or _ARRAYS.fullmatch(word) or re.search(r"[a-z][A-Z]", word):
        return not (word.endswith(")") or (word.isdigit() and len(word) > 2))
    return len(word) <= 2 and not _SHORT_WORDS.fullmatch(word)


def _find_mentions(text: str, forms: _Forms) -> Iterator[Citation]:
    end = 0
    for match in forms.mention.finditer(text):
        if match.start() >= end and (numbers := _read_list(text, match, forms)):
            end = numbers[-1][1]
            yield Citation(match.start(), end, tuple(number for number, _ in numbers))


def _read_list(text: str, match: re.Match[str], forms: _Forms) -> list[tuple[int, int]]:
    """Read the numbers behind a word for documents, each with where it ends; none where something else is meant."""
    word, is_plural = match["word"] or "", bool(match["plural"]) or not match["word"]
    first = _read_number(text, match.end(), forms, word)
    if first is None or _COUNTED.match(text, first[1]):
        return []
    if word in _AMBIGUOUS and not is_plural and _NO_VERB.match(text, first[1]):
        return []  # in the context 3 factors matter
    if word.lower() == "source" and _OTHER_SOURCES.search(text[max(0, match.start() - 20) : match.start()]):
        return []
    numbers = [first]
    while following := forms.next_number.match(text, numbers[-1][1]):
        found = _read_number(text, following.end(), forms, word if is_plural else "")
        if found is None or _COUNTED.match(text, found[1]) or (not is_plural and _NO_VERB.match(text, found[1])):
            break
        between = found[0] - numbers[-1][0]
        if 1 < between <= MAX_RANGE and _RANGE_ALONE.fullmatch(following["separator"]):
            numbers += [(number, found[1]) for number in range(numbers[-1][0] + 1, found[0])]
        numbers.append(found)
    is_law = word.lower() == "article" and _LAW.match(text, numbers[-1][1])
    return [] if is_law else numbers


def _read_number(text: str, place: int, forms: _Forms, word: str) -> tuple[int, int] | None:
    """Read the number at a place; give it, and where it ends. Words for one count behind a word for documents."""
    match = forms.number.match(text, place)
    if match is None or not _END.match(text, match.end()):
        return None
    if match["digits"]:
        return int(match["digits"]), match.end()
    if match["chinese"]:
        return _CHINESE[match["chinese"]], match.end()
    if match["word"] and word:
        return _WORDS[match["word"].lower()], match.end()
    if match["roman"] in _ROMAN and word[:1].isupper():
        return _ROMAN[match["roman"]], match.end()
    return None


def _find_ordinals(text: str, forms: _Forms) -> Iterator[Citation]:
    for match in forms.ordinal.finditer(text):
        if number := match["chinese"] or match["japanese"]:
            yield Citation(*match.span(), (_CHINESE.get(number) or int(number),))
        elif not _OTHER_SOURCES.search(text[: match.start()][-20:]):
            yield Citation(
                *match.span(), tuple(_read_ordinal(part) for part in (match["first"], match["second"]) if part)
            )


def _read_ordinal(text: str) -> int:
    return next(number for pattern, number in _ORDINALS.items() if re.fullmatch(pattern, text, re.IGNORECASE))


def _expand(items: str) -> tuple[int, ...]:
    """Give the numbers of a list, those between the ends of a range too."""
    numbers: list[int] = []
    for match in re.finditer(
        rf"({_DIGITS})[a-z]?(?:\s{{0,3}}{_RANGE}\s{{0,3}}[^\d,;]{{0,12}}({_DIGITS}))?", items, re.IGNORECASE
    ):
        first, last = int(match[1]), int(match[2] or match[1])
        numbers += range(first, last + 1) if first <= last <= first + MAX_RANGE else (first, last)
    return tuple(numbers)


def _is_unspaced(word: str) -> bool:
    return re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", word) is not None


@lru_cache(maxsize=16)
def _compile(document_words: tuple[str, ...]) -> _Forms:
    return _Forms(document_words)
