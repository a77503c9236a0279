"""What a fork server imports before it forks, so that no process has to: all that a run with a model needs."""

import accelerate.big_modeling
import datasets
import torch.distributed
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

import hf_rare.generation.engines.static
import hf_rare.generation.sampling
import hf_rare.writers.distill
import tests.support.fault_job
import tests.support.plain
import tests.support.rank_job
import tests.support.readme_job
import tests.support.recipe_job

__all__ = [
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "LlamaForCausalLM",
    "PreTrainedTokenizerFast",
    "accelerate",
    "datasets",
    "hf_rare",
    "tests",
    "torch",
]
