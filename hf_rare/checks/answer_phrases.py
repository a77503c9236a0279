"""How languages say "the answer is": one table of patterns, each of which ends where the answer begins or stood."""

import re

_SURELY = (
    r"(?:,?\s*\b(?:therefore|thus|then|hence|so|(?:most )?likely|(?:most )?probably|presumably|apparently"
    r"|clearly|indeed|definitely"
    r"|obviously|of course"
    r"|certainly|simply|just|exactly|surely|evidently|undoubtedly|actually|in fact|also|now|still|only|consequently"
    r"|indisputably|unambiguously|without (?:a )?doubt|as follows)\b\s*,?)"
)
_IS = (
    r"(?:\s*(?:\bis\b|\bare\b|\bwas\b|\bwould be\b|\bmust be\b|\bshould be\b|\bhas to be\b|\bhave to be\b|\bwill be\b"
    r"|\bcould be\b|\bmay be\b|\bmight be\b|\bcan only be\b|\bbecomes\b|\bequals\b|\bis equal to\b"
    r"|\bcomes (?:out )?to\b"
    r"|\bremains\b|'s\b|[:：=]|-+>|→|[–—]|\s-(?=\s))|\s+(?:would|must|should|will)\s+\w+\s+be\b)"
)
_RIGHT = (
    r"(?:final|correct|right|best|proper|true|overall|only|closest"
    r"|(?:most|best) (?:likely|accurate|appropriate|suitable))"
)
_ANSWER = (
    rf"(?:(?:{_RIGHT}\s+)*(?:answer(?:\s+(?:option|choice|letter|key))?|ans\b\.?)"
    rf"|{_RIGHT}\s+(?:option|choice|letter|result|solution|value|one)|solutions?(?=\s*(?:\bare\b|\bis\b|[:：=])))"
)


ENGLISH = (
    rf"\b(?:this |that )?{_ANSWER}(?:\s+(?:to|for|of)\s+[^.:\n]{{1,80}}?)?{_SURELY}*{_IS}{_SURELY}*[\s:]*",
    r"(?:^|(?<=\n))\s*(?:the |my )?(?:final |correct )?answer\s*[:：]?\s*\n+",
    r"(?:^|(?<=\n))\s*(?:the |my )?(?:final |correct )?(?:answer|ans)\s+(?=\(?[A-Z\d]\)?\W*(?:$|\n))",
    r"(?:\b(?:no|wait|actually|correction|correcting|sorry|instead|hmm)\b[,:!.]*\s*)+(?:no,?\s*)?"
    r"(?:it|that|this)(?:\s+is|'s|\s+must be|\s+should be)\s+",
    r"(?:\.\.+|…|[.!?—–\n-])\s*(?:(?:no|wait|actually)\b[,:!.]*\s*)+(?=\(?[A-Z\d]{1,6}\)?\s*[.!]?\s*(?:$|\n))",
    r"\bcorrection\s*[:：]\s*",
    r"\b(?:but|so)\s+it(?:\s+(?:must|has to|should)\s+be\s+|(?:\s+is|'s)\s+(?=\(?[A-Z]\)?\s*[.!]?\s*(?:$|\n)))",
    r"(?:^|(?<=\n))\s*####\s*",
)
CHINESE = (
    r"(?:(?:正确|正確|最终|最終|本题|本題|参考|最佳|标准|因此|所以|故)*(?:答案|选项|選項)(?:应该|應該|应|應)?"
    r"(?:选择|選擇|选(?!项)|選(?!項)|是|为|為|等于|等於|即|[：:])+(?:选项|選項)?|【答案】|(?:最终|最終)?(?:结果|結果)(?:是|为|為|等于|[：:])"
    r"|(?<!不)(?<!不能)(?<!不应)(?:故|因此|所以|应该|應該|应|應|我|综上)*(?<!不)(?:选择|選擇|选|選)(?!项|項|择|擇)(?:选项|選項)?[:：]?"
    r"|(?:^|(?<=[\n。]))答[：:])\s*",
)
JAPANESE = (r"(?:正解|答え|解答|回答|正答|答)(?:の選択肢)?(?:は|が|[：:])\s*、?\s*",)
KOREAN = (r"(?:정답|답|답변)(?:은|는|이|[：:])\s*",)
GERMAN = (
    r"\b(?:(?:richtige|korrekte|endgültige|beste)\s+)?(?:antwort(?:option|möglichkeit)?|lösung|ergebnis|resultat)"
    r"(?:\s+(?:ist|lautet|wäre|sind|beträgt)|\s*[:：])(?:\s+(?:also|daher|somit|folglich|demnach|damit))?\s*:?\s*",
    r"\brichtig\s+(?:ist|wäre)(?:\s+(?:also|daher))?\s*:?\s*",
)
ROMANCE = (
    r"\b(?:(?:bonne|mauvaise)\s+)?(?:réponse|respuesta|risposta|resposta|solution|solución|soluzione|solução|résultat"
    r"|resultado|risultato|option|opción|opzione|opção)(?:\s+(?:correcte|correcta|corretta|correta|exacte|exacta"
    r"|esatta|finale?"
    r"|juste|giusta|certa|bonne))*(?:\s+(?:est|es|è|é|serait|sería|sarebbe|seria|sont|son|sono|são)|\s*[:：])"
    r"(?:\s*,?\s*(?:donc|alors|por tanto|por lo tanto|entonces|quindi|portanto)\b,?)?\s*:?\s*"
    r"(?:(?:la|el|le|il|a|o|l')\s+(?=\(?[A-Z]\)?\b)|l'option\s+|la opción\s+)?",
)
OTHER = (
    r"\b(?:правильный\s+)?ответ\s*(?:[:：—–-]|будет|является)\s*",
    r"\b(?:juiste |correcte )?antwoord\s*(?:is|[:：])\s*",
    r"\b(?:poprawna |prawidłowa )?odpowied(?:ź|zią)\s*(?:to|jest|[:：])\s*",
    r"\b(?:rätt |korrekt )?(?:svaret|svar)\s*(?:är|er|[:：])\s*",
    r"\b(?:doğru )?cevap\s*[:：]?\s*",
    r"\bđáp án(?: đúng)?\s*(?:là|[:：])\s*",
    r"\bjawaban(?:nya)?(?: yang benar)?\s*(?:adalah|[:：])\s*",
    r"(?:الإجابة|الجواب)(?: الصحيحة| الصحيح)?\s*(?:هي|هو|[:：])\s*",
    r"(?:सही )?उत्तर\s*(?:है|[:：])?\s*",
    r"(?:คำตอบ)(?:ที่ถูกต้อง)?\s*(?:คือ|[:：])\s*",
)
BEFORE = re.compile("|".join((*ENGLISH, *CHINESE, *JAPANESE, *KOREAN, *GERMAN, *ROMANCE, *OTHER)), re.IGNORECASE)
"""What stands before an answer."""

KEYWORDS = (
    "answer", "ans.", "ans:", "ans ", "correct", "right", "final", "best", "solution", "####", "wait",
    "actually", "sorry", "instead", "hmm", "no,", "no:", "no.", "no!", "no it", "but it", "so it", "most ",
    "closest", "proper", "overall", "答", "选", "選", "结果", "結果", "正确", "正確", "正解", "정답", "답",
    "antwort", "lösung", "ergebnis", "resultat", "richtig", "réponse", "respuesta", "risposta", "resposta",
    "solución", "soluzione", "solução", "résultat", "resultado", "risultato", "option", "opción", "opzione",
    "opção", "ответ", "odpowied", "svar", "cevap", "đáp án", "jawab", "الإجابة", "الجواب", "उत्तर", "คำตอบ",
)  # fmt: skip
"""Texts of which one stands in whatever `BEFORE` and `BEHIND` find, in lower case."""

BEHIND = re.compile(
    r"(?:^|(?<=[.;:,!?\n]))[ \t]*(?:(?:so|thus|therefore|hence|and|but|then|i think|i believe|that)\b,?\s+)*"
    r"(?P<answer>[^.;:,!?\n]{1,80}?)\s+(?:is|was|are|must be|would be)\s+(?:therefore\s+|thus\s+|clearly\s+"
    r"|indeed\s+)?"
    r"(?:(?:the|my|our)\s+(?:(?:final|correct|right|best|only)\s+)*(?:answer|choice|option|solution)\b"
    r"|(?:correct|right)(?=\s*(?:[.,;!\n]|$)))"
    r"|(?P<han>[A-Z])\s*(?:选项|選項|项|項)?\s*(?:是)?(?:正确|正確)的?"
    r"|\b(?P<german>[A-Z])\s+richtig\b"
    r"|(?:^|(?<=[.;:,!?\n]))[ \t]*(?P<european>[^.;:,!?\n]{1,60}?)\s+(?:ist die (?:richtige"
    r"|korrekte) (?:antwort|lösung|option)"
    r"|est la (?:bonne )?(?:réponse|solution|option)|es la (?:respuesta|opción|solución)|è la risposta|é a resposta)"
    r"|(?P<japanese>[^\s。、，,]{1,40})が(?:正解|答え)",
    re.IGNORECASE,
)
"""What stands behind an answer: "C is the correct answer"."""

REMARK = re.compile(
    r"(?:(?:also|clearly|directly|explicitly|therefore|thus|well|not|now) )?(?:based|because|clear"
    r"|confirmed|consistent|correct|derived|evident|found(?! to be\b)|given(?! (?:as|by)\b)"
    r"|in (?:the )?(?:document|passage|source|text)s?"
    r"|mentioned|obvious|stated(?! as\b)|supported|unclear|unknown|uncertain|right(?=\W*$)|as (?:follows"
    r"|document))\b(?!:)|(?:正确|正確|错误|錯誤|不正确)的?",
    re.IGNORECASE,
)
"""What stands behind "the answer is" where a sentence says something about the answer, and not which it is."""

DENIAL = re.compile(
    r"(?:not|never|neither|nor|no longer|nicht|pas|n'est pas|no es|не)\b|不(?!是的|是$|$)", re.IGNORECASE
)
"""How a statement begins that says what the answer is not."""

TAIL = re.compile(r"\s*(?:です|である|だ|になります|となります|입니다|이다|이에요|예요)\s*[。.!]?\s*$")
"""What ends a statement in languages whose verb stands last."""

CONCLUSION = re.compile(
    r"\b(?:so|therefore|thus|hence|consequently|in total|in all|altogether|overall|in conclusion|finally"
    r"|total(?:s|ing)?"
    r"|then|now|comes? to|ends? up|ended up|amounts to|leaves|leaving|makes?|equals|we get|gives?|yields?"
    r"|results? in|adds? up to|also"
    r"|(?<=, )(?:giving|making|bringing)|(?:which|that) (?:brings|earns|means)|left with|remaining|the rest|(?:you"
    r"|we)(?:['\u2019]ll| will| would)? (?:have|need|obtain|find)"
    r"|(?:ce qui|cela|ça) (?:fait|donne)|das (?:macht|ergibt)|was (?:zu|insgesamt)|lo que (?:da|hace|suma)"
    r"|insgesamt|somit|daher|folglich|donc|au total"
    r"|en total|por lo tanto|por tanto|así que|quindi|in totale)\b|因此|所以|一共|总共|總共|共|よって"
    r"|したがって|合計|따라서",
    re.IGNORECASE,
)
"""What leads to a conclusion."""

REASON = re.compile(
    r"\s*(?:[,;–—]\s*|\s-\s+|:\s+|\(|\b)(?:(?:because|since|as (?!well)|which|given|that is|i\.e|e\.g|namely|due to"
    r"|although|though|while|whereas|even though|unlike|rather than|instead of|compared|after|before|with"
    r"|where|when|from"
    r"|if|weil|denn|da|car|parce que|puisque|porque|ya que|puesto que|perché)\b|因为|因為|由于)",
    re.IGNORECASE,
)
"""Where a reason begins behind an answer."""

EXPLANATION = re.compile(
    r"\n\s*(?:explanation|reason(?:ing|s)?|rationale|justification|check|verification|note|because|erklärung"
    r"|begründung"
    r"|explication|explicación|解释|解析|理由|説明)\s*[:：]",
    re.IGNORECASE,
)
"""Where a section begins that explains the answer."""

SUPPOSED = re.compile(
    r"\b(?:(?:one|you|people|some|many|readers?)(?:\s+(?:might|may|could|would)|['\u2019]d)\s+(?:\w+ly\s+)?"
    r"(?:think|say|assume|guess|expect|believe|conclude)"
    r"|(?:first|initially|originally|at first)\s+(?:I\s+|we\s+)?(?:thought|assumed|guessed|believed|figured|said)"
    r"|(?:tempting|easy|natural|wrong|mistake)\s+to\s+(?:think|say|assume|guess|believe|conclude)"
    r"|on pourrait (?:croire|penser)|man könnte (?:meinen|denken)|podría pensarse)(?:\s+(?:that|que|dass))?\s*,?\s*$",
    re.IGNORECASE,
)
"""What leads to a statement that someone else could make: "one might think the answer is 80, but it is 64"."""

REPLACED = re.compile(
    r"\b(?:[^.;:\n]{1,60}?\bif\b[^.;:\n]{1,60}?,?\s+but\s+(?:rather\s+)?|(?:(?:it|this|that|answer|he|she|they"
    r"|we)\s+\w+n['\u2019]t|(?:it\s+is\s+|is\s+)?not)\s+[^.;:\n]{1,60}?,?\s+but\s+(?:rather\s+)?"
    r"|nicht\s+[^.;:\n]{1,60}?,?\s+sondern\s+"
    r"|pas\s+[^.;:\n]{1,60}?,?\s+mais\s+|no\s+[^.;:\n]{1,60}?,?\s+sino\s+)",
    re.IGNORECASE,
)
"""What is denied before the word that counts: "not 230 but 240"."""
