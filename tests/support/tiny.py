"""A tiny random teacher with a real tokenizer: made in a second, the same every time."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING_CHAT_TEMPLATE = CHAT_TEMPLATE.replace(
    "<|im_start|>assistant\n", "<|im_start|>assistant\n{% if enable_thinking is not false %}<think>\n{% endif %}"
)
CORPUS = [
    "The documents say that the question turns on the situation, and that the answer follows from document [1].",
    "Question: what is the essential problem? Situation: not every document helps. Reason step by step.",
    "You are given a concrete situation, a question about it, and a numbered list of retrieved documents.",
]

QUESTIONS = [
    [{"role": "user", "content": text}] for text in ("What?", "Which of the documents?", "Reason step by step")
]


def make_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer with chat markers; `<think>` is an added token that is not special, as in Qwen3."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="right"
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = chat_template
    tokenizer.model_max_length = 2048
    return tokenizer


def make_model(
    vocab_size: int,
    eos_token_id: int,
    pad_token_id: int,
    max_position_embeddings: int = 2048,
    num_key_value_heads: int = 1,
    **config,
):
    """Make a random Llama of two layers."""
    torch.manual_seed(0)
    llama_config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=num_key_value_heads,
        max_position_embeddings=max_position_embeddings,
        initializer_range=0.4,
        eos_token_id=eos_token_id,
        bos_token_id=None,
        pad_token_id=pad_token_id,
        **config,
    )
    return LlamaForCausalLM(llama_config).eval()


def save_tiny_model(folder: Path, chat_template: str | None = CHAT_TEMPLATE, **model_kwargs) -> Path:
    """Save the tiny teacher as a model folder."""
    tokenizer = make_tokenizer(chat_template)
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id, **model_kwargs)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_embedder(folder: Path) -> Path:
    """Save a random SentenceTransformer: the tiny teacher without its head, the mean of its tokens as embedding."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    tokenizer = make_tokenizer(None)
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    model.model.save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    encoder = modules.Transformer(str(folder / "encoder"))
    pooling = modules.Pooling(model.config.hidden_size)
    SentenceTransformer(modules=[encoder, pooling], device="cpu").save_pretrained(str(folder / "embedder"))
    return folder / "embedder"
