"""What a fork server imports before it forks, so that no process has to: all that a run with a model needs."""

import accelerate.big_modeling
import datasets
import torch.distributed
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

import hf_rare.distill
import hf_rare.generation.sampling
import hf_rare.generation.static_engine
import tests.fault_job
import tests.plain
import tests.rank_job

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
