"""Models whose prompt is read by an encoder: written by `generate`, each row as if it were alone."""

import pytest
import torch
from datasets import Dataset
from tokenizers.processors import TemplateProcessing
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from hf_rare import ReasonDistiller, TransformersGenerator
from hf_rare.errors import ConfigError
from hf_rare.generation.engines.plain import PlainEngine
from tests.generation.test_transformers import complete
from tests.support.tiny import make_tokenizer

CONVERSATIONS = [[{"role": "user", "content": "The documents say why. " * i + f"What of {i}?"}] for i in range(6)]


def make_t5(tokenizer):
    config = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    return T5ForConditionalGeneration, config


def make_bart(tokenizer):
    sizes = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    sizes |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    config = BartConfig(vocab_size=len(tokenizer), d_model=32, max_position_embeddings=512, init_std=0.4, **sizes)
    return BartForConditionalGeneration, config


@pytest.fixture(scope="module", params=[make_t5, make_bart], ids=["T5", "Bart"])
def teacher(request):
    """A tiny random model and its tokenizer, which ends every text."""
    tokenizer = make_tokenizer(chat_template=None)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {tokenizer.eos_token}", special_tokens=[(tokenizer.eos_token, tokenizer.eos_token_id)]
    )
    kind, config = request.param(tokenizer)
    config.pad_token_id = config.decoder_start_token_id = tokenizer.pad_token_id
    config.eos_token_id, config.bos_token_id = tokenizer.eos_token_id, None  # Bart's own forces an end
    torch.manual_seed(0)
    return kind(config).eval(), tokenizer


def test_greedy_text_is_that_of_generate_by_hand(teacher):
    model, tokenizer = teacher
    generator = TransformersGenerator(model, tokenizer, max_new_tokens=12)
    completions = complete(generator, CONVERSATIONS)
    assert isinstance(generator.engine, PlainEngine)
    for messages, completion in zip(CONVERSATIONS, completions, strict=True):
        inputs = tokenizer(messages[0]["content"] + "\n\n", return_tensors="pt", return_token_type_ids=False)
        assert inputs["input_ids"][0, -1] == tokenizer.eos_token_id
        ids = model.generate(**inputs, max_new_tokens=12, do_sample=False, forced_eos_token_id=None)[0, 1:].tolist()
        assert completion.text == tokenizer.decode([i for i in ids if i != tokenizer.eos_token_id])
        assert completion.completion_tokens == len(ids)
        assert completion.prompt_tokens == inputs["input_ids"].shape[1]
        assert completion.finish_reason == ("stop" if ids[-1] == tokenizer.eos_token_id else "length")


def test_a_draw_does_not_depend_on_the_other_rows(teacher):
    settings = {"max_new_tokens": 12, "generation_kwargs": {"temperature": 1.3}}
    together = complete(TransformersGenerator(*teacher, **settings), CONVERSATIONS)
    alone = TransformersGenerator(*teacher, max_batch_tokens=1, **settings)
    assert together == complete(alone, CONVERSATIONS)
    assert len({completion.text for completion in together}) == len(CONVERSATIONS)


def test_a_decoder_that_can_tell_so_many_places_is_not_asked_for_more(teacher):
    generator = TransformersGenerator(*teacher, max_new_tokens=512)
    if isinstance(teacher[0], BartForConditionalGeneration):
        with pytest.raises(ConfigError, match="holds 512 tokens"):
            _ = generator.encoder.max_prompt_tokens
    else:
        assert generator.encoder.max_prompt_tokens == 2048  # what the tokenizer says


def test_it_is_loaded_by_its_name_and_distils_rows(teacher, tmp_path):
    model, tokenizer = teacher
    model.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    distill_fn = ReasonDistiller.from_pretrained(
        str(tmp_path / "teacher"), max_new_tokens=8, context_length=1024, journal_dir=tmp_path / "journal"
    )
    assert distill_fn.generator.encoder.max_prompt_tokens == 1024  # the completion takes none of the prompt's room
    rows = {"question": ["Why?", "How?"], "scenario": ["", ""], "text": ["A.", "B."], "hard_negatives": [["C."]] * 2}
    done = Dataset.from_dict(rows).map(distill_fn, batched=True)
    assert all(done["reasoning_completion_tokens"])
    assert type(distill_fn.generator.teacher.model) is type(model)
