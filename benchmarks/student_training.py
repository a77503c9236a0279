"""How the students are trained: LoRA by TRL on a CPU."""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


class CompletionTrainer(SFTTrainer):
    """Looks only at the words to learn: without Triton, TRL 1.16 scores every token of a prompt over the vocabulary.

    The loss is the same, for less work: of a prompt no word is scored.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean cross entropy of the tokens that have a label."""
        whole = model.get_base_model()
        labels = inputs.pop("labels")[:, 1:]
        learnt = labels != -100
        hidden = whole.model(**inputs, use_cache=False).last_hidden_state[:, :-1][learnt]
        return cross_entropy(whole.lm_head(hidden), labels[learnt], reduction="sum") / num_items_in_batch


def train(arguments: argparse.Namespace, rows: Dataset, seed: int, folder: Path, steps: int) -> dict[str, Any]:
    """Train an adapter for a number of steps; say how fast."""
    torch.set_num_threads(arguments.threads)
    config = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        max_length=1024,
        seed=seed,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_steps=max(1, steps // 10),
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = CompletionTrainer(
        AutoModelForCausalLM.from_pretrained(arguments.model, dtype="float32"),
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(arguments.model),
        peft_config=LoraConfig(
            r=arguments.rank, lora_alpha=2 * arguments.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    start = time.perf_counter()
    result = trainer.train()
    seconds = time.perf_counter() - start
    trainer.save_model(str(folder))
    tokens = sum(lengths) / len(lengths) * steps * arguments.batch_size
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "rows": len(rows),
        "tokens of a row": round(sum(lengths) / len(lengths), 1),
        "seconds": round(seconds, 1),
        "tokens/s": round(tokens / seconds, 1),
        "losses": [round(float(loss), 3) for loss in losses],
        "loss": round(result.training_loss, 3),
    }
