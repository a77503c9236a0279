"""Recipes and pipelines: whoever wrote them, each ends soon, in an error of ours or in rows, and none runs code."""

import copy
import json
import os
import signal

import pytest

from hf_rare import ReasonDistiller
from hf_rare.writers.recipe import make_recipe
from hf_rare.writers.registry import WRITERS
from tests.attack.conftest import IS_WHOLE
from tests.prompts.test_sandbox import BOMBS
from tests.support import recipe_job
from tests.support.rule_rows import write_rule_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SECONDS = 300
"""From which on a try hangs that waits for something; one that computes is ended sooner."""
DOCUMENTS = "{{ question }}{% for d in documents %}{{ d.text }}{% endfor %}"
TOUCH = "touch CANARY"


def deep(depth, leaf):
    for _ in range(depth):
        leaf = {"type": "array", "items": leaf}
    return leaf


def chained(count, key):
    leaf = {"type": "string"}
    for _ in range(count):
        leaf = {key: [leaf, {"type": "integer"}]}
    return leaf


CAPS = {
    "samples": ("distill", {"num_samples": 10**9}),
    "samples as a text": ("distill", {"num_samples": "64"}),
    "samples as a fraction": ("distill", {"num_samples": 64.5}),
    "samples that are true": ("distill", {"num_samples": True}),
    "samples in a list": ("distill", {"num_samples": [10**9]}),
    "no samples": ("distill", {"num_samples": -1}),
    "as many samples as there may be": ("distill", {"num_samples": 64}),
    "attempts": ("distill", {"max_attempts": 65}),
    "attempts beyond floats": ("distill", {"max_attempts": 10**400}),
    "as many attempts as there may be": ("distill", {"max_attempts": 64, "keep_attempts": True}),
    "samples and attempts": ("distill", {"num_samples": 64, "max_attempts": 64}),
    "a seed beyond 64 bits": ("distill", {"seed": 10**300}),
    "a seed below zero": ("distill", {"seed": -(10**30)}),
    "tokens": ("decoding", {"max_new_tokens": 2**63}),
    "as many tokens as there may be": ("decoding", {"max_new_tokens": 262_144}),
    "beams": ("decoding", {"generation_kwargs": {"num_beams": 17}}),
    "beams as a text": ("decoding", {"generation_kwargs": {"num_beams": "17"}}),
    "as many beams as there may be": ("decoding", {"generation_kwargs": {"num_beams": 16}}),
    "stop strings": ("decoding", {"generation_kwargs": {"stop_strings": [str(i) for i in range(10_000)]}}),
    "a long stop string": ("decoding", {"generation_kwargs": {"stop_strings": ["a" * 190_000]}}),
    "long stop strings": ("decoding", {"generation_kwargs": {"stop_strings": ["ab" * 1500] * 64}}),
    "a stop string alone": ("decoding", {"generation_kwargs": {"stop_strings": "a" * 190_000}}),
    "stop strings in a dict": (
        "decoding",
        {"generation_kwargs": {"stop_strings": {str(i): 1 for i in range(10_000)}}},
    ),
    "half a character as a stop string": ("decoding", {"generation_kwargs": {"stop_strings": ["\ud800"]}}),
    "words": ("decoding", {"generation_kwargs": {"bad_words_ids": [[1]] * 300_000}}),
    "many words": ("decoding", {"generation_kwargs": {"bad_words_ids": [[i % 500, 1] for i in range(40_000)]}}),
    "words beyond the vocabulary": ("decoding", {"generation_kwargs": {"bad_words_ids": [[10**12], [-7]]}}),
    "words that are none": ("decoding", {"generation_kwargs": {"bad_words_ids": [["a", None], {}]}}),
    "tokens to suppress": ("decoding", {"generation_kwargs": {"suppress_tokens": [10**12, -(10**12), "x"]}}),
    "every token suppressed": ("decoding", {"generation_kwargs": {"suppress_tokens": list(range(2000))}}),
    "a bias": ("decoding", {"generation_kwargs": {"sequence_bias": [[[10**9], 1e300]]}}),
    "ends": ("decoding", {"generation_kwargs": {"eos_token_id": list(range(50_000))}}),
    "an end that is none": ("decoding", {"generation_kwargs": {"eos_token_id": "x"}}),
    "at least so many tokens": ("decoding", {"generation_kwargs": {"min_new_tokens": 10**18}}),
    "n-grams": ("decoding", {"generation_kwargs": {"no_repeat_ngram_size": 10**18}}),
    "the best so many": ("decoding", {"generation_kwargs": {"top_k": 10**30}}),
    "hardly any temperature": ("decoding", {"generation_kwargs": {"temperature": 1e-300}}),
    "all temperature": ("decoding", {"generation_kwargs": {"temperature": 1e300}}),
    "a penalty": ("decoding", {"generation_kwargs": {"repetition_penalty": 1e300}}),
    "a growing penalty": ("decoding", {"generation_kwargs": {"exponential_decay_length_penalty": [-5, 1e300]}}),
    "a watermark": ("decoding", {"generation_kwargs": {"watermarking_config": {"greenlist_ratio": 1e9}}}),
    "another cache": ("decoding", {"generation_kwargs": {"cache_implementation": "quantized"}}),
    "a compiler": ("decoding", {"generation_kwargs": {"compile_config": {"backend": "inductor", "mode": TOUCH}}}),
    "a context": ("decoding", {"context_length": 10**18}),
    "no context": ("decoding", {"context_length": 5}),
    "loops": ("decoding", {"repetition_detection": {"max_pattern_size": 10**12, "min_count": 10**12}}),
    "a batch": ("decoding", {"max_batch_tokens": 10**18}),
    "a text of settings": ("decoding", {"generation_kwargs": "x" * 1000}),
    "a large system prompt": ("distill", {"system_prompt": "x " * 90_000}),
    "half a character": ("distill", {"system_prompt": "\ud800 \udfff"}),
    "tags of one sign": ("distill", {"thought_tags": ["(", "("], "answer_tags": ["(?", "*+"]}),
    "tags of many signs": ("distill", {"thought_tags": ["<" * 90_000, ">" * 90_000]}),
    "equal columns": ("distill", {"output_column": "question"}),
    "a column of many lines": ("distill", {"output_column": "\n\0<script>" * 999}),
    "columns": ("distill", {"template_columns": ["question"] * 60_000}),
    "columns that are none": ("distill", {"template_columns": [["question"], {}, 1]}),
    "a gold column": ("distill", {"gold_column": "gold", "check": "math", "max_attempts": 64}),
}
SCHEMAS = {
    "a deep schema": deep(29, {"type": "string"}),
    "a schema that holds itself": {"$ref": "#"},
    "schemas that hold each other": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "a schema elsewhere": {"$ref": "http://127.0.0.1:9/schema.json"},
    "a schema in a file": {"$ref": "file:///etc/passwd"},
    "a schema of choices": chained(28, "anyOf"),
    "a schema of one choice": chained(28, "oneOf"),
    "a schema of all": chained(28, "allOf"),
    "a pattern that goes back": {"type": "string", "pattern": "^(a+)+(b|a)*$"},
    "a pattern of counts": {"type": "string", "pattern": "^(((a{1,999}){1,999}){1,999}){1,999}$"},
    "a pattern of letters": {"type": "string", "pattern": r"^(\p{L}{1,5000}|\w{2,9999}){500}$"},
    "a pattern that is none": {"type": "string", "pattern": "(" * 999},
    "patterns that look ahead": {"type": "string", "pattern": "^(?=.*a)(?!.*b)(?<=c)\\1$"},
    "lengths": {"type": "string", "minLength": 10**12, "maxLength": 10**18},
    "items": {"type": "array", "items": {"type": "array", "minItems": 10**9}, "minItems": 10**9, "maxItems": 10**12},
    "values": {"enum": [f"{i}" for i in range(15_000)]},
    "properties": {"type": "object", "properties": {f"p{i}": {"type": "object"} for i in range(9_000)}},
    "properties by patterns": {"type": "object", "patternProperties": {"(x+x+)+y": {}, "^.*.*.*$": {"$ref": "#"}}},
    "numbers": {"type": "number", "multipleOf": 1e-300, "minimum": float("-inf"), "exclusiveMaximum": float("nan")},
    "whole numbers": {"type": "integer", "minimum": -(10**400), "maximum": 10**400},
    "kinds that are none": {"type": ["nonsense", 3, None], "properties": 7, "required": "x", "items": [1]},
    "settings of the guide": {"x-guidance": {"whitespace_flexible": 7, "lark": "%ignore /x/"}, "type": "object"},
    "nothing can be said": {"allOf": [{"type": "string"}, {"type": "integer"}], "not": {}},
    "schema of a text": "x",
}
CODE = {
    "a class of classes": "{{ question.__class__.__mro__[1].__subclasses__() }}",
    "a shell by a global": "{{ cycler.__init__.__globals__.os.system('" + TOUCH + "') }}",
    "a shell by words": "{{ lipsum.__globals__['os'].popen('" + TOUCH + "').read() }}",
    "a shell by a joiner": "{{ joiner.__init__.__globals__['__builtins__']['exec']('import os; os.system(\""
    + TOUCH
    + "\")') }}",
    "a shell by a name space": "{{ namespace.__init__.__globals__ }}",
    "a shell by a filter": "{{ (question|attr('__class__'))|attr('__base__') }}",
    "a shell by a map": "{{ documents|map(attribute='__class__.__init__.__globals__')|list }}",
    "a shell by groups": "{{ documents|groupby('__class__') }}{{ documents|sort(attribute='__class__') }}",
    "a shell by a format": "{{ '{0.__class__.__init__.__globals__}'.format(question) }}",
    "a shell by a mapping": "{{ '{q.__class__}'.format_map({'q': question}) }}",
    "a shell by the template": "{{ self.__init__.__globals__ }}{{ self._TemplateReference__context }}",
    "a file that is included": "{% include '/etc/passwd' %}",
    "a file that is imported": "{% import '/etc/passwd' as x %}{{ x }}",
    "a file that is extended": "{% extends '../../etc/passwd' %}",
    "a macro's code": "{% macro f() %}{% endmacro %}{{ f.__call__.__func__.__code__ }}{{ f.__globals__ }}",
    "a loop's context": "{% for d in documents %}{{ loop._iterator.__class__.__subclasses__() }}{% endfor %}",
    "many conditions": "{% if question %}" * 4000 + "x" + "{% endif %}" * 4000,
    "many other conditions": "{% if question %}a" + "{% elif scenario %}b" * 6000 + "{% endif %}",
    "many filters": "{{ question" + "|trim" * 20_000 + " }}",
    "many signs": "{{ question }}{{ " + "-" * 90_000 + "1 }}",
    "many sums": "{{ question }}{{ " + "1+" * 60_000 + "1 }}",
    "many nots": "{{ question }}{{ " + "not " * 40_000 + "1 }}",
    "many names": "{{ question" + ".a" * 60_000 + " }}",
    "many lists": "{{ question }}{{ " + "[" * 60_000 + "]" * 60_000 + " }}",
    "many macros": "{% macro f() %}" * 3000 + "{% endmacro %}" * 3000 + "{{ question }}",
    "many variables": "".join(f"{{% set v{i} = question %}}" for i in range(7000)) + "{{ question }}",
    "a comment without an end": "{{ question }}{#" + "{" * 150_000,
    "braces": "{{" * 90_000,
    "half a character in a template": DOCUMENTS + "\ud800",
    "a template that changes": DOCUMENTS + "{{ documents.append(1) }}{{ documents.clear() }}",
}
CHAT = {
    "a chat template": {"chat_template": "{% for i in range(10**9) %}{% endfor %}"},
    "a chat template's code": {"chat_template": "{{ cycler.__init__.__globals__.os.system('" + TOUCH + "') }}"},
    "a chat template under another name": {"chat_template ": "x", "CHAT_TEMPLATE": "x"},
    "functions of a chat template": {"raise_exception": "x", "strftime_now": "x", "tojson": 7},
    "messages of a chat template": {"messages": [{"role": "user", "content": "Obey."}], "message": 1},
    "tools of a chat template": {"tools": [{"type": "function", "function": "x" * 1000}], "documents": [[1]]},
    "tools that are none": {"tools": "x", "documents": 7},
    "tokens of a chat template": {"bos_token": "<|im_end|>", "eos_token": ["x"] * 999},
    "arguments that are ours": {"add_generation_prompt": False},
    "a list for arguments": [["chat_template", "x"]],
}
MODELS = {
    "code of a model": {"trust_remote_code": 1},
    "code as a text": {"trust_remote_code": "false"},
    "a kernel": {"attn_implementation": "someone/kernel:" + TOUCH},
    "a kernel behind another": {"attn_implementation": "paged|someone/kernel"},
    "attention that is none": {"attn_implementation": "flash_attention_9"},
    "attention in a dict": {"attn_implementation": {"": "someone/kernel"}},
    "a quantisation": {"quantization_config": {"quant_method": "gptq", "bits": 10**9, "dataset": "/etc/passwd"}},
    "a quantisation that is none": {"quantization_config": {"quant_method": {"a": 1}}},
    "devices": {"device_map": {"": "disk"}},
    "many devices": {"device_map": "auto", "max_memory": {"cpu": "1e309GB", "-1": -1}},
    "an idle device": {"device_map": "meta"},
    "all processes": {"tp_plan": "auto"},
    "another adapter": {"adapter": "../../x", "adapter_revision": "local-1"},
    "a file elsewhere": {"gguf_file": "../x.gguf"},
    "a file of many names": {"gguf_file": "a/" * 50_000 + "b"},
    "a type of numbers": {"dtype": "torch.torch.float16"},
    "a revision elsewhere": {"revision": "../../../etc"},
    "a folder in memory": {"offload_folder": "/dev/shm/x"},
}


def with_settings(section, settings):
    return lambda recipe: recipe[section].update(settings)


def with_keys(**keys):
    return lambda recipe: recipe.update(copy.deepcopy(keys))


def kind_of(kind, **settings):
    """Make it a recipe of another kind."""

    def change(recipe):
        del recipe["distill"]
        recipe |= {"kind": kind, kind: settings}

    return change


CHANGES = {
    **{name: with_settings(section, settings) for name, (section, settings) in CAPS.items()},
    **{name: with_settings("decoding", {"json_schema": schema}) for name, schema in SCHEMAS.items()},
    **{name: with_settings("decoding", {"chat_template_kwargs": settings}) for name, settings in CHAT.items()},
    **{name: with_settings("model", settings) for name, settings in MODELS.items()},
    **{
        f"template: {name}": with_settings("distill", {"template": source})
        for name, source in {**BOMBS, **CODE}.items()
    },
    "engine of one's own": with_settings(
        "decoding", {"engine": "continuous", "continuous_batching": {"num_blocks": 10**12}}
    ),
    "another engine": with_settings("decoding", {"engine": "vllm"}),
    "no kind": with_keys(kind=None),
    "a list for a kind": with_keys(kind=["distill"]),
    "a version that is true": with_keys(recipe=True),
    "no revision of prompts": lambda recipe: recipe.pop("generation_revision"),
    "a revision of prompts that is none": with_keys(generation_revision={"a": [1]}),
    "an identity": with_keys(identity=deep(200, 1), versions=[TOUCH], command=TOUCH, hf_rare={"x": 1}),
    "a judge": with_keys(judge={"recipe": 1, "kind": "judge", "judge": {"template": "/etc/passwd"}}),
    "an address": with_keys(endpoint={"model_id": "x", "base_url": "http://127.0.0.1:9/v1"}),
    "a variable": with_keys(endpoint={"model_id": "x", "token_variable": "HOME", "max_concurrency": 10**9}),
    "an endpoint without a name": with_keys(endpoint={"max_concurrency": 10**9}),
    "an endpoint's tokenizer": with_keys(endpoint={"model_id": "x", "tokenizer": "/etc"}),
    "sections that are none": with_keys(model=7, decoding=[1], distill="x"),
    "keys": lambda recipe: recipe.update({f"key-{i}": i for i in range(100_000)}),
    "questions": kind_of("questions", num_questions=10**9),
    "as many questions as there may be": kind_of("questions", num_questions=64, max_attempts=64, expand=True),
    "negatives": kind_of("negatives", num_negatives=64, max_attempts=65),
    "as many negatives as there may be": kind_of(
        "negatives", num_negatives=64, max_attempts=3, duplicate_threshold=1e-9
    ),
    "a judge of one's own": kind_of("judge", template="{{ question }}" + "{{ gold * 10 ** 9 }}"),
}


def deep_json(depth, opening, closing):
    return lambda text: text[:-1] + ', "x": ' + opening * depth + "1" + closing * depth + "}"


FILES = {
    "nothing": lambda text: "",
    "white space": lambda text: " \n" * 1_000_000,
    "lists in lists": lambda text: "[" * 500_000,
    "a deep list": deep_json(100_000, "[", "]"),
    "a deep dict": deep_json(100_000, '{"a":', "}"),
    "a deep schema in a file": lambda text: text.replace(
        '"json_schema": null', '"json_schema": ' + '{"not":' * 900 + "{}" + "}" * 900
    ),
    "keys that stand twice": lambda text: text[:-1] + ', "distill": {"template": "/etc/passwd"}}',
    "a number of many digits": lambda text: text[:-1] + ', "generation_revision": ' + "9" * 10_000 + "}",
    "numbers that are none": lambda text: text.replace('"seed": 0', '"seed": NaN'),
    "a byte order mark": lambda text: "\ufeff" + text,
    "another encoding": lambda text: text.encode("utf-16"),
    "bytes": lambda text: b"\xff\xfe\x00" + text.encode(),
    "two recipes": lambda text: text + text,
    "a recipe in a list": lambda text: f"[{text}]",
    "a zero": lambda text: text.replace("question", "question\\u0000"),
    "YAML": lambda text: "!!python/object/apply:os.system ['" + TOUCH + "']",
    "Python": lambda text: "__import__('os').system('" + TOUCH + "')",
    "a pickle": lambda text: b"\x80\x04cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR.",
    "a file of 5 GB": lambda text: 5 << 30,
    "no file": lambda text: None,
}

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 9)}]\n" for name in "bcdefghij"
)
PIPELINES = {
    "code": "input: !!python/object/apply:os.system ['" + TOUCH + "']\n",
    "another tag": "input: !!binary aGVsbG8=\ndistill: !!set {a, b}\n",
    "aliases": "input: INPUT\n" + BOMB,
    "aliases in a setting": "input: INPUT\nx: &x 1\ndistill:\n  template_columns: *j\n" + BOMB,
    "aliases before a setting": BOMB + "input: INPUT\ndistill: {template_columns: *j}\n",
    "aliases for an input": BOMB + "input: *j\ndistill: {}\n",
    "aliases for a name": BOMB + "input: INPUT\nmodel: {model_id: *j}\ndistill: {}\n",
    "what holds itself": "input: INPUT\ndistill: &d {template_columns: *d}\n",
    "a list that holds itself": "input: &i [*i]\ndistill: {}\n",
    "merges": "x0: &x0 {a: 1}\n" + "".join(f"x{i}: &x{i} {{<<: [*x{i - 1}, *x{i - 1}]}}\n" for i in range(1, 30)),
    "merges of itself": "distill: &d {<<: *d}\n",
    "lists in lists": "input: " + "[" * 50_000,
    "lines in lines": "".join(" " * i + "a:\n" for i in range(2000)),
    "a long key": "? " + "x" * 2_000_000 + "\n: 1\n",
    "many keys": "".join(f"k{i}: 1\n" for i in range(50_000)),
    "many documents": "---\n" * 50_000,
    "digits": "input: INPUT\ndistill: {seed: " + "9" * 100_000 + "}\n",
    "a number of hexadecimal digits": "input: INPUT\ndistill: {seed: 0x" + "f" * 200_000 + "}\n",
    "many anchors": "".join(f"k{i}: &a{i} {{b: 1}}\n" for i in range(20_000)),
    "nothing": "",
    "a text": "distill",
    "a zero": "input: \0",
    "a template": "input: INPUT\nmodel: {model_id: MODEL, max_new_tokens: 4}\n"
    "distill: {template: \"{{ question }}{{ 'a' * 10 ** 10 }}\"}\n",
    "what works": "input: INPUT\nmodel: {model_id: MODEL, max_new_tokens: 4}\ndistill: {template: plain}\n",
}

ALL = [
    *(("settings", name) for name in CHANGES),
    *(("file", name) for name in FILES),
    *(("pipeline", name) for name in PIPELINES),
]
TRIES = ALL if IS_WHOLE else ALL[:: len(ALL) // 24]
PARTS = 8 if IS_WHOLE else 1


@pytest.fixture(scope="module")
def recipe(tiny) -> str:
    return json.dumps(make_recipe(ReasonDistiller.from_pretrained(tiny, max_new_tokens=4)))


def write(recipe, folder, source, name, tiny) -> tuple[str, str]:
    """Write what is tried; give its path, and the kind of writer that it is for."""
    path, kind = folder / ("pipeline.yaml" if source == "pipeline" else "recipe.json"), "distill"
    if source == "pipeline":
        rows = write_rule_rows(folder / "rows.jsonl", [1, 2])
        written = PIPELINES[name].replace("INPUT", rows).replace("MODEL", tiny)
    elif source == "file":
        written = FILES[name](recipe)
    else:
        made = json.loads(recipe)
        CHANGES[name](made)
        kind = made["kind"] if str(made["kind"]) in WRITERS else "distill"
        written = json.dumps(made)
    if isinstance(written, int):
        path.touch()
        os.truncate(path, written)
    elif written is not None:
        text = written.encode() if isinstance(written, str) else written
        path.write_bytes(text.replace(b"CANARY", bytes(folder / "canary")))
    return str(path), kind


def run(context, folder, path, kind, tiny) -> dict | None:
    """Use a recipe or a pipeline in a process of its own, and give how it ended; `None` where it hung."""
    outcome = folder / "outcome"
    if path.endswith(".yaml"):
        target, arguments = recipe_job.use_pipeline, (path, str(folder / "output"), str(outcome))
    else:
        target, arguments = recipe_job.use_recipe, (path, kind, tiny, str(outcome))
    process = context.Process(target=target, args=arguments, daemon=True)
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    if process.exitcode == -signal.SIGXCPU:
        return None
    if not outcome.exists():
        return {"ending": "foreign", "message": f"exit code {process.exitcode}", "deeds": []}
    return json.loads(outcome.read_text())


@pytest.mark.parametrize("part", range(PARTS))
def test_it_ends_soon_and_does_nothing_else(context, recipe, tiny, tmp_path, count, part):
    bad = []
    for number, (source, name) in enumerate(TRIES[part::PARTS]):
        folder = tmp_path / str(number)
        folder.mkdir()
        ending = run(context, folder, *write(recipe, folder, source, name, tiny), tiny)
        is_foreign = ending is not None and ending["ending"] == "foreign"
        deeds = [*(ending or {"deeds": []})["deeds"], *(["the canary"] if (folder / "canary").exists() else [])]
        count(tried=1, hung=int(ending is None), let_in=int(bool(deeds)), foreign_exceptions=int(is_foreign))
        if ending is None or deeds or is_foreign:
            bad.append((source, name, ending["message"] if ending else "hung", deeds))
    assert not bad, "\n".join(map(str, bad))
