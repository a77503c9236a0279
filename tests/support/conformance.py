"""What every generator must keep to, as checks that take a [`Case`]: a generator and what is peculiar to it."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dill
import pytest
from datasets.fingerprint import Hasher

from hf_rare import Completion, EncodedPrompt, Generator
from hf_rare.generation.protocol import Job, JobList

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
        refuses_unencodable (`bool`): whether a prompt that is no text in UTF-8 is an error.
        is_loaded_on_use (`bool`): whether it can be unloaded, and loads its model again when that is needed.
        poison (`EncodedPrompt`, *optional*): a prompt that fails.
        counts_exactly (`bool`): whether an observer is told of the tokens of the completions and of no others.
        most_in_hand (`int`): jobs that it has taken and not given back, at most, whatever its source has.
    """

    make: Callable[[], Generator]
    is_tokenised: bool = True
    refuses_unencodable: bool = True
    is_loaded_on_use: bool = False
    poison: EncodedPrompt | None = field(default_factory=lambda: EncodedPrompt([], "", [999_999]))
    counts_exactly: bool = True
    most_in_hand: int = 100


class Told:
    """An observer that adds up what it is told."""

    def __init__(self) -> None:
        self.begun: set[Job] = set()
        self.read = self.written = 0

    def begin(self, jobs):
        assert len(set(jobs)) == len(jobs)
        self.begun |= set(jobs)

    def add_tokens(self, prompt_tokens, generated_tokens):
        assert prompt_tokens >= 0
        assert generated_tokens >= 0
        self.read += prompt_tokens
        self.written += generated_tokens


class Pulled:
    """A source that looks at what it is asked, and keeps what is answered.

    Args:
        jobs (`Sequence[Job]`): the jobs that are ready at once.
        then (`Mapping[Job, Job]`, *optional*): for a job the one that is ready when it has ended.
        at_once (`int`, *optional*): how many are given at once, at most.
        together (`int`, *optional*): how many may be in hand for more to be given, at most.

    Attributes:
        completions (`dict[Job, Completion]`): what is answered.
        most_in_hand (`int`): the most jobs that were taken and not answered at any time.
        is_over (`bool`): whether it has said that all is done.
    """

    def __init__(
        self, jobs: Sequence[Job], then: Mapping[Job, Job] | None = None, at_once=1000, together=1000
    ) -> None:
        self.completions: dict[Job, Completion] = {}
        self.most_in_hand = 0
        self.is_over = False
        self._ready, self._then = list(jobs), dict(then or {})
        self._at_once, self._together = at_once, together
        self._in_hand: set[Job] = set()

    def take(self, at_most: int) -> list[Job]:
        assert at_most >= 1, "asked for no job"
        count = max(0, min(at_most, self._at_once, self._together - len(self._in_hand)))
        given, self._ready = self._ready[:count], self._ready[count:]
        self._in_hand |= set(given)
        self.most_in_hand = max(self.most_in_hand, len(self._in_hand))
        self.is_over = not self._in_hand
        return given

    def end(self, job: Job, completion: Completion) -> None:
        """Take note of an answer."""
        assert job in self._in_hand, "a job is answered twice, or was never taken"
        self._in_hand.remove(job)
        self.completions[job] = completion
        if job in self._then:
            self._ready.append(self._then[job])


def make_jobs(prompts, seeds=SEEDS) -> list[Job]:
    """Make a job of each prompt."""
    return [Job(prompt, seed) for prompt, seed in zip(prompts, list(seeds)[: len(prompts)], strict=True)]


def answer(generator: Generator, source: Pulled, observer=None) -> Iterator[None]:
    """Generate until all is done; stop whenever some jobs have ended."""
    for written in generator.generate(source, observer):
        assert written, "nothing has become ready"
        for job, completion in written:
            source.end(job, completion)
        yield
    assert source.is_over, "it ended before its source had"


def generate_jobs(generator, jobs: Sequence[Job], observer=None, **ways) -> list[Completion]:
    """Generate, and see that each job is answered once."""
    source = Pulled(jobs, **ways)
    for _ in answer(generator, source, observer):
        pass
    return [source.completions[job] for job in jobs]


def generate(generator, prompts, seeds=SEEDS, observer=None) -> list[Completion]:
    """Generate, and see that each prompt is answered once."""
    return generate_jobs(generator, make_jobs(prompts, seeds), observer)


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
    assert generate(generator, [], observer=told) == []
    assert generator.encoder.encode([]) == []
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


def check_no_more_is_taken_than_can_be_used_soon(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    count = case.most_in_hand // len(prompts) + 10
    source = Pulled(jobs := make_jobs(prompts * count, SEEDS * count))
    for _ in answer(generator, source):
        pass
    assert [source.completions[job] for job in jobs] == generate(generator, prompts) * count
    assert source.most_in_hand <= case.most_in_hand < len(jobs)


def check_it_takes_what_is_ready_however_little_that_is(case: Case) -> None:
    generator = case.make()
    jobs = make_jobs(generator.encoder.encode(CONVERSATIONS))
    expected = generate_jobs(generator, jobs)
    assert generate_jobs(generator, jobs, at_once=1) == expected
    assert generate_jobs(generator, jobs, together=1) == expected
    assert generate_jobs(generator, jobs, at_once=1, together=3) == expected


def check_it_goes_on_with_jobs_that_others_bring(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    expected, expected_then = generate(generator, prompts), generate(generator, prompts[::-1], SEEDS)
    for ways in ({}, {"together": 2}, {"at_once": 1}):
        first, second, third = make_jobs(prompts), make_jobs(prompts[::-1]), make_jobs(prompts)
        source = Pulled(first, dict(zip([*first, *second], [*second, *third], strict=True)), **ways)
        for _ in answer(generator, source):
            pass
        completions = [[source.completions[job] for job in jobs] for jobs in (first, second, third)]
        assert completions == [expected, expected_then, expected]


def check_it_goes_on_after_a_prompt_that_fails(case: Case) -> None:
    if case.poison is None:
        return
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    jobs, failing = make_jobs(prompts), Job(case.poison, 0)
    source = Pulled([failing], {failing: jobs[0]} | dict(itertools.pairwise(jobs)))
    for _ in answer(generator, source):
        pass
    assert source.completions[failing].error
    assert [source.completions[job] for job in jobs] == generate(generator, prompts)


def check_it_writes_for_others_while_it_waits_for_who_reads(case: Case) -> None:
    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    expected = generate(generator, prompts)

    def write(depth: int) -> None:
        source, told = Pulled(jobs := make_jobs(prompts)), Told()
        for number, _ in enumerate(answer(generator, source, told)):
            if depth and not number:  # rows are in hand, as where the teacher is the judge of its answers
                write(depth - 1)
        assert [source.completions[job] for job in jobs] == expected
        assert told.begun == set(jobs)

    write(depth=2)
    assert generate(generator, prompts) == expected


def check_it_writes_for_its_source_while_that_is_asked(case: Case) -> None:
    class Judging(Pulled):
        judged = 0

        def take(self, at_most: int) -> list[Job]:
            if self.judged < min(2, len(self.completions)):  # what has ended is read when there is room for more
                self.judged += 1
                assert generate(generator, prompts) == expected
            return super().take(at_most)

    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    expected = generate(generator, prompts)
    source = Judging(jobs := make_jobs(prompts), together=3)
    for _ in answer(generator, source):
        pass
    assert source.judged
    assert [source.completions[job] for job in jobs] == expected


def check_what_a_source_raises_ends_it(case: Case) -> None:
    class Broken(Pulled):
        def take(self, at_most: int) -> list[Job]:
            if self.completions:
                raise RuntimeError("the source fails")
            return super().take(at_most)

    generator = case.make()
    prompts = generator.encoder.encode(CONVERSATIONS)
    expected = generate(generator, prompts)
    with pytest.raises(RuntimeError, match="the source fails"):
        for _ in answer(generator, Broken(make_jobs(prompts), together=3)):
            pass
    assert generate(generator, prompts) == expected


def check_prompts_are_in_order_and_fail_alone(case: Case) -> None:
    encoder = case.make().encoder
    prompts = encoder.encode(CONVERSATIONS)
    assert [list(prompt.messages) for prompt in prompts] == CONVERSATIONS
    assert not any(prompt.error for prompt in prompts)
    assert len({prompt.text or str(prompt.messages) for prompt in prompts}) == len(prompts)
    assert all(prompt.token_ids for prompt in prompts) or not case.is_tokenised
    assert encoder.encode(CONVERSATIONS[::-1]) == prompts[::-1]
    first, failed, *others = encoder.encode([CONVERSATIONS[0], UNENCODABLE, *CONVERSATIONS[1:]])
    assert [first, *others] == prompts
    assert bool(failed.error) or not case.refuses_unencodable


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
    completions = generate_jobs(generator, jobs := make_jobs(prompts), observer=told)
    assert told.begun == set(jobs)
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
    left = generator.generate(JobList(make_jobs(prompts)), Told())
    next(left)
    left.close()
    begun = generator.generate(JobList(make_jobs(prompts)))
    del begun
    assert generate(generator, prompts) == expected


CHECKS = [check for name, check in list(globals().items()) if name.startswith("check_")]
