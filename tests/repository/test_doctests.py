"""The examples in public docstrings run, with a teacher that has learnt its lines by heart."""

import doctest
import inspect
import re

import pytest
from datasets import load_dataset

import hf_rare
from hf_rare import ReasonDistiller, push_to_hub
from tests.conftest import REPOSITORY
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pages import Page, enter_fixture, stand_ins_fixture  # noqa: F401

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
RAY = "distill_with_ray"


def find_examples() -> dict[str, doctest.DocTest]:
    """The examples of every public object and of its public methods, by name."""
    found = {}
    for name in hf_rare.__all__:
        owner = getattr(hf_rare, name)
        members = inspect.getmembers(owner) if inspect.isclass(owner) else []
        for path, item in [(name, owner), *((f"{name}.{own}", item) for own, item in members if own[0] != "_")]:
            text = inspect.getdoc(item) if callable(item) else None
            if text and ">>> " in text and text not in {test.docstring for test in found.values()}:
                found[path] = doctest.DocTestParser().get_doctest(text, {}, path, None, None)
    return found


EXAMPLES = find_examples()


def make_names(code: str) -> dict[str, object]:
    """What examples take for granted: public names, rows before and after a distiller, documents."""
    rows = load_dataset("json", data_files="questions.jsonl", split="train")
    documents = rows.select_columns("text")
    distill_fn = ReasonDistiller.from_pretrained("Qwen/Qwen3-8B", max_new_tokens=1024)
    names = {name: getattr(hf_rare, name) for name in hf_rare.__all__}
    if "from_recipe" in code:
        push_to_hub(distill_fn.apply(rows), "me/rare-medicine", recipe=distill_fn)
    return {
        **names,
        "rows": rows,
        "ds": distill_fn.apply(rows) if "ds" in re.findall(r"\w+", code) else None,
        "distill_fn": distill_fn,
        "pairs": rows.remove_columns("hard_negatives"),
        "questions": rows.select_columns(["question", "scenario"]),
        "corpus": documents,
        "pages": documents.rename_column("text", "body"),
    }


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != RAY])
def test_an_example_runs(name, enter):
    test = EXAMPLES[name]
    code = "".join(example.source for example in test.examples)
    enter(code)
    test.globs = make_names(code)
    said: list[str] = []
    results = doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(test, out=said.append)
    assert results.attempted == len(test.examples)
    assert results.failed == 0, "".join(said)


def test_the_example_with_ray_is_that_of_its_page():
    """The page is run by `tests/writers/test_ray.py`."""
    (example,) = EXAMPLES[RAY].examples
    (block,) = Page(REPOSITORY / "docs" / "ray.md").blocks_of("python")
    assert example.source in block.text


def test_what_people_call_first_has_an_example():
    assert {"ReasonDistiller", "verify", "push_to_hub", "to_sft", "mine_hard_negatives"} <= set(EXAMPLES)
