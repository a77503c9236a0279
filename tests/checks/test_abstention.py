"""Answers that say that the documents do not settle the question, in several languages, and answers that do not."""

import pytest

from hf_rare.checks.abstention import is_abstention

ABSTAIN = [
    "The documents do not say what a ticket costs.",
    "The document doesn't specify the price.",
    "The provided passages don't contain any information about the ferry.",
    "None of the documents mentions the fare.",
    "Neither document gives the fare.",
    "It cannot be determined from the documents.",
    "Cannot be determined",
    "I don't know.",
    "I am unable to answer this.",
    "There is not enough information to answer.",
    "Insufficient information",
    "Unknown",
    "The fare is not stated in the documents.",
    "The question remains open.",
    "The documents do not settle it. They are about other ports.",
    "The documents do not say, so I cannot tell.",
    "The answer is that the documents do not say.",
    "I can not answer the question because of the insufficient information in documents.",
    "Die Dokumente nennen den Preis nicht.",
    "Die Dokumente enthalten keine Angaben dazu.",
    "Das lässt sich nicht beantworten.",
    "Ich weiß es nicht.",
    "Les documents ne précisent pas le prix.",
    "Aucun document ne mentionne le prix.",
    "Il est impossible de répondre à cette question.",
    "Los documentos no mencionan la tarifa.",
    "No se puede determinar.",
    "I documenti non dicono nulla.",
    "Non è possibile rispondere.",
    "Os documentos não mencionam a tarifa.",
    "De documenten vermelden de prijs niet.",
    "Dokumenty nie podają ceny.",
    "Nie można tego ustalić.",
    "Документы этого не говорят.",
    "Недостаточно информации.",
    "Невозможно ответить на этот вопрос.",
    "Belgelerde bu bilgi belirtilmemiş.",
    "Yeterli bilgi yok.",
    "文档中没有提到票价。",
    "根据所给信息无法确定。",
    "信息不足",
    "文書には料金が書かれていません。",
    "情報が不足しています。",
    "문서에는 요금이 나와 있지 않습니다.",
    "알 수 없습니다.",
    "لا تذكر المستندات السعر.",
    "المستندات لا تذكر السعر.",
    "لا يمكن تحديد ذلك.",
]
ANSWER = [
    "",
    "7",
    "No",
    "Paris",
    "The ferry leaves at 9.",
    "The documents do not mention children, so a ticket costs 7.",
    "The documents do not mention dogs. The answer is 12.",
    "According to the text, the ferry does not include bikes.",
    "The setting does not allow it.",
    "Not available on Sundays: the ferry leaves on Monday.",
    "He is unknown to the clerk at the desk.",
    "Die Fähre fährt um neun.",
    "Kein Hund darf mit.",
    "Le prix est de 7 euros.",
    "Нет, не может.",
    "票价是七元。",
    "無煙区的票价是七元",
    "料金は七百円です。",
]


@pytest.mark.parametrize("answer", ABSTAIN)
def test_it_abstains(answer):
    assert is_abstention(answer)


@pytest.mark.parametrize("answer", ANSWER)
def test_it_answers(answer):
    assert not is_abstention(answer)


def test_of_a_trace_without_an_answer_the_last_sentence_counts():
    weighing = "Document [2] does not mention the ferry. None of the other documents says more."
    assert not is_abstention("", f"{weighing} By document [1] the fare is 7.")
    assert is_abstention("", "Document [1] is about ports. The documents do not say what it costs.")
    assert not is_abstention("7", "The documents do not say what it costs.")


def test_long_texts_take_no_time_and_odd_ones_do_no_harm():
    assert not is_abstention("not " * 20_000)
    assert is_abstention("word " * 20_000 + "\nI do not know.")
    assert not is_abstention("\x00\ud7ff ^ $ ~ _ @document (((")
