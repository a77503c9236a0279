"""The dataset card: as a whole against an approved text, read by the Hub's own client, and with whatever rows hold.

After a change that is meant, write the approved text anew with `HF_RARE_APPROVE=1 pytest tests/hub/test_card.py` and
read the difference.
"""

import json
import os
import re
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import pytest
from datasets import Dataset, DatasetDict, Features, List, Value, load_dataset
from datasets.fingerprint import Hasher
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import hf_rare
from hf_rare import QueryGenerator, ReasonDistiller, build_card
from hf_rare.checks.grounding import audit_grounding
from hf_rare.errors import ConfigError
from hf_rare.hub.card.header import split_header
from hf_rare.hub.card.merge import find_blocks
from hf_rare.hub.card.provenance import describe_writer, find_hub_teacher, without_folders
from hf_rare.prompts.templates import read_template_source
from hf_rare.settings.writers import DistillConfig
from hf_rare.training.trl import to_sft
from hf_rare.writers.judge import AnswerJudge
from hf_rare.writers.negatives import NegativeWriter
from hf_rare.writers.recipe import make_recipe
from tests.conftest import REPOSITORY
from tests.support.distilled import SHA, distilled_rows, recipe

APPROVED = REPOSITORY / "tests" / "data" / "approved_card.md"


@pytest.fixture
def distilled(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


def _full_card(dataset, **changes) -> str:
    given = {
        "pretty_name": "Fourteen questions",
        "license": "mit",
        "language": ["en"],
        "repo_id": "me/rare-small",
        "splits": {"train": SimpleNamespace(num_rows=len(dataset), num_bytes=45_678)},
        "data_files": {"train": "data/train-*"},
        "source_datasets": ["me/questions"],
        "plot_path": "assets/statistics.png",
        "recipe_path": "recipe.json",
    }
    return build_card(dataset, recipe(), **given | changes)


def test_the_whole_card_is_the_approved_one(distilled, monkeypatch):
    monkeypatch.setattr(hf_rare, "__version__", "1.2.3")
    monkeypatch.setattr("hf_rare.hub.card.provenance.__version__", "1.2.3")
    card = _full_card(distilled)
    if os.environ.get("HF_RARE_APPROVE"):
        APPROVED.write_text(card, encoding="utf-8")
    assert card == APPROVED.read_text(encoding="utf-8")


def test_settings_that_change_no_trace_are_left_out(distilled):
    said = recipe()
    said["identity"]["generation_config"] |= {"use_cache": True, "output_scores": False, "eos_token_id": 2}
    card = build_card(distilled, said)
    assert "| `eos_token_id` | `2` |" in card
    assert "use_cache" not in card
    assert "output_scores" not in card


def test_the_hub_client_reads_the_header(distilled):
    data = DatasetCard(_full_card(distilled)).data
    assert data.to_dict()["annotations_creators"] == ["machine-generated"]
    assert data.base_model == ["Qwen/Qwen3-8B"]
    assert data.source_datasets == ["me/questions"]
    info = DatasetInfosDict.from_dataset_card_data(data)["default"]
    assert info.features == distilled.features
    assert info.splits["train"].num_examples == 14
    assert info.splits["train"].num_bytes == 45_678
    configs = MetadataConfigs.from_dataset_card_data(data)
    assert configs == {"default": {"data_files": [{"split": "train", "path": "data/train-*"}]}}
    assert configs.get_default_config_name() == "default"


def test_a_folder_with_the_card_loads(distilled, tmp_path):
    (tmp_path / "data").mkdir()
    distilled.to_parquet(tmp_path / "data" / "train-0.parquet")
    (tmp_path / "README.md").write_text(_full_card(distilled), encoding="utf-8")
    loaded = load_dataset(str(tmp_path), split="train")
    assert loaded.features == distilled.features
    assert loaded.to_list() == distilled.to_list()


def test_the_code_in_the_card_is_all_there(distilled):
    blocks = re.findall(r"```python\n(.*?)```", _full_card(distilled), re.DOTALL)
    assert [block.split()[1] for block in blocks] == ["datasets", "hf_rare", "datasets"]
    assert 'train = to_sft(ds, recipe="me/rare-small")\n' in blocks[0]
    assert "ReasonDistiller.from_recipe(" in blocks[1]
    medicine = _full_card(distilled, config_name="medicine", recipe_path="medicine/recipe.json")
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


def test_what_is_unknown_is_said_and_not_guessed(rows):
    card = build_card(rows)
    data = DatasetCard(card).data.to_dict()
    assert not {"license", "language", "base_model", "source_datasets", "configs"} & set(data)
    assert "splits" not in data["dataset_info"]
    for words in (
        "How these rows were made was not recorded.",
        "these rows cannot be made again",
        "6 rows in `train`",
        "There is no column with traces in them.",
        "No licence was given",
        'load_dataset("OWNER/NAME"',
    ):
        assert words in card, words
    assert "Training on it" not in card
    assert "![" not in card
    assert "recipe.json" not in card


def test_a_dataset_without_rows_and_one_without_splits(distilled):
    card = build_card(distilled.select([]), recipe())
    assert "0 rows in `train`" in card
    assert "There are no rows." in card
    assert "Tokens, lengths and positions are not known" in card
    assert DatasetCard(card).data.size_categories == ["n<1K"]
    assert "0 rows in no split" in build_card(DatasetDict())


def test_columns_that_are_gone_or_of_another_type(distilled):
    card = build_card(distilled.remove_columns(["reasoning_prompt_tokens", "reasoning_document_order"]), recipe())
    assert "| prompt tokens" not in card
    assert "| documents in a prompt" not in card
    assert "| tokens of a trace" in card
    odd = Dataset.from_dict({"reasoning": [1.5], "reasoning_status": [None], "reasoning_positive_position": ["first"]})
    card = build_card(odd, {"kind": "questions", "distill": "?", "versions": [], "identity": None})
    assert "Tokens, lengths and positions are not known" in card
    assert "The prompt template was not recorded." in card


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
OF_DISTILLERS = ("numbered list", "document order", "ReasonDistiller", "the teacher reasoned", "num_samples")


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


ODD = [None, 3, "?", [], {}, [["a"]], {"a": {}}, True]


@pytest.mark.parametrize("kind", ["distill", "questions", "negatives", "judge", "other", None, 3, ["distill"], {}])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_recipe_of_a_stranger_breaks_the_card(distilled, kind, odd):
    names = ("model", "identity", "decoding", "versions", "command", "hf_rare", "generation_revision")
    names += ("judge", "stages")
    stages = [
        {"stage": "negatives", "settings": odd},
        {"stage": "verify", "settings": {"gold_column": odd, "check": odd}},
        {"stage": "retrieval", "settings": {"corpus": odd}},
        {"stage": odd, "kind": kind, str(kind): odd},
        {"stage": odd},
        odd,
    ]
    small = distilled.select([0])
    for said in (
        {"kind": kind},
        {"kind": kind, **dict.fromkeys(names, odd), str(kind): odd},
        {"kind": kind, "stages": stages},
        {"kind": kind, str(kind): dict.fromkeys(DistillConfig.names(), odd), "model": dict.fromkeys(MODEL, odd)},
    ):
        card = build_card(small, said, recipe_path="recipe.json", repo_id="me/rare")
        if not isinstance(kind, str) or kind == "other":
            assert "What a model was given to make these rows is not known here." in card
            assert "from_recipe" not in card
            assert not [words for words in OF_DISTILLERS if words in card]


MODEL = ("model_id", "revision", "adapter", "adapter_revision", "generation_config")


def test_old_recipes_and_paths(distilled):
    said = recipe(hf_rare="0.0.1", command=None)
    card = build_card(distilled, said)
    assert "The text of the prompt template `rare` was not recorded." in card
    assert "The command was not recorded." in card
    said["distill"]["template"] = str(REPOSITORY / "hf_rare" / "templates" / "rare.jinja")
    assert "essential problem, weigh" not in build_card(distilled, said)
    assert "Find the essential problem" not in build_card(distilled, said)
    assert "The text of the prompt template `rare.jinja` was not recorded." in build_card(distilled, said)
    assert "python" not in build_card(distilled, recipe(versions=None)).split("### Columns")[0]


def test_licence_and_language_of_the_source(distilled):
    source = DatasetCardData(license="other", license_name="own", license_link="LICENSE", language=["de", "en"])
    data = DatasetCard(card := build_card(distilled, source_metadata=source)).data.to_dict()
    assert (data["license"], data["license_name"], data["language"]) == ("other", "own", ["de", "en"])
    assert "`other`, as the dataset that the rows come from." in card
    data = DatasetCard(build_card(distilled, license="mit", source_metadata=source)).data.to_dict()
    assert data["license"] == "mit"
    assert "license_name" not in data
    assert "\n`mit` and `gpl`, as the dataset" in build_card(distilled, source_metadata={"license": ["mit", "gpl"]})


def test_several_splits_stand_side_by_side(distilled):
    splits = DatasetDict(train=distilled.select(range(10)), test=distilled.select(range(10, 14)))
    card = build_card(splits, recipe(), config_name="medicine", repo_id="me/rare", recipe_path="medicine/recipe.json")
    assert '14 rows in `train` and `test`: `load_dataset("me/rare", "medicine")`.' in card
    assert "| rows | 10 | 4 |" in card
    assert 'from_recipe("me/rare", config_name="medicine")' in card
    assert list(find_blocks(card)) == ["medicine"]


def test_samples_as_lists_and_as_rows(rows, tiny):
    for expand, traces in ((False, 12), (True, 12)):
        distill_fn = ReasonDistiller.from_pretrained(
            tiny, max_new_tokens=4, num_samples=2, expand=expand, generation_kwargs={"temperature": 1.0}
        )
        distilled = distill_fn.apply(rows)
        card = build_card(distilled, distill_fn)
        assert f"| traces | {traces} |" in card
        assert "| `num_samples` | `2` |" in card
        prompt_tokens = sum(distilled["reasoning_prompt_tokens"]) // (2 if expand else 1)
        assert f"| prompt tokens | {prompt_tokens:,} |" in card


@pytest.mark.parametrize(
    ("model_id", "revision", "on_hub"),
    [
        ("Qwen/Qwen3-8B", SHA, True),
        ("Qwen/Qwen3-8B", None, True),
        ("models/teacher", "local-" + SHA, False),
        ("Qwen/Qwen3-8B", "memory-" + SHA, False),
        ("/home/me/teacher", SHA, False),
        ("../teacher", None, False),
        ("gpt2", SHA, False),
        (None, None, False),
        (7, None, False),
    ],
)
def test_only_a_teacher_on_the_hub_is_a_base_model(model_id, revision, on_hub):
    said = {"model": {"model_id": model_id, "revision": revision}}
    assert (find_hub_teacher(said) is not None) is on_hub


def test_folders_and_tokens_stay_out_of_the_card(distilled):
    said = recipe(command="hf-rare distill /home/anna/q.parquet --output=~/x/traces --token hf_abcdefghijklmnopqrstu")
    said["identity"]["model_id"] = "/srv/secret/teacher"
    card = build_card(distilled, said)
    assert "hf-rare distill q.parquet --output=traces --token hf_..." in card
    assert "/srv" not in card
    assert "anna" not in card
    for harmless in ("https://host/a/b", "me/data", "a/b.parquet", "</think>"):
        assert without_folders(harmless) == harmless


def test_wrong_arguments(distilled):
    with pytest.raises(ConfigError, match="expected a Dataset or a DatasetDict"):
        build_card(distilled.to_iterable_dataset())
    for name in ("", "a/b", "a -->", "a\nb", " a"):
        with pytest.raises(ConfigError, match="config_name"):
            build_card(distilled, config_name=name)


def test_huge_texts_and_many_columns_are_cut():
    features = Features({f"column {i}": Value("string") for i in range(300)} | {"reasoning": List(Value("string"))})
    row = {name: ["y" * 100_000] * 100 if name == "reasoning" else "x" * 100_000 for name in features}
    card = build_card(Dataset.from_list([row], features=features), recipe(command="z" * 100_000))
    assert len(card.split("<!-- hf_rare")[1]) < 250_000
    assert "| 201 more |" in card
    assert "[98800 more characters]" in card


LINES = r"""
``` ```` ~~~ --- | \| \ ` <!-- --> <script> </pre> </details> <b> </b> &lt; &#96; # {# {{x}} {%y%} *a* __a__ _ $x$ = -
[a](http://b) ![a](b) [a]: www.a.b http://a.b <http://a.b> a@b.c key:value 1. > + \n' " é 漢 😀 ![ ]( )
"""
FRAGMENTS = st.sampled_from(
    [
        *LINES.split(),
        *(
            "\n---\n",
            "\n",
            "\r\n",
            "\r",
            "\t",
            "    ",
            " ",
            "\n\n# Head\n",
            "<!-- /hf_rare -->",
            "\n<!-- /hf_rare -->\n",
        ),
        *(
            "\n<!-- hf_rare: config default -->\n",
            "\0",
            "\x1b[31m",
            "\u202e",
            "\u2067",
            "\u2028",
            "\x85",
            "\ufeff",
            "\n- ",
        ),
    ]
)
NASTY = st.lists(FRAGMENTS | st.text(max_size=8), max_size=12).map("".join)


def _skeleton(card: str) -> list[str]:
    """Return the structure of a card as a renderer sees it: everything but texts."""
    skeleton = []
    for token in MarkdownIt("gfm-like", {"html": True}).disable("linkify").parse(card.partition("\n---\n")[2]):
        skeleton.append(token.type)
        if token.type == "html_block":
            skeleton.append(token.content)
        skeleton += [child.type for child in token.children or [] if child.type not in TEXTS]
    return skeleton


TEXTS = ("text", "code_inline", "text_special", "html_inline", "softbreak")


def _nasty_card(text: str) -> str:
    text = f"x{text}"  # an empty column has no lengths to tell
    row = {"question": text, "text": text, "hard_negatives": [text, text], "scenario": text, "reasoning": text}
    row |= {"reasoning_verdict": "right"}
    features = Features({**dict.fromkeys(row, Value("string")), "hard_negatives": List(Value("string"))})
    said = recipe(command=f"run {text}", versions={f"p{text}": text + "1"})
    said["distill"] |= {"system_prompt": f"p{text}", "template": "{{ question }} " + text}
    said["identity"] |= {"model_id": f"p{text}", "revision": f"p{text}", "generation_config": {"a": [text]}}
    corpus = {"name": f"c{text}", "split": f"s{text}", "rows": 3}
    said["stages"] = [
        {"stage": "negatives", "settings": {f"a{text}": text, "method": f"m{text}", "corpus": corpus}},
        {"stage": f"q{text}", "kind": "questions", "questions": {"system_prompt": f"p{text}", "template": f"t{text}"}},
        {"stage": "verify", "settings": {"gold_column": f"g{text}", "check": f"c{text}"}},
    ]
    return build_card(
        Dataset.from_list([row], features=features),
        said,
        pretty_name=f"Title {text}",
        license=f"l{text}",
        source_datasets=[f"s{text}"],
    )


@cache
def _harmless_skeleton() -> list[str]:
    return _skeleton(_nasty_card("a"))


OWN_TAGS = {f"<{end}{tag}>" for end in ("", "/") for tag in ("code", "details", "summary")} | {
    "<!-- hf_rare: config default -->",
    "<!-- /hf_rare -->",
    "<assets/statistics.png>",
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NASTY)
def test_no_text_can_break_the_card(text):
    text = text.encode("utf-8", "replace").decode()
    card = _nasty_card(text)
    assert _skeleton(card) == _harmless_skeleton()
    assert list(find_blocks(card)) == ["default"]
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", split_header(card)[1])
    assert set(re.findall(r"<(?!https:)[!/?a-zA-Z][^>]*>?", re.sub(r"`[^`\n]*`", "", outside))) <= OWN_TAGS
    data = DatasetCard(card).data.to_dict()
    assert data["pretty_name"].startswith("Title")
    assert not re.search("[\0\x1b\u202e\u2067\u2028\ufeff]", card)
    card.encode("utf-8")


def test_the_card_imports_no_torch():
    code = "import hf_rare, sys; hf_rare.build_card; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_grounding_audit_that_ran_is_in_the_card(distilled):
    assert "rest on" not in build_card(distilled)
    assert "Nothing of what a model wrote was checked for truth." in build_card(distilled)
    card = build_card(DatasetDict(train=audit_grounding(distilled), test=audit_grounding(distilled)))
    assert "What the traces with status `ok` rest on" in card
    line = next(line for line in card.splitlines() if line.startswith("| anywhere |"))
    assert line.split(" | ")[1:4] == ["22", "22 (100.0%)", "22 (100.0%)"]
    assert "cite and quote, not whether they do so rightly. Nothing else of what a model wrote was checked" in card


JUDGED = {"gold_column": "gold", "check": "text"}
JUDGE = {"identity": {"model_id": "me/judge"}}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "compared with gold ones, and"),
        ({"stages": [{"stage": "verify", "settings": {"gold_column": "answer", "check": "choice"}}]},
         "compared with gold ones in `answer` by rules (`choice`), and"),
        ({"kind": "distill", "distill": JUDGED}, "compared with gold ones in `gold` by rules (`text`), and"),
        ({"kind": "distill", "distill": JUDGED, "judge": JUDGE}, "in `gold` by a model, `me/judge`, and"),
    ],
)  # fmt: skip
def test_what_was_checked_is_said_and_counted(distilled, said, words):
    checked = distilled.add_column("reasoning_verdict", ["right"] * 3 + ["wrong"] * 9 + ["unchecked"] * 2)
    card = build_card(checked, said)
    assert words in card
    assert "`reasoning_verdict` says which are right. Nothing else of what a model wrote was checked for" in card
    for line in ("| `right` | 3 | 25.0% |", "| `wrong` | 9 | 75.0% |", "| `unchecked` | 2 |  |"):
        assert line in card
    assert "was not checked for truth" not in card
    unchecked = build_card(distilled.add_column("reasoning_verdict", ["unchecked"] * 14), said)
    assert "`reasoning_verdict` says that no answer was compared with a gold one." in unchecked


def test_the_stages_of_a_pipeline_are_in_the_card(distilled):
    said = recipe()
    mined = {"method": "bm25", "num_negatives": 3, "corpus": {"name": "pages.jsonl", "split": "train", "rows": 1234}}
    asked = {"kind": "questions", "questions": {"num_questions": 2}, "identity": {"model_id": "Qwen/Qwen3-8B"}}
    said["stages"] = [
        {"stage": "questions", **asked},
        {"stage": "negatives", "settings": mined},
        {"stage": "distill", "kind": "distill", "distill": said["distill"]},
    ]
    card = build_card(distilled, said)
    assert "pipeline, whose stages were, in their order:\n\n- `questions`: Each document was given to a model" in card
    assert "`num_questions` `2`" in card
    assert "Searched: `pages.jsonl` of 1,234 documents (`split` `train`). Settings: `method` `bm25`, `num_neg" in card
    assert "the teacher reasoned over them. Its settings stand above." in card
    own = [{"stage": "negatives", "settings": {"method": "bm25", "corpus": None}}]
    card = build_card(distilled, stages=own, command="hf-rare run mine.yaml")
    assert "Searched: the documents of the rows themselves." in card
    assert "hf-rare run mine.yaml\n```\n\nThe rest was not recorded." in card
