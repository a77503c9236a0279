"""How a callable for `Dataset.map` pickles: to its settings, and with a word to others.

What is pickled is the fingerprint of `map`, so that journal, failures and limits must not be in it; but the copies in
worker processes need them. `map` pickles its callable for the fingerprint before it starts workers: then the run
settings are left in the environment, under a name made of what is pickled, and a copy takes them from there when it is
made. It is also how the processes of a job learn that each of them has come to a `map` call.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from datasets.fingerprint import Hasher

from hf_rare.generation.protocol import Generator
from hf_rare.runs.team import Team
from hf_rare.settings.base import GENERATION_REVISION, READING_REVISION, Config
from hf_rare.settings.run import RunConfig

PREFIX = "HF_RARE_RUN_"
"""How the names of the environment variables with run settings begin."""


def reduce_to_settings(
    make: Callable[..., Any],
    config: Config,
    generator: Generator,
    run: RunConfig,
    companions: Mapping[str, Any],
    team: Team | None,
) -> tuple[Any, ...]:
    """Give what `__reduce__` gives for a callable, and do what is to be done when one is pickled.

    Args:
        make (`Callable`):
            Makes the callable: its class.
        config ([`Config`]):
            Its settings.
        generator ([`Generator`]):
            Its generator.
        run ([`RunConfig`]):
            Its run settings. They go into the environment where they are not the defaults; else what an equal callable
            has left there is taken away.
        companions (`Mapping[str, Any]`):
            Further arguments of `make`, which are pickled as they are.
        team ([`Team`], *optional*):
            The processes of the job, which are told.

    Returns:
        `tuple`: a function and its arguments, equal for equal callables in every process.
    """
    settings = config.to_json()
    name = _name_variable(settings, generator)
    if run != RunConfig():
        os.environ[name] = run.to_json()
    else:
        os.environ.pop(name, None)
    if team is not None:
        team.note_map()
    # a retry must not be answered from the cache of `datasets`; all other run settings stay out of the fingerprint
    retry = run.max_tries if run.retry_failed else 0
    revisions = (GENERATION_REVISION, READING_REVISION)
    return _rebuild, (make, revisions, settings, generator, retry, tuple(companions.items()), name)


def variables_for_workers() -> dict[str, str]:
    """Give what workers elsewhere need of the environment: run settings that were left, and where journals lie."""
    return {name: value for name, value in os.environ.items() if name.startswith("HF_RARE_")}


def _rebuild(
    make: Callable[..., Any],
    revisions: tuple[int, int],
    settings: str,
    generator: Generator,
    retry: int,
    companions: tuple[tuple[str, Any], ...],
    name: str,
) -> Any:
    """Make a callable again; `revisions` and `retry` are there for the fingerprint alone."""
    run = json.loads(os.environ.get(name, "{}"))  # a class of a script has another name, and hash, where it is spawned
    return make(generator, **json.loads(settings), **run, **dict(companions))


def _name_variable(settings: str, generator: Generator) -> str:
    return PREFIX + str(Hasher.hash((settings, generator))).upper()
