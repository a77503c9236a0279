"""What a card says about making its rows again: the code, and the settings of every writer."""

import json
import re
from types import SimpleNamespace

import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher
from huggingface_hub import DatasetCard

import hf_rare
from hf_rare import QueryGenerator, ReasonDistiller, build_card
from hf_rare.hub.card.provenance import describe_writer
from hf_rare.prompts.templates import read_template_source
from hf_rare.training.trl import to_sft
from hf_rare.writers.judge import AnswerJudge
from hf_rare.writers.negatives import NegativeWriter
from hf_rare.writers.recipe import make_recipe
from tests.support.distilled import OF_DISTILLERS, SHA, full_card, recipe


def test_the_code_in_the_card_is_all_there(distilled):
    blocks = re.findall(r"```python\n(.*?)```", full_card(distilled), re.DOTALL)
    assert [block.split()[1] for block in blocks] == ["datasets", "hf_rare", "datasets"]
    assert 'train = to_sft(ds, recipe="me/rare-small")\n' in blocks[0]
    assert "ReasonDistiller.from_recipe(" in blocks[1]
    medicine = full_card(distilled, config_name="medicine", recipe_path="medicine/recipe.json")
    assert "from hf_rare import read_recipe, to_sft\n" in medicine
    assert 'to_sft(ds, recipe=read_recipe("me/rare-small", config_name="medicine"))\n' in medicine


def train_on(card: str, dataset: Dataset) -> tuple[Dataset, str]:
    """Run the code for training that a card has on rows that are here, up to the trainer; give its rows, and it."""
    code = card.split("### Training on it")[1].split("```python\n")[1].split("```")[0]
    local = code.replace("from datasets import load_dataset\n", "")
    namespace = {
        "load_dataset": lambda *args, **kwargs: dataset,
        "SFTTrainer": lambda *args, **kwargs: SimpleNamespace(train=lambda: None),
    }
    exec(local.replace("from trl import SFTConfig, SFTTrainer", "SFTConfig = dict"), namespace)
    return namespace["train"], code


def test_without_a_recipe_in_the_repository_the_code_has_its_settings(distilled):
    said = recipe()
    made, code = train_on(build_card(distilled, said), distilled)
    assert made.to_list() == to_sft(distilled, recipe=said).to_list()
    assert (len(made), made[0]["prompt"][0]["role"]) == (11, "system")
    assert '\n    system_prompt="Answer in English.",\n    seed=5,\n' in code
    said["distill"] |= {"template": "{{ question }}\n{% for d in documents %}{{ d.text }}{% endfor %}"}
    said["distill"] |= {"question_column": 'say "why"\n', "thought_tags": ["<a>", "</a>"], "seed": 0}
    renamed = distilled.rename_columns({"question": 'say "why"\n'})
    made, _ = train_on(build_card(renamed, said), renamed)
    assert made.to_list() == to_sft(renamed, recipe=said).to_list()
    assert made[0]["completion"][0]["content"].startswith("<a>\n")


@pytest.mark.parametrize("said", [None, {"kind": "distill", "distill": {"template": "/a"}}, {"kind": "questions"}])
def test_code_without_a_recipe_that_can_be_read(distilled, said):
    made, code = train_on(build_card(distilled, said, recipe_path="recipe.json"), distilled)
    assert made.to_list() == to_sft(distilled).to_list()
    assert "recipe=" not in code


def test_code_takes_right_traces_alone_where_verdicts_say_which(distilled):
    verdicts = ["right", "wrong", "right", *["unchecked"] * 11]
    checked = distilled.add_column("reasoning_verdict", verdicts)
    made, code = train_on(card := build_card(checked), checked)
    assert 'to_sft(ds, correct_column="reasoning_verdict")' in code
    assert "whose status is `ok` and whose verdict is `right`" in card
    assert made.to_list() == to_sft(checked, correct_column="reasoning_verdict").to_list()
    assert len(made) == 1  # the other right trace is cut off
    made, code = train_on(build_card(bare := checked.remove_columns("reasoning_status")), bare)
    assert "statuses=None" in code
    assert len(made) == 2
    assert "correct_column" not in build_card(distilled.add_column("reasoning_verdict", ["unchecked"] * 14))
    none = build_card(distilled.add_column("reasoning_verdict", ["wrong"] * 14))
    assert "As no trace is right, there are none." in none
    silent = distilled.map(lambda _: {"reasoning_answer": ""})
    made, code = train_on(build_card(silent), silent)
    assert 'to_sft(ds, reasoning_format="plain")' in code
    assert made.to_list() == to_sft(silent).to_list()


def test_rows_that_cannot_become_training_text_say_what_they_lack(distilled):
    card = build_card(distilled.select_columns(["question", "text", "reasoning"]), recipe())
    assert "`to_sft` writes rows for trainers, and these do not have `hard_negatives`, `reasoning_answer`," in card
    assert "`reasoning_document_order` and `reasoning_status`, which a distiller writes with" in card
    said = recipe()
    said["distill"] |= {"template": "{{ question }} {{ nothing }}"}
    assert "These rows cannot be written as training text: " in build_card(distilled, said)


def test_a_distiller_is_as_good_as_its_recipe(rows, tiny):
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=4, seed=5, system_prompt="Be brief.", generation_kwargs={"temperature": 0.5}
    )
    card = build_card(distill_fn.apply(rows), distill_fn, pretty_name="My rows", license="mit", language="en")
    data = DatasetCard(card).data.to_dict()
    assert data["pretty_name"] == "My rows"
    assert data["license"] == "mit"
    assert data["language"] == "en"
    assert data["size_categories"] == ["n<1K"]
    assert "base_model" not in data
    for words in (
        "| `revision` | `local-",
        "| `seed` | `5` |",
        "| `system_prompt` | `Be brief.` |",
        "| `temperature` | `0.5` |",
        "| `max_new_tokens` | `4` |",
        "essential problem",
        "| `reasoning_document_order` | `list of int64` |",
        "| traces `truncated` |",
        "2503.23513",
        "2504.20595",
        f"| `hf_rare` | `{hf_rare.__version__}` |",
    ):
        assert words in card, words
    assert tiny not in card
    assert tiny.rsplit("/", 1)[0] not in card


MAKERS = {
    "questions": QueryGenerator,
    "negatives": NegativeWriter,
    "judge": AnswerJudge,
}
TITLES = {
    "questions": "Questions about documents",
    "negatives": "Questions with hard negatives",
    "judge": "Answers that a model has judged",
}


@pytest.mark.parametrize("kind", MAKERS)
def test_recipes_of_other_writers(rows, tiny, tmp_path, kind):
    writer = MAKERS[kind].from_pretrained(tiny, max_new_tokens=4, seed=7, system_prompt="Be brief.", max_attempts=2)
    said = make_recipe(writer, command="hf-rare run x.yaml")
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(said))
    card = build_card(rows, said, recipe_path=str(path))
    for words in (
        describe_writer(said),
        f"pretty_name: {TITLES[kind]}\n",
        f"\n# {TITLES[kind]}\n",
        "| `seed` | `7` |",
        "| `system_prompt` | `Be brief.` |",
        "| `max_attempts` | `2` |",
        f"| `template` | `{writer.config.template}` |",
        "Prompt and draw of a row depend on its content",
        "There is no column with traces in them.",
    ):
        assert words in card, words
    template = read_template_source(writer.config.template, writer.config.builtin_templates)
    assert template.strip().splitlines()[0] in card
    assert "was not recorded.\n\n### Columns" not in card
    assert not [words for words in OF_DISTILLERS if words in card]
    assert not [words for words in ("traces in", "step-by-step") if words in card.split("### How it was made")[1]]
    (code,) = re.findall(r"```python\n(from hf_rare.*?)```", card, re.DOTALL)
    namespace = {"rows": rows.add_column("gold", ["so"] * 6).select_columns(writer.input_columns)}
    exec(code.replace("FOLDER", tiny), namespace)
    assert set(writer.output_features) <= set(namespace["again"].column_names)


def test_numbers_of_questions_and_hard_negatives_are_shown(rows):
    for kind, setting in (("questions", "num_questions"), ("negatives", "num_negatives")):
        said = {"kind": kind, kind: {setting: 3, "text_column": "document", "duplicate_threshold": 0.25}}
        card = build_card(rows.rename_column("text", "document"), said)
        assert f"| `{setting}` | `3` |" in card
        assert ("| `duplicate_threshold` | `0.25` |" in card) is (kind == "negatives")
        assert "| `document` | `string` | the document that helps (the positive) |" in card


def test_a_judge_is_made_again_too(rows, tiny, tmp_path):
    judge = AnswerJudge.from_pretrained(tiny, max_new_tokens=4)
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, gold_column="answer", judge=judge)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(make_recipe(distill_fn)))
    card = build_card(rows, distill_fn, recipe_path=str(path))
    assert "The model of the judge is not on the Hub: pass the folder where it lies." in card
    (code,) = re.findall(r"```python\n(from hf_rare.*?)```", card, re.DOTALL)
    namespace = {"rows": rows}
    exec(code.replace("FOLDER", tiny), namespace)
    assert Hasher.hash(namespace["distill_fn"]) == Hasher.hash(distill_fn)


def test_an_adapter_from_a_folder_must_be_passed(distilled):
    said = recipe()
    assert "adapter=" not in build_card(distilled, said, recipe_path="recipe.json")
    said["model"] |= {"adapter": "me/adapter", "adapter_revision": SHA}
    assert "adapter=" not in build_card(distilled, said, recipe_path="recipe.json")
    said["model"] |= {"adapter": "lora", "adapter_revision": "local-" + SHA}
    card = build_card(distilled, said, recipe_path="recipe.json")
    assert "The adapter is not on the Hub: pass the folder where it lies." in card
    assert 'from_recipe("recipe.json", adapter="FOLDER")' in card
