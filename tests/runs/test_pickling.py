"""What pickling leaves behind: run settings in the environment for copies in workers, and a word to the team."""

import os
import pickle
import subprocess
import sys

import pytest
from datasets.fingerprint import Hasher

from hf_rare import ReasonDistiller
from hf_rare.runs.pickling import PREFIX, reduce_to_settings
from hf_rare.settings.run import RunConfig
from hf_rare.settings.writers import DistillConfig
from tests.conftest import REPOSITORY
from tests.support.scripted import ScriptedGenerator


class Team:
    """Notes what it is told."""

    def __init__(self):
        self.maps = 0

    def note_map(self):
        self.maps += 1


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The variables of this test alone."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    yield lambda: {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]


def reduce(run=None, team=None, generator=None, **settings):
    config = DistillConfig(**settings)
    generator = generator or PickledByName("scripted")
    return reduce_to_settings(ReasonDistiller, config, generator, run or RunConfig(), {}, team)


class PickledByName(ScriptedGenerator):
    """A generator that pickles to its name, as generators must."""

    def __init__(self, name):
        super().__init__(lambda text, seed: "Because.", name)

    def __reduce__(self):
        return type(self), (self.name,)


def test_run_settings_are_left_for_a_copy_and_are_not_in_the_bytes(environment):
    plain = pickle.dumps(reduce())
    assert environment() == {}
    function, arguments = reduce(RunConfig(max_rows=7, journal_dir=None))
    assert pickle.dumps((function, arguments)) == plain
    assert len(environment()) == 1
    copy = function(*arguments)
    assert (copy.run.max_rows, copy.run.journal_dir) == (7, None)


def test_the_defaults_take_away_what_an_equal_callable_has_left(environment):
    reduce(RunConfig(max_rows=7))
    function, arguments = reduce()
    assert environment() == {}
    assert function(*arguments).run == RunConfig()


def test_other_settings_and_other_generators_leave_their_own(environment):
    reduce(RunConfig(max_rows=1))
    reduce(RunConfig(max_rows=2), seed=1)
    reduce(RunConfig(max_rows=3), generator=PickledByName("other"))
    assert len(environment()) == 3


def test_a_retry_has_a_fingerprint_of_its_own():
    retries = [RunConfig(), RunConfig(retry_failed=True), RunConfig(retry_failed=True, max_tries=5)]
    assert len({Hasher.hash(reduce(run)) for run in retries}) == 3
    assert Hasher.hash(reduce(RunConfig(max_tries=5))) == Hasher.hash(reduce())


def test_the_team_is_told_each_time():
    team = Team()
    reduce(team=team)
    reduce(team=team)
    assert team.maps == 2


def test_a_writer_pickles_that_way(environment):
    distill_fn = ReasonDistiller(PickledByName("scripted"), max_rows=7, seed=3)
    copy = pickle.loads(pickle.dumps(distill_fn))
    assert len(environment()) == 1
    assert (copy.run, copy.config) == (distill_fn.run, distill_fn.config)
    assert Hasher.hash(copy) == Hasher.hash(distill_fn)


class WithFunction(ScriptedGenerator):
    """A generator that pickles to a function, as one of somebody's own may."""

    def __init__(self, write):
        super().__init__(write)

    def __reduce__(self):
        return type(self), (self.write,)


@pytest.mark.slow
def test_a_copy_in_another_interpreter_finds_the_run_settings(environment, tmp_path):
    distill_fn = ReasonDistiller(WithFunction(write_nothing), max_rows=7)
    (tmp_path / "pickled").write_bytes(pickle.dumps(distill_fn))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).run.max_rows)"
    command = [sys.executable, "-c", code, str(tmp_path / "pickled")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "7"


def write_nothing(text, seed):
    return ""
