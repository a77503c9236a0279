"""A tiny teacher that has learnt its lines by heart: it reads nothing, and writes what the kind of prompt asks for.

Every piece of a line is a token and leads to the next one, so that the real engine writes a line token by token and
ends it. The teacher stands in for the large models that documentation names.
"""

import itertools
import shutil
from pathlib import Path

import huggingface_hub
import torch
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM

from tests.support.tiny import CHAT_TEMPLATE, make_tokenizer, save_tiny_embedder, save_tiny_model

SHA = "c" * 40
HIDDEN_SIZE = 64
"""At least as many as there are tokens in the lines."""

TRACE = (
    "<think>\nThe question turns on what the rule says of such a case.",
    " Document [1] states the rule, and document [2] is about something else.",
    " The situation is as the rule wants it.\n</think>",
    "\nThe rule applies.",
)
CHOICE = ("<think>\nDocument [1] says so, which leaves the second option.\n</think>", "<answer>B</answer>")
QUESTIONS = (
    '{"questions": [',
    '{"scenario": "A clerk has a case of two parts.", "question": "What follows for the first part?"}',
    ', {"scenario": "A clerk has a case of three parts.", "question": "Who signs the last part?"}',
    ', {"scenario": "A case has no parts.", "question": "May it be closed on a Sunday?"}',
    "]}",
)
NEGATIVES = (
    '{"hard_negatives": [',
    '{"document": "Parts of a case are kept in folders of one colour, which the archive chooses each year."}',
    ', {"document": "A clerk who is away hands open cases to the clerk in the next room."}',
    ', {"document": "Cases are numbered by the year and by the day on which they came in."}',
    "]}",
)
VERDICT = ('{"reason": "Both say the same.", ', '"verdict": "right"}')

LINES = {  # by words that a prompt of this kind has
    "": TRACE,
    "between <answer> and": CHOICE,
    '{"questions": [{"scenario"': QUESTIONS,
    '{"hard_negatives": [{"document"': NEGATIVES,
    "A student's answer: ": VERDICT,
}


def save_rote_model(folder: Path) -> Path:
    """Save the teacher as a model folder. A token that the chat template writes last begins each line."""
    tokenizer = make_tokenizer(None)
    starts = [f"<|line-{number}|>" for number in range(len(LINES))]
    pieces = list(dict.fromkeys(piece for line in LINES.values() for piece in line))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (*starts, *pieces)])
    cases = [f"{{% elif {words!r} in text %}}{start}" for words, start in zip(LINES, starts, strict=True) if words]
    choice = f"{{% if false %}}{''.join(cases)}{{% else %}}{starts[0]}{{% endif %}}"
    tokenizer.chat_template = CHAT_TEMPLATE.replace(
        "<|im_start|>assistant\n", f"<|im_start|>assistant\n{{% set text = messages[-1]['content'] %}}{choice}"
    )
    tokenizer.model_max_length = 32768
    tokenizer.save_pretrained(folder)
    _make_model(tokenizer, starts).save_pretrained(folder)
    return folder


def _make_model(tokenizer, starts: list[str]) -> LlamaForCausalLM:
    """Make a Llama whose layer adds nothing, so that the next token depends on the last one alone."""
    ways = [
        tokenizer.convert_tokens_to_ids([start, *line, tokenizer.eos_token])
        for start, line in zip(starts, LINES.values(), strict=True)
    ]
    places = {token: place for place, token in enumerate(sorted({token for way in ways for token in way}))}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=32768,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in (*model.model.layers.parameters(), model.model.embed_tokens.weight, model.lm_head.weight):
            parameter.zero_()
        for token, place in places.items():
            model.model.embed_tokens.weight[token, place] = 1.0
        for way in ways:
            for now, then in itertools.pairwise(way):
                model.lm_head.weight[then, places[now]] = 1.0
    return model


def put_into_cache(name: str, folder: Path) -> Path:
    """Put a model folder into the Hub's cache under the name of a model on the Hub; give its place there."""
    repo = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, repo / "snapshots" / SHA)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(SHA)
    return repo


def save_stand_ins(folder: Path) -> dict[str, Path]:
    """Save what stands in for the models that the documentation names; give their folders by name."""
    rote = save_rote_model(folder / "rote")
    student = save_tiny_model(folder / "student")
    embedder = save_tiny_embedder(folder / "embedding")
    return {"Qwen/Qwen3-8B": rote, "Qwen/Qwen3-32B": rote, "Qwen/Qwen3-0.6B": student, "BAAI/bge-m3": embedder}
