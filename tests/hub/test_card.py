"""The dataset card: as a whole against an approved text, and read by the Hub's own client.

After a change that is meant, write the approved text anew with `HF_RARE_APPROVE=1 pytest tests/hub/test_card.py` and
read the difference.
"""

import os
import subprocess
import sys

import pytest
from datasets import DatasetDict, load_dataset
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

import hf_rare
from hf_rare import ReasonDistiller, build_card
from hf_rare.checks.grounding import audit_grounding
from hf_rare.errors import ConfigError
from hf_rare.hub.card.merge import find_blocks
from hf_rare.hub.card.provenance import find_hub_teacher
from tests.conftest import REPOSITORY
from tests.support.distilled import SHA, full_card, recipe

APPROVED = REPOSITORY / "tests" / "data" / "approved_card.md"


def test_the_whole_card_is_the_approved_one(distilled, monkeypatch):
    monkeypatch.setattr(hf_rare, "__version__", "1.2.3")
    monkeypatch.setattr("hf_rare.hub.card.provenance.__version__", "1.2.3")
    card = full_card(distilled)
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
    data = DatasetCard(full_card(distilled)).data
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
    (tmp_path / "README.md").write_text(full_card(distilled), encoding="utf-8")
    loaded = load_dataset(str(tmp_path), split="train")
    assert loaded.features == distilled.features
    assert loaded.to_list() == distilled.to_list()


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


def test_wrong_arguments(distilled):
    with pytest.raises(ConfigError, match="expected a Dataset or a DatasetDict"):
        build_card(distilled.to_iterable_dataset())
    for name in ("", "a/b", "a -->", "a\nb", " a"):
        with pytest.raises(ConfigError, match="config_name"):
            build_card(distilled, config_name=name)


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
