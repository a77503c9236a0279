"""Templates of strangers: what multiplies ends early, and what people write works as ever."""

import pytest

from hf_rare.errors import TemplateError
from hf_rare.prompts.templates import Template

VALUES = {"question": "What? " * 50, "documents": [{"number": i, "text": "A rule. " * 100} for i in range(1, 9)]}
LOOP = "{% for i in range(99999) %}"
BOMBS = {
    "loops in loops": LOOP * 4 + "{{ question }}" + "{% endfor %}" * 4,
    "loops without a word": LOOP * 3 + "{% endfor %}" * 3 + "{{ question }}",
    "plain text in loops": LOOP * 2 + "x" * 5000 + "{% endfor %}" * 2 + "{{ question }}",
    "into a variable": "{% set x %}" + LOOP * 2 + "{{ question }}{% endfor %}{% endfor %}{% endset %}{{ x }}",
    "repetition": "{{ question * 10 ** 9 }}",
    "repetition of a constant": "{{ question }}{{ 'a' * 9999999999 }}",
    "a list repeated": "{{ question }}{{ ([0] * 10 ** 9)|length }}",
    "a power": "{{ question }}{{ 9 ** (9 ** 9) }}",
    "powers in steps": "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}"
    "{{ question }}",
    "doubling": "{% set ns = namespace(x=question) %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    "{{ ns.x }}",
    "doubling by +": "{% set ns = namespace(x=question) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}"
    "{% endfor %}{{ ns.x }}",
    "doubling by join": "{% set ns = namespace(x=question) %}{% for i in range(99) %}"
    "{% set ns.x = [ns.x, ns.x]|join %}{% endfor %}{{ ns.x }}",
    "doubling by replace": "{% set ns = namespace(x=question) %}{% for i in range(99) %}"
    "{% set ns.x = ns.x|replace('W', ns.x) %}{% endfor %}{{ ns.x }}",
    "doubling by a method": "{% set ns = namespace(x=question) %}{% for i in range(99) %}"
    "{% set ns.x = ns.x.replace('W', ns.x) %}{% endfor %}{{ ns.x }}",
    "doubling by format": "{% set ns = namespace(x=question) %}{% for i in range(99) %}"
    "{% set ns.x = '%s%s'|format(ns.x, ns.x) %}{% endfor %}{{ ns.x }}",
    "lorem ipsum": "{{ question }}{{ lipsum(n=100000) }}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ question }}{{ f() }}",
    "a tree of macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ question }}{{ f(60) }}",
    "a loop that recurs": "{% for d in [[1, 1]] recursive %}{{ question }}{{ loop([d, d]) }}{% endfor %}",
    "a width": "{{ question|center(10 ** 9) }}",
    "a width of a method": "{{ question.ljust(1000000000) }}",
    "zeros": "{{ question }}{{ '1'.zfill(1000000000) }}",
    "a width by %": "{{ question }}{{ '%1000000000d' % 1 }}",
    "a width by format": "{{ question }}{{ '{:>1000000000}'.format(1) }}",
    "a width given apart": "{{ question }}{{ '%*d' % (1000000000, 1) }}",
    "a width by the filter": "{{ question }}{{ '%1000000000d'|format(1) }}",
    "a width within": "{{ question }}{{ '{:>{w}}'.format(1, w=1000000000) }}",
    "an indent": "{{ question|indent(1000000000) }}",
    "an indent of JSON": "{{ question }}{{ documents|tojson(1000000000) }}",
    "tabs": "{{ question }}{{ ('\t' * 1000).expandtabs(100000000) }}",
    "a batch": "{{ question }}{{ documents|batch(1000000000, 'x')|list|length }}",
    "a slice": "{{ question }}{{ documents|slice(1000000000)|list|length }}",
    "a long join": "{{ question }}{% for i in range(99) %}{{ range(99999)|join(question) }}{% endfor %}",
    "lists in loops": LOOP + "{% set x = range(99999)|map('string')|list %}{% endfor %}{{ question }}",
    "a toll of one's own": "{% set x = hf_rare_turn(-10 ** 12) %}" + LOOP * 3 + "{% endfor %}" * 3 + "{{ question }}",
    "a toll by another name": "{% set x = pay_for_turn(-10 ** 12) %}"
    + LOOP * 3
    + "{% endfor %}" * 3
    + "{{ question }}",
    "a mapping in a format": "{{ question }}{{ ('%(a)s' * 400) % {'a': 'x' * 1000000} }}",
    "a value in many places": "{{ question }}{{ ('{0}' * 400).format('x' * 1000000) }}",
    "a list of one text": "{% set b = 'x' * 1000000 %}{{ question }}{{ ([b] * 500)|join }}",
    "a list shown": "{% set b = 'x' * 1000000 %}{{ question }}{{ [b] * 500 }}",
    "lists in lists": "{% set b = ['x' * 1000000] * 9 %}{{ question }}{{ [[b] * 9] * 9 }}",
    "lines indented": "{{ question }}{{ ('\n' * 60000)|indent(1000, true, true) }}",
    "tabs spread": "{{ question }}{{ ('\t' * 70000).expandtabs(1000) }}",
    "constants": "{{ question }}{{ 'x'|center(1000)|replace(' ', 'x' * 1000)|replace('x', 'y' * 1000) }}",
    "deep nesting": "{{ question }}{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_what_multiplies_is_an_error_in_bounded_time_and_memory(source):
    with pytest.raises(TemplateError):
        Template(source, VALUES)


USUAL = {
    "{{ question.strip()|upper }}": "WHAT?",
    "{% for d in documents %}[{{ d.number }}] {{ d.text|trim }}\n{% endfor %}": "[1] A rule.",
    "{% for d in documents if d.number is odd %}{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}": "1, 2, 3, 4",
    "{% macro show(d) %}<{{ d.number }}>{% endmacro %}{% for d in documents %}{{ show(d) }}{% endfor %}": "<1><2>",
    "{{ '%02d of %s'|format(7, documents|length) }}": "07 of 8",
    "{{ '{:>4}|{}'.format(1, 'x') }}": "1|x",
    "{{ documents|map(attribute='number')|join(', ') }}": "1, 2, 3",
    "{{ '-' * 40 }}{{ 2 ** 10 }}": "-" * 40 + "1024",
    "{{ question[:5] ~ '!' ~ 1 }}": "What?!1",
    "{{ 'ab'.center(6) ~ '|' }}": "ab  |",
    "{% set ns = namespace(n=0) %}{% for d in documents %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}": "8",
    "{{ documents|tojson(indent=2) }}": '[\n  {\n    "number": 1',
    "{{ question|wordwrap(20)|indent(4) }}": "What?",
    "{{ 100 % 7 }}": "2",
    "{{ ('50 % of it ' * 2) }}": "50 % of it 50 % of it",
}


@pytest.mark.parametrize("source", USUAL)
def test_what_people_write_works_as_ever(source):
    assert USUAL[source] in Template(source, VALUES).render(VALUES)


ORDINARY = [
    "A rise of 95% (12000 of 12600 patients).",
    r"It is \frac{12345}{2}.",
    "{a*b} is code, {x:>99999} too",
    "100%*d",
    "%99999d",
    "{{ 7 * 7 }} {% for %}",
]


@pytest.mark.parametrize("text", ORDINARY)
@pytest.mark.parametrize(
    "how", ["|trim", "|upper", ".strip()", "|truncate(4000)", "|replace('a', 'b')", " ~ '.'", "[:99]"]
)
def test_what_documents_hold_is_no_matter(text, how):
    template = Template("{{ question" + how + " }}", {"question": "What?"})
    assert template.render({"question": text})


def test_long_documents_are_within_the_budget():
    values = {"documents": [{"number": i, "text": "Rule. " * 300_000} for i in range(20)]}
    template = Template("{% for d in documents %}{{ d.number }} {{ d.text|replace('\\n', ' ') }}{% endfor %}", values)
    assert len(template.render(values)) > 30_000_000


def test_a_budget_is_one_text_s_own():
    loops = "{% for i in range(20000) %}{% for j in range(5) %}{% endfor %}{% endfor %}"
    template = Template(loops + "{{ question }}", VALUES)
    for _ in range(3):
        assert template.render(VALUES).startswith("What?")
