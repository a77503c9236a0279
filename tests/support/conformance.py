"""What every generator must keep to, as checks that take a [`Case`]: a generator and what is peculiar to it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import dill
from datasets.fingerprint import Hasher

from hf_rare import Completion, EncodedPrompt, Generator

CONVERSATIONS = [
    [{"role": "user", "content": "The documents say why. " * (7 * i % 5) + f"Row {i} takes 0.001 s."}]
    for i in range(5)
]
SEEDS = [0, 1, 2**63 - 1, 3, 4]
UNENCODABLE = [{"role": "user", "content": "a lone surrogate: \ud800"}]


@dataclass
class Case:
    """A generator that is to be checked.

    Args:
        make (`Callable[[], Generator]`): makes it; each time one with equal settings.
        is_tokenised (`bool`): whether its prompts are made of a model's tokens.
        is_loaded_on_use (`bool`): whether it can be unloaded, and loads its model again when that is needed.
        poison (`EncodedPrompt`, *optional*): a prompt that fails.
        counts_exactly (`bool`): whether an observer is told of the tokens of the completions and of no others.
    """

    make: Callable[[], Generator]
    is_tokenised: bool = True
    is_loaded_on_use: bool = False
    poison: EncodedPrompt | None = field(default_factory=lambda: EncodedPrompt([], "", [999_999]))
    counts_exactly: bool = True


class Told:
    """An observer that adds up what it is told."""

    def __init__(self) -> None:
        self.begun: set[int] = set()
        self.read = self.written = 0

    def begin(self, prompts):
        assert len(set(prompts)) == len(prompts)
        self.begun |= set(prompts)

    def add_tokens(self, prompt_tokens, generated_tokens):
        assert prompt_tokens >= 0
        assert generated_tokens >= 0
        self.read += prompt_tokens
        self.written += generated_tokens


def generate(generator, prompts, seeds=SEEDS, observer=None) -> list[Completion]:
    """Generate, and see that each prompt is answered once."""
    completions: dict[int, Completion] = {}
    for written in generator.generate(prompts, list(seeds)[: len(prompts)], observer):
        assert written, "nothing has become ready"
        for i, completion in written:
            assert i not in completions, f"prompt {i} is answered twice"
            completions[i] = completion
    assert set(completions) == set(range(len(prompts)))
    return [completions[i] for i in range(len(prompts))]


def check_each_prompt_is_answered_once_whatever_the_order(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    completions = generate(generator, prompts)
    assert generate(generator, prompts[::-1], SEEDS[::-1]) == completions[::-1]
    assert generate(generator, prompts) == completions
    alone = [generate(generator, [prompt], [seed]) for prompt, seed in zip(prompts[:3], SEEDS, strict=False)]
    assert [completion for (completion,) in alone] == completions[:3]
    for completion in completions:
        assert completion.finish_reason in ("stop", "length", "repetition", "error")
        assert bool(completion.error) == (completion.finish_reason in ("repetition", "error"))
        assert completion.finish_reason == "error" or completion.completion_tokens > 0


def check_the_seed_counts_where_it_samples(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS[:1]) * 4
    assert isinstance(generator.is_sampling, bool)
    one, again, other, third = (completion.text for completion in generate(generator, prompts, [5, 5, 6, 7]))
    assert one == again
    assert ({one} != {other, third}) == generator.is_sampling


def check_nothing_gives_nothing(case: Case) -> None:
    generator, told = case.make(), Told()
    assert list(generator.generate([], [], told)) == []
    assert generator.encoder.encode([]) == []
    assert generator.pack([]) == []
    assert (told.begun, told.read, told.written) == (set(), 0, 0)


def check_what_it_says_of_itself_is_known_before_it_is_loaded(case: Case) -> None:
    generator = case.make()
    if case.is_loaded_on_use:
        generator.unload()
    identity, settings, before = generator.identity(), generator.settings(), Hasher.hash(generator)
    assert json.loads(json.dumps(identity)) == identity
    assert json.loads(json.dumps(settings)) == settings
    assert isinstance(generator.spans_processes, bool)
    prompts = generator.encoder.encode(CONVERSATIONS)
    limit = generator.encoder.max_prompt_tokens
    assert isinstance(generator.is_sampling, bool)
    assert limit is None or limit >= max(len(prompt.token_ids) for prompt in prompts)
    if case.is_loaded_on_use:
        assert not generator.is_loaded
    generator.load()
    generator.load()
    assert isinstance(generator.refills, bool)
    generate(generator, prompts)
    assert generator.identity() == identity == case.make().identity()
    assert generator.settings() == settings
    assert Hasher.hash(generator) == before == Hasher.hash(case.make())


def check_it_pickles_to_its_settings(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    completions = generate(generator, prompts)
    pickled = dill.dumps(generator)
    assert len(pickled) < 20_000
    copied = dill.loads(pickled)
    assert type(copied).__name__ == type(generator).__name__
    assert copied.identity() == generator.identity()
    assert copied.encoder.encode(CONVERSATIONS) == prompts
    assert generate(copied, prompts) == completions
    assert Hasher.hash(copied) == Hasher.hash(generator)


def check_packing_leaves_out_none(case: Case) -> None:
    generator = case.make()
    lengths = [len(prompt.token_ids) for prompt in generator.encoder.encode(CONVERSATIONS * 3)]
    for processes in (1, 3):
        batches = generator.pack(lengths, processes)
        assert all(batches)
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


def check_prompts_are_in_order_and_fail_alone(case: Case) -> None:
    encoder = case.make().encoder
    prompts = encoder.encode(CONVERSATIONS)
    assert [list(prompt.messages) for prompt in prompts] == CONVERSATIONS
    assert not any(prompt.error for prompt in prompts)
    assert len({prompt.text for prompt in prompts}) == len(prompts)
    assert all(prompt.token_ids for prompt in prompts) or not case.is_tokenised
    assert encoder.encode(CONVERSATIONS[::-1]) == prompts[::-1]
    first, failed, *others = encoder.encode([CONVERSATIONS[0], UNENCODABLE, *CONVERSATIONS[1:]])
    assert [first, *others] == prompts
    assert bool(failed.error) or not case.is_tokenised


def check_texts_are_counted_and_shortened(case: Case) -> None:
    encoder = case.make().encoder
    if encoder.max_prompt_tokens is None:
        return
    texts = [messages[0]["content"] for messages in CONVERSATIONS]
    counts = encoder.count_tokens(texts)
    assert encoder.count_tokens([]) == []
    assert all(count > 0 for count in counts)
    for text, count in zip(texts, counts, strict=True):
        assert encoder.shorten(text, count) == text
        shortened = encoder.shorten(text, 3)
        assert text.startswith(shortened)
        assert encoder.count_tokens([shortened])[0] <= 3


def check_the_observer_is_told_of_all_prompts_and_tokens(case: Case) -> None:
    generator, told = case.make(), Told()
    prompts = generator.encoder.encode(CONVERSATIONS)
    completions = generate(generator, prompts, observer=told)
    assert told.begun == set(range(len(prompts)))
    written = [completion for completion in completions if completion.finish_reason != "error"]
    assert told.read == sum(completion.prompt_tokens for completion in written)
    tokens = sum(completion.completion_tokens for completion in written)
    assert told.written == tokens or (told.written > 0 and not case.counts_exactly)
    if case.is_tokenised:
        assert [completion.prompt_tokens for completion in completions] == [len(p.token_ids) for p in prompts]
    assert generate(generator, prompts) == completions  # who looks on changes nothing


def check_a_prompt_that_fails_does_so_alone(case: Case) -> None:
    if case.poison is None:
        return
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    expected = generate(generator, prompts)
    first, failed, *others = generate(
        generator, [prompts[0], case.poison, *prompts[1:]], [SEEDS[0], 0, *SEEDS[1:]], Told()
    )
    assert failed.finish_reason == "error"
    assert failed.error
    assert [first, *others] == expected


def check_it_can_be_left_in_the_middle(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    expected = generate(generator, prompts)
    left = generator.generate(prompts, SEEDS, Told())
    next(left)
    left.close()
    begun = generator.generate(prompts, SEEDS)
    del begun
    assert generate(generator, prompts) == expected


CHECKS = [check for name, check in list(globals().items()) if name.startswith("check_")]
