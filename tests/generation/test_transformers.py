"""The generator that runs a transformers model: decoding, loading, identity."""

import copy
import inspect
import json
import logging
import pickle
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GenerationMixin

from hf_rare import TransformersGenerator
from hf_rare.compat.transformers import attention_of
from hf_rare.errors import ConfigError, ModelLoadError
from hf_rare.generation.protocol import Job, JobList
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from tests.support.adapters import save_adapter
from tests.support.plain import PlainGenerator
from tests.support.tiny import QUESTIONS, make_model, make_tokenizer, save_tiny_model


class TokenList(list):
    """An observer that keeps what it is told."""

    def begin(self, jobs):
        self.batches = [*getattr(self, "batches", []), list(jobs)]

    def add_tokens(self, prompt_tokens, generated_tokens):
        self.append((prompt_tokens, generated_tokens))


def make_jobs(generator, conversations, seeds=None):
    """Make a job of each conversation, with its number as the seed."""
    prompts = generator.encoder.encode(conversations)
    seeds = seeds if seeds is not None else range(len(prompts))
    return [Job(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]


def complete(generator, conversations=QUESTIONS, seeds=None, observer=None):
    """Return the completion of each conversation."""
    jobs, completions = make_jobs(generator, conversations, seeds), {}
    for written in generator.generate(JobList(jobs), observer):
        completions.update(written)
    return [completions[job] for job in jobs]


@pytest.fixture(scope="module")
def generator(tiny):
    return TransformersGenerator.from_pretrained(tiny, max_new_tokens=16)


def test_greedy_text_is_that_of_plain_generate(generator, tiny):
    from transformers import AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    completions = complete(generator)
    for messages, completion in zip(QUESTIONS, completions, strict=True):
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**inputs, max_new_tokens=16, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert completion.text == tokenizer.decode([i for i in ids if i != tokenizer.eos_token_id])
        assert completion.prompt_tokens == inputs["input_ids"].shape[1]
        assert completion.completion_tokens == len(ids)
        assert completion.finish_reason == ("stop" if ids[-1] == tokenizer.eos_token_id else "length")
    assert len({completion.text for completion in completions}) == len(QUESTIONS)


@pytest.mark.parametrize("generation_kwargs", [{}, {"temperature": 1.3, "top_k": 40}])
def test_text_does_not_depend_on_the_micro_batch(tiny, generation_kwargs):
    settings = {"max_new_tokens": 16, "generation_kwargs": generation_kwargs}
    one = TransformersGenerator.from_pretrained(tiny, max_batch_tokens=1, **settings)
    all_at_once = TransformersGenerator.from_pretrained(tiny, **settings)
    conversations = QUESTIONS * 3
    seeds = range(len(conversations))
    expected = complete(all_at_once, conversations, seeds)
    assert complete(one, conversations, seeds) == expected
    assert complete(one, conversations[::-1], reversed(seeds)) == expected[::-1]


def test_sampling_settings_turn_sampling_on_and_temperature_zero_turns_it_off(tiny, generator):
    def texts(seed, **generation_kwargs):
        sampler = TransformersGenerator.from_pretrained(tiny, max_new_tokens=16, generation_kwargs=generation_kwargs)
        return [completion.text for completion in complete(sampler, seeds=[seed] * 3)]

    greedy = [completion.text for completion in complete(generator)]
    assert texts(1, temperature=1.5) != greedy
    assert texts(1, temperature=1.5) == texts(1, temperature=1.5)
    assert texts(1, temperature=1.5) != texts(2, temperature=1.5)
    assert texts(1, temperature=0) == greedy
    assert texts(1, top_k=1) == greedy
    assert texts(1, do_sample=False) == greedy
    assert texts(1, num_beams=None, do_sample=None) == greedy
    assert texts(1, temperature=1.5, do_sample=None) == texts(1, temperature=1.5, num_beams=None) != greedy


def test_the_models_own_generation_config_counts_until_it_is_overruled(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "generation_config.json").read_text())
    config |= {"do_sample": True, "temperature": 2.0, "top_k": 0}
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    own = TransformersGenerator.from_pretrained(str(tmp_path), max_new_tokens=16)
    greedy = TransformersGenerator.from_pretrained(
        str(tmp_path), max_new_tokens=16, generation_kwargs={"do_sample": False}
    )
    plain = complete(TransformersGenerator.from_pretrained(tiny, max_new_tokens=16))
    assert complete(own, seeds=[1] * 3) != complete(own, seeds=[2] * 3)
    assert complete(greedy) == plain


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ({"do_sample": True, "temperature": 0.6}, {"num_beams": 2}),
        ({"num_beams": 2}, {"temperature": 1.0}),
        ({"num_beams": 2, "do_sample": True}, {}),
        ({"num_return_sequences": 2, "do_sample": True}, {}),
        ({"return_dict_in_generate": True, "output_scores": True}, {}),
        ({"max_length": 20, "min_length": 5}, {}),
        ({"max_time": 1e-9}, {}),
        ({"stop_strings": ["zz"]}, {}),
        ({"stop_strings": ["zz"]}, {"temperature": 1.0}),
    ],
)
def test_whatever_a_model_says_of_generation_one_completion_comes_for_each_prompt(tiny, tmp_path, own, given):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    generator = TransformersGenerator.from_pretrained(str(tmp_path), max_new_tokens=16, generation_kwargs=given)
    completions = complete(generator)
    assert len(completions) == len(QUESTIONS)
    assert max(completion.completion_tokens for completion in completions) == 16
    generator.unload()


def test_a_model_stop_string_stops(tiny, tmp_path, generator):
    stop = complete(generator)[0].text[2:4]
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stop_strings": [stop]}))
    for kwargs in ({}, {"temperature": 1.0, "top_k": 1}):
        stopping = TransformersGenerator.from_pretrained(str(tmp_path), max_new_tokens=16, generation_kwargs=kwargs)
        assert complete(stopping)[0].finish_reason == "stop"
        assert stop in complete(stopping)[0].text


def test_padding_that_the_model_itself_writes_counts_as_text_that_was_cut(tiny):
    generator = TransformersGenerator.from_pretrained(
        tiny, max_new_tokens=5, generation_kwargs={"sequence_bias": [[[0], 100.0]]}
    )
    for completion in complete(generator):
        assert (completion.finish_reason, completion.completion_tokens) == ("length", 5)


def test_a_stop_string_ends_a_row_and_only_that_row(tiny, generator):
    whole = complete(generator)
    text = whole[0].text
    stop = text[2:4]
    for generation_kwargs in ({"stop_strings": [stop]}, {"stop_strings": stop, "temperature": 1.0, "top_k": 1}):
        stopping = TransformersGenerator.from_pretrained(tiny, max_new_tokens=16, generation_kwargs=generation_kwargs)
        stopped = complete(stopping)
        assert stop in stopped[0].text
        assert text.startswith(stopped[0].text)
        assert len(stopped[0].text) < len(text)
        assert stopped[0].finish_reason == "stop"
        assert stopped[0].completion_tokens < whole[0].completion_tokens
        for one, other in zip(stopped[1:], whole[1:], strict=True):
            assert one == other or stop in other.text


def test_each_row_ends_at_its_own_end_token(tiny):
    ends = list(range(3, 60))  # many tokens end a completion, so that some rows end early
    generator = TransformersGenerator.from_pretrained(
        tiny, max_new_tokens=40, generation_kwargs={"eos_token_id": ends, "temperature": 1.5}
    )
    completions = complete(generator, QUESTIONS * 4, seeds=range(12))
    assert len({completion.completion_tokens for completion in completions}) > 3
    reasons = Counter(completion.finish_reason for completion in completions)
    assert reasons["stop"] > 3
    for completion in completions:
        assert (completion.finish_reason == "length") == (completion.completion_tokens == 40)


def test_generated_and_prompt_tokens_are_told_as_they_come(generator):
    told = TokenList()
    completions = complete(generator, observer=told)
    assert {job.seed for batch in told.batches for job in batch} == {0, 1, 2}
    assert len(told) > 2
    assert sum(prompt for prompt, _ in told) == sum(completion.prompt_tokens for completion in completions)
    generated = sum(completion.completion_tokens for completion in completions)
    assert sum(count for _, count in told) == generated


def test_loaded_objects_are_used_and_stay_as_they_are(tiny, generator):
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    before = copy.deepcopy(tokenizer.init_kwargs)
    model = make_model(len(tokenizer), tokenizer.eos_token_id, 0)
    generation_config = model.generation_config.to_dict()
    wrapped = TransformersGenerator(model, tokenizer, max_new_tokens=16)
    assert wrapped.is_loaded
    assert [c.text for c in complete(wrapped)] == [c.text for c in complete(generator)]
    assert tokenizer.padding_side == "right"
    assert tokenizer.pad_token is None
    assert tokenizer.init_kwargs == before
    assert model.generation_config.to_dict() == generation_config
    assert complete(pickle.loads(pickle.dumps(wrapped))) == complete(wrapped)


def test_loaded_objects_with_other_weights_are_another_generator():
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, 0)
    first = TransformersGenerator(model, tokenizer, max_new_tokens=4).identity()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.01)
    second = TransformersGenerator(model, tokenizer, max_new_tokens=4).identity()
    assert first["revision"] != second["revision"]


def test_a_small_change_of_loaded_objects_is_seen_and_generators_do_not_share_them():
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, 0)
    first = TransformersGenerator(model, tokenizer, max_new_tokens=4)
    other_tokenizer = make_tokenizer()
    other_tokenizer.model_max_length = 100
    second = TransformersGenerator(model, other_tokenizer, max_new_tokens=4)
    assert (first.encoder.max_prompt_tokens, second.encoder.max_prompt_tokens) == (2044, 96)
    with torch.no_grad():
        model.model.embed_tokens.weight[7, 7] += 0.5
    third = TransformersGenerator(model, tokenizer, max_new_tokens=4)
    assert len({generator.identity()["revision"] for generator in (first, second, third)}) == 3


def test_a_model_in_training_mode_is_run_without_dropout_and_put_back():
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, 0, attention_dropout=0.5)
    expected = complete(TransformersGenerator(model, tokenizer, max_new_tokens=8))
    model.train()
    generator = TransformersGenerator(model, tokenizer, max_new_tokens=8)
    assert complete(generator) == complete(generator) == expected
    assert model.training


def test_a_wrapped_model_is_freed_with_its_generator():
    import gc
    import weakref

    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, 0)
    generator, alive = TransformersGenerator(model, tokenizer, max_new_tokens=8), weakref.ref(model)
    complete(generator)
    del generator, model
    gc.collect()
    assert alive() is None


def test_a_quantisation_method_that_does_not_exist_is_refused(tiny):
    generator = TransformersGenerator.from_pretrained(tiny, quantization_config={"quant_method": "nothing"})
    with pytest.raises(ConfigError, match="Unknown quantization type"):
        generator.load()


def test_a_loaded_model_cannot_be_rebuilt_where_it_is_not():
    config = ModelConfig(model_id="gone", revision="memory-123")
    stranger = TransformersGenerator.from_configs(config, DecodingConfig())
    with pytest.raises(ModelLoadError, match="loaded by hand and is not in this process"):
        stranger.encoder.encode(QUESTIONS)


def test_nothing_is_loaded_until_it_is_needed_and_models_are_shared(tiny):
    one = TransformersGenerator.from_pretrained(tiny, max_new_tokens=5)
    other = TransformersGenerator.from_pretrained(tiny, max_new_tokens=6)
    one.unload()
    assert not one.is_loaded
    one.encoder.encode(QUESTIONS)
    assert not one.is_loaded
    one.load()
    assert other.is_loaded
    one.unload()
    assert not other.is_loaded
    assert complete(other)


def test_the_context_leaves_room_for_the_completion(tiny):
    def limit(**settings):
        return TransformersGenerator.from_pretrained(tiny, **settings).encoder.max_prompt_tokens

    assert limit(max_new_tokens=48) == 2000
    assert limit(max_new_tokens=48, context_length=148) == 100
    with pytest.raises(ConfigError, match="holds 2048 tokens"):
        limit(max_new_tokens=2048)


def test_identity_has_what_changes_the_text_and_no_path(tiny):
    identity = TransformersGenerator.from_pretrained(tiny, max_new_tokens=5, max_batch_tokens=7).identity()
    assert identity["dtype"] == "float32"
    assert identity["revision"].startswith("local-")
    assert identity["generation_config"]["max_new_tokens"] == 5
    assert "max_batch_tokens" not in json.dumps(identity)
    assert "/" not in json.dumps(identity)


def test_settings_of_from_pretrained_reach_transformers(tiny):
    device_map = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    device_map["model.layers"] = "disk"  # accelerate brings these in from the checkpoint, layer by layer
    generator = TransformersGenerator.from_pretrained(
        tiny, dtype="float64", attn_implementation="eager", device_map=device_map, max_new_tokens=4
    )
    generator.load()
    model = generator.teacher.model
    assert model.dtype == torch.float64
    assert attention_of(model) == "eager"
    assert model.hf_device_map == device_map
    assert complete(generator)
    generator.unload()


def test_half_precision_on_a_cpu_is_pointed_out(tiny, caplog):
    generator = TransformersGenerator.from_pretrained(tiny, dtype="bfloat16", max_new_tokens=4)
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        generator.load()
    assert "dtype='float32'" in caplog.text
    generator.unload()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_identity_is_the_same_before_and_after_the_model_is_loaded(tmp_path, dtype):
    save_tiny_model(tmp_path)
    AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "dtype"}))
    generator = TransformersGenerator.from_pretrained(str(tmp_path), max_new_tokens=4)
    generator.load()
    assert generator.teacher.model.dtype == dtype
    after = generator.identity()
    generator.unload()
    assert generator.identity() == after
    generator.load()
    loaded = TransformersGenerator(generator.teacher.model, generator.teacher.tokenizer, max_new_tokens=4)
    assert loaded.identity()["dtype"] == str(dtype).removeprefix("torch.")
    generator.unload()


def test_a_peft_adapter_changes_the_text(tiny, tmp_path, generator):
    adapted = TransformersGenerator.from_pretrained(tiny, adapter=save_adapter(tiny, tmp_path), max_new_tokens=16)
    assert [c.text for c in complete(adapted)] != [c.text for c in complete(generator)]
    assert adapted.identity()["adapter_revision"].startswith("local-")
    with pytest.raises(ModelLoadError, match="no/adapter"):
        TransformersGenerator.from_pretrained(tiny, adapter="no/adapter")


def test_a_pickled_adapter_is_refused(tiny):
    import peft
    from huggingface_hub.constants import HF_HUB_CACHE

    model = AutoModelForCausalLM.from_pretrained(tiny)
    sha, repo = "c" * 40, Path(HF_HUB_CACHE) / "models--some--adapter"
    folder = repo / "snapshots" / sha
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    for adapter in (str(folder), "some/adapter"):
        generator = TransformersGenerator.from_pretrained(tiny, adapter=adapter, adapter_revision=sha)
        with pytest.raises(ModelLoadError, match=r"adapter_model\.safetensors cannot be had"):
            generator.load()
    shutil.rmtree(repo)


def test_a_tokenizer_without_pad_and_end_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="neither a pad token nor an end token"):
        TransformersGenerator(make_model(len(tokenizer), 2, 0), tokenizer)


class OtherModel(GenerationMixin):
    """A model with the interface of transformers' generation, which is not of torch, as those of other runtimes."""

    main_input_name = "input_ids"

    def __init__(self, model):
        self._model = model
        self.generation_config = copy.deepcopy(model.generation_config)

    def __call__(self, *args, **kwargs):
        return self._model(*args, **kwargs)

    def __getattr__(self, name):
        if name in ("state_dict", "parameters", "training", "eval"):
            raise AttributeError(name)
        return getattr(self._model, name)


@pytest.mark.parametrize("generation_kwargs", [{}, {"temperature": 1.3}])
def test_a_model_that_is_not_of_torch_writes_what_generate_does(caplog, generation_kwargs):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    settings = {"max_new_tokens": 12, "generation_kwargs": generation_kwargs}
    with caplog.at_level(logging.INFO, logger="hf_rare"):
        generator = TransformersGenerator(OtherModel(model), tokenizer, **settings)
        assert complete(generator) == complete(TransformersGenerator(model, tokenizer, **settings))
    assert "The journal cannot tell weights" in caplog.text
    assert "by `generate` in micro-batches: the model is not of torch" in caplog.text
    assert pickle.loads(pickle.dumps(generator)).identity() == generator.identity()


def spoil_rows(monkeypatch, model, first, end):
    """Let the logits of some rows of the batch be NaN."""
    real = model.forward

    def forward(**inputs):
        output = real(**inputs)
        output.logits[first:end] = torch.nan
        return output

    forward.__signature__ = inspect.signature(real)
    monkeypatch.setattr(model, "forward", forward)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_with_beams_a_prompt_whose_logits_are_not_finite_fails_alone(monkeypatch, place):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    generator = PlainGenerator(model, tokenizer, max_new_tokens=6, generation_kwargs={"num_beams": 4})
    expected = complete(generator)
    spoil_rows(monkeypatch, model, 4 * place, 4 * place + 4)
    completions = complete(generator)
    longest_first = sorted(range(3), key=lambda i: -expected[i].prompt_tokens)
    for number, i in enumerate(longest_first):
        if number == place:
            assert "not finite" in completions[i].error
        else:
            assert completions[i] == expected[i]


def test_a_model_that_would_hide_invalid_values_does_not(monkeypatch):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    model.generation_config.remove_invalid_values = True
    generators = [kind(model, tokenizer, max_new_tokens=6) for kind in (PlainGenerator, TransformersGenerator)]
    assert [generator.refills for generator in generators] == [False, True]  # tried before the model is spoilt
    spoil_rows(monkeypatch, model, 0, None)
    for generator in generators:
        assert all("not finite" in completion.error for completion in complete(generator))


@pytest.mark.parametrize(
    "generation_kwargs",
    [{"eos_token_id": "x"}, {"bad_words_ids": [["a", None], {}]}, {"suppress_tokens": ["x"]}],
    ids=lambda generation_kwargs: next(iter(generation_kwargs)),
)
def test_values_with_which_nothing_can_be_written_are_an_error_of_ours(tiny, generation_kwargs):
    generator = TransformersGenerator.from_pretrained(tiny, max_new_tokens=4, generation_kwargs=generation_kwargs)
    with pytest.raises(ConfigError, match=f"cannot write with generation_kwargs={{'{next(iter(generation_kwargs))}'"):
        _ = generator.engine
