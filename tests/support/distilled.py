"""A small distilled dataset and its recipe, written by hand, so that what is made from them is always the same."""

from types import SimpleNamespace
from typing import Any

from datasets import Dataset, Features

from hf_rare import build_card
from hf_rare.prompts.prompt import shuffle_documents
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.traces import output_features

SHA = "0123456789abcdef0123456789abcdef01234567"
OF_DISTILLERS = ("numbered list", "document order", "ReasonDistiller", "the teacher reasoned", "num_samples")
"""What only a card of traces says."""


def distilled_rows(source: Dataset) -> Dataset:
    """Add the columns of the row contract to rows: two are cut off, one has no prompt, the others are well."""
    rows: list[dict[str, Any]] = []
    for number, values in enumerate(source):
        row = read_row(values, DistillConfig())
        order = shuffle_documents(row, 0)
        status = {2: "truncated", 5: "truncated", 7: "prompt_too_long"}.get(number, "ok")
        has_prompt = status != "prompt_too_long"
        first = order.index(0) + 1
        trace = f"The essential problem is what settles this: {row.question} Document [{first}] settles it. " * (
            number % 3 + 1
        )
        made = {
            "reasoning": trace.strip() if has_prompt else "",
            "reasoning_answer": "So it is settled." if status == "ok" else "",
            "reasoning_status": status,
            "reasoning_error": "" if status == "ok" else "it is too long",
            "reasoning_completion_tokens": 40 + 13 * number if has_prompt else 0,
            "reasoning_prompt_tokens": 700 + 31 * number if has_prompt else 0,
            "reasoning_positive_position": first if has_prompt else 0,
            "reasoning_document_order": order if has_prompt else [],
            "reasoning_documents_truncated": int(number == 3),
        }
        rows.append(values | made)
    return Dataset.from_list(rows, features=Features({**source.features, **output_features(DistillConfig())}))


def recipe(**changes: Any) -> dict[str, Any]:
    """Return a recipe as `recipe.json` holds it."""
    import json

    import hf_rare

    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.95}
    teacher = {"model_id": "Qwen/Qwen3-8B", "revision": SHA, "dtype": "bfloat16"}
    return {
        "recipe": 1,
        "kind": "distill",
        "hf_rare": hf_rare.__version__,
        "generation_revision": 1,
        "distill": json.loads(DistillConfig(system_prompt="Answer in English.", seed=5).to_json()),
        "model": {**teacher, "gguf_file": None, "device_map": None},
        "decoding": {
            "max_new_tokens": 4096,
            "generation_kwargs": {"temperature": 0.6},
            "chat_template_kwargs": {"enable_thinking": True},
            "context_length": None,
        },
        "identity": {**teacher, "generation_config": {**sampling, "max_new_tokens": 4096}},
        "versions": {
            "python": "3.11.9",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            "accelerate": "1.15.0",
            "datasets": "5.2.0",
        },
        "command": "hf-rare distill questions.parquet --model Qwen/Qwen3-8B --output traces.parquet --seed 5",
        **changes,
    }


def full_card(dataset: Dataset, **changes: Any) -> str:
    """Make the card of a dataset on the Hub, with all that can be said of it."""
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
