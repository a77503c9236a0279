"""The forms of citations: words and numbers by which documents are named, as regular expressions."""

import re
from functools import cached_property, lru_cache

DOCUMENT_WORDS = (
    *("document", "doc", "passage", "source", "text", "article", "reference", "ref", "excerpt", "snippet", "context"),
    *("dokument", "quelle", "documento", "documenti", "fuente", "fonte", "документ", "источник"),
    *("文档", "文献", "文件", "资料", "文書", "資料", "ドキュメント", "문서"),
)
"""Words that a number stands behind when it means a document."""

_ONE_TO_TEN = "one two three four five six seven eight nine ten"
NUMBER_WORDS = {word: number for number, word in enumerate(_ONE_TO_TEN.split(), start=1)}
ROMAN_NUMBERS = {"II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10}
CHINESE_NUMBERS = {sign: number for number, sign in enumerate("一二三四五六七八九十", start=1)}
ORDINALS = {
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
DIGITS = r"[0-9]{1,3}"
_DASH = r"[\u2010-\u2015~\uff5e-]"
RANGE = rf"(?:{_DASH}|a(?=\s[0-9])|(?:to|through|until|bis|à|hasta)\b|[至到])"
_AND = r"(?:and|or|nor|as well as|und|oder|sowie|et|ou|y|o|e|и|или)\b|[和与及或、&]"
_SEPARATOR = rf"\s{{0,3}}(?:[,;\uff0c]\s{{0,3}}(?:{_AND})?|{_AND}|/|{RANGE})\s{{0,3}}"
_LEAD = r"(?:(?:see|see also|cf\.?|refs?\.?|siehe|vgl\.?|voir|cited?|citing|\^)\s{0,2})?"
_LOCATOR = (
    r"(?:\s*[:\u2020]\s*(?=[^\W\d])[^\[\]]*|:[0-9]+\u2020.*|\u2020.*"
    r"|,\s*(?:(?:p{1,2}|s|ch|chap|sec|fig|l|n)\.|pages?|sections?|chapters?|lines?|paragraphs?|seite|§|¶"
    r"|[12][0-9]{3}\b).*)?"
)


class Forms:
    """The forms of citations with some words for documents, as regular expressions."""

    def __init__(self, document_words: tuple[str, ...]) -> None:
        spaced = [word for word in document_words if not _is_unspaced(word)]
        unspaced = [word for word in document_words if _is_unspaced(word)]
        latin = "|".join(sorted(map(re.escape, spaced), key=len, reverse=True)) or "(?!)"
        chinese = "|".join(sorted(map(re.escape, unspaced), key=len, reverse=True)) or "(?!)"
        plural = r"(?P<plural>\(s\)|['\u2019]s|es|en|e|s|n|[\u0430-\u044f]{1,3})?"
        self.name = rf"(?:(?<!\w)(?P<word>{latin}){plural}|(?:{chinese}))"
        self.plain_name = re.sub(r"\(\?P<\w+>", "(?:", self.name)
        self._latin, self._chinese = latin, chinese

    @cached_property
    def mention(self) -> re.Pattern[str]:
        """A word for documents, and what may stand between it and a number."""
        sign = r"(?:[ \t]{0,3}(?:number|num|no|nr|n[°º]|№)(?![^\W\d_])\.?)?"
        return re.compile(rf"{self.name}\.?{sign}(?:[ \t]?:|[_-])?[ \t*_(\[#]{{0,4}}", re.IGNORECASE)

    @cached_property
    def number(self) -> re.Pattern[str]:
        """A number, or a word for one."""
        words = "|".join(NUMBER_WORDS)
        return re.compile(
            rf"(?P<digits>{DIGITS})|(?P<word>(?i:{words}))\b|(?P<roman>[IVX]{{1,4}})\b|(?P<chinese>[一二三四五六七八九十])"
        )

    @cached_property
    def next_number(self) -> re.Pattern[str]:
        """What stands between a number and the next one of a list."""
        return re.compile(
            rf"[\])*_]{{0,3}}(?P<separator>{_SEPARATOR})(?:both\s)?"
            rf"[*(\[#_]{{0,3}}(?:{self.plain_name}\.?[ \t]?)?[*(\[#_]{{0,3}}",
            re.IGNORECASE,
        )

    @cached_property
    def in_brackets(self) -> re.Pattern[str]:
        """All that stands in brackets."""
        item = rf"(?:{self.plain_name}\.?[ \t_:#-]{{0,3}})?#?{DIGITS}(?-i:[a-z])?"
        return re.compile(
            rf"\s{{0,3}}{_LEAD}(?P<items>{item}(?:{_SEPARATOR}{item})*){_LOCATOR}\s{{0,3}}", re.IGNORECASE
        )

    @cached_property
    def ordinal(self) -> re.Pattern[str]:
        """A document by its place."""
        ordinals = "|".join(ORDINALS)
        latin = rf"(?P<first>{ordinals})(?:(?:,|\s(?:{_AND}))\s?(?P<second>{ordinals}))?\s(?:{self._latin})(?:e?s)?\b"
        counted = r"第(?P<chinese>[0-9]{1,3}|[一二三四五六七八九十])(?:篇|份|个|個|条|番目の)?"
        chinese = rf"{counted}(?:{self._chinese}|段落|文章)"
        return re.compile(
            rf"(?<!\w)(?:{latin})(?!\sof\s(?!the\b))|{chinese}|(?P<japanese>[0-9]{{1,3}})(?:番目"
            rf"|つ目)の(?:{self._chinese})",
            re.IGNORECASE,
        )


def _is_unspaced(word: str) -> bool:
    return re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", word) is not None


@lru_cache(maxsize=16)
def make_forms(document_words: tuple[str, ...]) -> Forms:
    """Make the forms of citations with some words for documents."""
    return Forms(document_words)
