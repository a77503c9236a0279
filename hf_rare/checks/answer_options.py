"""The option that an answer names: by its letter, or whatever else its key is, or by its text."""

import re
import unicodedata
from collections.abc import Sequence

from hf_rare.checks import answer_phrases as phrases
from hf_rare.checks.answer_clauses import ROLES, Clause, Role, split_clauses
from hf_rare.checks.answer_forms import normalize_answer, take_off_latex
from hf_rare.checks.answer_statements import Statements, split_sentences

Options = Sequence[tuple[str, str]]
"""Key and text of each option."""

_CLAIM_BEFORE = re.compile(
    r"(?:^|\b(?:is|are|be|option|choice|answer|letter|choose|chose|choosing|select|selected|selecting|pick|picked"
    r"|picking|therefore|thus|so|hence|leaving"
    r"|leaves|left|remains|with|only|clearly|definitely|certainly|surely|obviously|probably|likely"
    r"|supports?|elimination|go(?:ing)? (?:with|for)|looks? like|points? to|it's|that's|namely"
    r"|(?:settled?|decided?) (?:on|for)|opt(?:ed|ing)? for|entscheide mich für"
    r"|wähle|nehme|choisis|opte pour|elijo|escojo"
    r"|finally|indeed"
    r"|(?:without|beyond|no) (?:a |any )?(?:doubt|question)|bleibt|nur|reste(?: que)?|queda"
    r"|correct[ae]|corretta|correta|sólo|solo|respuesta|risposta|resposta"
    r"|opción|antwort|réponse|also|ist|es|est|donc|i think|i believe|us with|i\.e\.|say)\b|[:：=→–—]"
    r"|[是选選为為故])[\s,:(*]*$",
    re.IGNORECASE,
)
_RIGHT_AFTER = re.compile(
    r"\s*(?:\([^)]*\)\s*)?(?:\s(?:is|are|would be|must be)\s+(?:therefore\s+|clearly\s+)?(?:the\s+)?(?:only\s+)?"
    r"(?:(?:correct|right|best|true|answer)\b|better(?=\W*$|[.,;]|\s+(?:than|answer|choice|option|fit)\b))"
    r"|\s+(?:fits|matches|remains)\b|\s+it is\b|\s+(?:is|does)(?=\W*$)|\s*[✓✔✅☑]|\s*(?:选项"
    r"|選項|项|項)?是?(?:正确|正確)"
    r"|\s+richtig\b)",
    re.IGNORECASE,
)
_DENIAL_AFTER = re.compile(
    r"\s*(?:\([^)]*\)\s*)?(?:\s(?:is|are|was|were|would be|(?:can|could|must|should) be|seems?|looks?)"
    r"(?:\s+(?:all\s+|both\s+)?(?:not|wrong|incorrect|contraindicated|dismissed|false|out|too|tempting|ruled out"
    r"|eliminated"
    r"|excluded|a\s+(?:common\s+)?distractor)|n['\u2019]t)\b|\s+(?:fails?"
    r"|would(?! be)|predates?|lacks?|scheide[nt] aus|f(?:ä|a)ll(?:t|en) weg|sont exclue?s|quedan descartad[ao]s"
    r"|cannot|can't|has no|have no|contradicts?)\b|\s*[✗✘❌✖]|\s*(?:选项|選項|项|項)?(?:是)?(?:错误|錯誤"
    r"|不正确|不对|错))",
    re.IGNORECASE,
)
_DENIAL_BEFORE = re.compile(
    r"(?:\b(?:not|neither|nor|never|nothing\b[^,;.]{1,60}|(?:students|people|candidates|many|most|others"
    r"|some)\s+(?:pick|choose|select|say|answer)|except|without|unlike|than|of|over|rules? out|ruling out"
    r"|eliminat\w+|exclud\w+"
    r"|cannot be|can't be|discard\w*|reject\w*|first thought)|n['\u2019]t(?: be)?|不|不是|不能选"
    r"|除了)\s*(?:be\s+)?(?:option\s+|choice\s+)?"
    r"[\s(*选選]*$",
    re.IGNORECASE,
)
_ARTICLE_AFTER = re.compile(
    r"\s+(?!is\b|are\b|and\b|or\b|because\b|since\b|as\b|but\b|not\b|it\b|fits\b)[^\W\d_]", re.I
)
_DESCRIBED = re.compile(r"\)?\s+(?:is|are|was|were|has|have|seems?|looks?|contains?|makes?)\b", re.IGNORECASE)
_NOUN = re.compile(r"\b(?:option|choice|answer|statement)\b", re.IGNORECASE)
_GOES_ON = re.compile(r"\)?\s+(?!because\b|since\b|as\b|for\b|it is\b|rather\b|over\b)[a-z<>+=]")
_LINK = re.compile(
    r"\s*(?:,|/|&|\band\b|\bor\b|\bund\b|\bet\b|\by\b|,\s*(?:and|or)\b|和|与|、|或)\s*(?:option\s+|choice\s+)?", re.I
)
_NEGATION = re.compile(r"\b(?:not|neither|nor|never|except|none)\b|n['\u2019]t\b|不", re.IGNORECASE)
_NEGATED = re.compile(
    rf"(?:{_NEGATION.pattern})(?![^,]*\b(?:is|are|was|were|be)\b)[^,]*$|\bwould\s+(?:have\s+)?(?:suggest|need"
    rf"|require|give|mean)\b.*$",
    re.IGNORECASE,
)
"""A denial that reaches as far as what follows."""

_LEFT_OUT = re.compile(_DENIAL_BEFORE.pattern.replace("|than|of|over|", "|than|instead of|over|"), re.IGNORECASE)
_SAID = re.compile(
    r"(?:\b(?:has to|have to|must|can only|should)(?: \w+)? be|\b(?:it|that|this|which)(?:['\u2019]s| is)|\bi\.e\."
    r"|\bcalled"
    r"|\bknown as|\b(?:answer|diagnosis|choice|option|cause|one|result)(?: (?:here|then|therefore))? is|\bnamely|:)"
    r"\s*(?:therefore\s+|thus\s+|clearly\s+|most likely\s+|called\s+)?(?:an?\s+|the\s+)?$",
    re.IGNORECASE,
)
"""What leads to an option that is said to be the one."""

_IS = re.compile(
    r"(?:\b|(?==))(?:is|are|was|were|called|named|suggests?|indicates?|means|describes|=)\s+(?:an?\s+|the\s+)?$",
    re.IGNORECASE,
)
_MASKS = re.compile("[\ue100-\uefff]")
_LIST_OF_MASKS = re.compile("^(?:(?:\\s*(?:[,/&]|and|or|nor))+\\s*[\ue100-\uefff])+")
_JOINED = re.compile(r"\s*(?:and|or|nor|und|oder|et|ou|y|o)\b", re.IGNORECASE)
_VERDICT = re.compile(
    r"(?P<yes>correct|right|true|yes|fits|[✓✔✅☑]|正确|正確|对)|(?P<no>incorrect|wrong|false|no\b|not\b|too\b|[✗✘❌✖]|错误"
    r"|错|不)",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"[,;.]?\s*(?:[(\s]|^)(?:because|since|as|although|though|while|whereas|unlike|rather than|instead of"
    r"|not|and not|due to"
    r"|weil|da|denn|car|porque)\b|因为|因為",
    re.IGNORECASE,
)


def name_options(statements: Statements, options: Options | None) -> set[str]:
    """Name the options that an answer gives, by their keys: those of the first of its statements that names any."""
    options = options or [(letter, "") for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    for statement in [*statements.stated, *statements.bold]:
        if named := name_in_statement(statement, options):
            return named
    return name_in_statement(statements.whole, options, is_stated=False) if statements.whole else set()


def name_in_statement(text: str, options: Options, is_stated: bool = True) -> set[str]:
    """Name the options that a statement names: by a key in front, by their text, or by a key in the sentence."""
    text = _SPACES.sub(" ", unicodedata.normalize("NFKC", take_off_latex(text))).strip()
    text = phrases.REPLACED.sub("", text.strip("$ "), count=1)
    keys = {key.casefold(): key for key, _ in options}
    texts = {key: normalize_answer(option) for key, option in options if option.strip()}
    if match := _full(keys).fullmatch(text):
        return {keys[match.group(1).casefold()]}
    words = normalize_answer(text)
    if same := {key for key, option in texts.items() if option and option == words}:
        return same
    if judged := _judge_lines(text, keys):
        return judged
    for sentence in () if is_stated else map(_head, _list_concluding(text)):
        if claimed := _find_claims(sentence, keys):
            return claimed
    if match := _leading(keys).match(text):
        key = keys[next(filter(None, match.groups()[:3])).casefold()]
        rest = match.group(4)
        behind = text[match.end(3) if match.group(3) else match.start(4) :]
        linked = re.match(r"\s*(?:[,/&]|and\b|or\b)\s*\(?([^\W_]{1,4})\)?(?:\W|$)", rest)
        if not (linked and linked[1].casefold() in keys) and not _DENIAL_AFTER.match(" " + rest):
            same = {other for other, option in texts.items() if option and option == normalize_answer(rest)}
            head = _head(rest)
            same |= {other for other, option in texts.items() if option and head and option == normalize_answer(head)}
            if behind or not rest:
                return {key} | same
    if named := _find_decided(text, texts):
        return named
    if is_stated:
        return _name_in_parts([_head(text), text], keys, texts) or _find_claims(text, keys, is_weak=True)
    concluding = [part for sentence in _list_concluding(text) for part in (_head(sentence), sentence)]
    return (
        _name_in_parts(concluding, keys, texts)
        or _name_in_parts(_last_first(text), keys, {})
        or _find_said(text, texts)
        or _find_claims(_head(text), keys, is_weak=True)
        or _find_claims(text, keys, is_weak=True)
        or _find_last_key(text, keys)
    )


def _name_in_parts(parts: list[str], keys: dict[str, str], texts: dict[str, str]) -> set[str]:
    """Name the options of the first part that names any: as a whole, by a claim, or by a text."""
    for part in dict.fromkeys(filter(None, parts)):
        if (match := _full(keys).fullmatch(part)) and not _NEGATION.search(part):
            return {keys[match.group(1).casefold()]}
        if named := _find_claims(part, keys) or _find_texts(part, texts):
            ends = [clause.start for clause in split_clauses(part) if clause.role == "conclusion"]
            return (_find_claims(part[ends[-1] :], keys) if ends and len(named) > 1 else set()) or named
    return set()


_DECIDES = re.compile(
    r"\b(?:left with|(?:this|that|which|it) leaves(?: us with)?(?: only)?"
    r"|leav(?:es|ing) (?:us with|only)|leaving)\s+(?P<left>[^.,;\n]{1,80})"
    r"|\b(?:go with|choose|chose|pick|picked|prefer|favou?r|select)\s+(?P<preferred>[^.,;\n]{1,60}?)\s+over\s",
    re.IGNORECASE,
)
"""Where a sentence says which option is left, or is preferred to another."""

_CONCLUDES = re.compile(r"(?:so|therefore|thus|hence|finally|clearly|also)\b|因此|所以|故", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\u00a0\u3000]+")


def _alternatives(keys: dict[str, str]) -> str:
    return "|".join(re.escape(key) for key in sorted(keys.values(), key=len, reverse=True))


def _full(keys: dict[str, str]) -> re.Pattern[str]:
    return re.compile(rf"(?:(?:option|choice|answer|选项|選項)\s*)?[^\w]*({_alternatives(keys)})[^\w]*", re.IGNORECASE)


def _leading(keys: dict[str, str]) -> re.Pattern[str]:
    key = _alternatives(keys)
    return re.compile(
        rf"[^\w(\[]*(?:option\s+)?(?:[(\[](?i:({key}))[)\]]|(?i:({key}))[)\]]|({key})(?=[.:、。,](?!\d)|\s[-–—]\s"
        rf"|\s?[—]))"
        rf"[.:、。)\]]*\s*(.*)",
        re.DOTALL,
    )


def _head(text: str) -> str:
    """Return the first sentence up to a reason."""
    sentences = split_sentences(text)
    head = sentences[0] if sentences else text
    match = _REASON.search(head, 1)
    return head[: match.start()].strip() if match else head


def _list_concluding(text: str) -> list[str]:
    """List the sentences of a text that begin as a conclusion does, the last first."""
    return [sentence for sentence in reversed(split_sentences(text)) if _CONCLUDES.match(sentence)]


def _last_first(text: str) -> list[str]:
    """List the sentences of a text: those that conclude, then the first, then the others from the end."""
    sentences = split_sentences(text)
    ordered = [*_list_concluding(text), *sentences[:1], *reversed(sentences)]
    return [part for sentence in ordered for part in (_head(sentence), sentence)]


def _judge_lines(text: str, keys: dict[str, str]) -> set[str]:
    """Name the one option that a list with a verdict on each option says is right."""
    key = _alternatives(keys)
    entries = re.findall(
        rf"(?:^|[\n,;.|])\s*\(?((?:{key})(?:(?:\s*,|\s*and)\s+(?:{key}))*)\)?\s*[.:)|]?\s+([^\n,;.|]+)", text
    )
    verdicts = {
        keys[name.casefold()]: _VERDICT.search(said)
        for names, said in entries
        for name in re.split(r"\W+(?:and\s+)?", names)
    }
    if len(verdicts) < 2 or not all(verdicts.values()):
        return set()
    right = {name for name, verdict in verdicts.items() if verdict and verdict.group("yes")}
    return right if len(right) == 1 else set()


def _find_claims(text: str, keys: dict[str, str], is_weak: bool = False) -> set[str]:
    """Find the keys that a sentence claims, and those that a comma, "and" or "or" joins to them.

    A sentence that begins with a key and goes on to describe it ("A is the hottest") is a weak claim.
    """
    key_of = _alternatives(keys)
    bare = re.compile(rf"\((?i:({key_of}))\)|\(?(?<![A-Za-z0-9'\u2019.])({key_of})(?![A-Za-z0-9'\u2019])\)?")
    places = [match for match in bare.finditer(text)]
    claimed: set[str] = set()
    end_of_claim = end_of_denial = -1
    for number, match in enumerate(places):
        key, before, behind = match.group(1) or match.group(2), text[: match.start()], text[match.end() :]
        is_marked = "(" in match.group()
        is_word = key == "I" or (key == "A" and not re.search(r"[\w,]\s*$", before))
        if is_word and not is_marked and _ARTICLE_AFTER.match(behind) and not _RIGHT_AFTER.match(behind):
            continue
        last = number
        while last + 1 < len(places) and _LINK.fullmatch(text[places[last].end() : places[last + 1].start()]):
            last += 1
        is_denied = bool(_DENIAL_BEFORE.search(before) or _DENIAL_AFTER.match(text[places[last].end() :]))
        if end_of_denial >= 0 and _LINK.fullmatch(text[end_of_denial : match.start()]):
            is_denied = is_denied or not _RIGHT_AFTER.match(behind)
        if is_denied:
            end_of_denial = match.end()
            continue
        described = _DESCRIBED.match(behind)
        is_joined = end_of_claim >= 0 and _LINK.fullmatch(text[end_of_claim : match.start()])
        begins = not _NOUN.sub("", before).strip(" (*") and not is_weak and _GOES_ON.match(text[places[last].end() :])
        is_alias = not is_weak and re.search(r"\w\W*\((?:option|choice|answer)\s+$", before, re.IGNORECASE)
        if not is_alias and (
            is_joined
            or (_CLAIM_BEFORE.search(before) and not begins)
            or (is_weak and re.search(r"[,;.:]\s+$", before) and described)
            or _RIGHT_AFTER.match(behind)
        ):
            claimed.add(keys[key.casefold()])
            end_of_claim = match.end()
    return claimed


def _find_last_key(text: str, keys: dict[str, str]) -> set[str]:
    """Find the key that ends a text, behind a preposition, where it is the only one and nothing is denied."""
    ends = re.search(
        rf"(?:\b(?:to|on|for|of|with|by|in|from|toward|towards)|,)\s+\(?({_alternatives(keys)})\)?\W*$", text
    )
    return {keys[ends[1].casefold()]} if ends and not _NEGATION.search(text) else set()


def _find_decided(text: str, texts: dict[str, str]) -> set[str]:
    """Find the options whose text is said to be left, or preferred; none where the sentence denies it."""
    for match in _DECIDES.finditer(text):
        sentence = split_sentences(text[: match.start()] + "…")[-1]
        preferred = match["preferred"]
        if not (preferred and _NEGATION.search(sentence)) and (
            named := _find_texts(preferred or match["left"], texts)
        ):
            return named
    return set()


def _find_said(text: str, texts: dict[str, str]) -> set[str]:
    """Find the options whose text a whole answer states: said to be it, or in its first sentence, or a later one."""
    sentences = split_sentences(text)
    for sentence in reversed(sentences):
        if named := _find_texts(sentence, texts, _SAID):
            return named
    found = [_find_texts(sentence, texts) for sentence in [*sentences[:1], *reversed(sentences), text]]
    if several := next(filter(None, found), set()):
        found += [_find_texts(sentence, texts, _IS) for sentence in sentences]
    return next((named for named in found if len(named) == 1), several)


def _find_texts(text: str, texts: dict[str, str], before: re.Pattern[str] | None = None) -> set[str]:
    """Find the options whose text a sentence states: in the clause that concludes, or else in its main clauses.

    Args:
        text (`str`): the sentence.
        texts (`dict[str, str]`): the normalised text of each option by its key.
        before (`re.Pattern`, *optional*): what must stand before such a text.
    """
    masked, keys = _mask(text, texts)
    if not keys:
        return set() if before else _find_words(text, texts)
    named: dict[Role, list[tuple[Clause, str]]] = {role: [] for role in ROLES}
    is_denied = False
    for clause in split_clauses(masked):
        said = masked[clause.start : clause.end]
        is_denied = is_denied and not clause.is_marked and bool(_JOINED.match(said))
        for match in _MASKS.finditer(said):
            lead, behind = said[: match.start()], said[match.end() :]
            is_denied = bool(
                (is_denied and (_JOINED.match(said) or _LINK.search(lead)))
                or _LEFT_OUT.search(lead)
                or _NEGATED.search(lead)
                or _DENIAL_AFTER.match(_LIST_OF_MASKS.sub("", behind))
                or _NEGATION.search(_LIST_OF_MASKS.sub("", behind))
            )
            if not is_denied and (before is None or before.search(lead)):
                named[clause.role].append((clause, keys[match.group()]))
    for role in ROLES[:-1]:
        if found := named[role]:
            last = found[-1][0] if role == "conclusion" else None
            words = {word for clause, word in found if last in (None, clause)}
            return {key for key, option in texts.items() if option in words}
    return set()


def _mask(text: str, texts: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Write one sign of private use for each text of an option, and say which text each stands for."""
    signs = {option: chr(0xE100 + place) for place, option in enumerate(dict.fromkeys(texts.values())) if option}
    options = "|".join(map(_write_pattern, sorted(signs, key=len, reverse=True)))
    if not options:
        return text, {}
    found: dict[str, str] = {}

    def mask(match: re.Match[str]) -> str:
        option = normalize_answer(match.group())
        if option not in signs:
            return match.group()
        found[signs[option]] = option
        return signs[option]

    return re.sub(options, mask, text, flags=re.IGNORECASE), found


def _write_pattern(option: str) -> str:
    """Write a pattern of a normalised text as it can stand in a sentence."""
    words = r"(?:[^\w+*=-]|\b(?:an?|the)\b)+".join(map(re.escape, option.split()))
    words = words.replace("'", "['\u2019]?")
    is_spaced = not re.search("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]", option)
    return rf"(?<![^\W_])(?<!\d[.,])(?:{words})(?![^\W_])(?![.,]\d)" if is_spaced else words


def _find_words(text: str, texts: dict[str, str]) -> set[str]:
    """Find the options whose words stand in a sentence; one that is part of another named one does not count."""
    words = normalize_answer(text)
    named = {option for option in texts.values() if option and _holds(words, option)}
    named = {one for one in named if not any(one != other and _holds(other, one) for other in named)}
    if (_NEGATION.search(text) or phrases.DENIAL.match(text)) and not any(map(_NEGATION.search, named)):
        return set()
    return {key for key, option in texts.items() if option in named}


def _holds(words: str, option: str) -> bool:
    if re.search("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]", option):  # written without spaces
        return option in words
    return f" {option} " in f" {words} "
