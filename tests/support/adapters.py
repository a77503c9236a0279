"""A LoRA adapter with random weights, as a trainer would save it."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM


def save_adapter(model: str, folder: Path) -> str:
    """Save an adapter that changes what the model writes; give its folder."""
    import peft

    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(1)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return str(folder)
