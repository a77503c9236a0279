"""Rows that repeat themselves: found at the token that completes the loop, ended in every engine, and told of."""

import json

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from hf_rare import AnswerJudge, Completion, Job, JobList, QueryGenerator, ReasonDistiller, TransformersGenerator
from hf_rare.errors import ConfigError
from hf_rare.generation.repetition import RepetitionDetector, find_repetition
from hf_rare.settings.generation import REPETITION_DETECTION, DecodingConfig
from tests.generation.test_static import CONVERSATIONS, tokenizer
from tests.generation.test_transformers import complete
from tests.support.conformance import Told
from tests.support.plain import PlainGenerator
from tests.support.scripted import ScriptedGenerator
from tests.support.tiny import make_model

__all__ = ["tokenizer"]  # a fixture

SHORT = {"max_pattern_size": 12, "min_pattern_size": 3, "min_count": 3}
LEGITIMATE = {
    "a rule": "Findings\n" + "-" * 120 + "\nThe boat is on the mud.",
    "a table": "| tide | hour |\n| :---- | ----: |\n" + "| flood | 6 |\n" * 12 + "That is all.",
    "a wide table": "|" + " --- |" * 30 + "\n|" + " 0 |" * 30 + "\nSo nothing is left.",
    "zeros": "\\begin{pmatrix}\n" + "0 & 0 & 0 & 0 & 0 \\\\\n" * 5 + "\\end{pmatrix}\nIts rank is 0.",
    "a number": "1" + "0" * 100 + " is a googol.",
    "digits": "1/7 = 0." + "142857" * 20 + "..., which never ends.",
    "equal lines": "- yes\n" * 30 + "- no\n",
    "code": "".join(f"    assert tide({i}) == 0\n    assert tide({i}) < 1\n" for i in range(40)),
    "white space": "Left" + " " * 200 + "right" + "\n" * 30 + "below.",
    "a list that counts on": "".join(f"Step {i}: look at document [1] again.\n" for i in range(60)),
    "a quotation in full, thrice": 3 * ("The documents say that the question turns on the situation, " * 3 + "so.\n"),
}


@pytest.fixture(scope="module")
def looping(tokenizer):
    """A random model that goes round in a circle of 1 to 8 tokens, once it has written one of a quarter of all."""
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    tokens = torch.arange(len(tokenizer))
    start, size = tokens // 8 * 8, 1 + tokens // 8 % 8
    following = torch.where(tokens < len(tokenizer) * 3 // 4, -1, start + (tokens - start + 1) % size)

    def go_round(module, arguments, inputs, output):
        kept = inputs.get("logits_to_keep", 0)  # a number of last tokens, 0 for all, or places
        following_last = following[inputs["input_ids"][:, slice(-kept, None) if isinstance(kept, int) else kept]]
        more = 100.0 * (following_last >= 0)
        output.logits.scatter_add_(2, following_last.clamp(min=0)[..., None], more[..., None])
        return output

    model.register_forward_hook(go_round, with_kwargs=True)
    return model


def find_slowly(tokens, max_pattern_size, min_pattern_size, min_count):
    """Compare all that can be compared; give where the first loop ends."""
    for end in range(1, len(tokens) + 1):
        for size in range(min_pattern_size, min(max_pattern_size, end // min_count) + 1):
            if tokens[end - size * min_count : end - size] == tokens[end - size * (min_count - 1) : end]:
                return end
    return None


@st.composite
def looping_texts(draw):
    few = st.integers(0, draw(st.sampled_from([0, 1, 2, 9])))
    patterns = draw(st.lists(st.tuples(st.lists(few, min_size=1, max_size=14), st.integers(1, 8)), max_size=6))
    return [token for pattern, times in patterns for token in pattern * times]


@given(looping_texts(), st.integers(1, 6), st.integers(0, 12), st.integers(2, 5), st.integers(1, 9))
def test_a_loop_is_found_at_the_token_that_completes_it(tokens, least, more, min_count, together):
    settings = {"max_pattern_size": least + more, "min_pattern_size": least, "min_count": min_count}
    detector = RepetitionDetector(**settings)
    for start in range(0, len(tokens), together):
        detector.feed(tokens[start : start + together])
    found = detector.found
    assert found == find_repetition(tokens, settings)
    assert (found.end if found is not None else None) == find_slowly(tokens, **settings)
    if found is not None:
        pattern = tokens[found.end - found.pattern_size : found.end]
        assert found.count >= min_count
        assert tokens[: found.end][-found.pattern_size * found.count :] == pattern * found.count


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ([7], "the same token stands 256 times at its end"),
        ([1, 2, 3], "the same 3 tokens stand 88 times at its end"),
        (list(range(200)), "the same 200 tokens stand 8 times at its end"),
        (list(range(1024)), "the same 1024 tokens stand 8 times at its end"),
        (list(range(1025)), None),
    ],
)
def test_what_is_found_where_nothing_is_set(pattern, says):
    begins = [50_000, 50_001, 50_002]
    found = find_repetition([*begins, *pattern * (9000 // len(pattern))], REPETITION_DETECTION)
    assert (str(found) if found is not None else None) == (f"repeats itself: {says}" if says else None)
    if found is not None:
        assert found.end == len(begins) + found.pattern_size * found.count


@pytest.mark.parametrize("name", LEGITIMATE)
def test_what_people_write_is_no_loop_where_nothing_is_set(name, tokenizer):
    for text in (LEGITIMATE[name], "Look at the documents. " + LEGITIMATE[name]):
        tokens = tokenizer(text)["input_ids"]  # more of them than a large tokenizer makes
        assert len(tokens) > 100
        assert find_repetition(tokens, REPETITION_DETECTION) is None


@pytest.mark.parametrize(
    "generation_kwargs",
    [{}, {"temperature": 0.1}, {"temperature": 0.1, "stop_strings": ["the"]}, {"repetition_penalty": 1.01}],
)
def test_every_engine_ends_the_rows_that_repeat_themselves_at_the_same_token(looping, tokenizer, generation_kwargs):
    settings = {"max_new_tokens": 60, "generation_kwargs": generation_kwargs}
    whole = complete(TransformersGenerator(looping, tokenizer, **settings, repetition_detection=None), CONVERSATIONS)
    generator = TransformersGenerator(looping, tokenizer, **settings, repetition_detection=SHORT, max_batch_tokens=900)
    completions = complete(generator, CONVERSATIONS)
    assert type(generator.engine).__name__ == "StaticEngine"
    plain = PlainGenerator(looping, tokenizer, **settings, repetition_detection=SHORT, max_batch_tokens=900)
    assert complete(plain, CONVERSATIONS) == completions
    assert {completion.finish_reason for completion in completions} >= {"repetition"}
    for completion, uncut in zip(completions, whole, strict=True):
        if completion.finish_reason != "repetition":
            assert completion == uncut
            continue
        assert uncut.text.startswith(completion.text.rstrip("\ufffd"))
        assert completion.error.startswith("repeats itself: the same ")
        assert completion.is_cut
        assert 9 <= completion.completion_tokens < uncut.completion_tokens


def test_continuous_batching_gives_the_same_completions(looping, tokenizer):
    settings = {"max_new_tokens": 60, "repetition_detection": SHORT}
    continuous = {"engine": "continuous", "continuous_batching": {"page_size": 32}}
    completions = complete(TransformersGenerator(looping, tokenizer, **settings, **continuous), CONVERSATIONS[:3])
    assert completions == complete(TransformersGenerator(looping, tokenizer, **settings), CONVERSATIONS[:3])
    assert "repetition" in {completion.finish_reason for completion in completions}


def test_continuous_batching_stops_writing_what_repeats_itself(looping, tokenizer):
    settings = {"max_new_tokens": 600, "repetition_detection": SHORT, "engine": "continuous"}
    generator = TransformersGenerator(looping, tokenizer, **settings, continuous_batching={"page_size": 32})
    (prompt,) = generator.encoder.encode(CONVERSATIONS[:1])
    ((_, completion),) = next(generator.generate(JobList([Job(prompt, 0)]), told := Told()))
    assert completion.finish_reason == "repetition"
    assert completion.completion_tokens <= told.written < 600


def test_beams_are_left_alone(looping, tokenizer):
    settings = {"max_new_tokens": 40, "generation_kwargs": {"num_beams": 2}}
    one, other = (
        TransformersGenerator(looping, tokenizer, **settings, repetition_detection=detection)
        for detection in (SHORT, None)
    )
    assert complete(one, CONVERSATIONS[:3]) == complete(other, CONVERSATIONS[:3])
    assert one.identity() == other.identity()


# what is known by it


def test_only_settings_of_ones_own_are_part_of_what_a_completion_depends_on(tiny):
    given = {"off": None, "same": {"min_count": 8}, "short": SHORT}
    identities = {
        name: TransformersGenerator.from_pretrained(tiny, repetition_detection=detection).identity()
        for name, detection in given.items()
    }
    default = TransformersGenerator.from_pretrained(tiny).identity()
    assert "repetition_detection" not in default["generation_config"]
    assert default == identities["same"] == identities["off"] != identities["short"]
    assert identities["short"]["generation_config"]["repetition_detection"] == SHORT


def test_whole_texts_are_found_again_and_what_was_ended_is_written_anew_where_nothing_is_to_be(
    looping, tokenizer, rows, tmp_path
):
    def write(**settings):
        ends = {"temperature": 1.0, "eos_token_id": list(range(2, 250))}
        generator = TransformersGenerator(looping, tokenizer, max_new_tokens=300, generation_kwargs=ends, **settings)
        distill_fn = ReasonDistiller(generator, journal_dir=tmp_path)
        written = distill_fn(rows[:])
        return distill_fn.completer.generated, written["reasoning"], written["reasoning_error"]

    generated, ended, errors = write()
    loops = [error.startswith("repeats itself") for error in errors]
    assert 0 < sum(loops) < generated == len(rows)
    assert write() == (0, ended, errors)
    generated, whole, errors = write(repetition_detection=None)
    assert generated == sum(loops)
    assert not any("repeats itself" in error for error in errors)
    assert [one == other for one, other in zip(whole, ended, strict=True)] == [not is_loop for is_loop in loops]
    assert write() == (0, whole, errors)  # whole texts are as good


ERROR = "repeats itself: the same 2 tokens stand 128 times at its end"
LOOP = Completion("{So, so, so, so", "repetition", 7, 9, ERROR)


@pytest.mark.parametrize(
    ("writer", "column"),
    [(ReasonDistiller, "reasoning"), (QueryGenerator, "question"), (AnswerJudge, "verdict")],
)
def test_a_row_that_repeats_itself_is_truncated_and_says_why(writer, column):
    writer = writer(ScriptedGenerator(lambda text, seed: LOOP, is_sampling=False))
    row = {"text": "The flood.", "hard_negatives": ["The ebb."], "gold": "a", "answer": "b"}
    row |= {"question": "Why?", "scenario": ""} if column != "question" else {}
    (written,) = writer.apply(Dataset.from_list([row])).to_list()
    assert written[f"{column}_status"] == "truncated"
    assert written[f"{column}_error"] == ERROR
    assert written[f"{column}_completion_tokens"] == 9
    assert writer.summary.statuses == {"truncated": 1}


def test_settings_are_filled_up_and_checked():
    assert DecodingConfig().repetition_detection == REPETITION_DETECTION
    assert DecodingConfig(repetition_detection=None).repetition_detection is None
    filled = DecodingConfig(repetition_detection={"min_count": 9})
    assert filled.repetition_detection == REPETITION_DETECTION | {"min_count": 9}
    assert DecodingConfig.from_json(filled.to_json()) == filled
    json.dumps(filled.repetition_detection)
    for wrong in ({"min_count": 1}, {"count": 3}, {"max_pattern_size": 9}, {"min_pattern_size": 0}, True, "on"):
        with pytest.raises(ConfigError, match="repetition_detection"):
            DecodingConfig(repetition_detection=wrong)
