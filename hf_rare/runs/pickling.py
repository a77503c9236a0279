"""How a callable for `Dataset.map` pickles: to its settings, and with a word to others.

What is pickled is the fingerprint of `map`, so that journal, failures and limits must not be in it; but the copies in
worker processes need them. `map` pickles its callable for the fingerprint before it starts workers: then the run
settings are left in the environment, under a name made of what is pickled, and a copy takes them from there when it is
made. It is also how the processes of a job learn that each of them has come to a `map` call. Callbacks stay behind: a
worker says so.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import multiprocess
from datasets.fingerprint import Hasher

from hf_rare.generation.protocol import Generator
from hf_rare.runs.team import Team
from hf_rare.settings.base import GENERATION_REVISION, READING_REVISION, Config
from hf_rare.settings.run import RunConfig

logger = logging.getLogger(__name__)

PREFIX = "HF_RARE_RUN_"
"""How the names of the environment variables with run settings begin."""

CALLBACKS = "_CALLBACKS"
"""How the name of the variable ends that says that there were callbacks."""


def reduce_to_settings(
    make: Callable[..., Any],
    config: Config,
    generator: Generator,
    run: RunConfig,
    companions: Mapping[str, Any],
    team: Team | None,
    has_callbacks: bool = False,
) -> tuple[Any, ...]:
    """Return what `__reduce__` gives for a callable, and do what is to be done when one is pickled.

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
        has_callbacks (`bool`, *optional*, defaults to `False`):
            Whether it has callbacks, which stay with it.

    Returns:
        `tuple`: a function and its arguments, equal for equal callables in every process.
    """
    settings = config.to_json()
    name = _name_variable(settings, generator)
    _set_variable(name, run.to_json() if run != RunConfig() else None)
    _set_variable(name + CALLBACKS, "1" if has_callbacks else None)
    if team is not None:
        team.note_map()
    # a retry must not be answered from the cache of `datasets`; all other run settings stay out of the fingerprint
    retry = run.max_tries if run.retry_failed else 0
    revisions = (GENERATION_REVISION, READING_REVISION)
    return _rebuild, (make, revisions, settings, generator, retry, tuple(companions.items()), name)


def variables_for_workers() -> dict[str, str]:
    """Return what workers elsewhere need of the environment: run settings that were left, and where journals lie."""
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
    if name + CALLBACKS in os.environ and multiprocess.parent_process() is not None:
        logger.warning(
            "callbacks= stay with the process that calls map: with num_proc= they are not told how a run goes, only "
            "of its beginning and its end, and that by `apply` alone."
        )
    run = json.loads(os.environ.get(name, "{}"))  # a class of a script has another name, and hash, where it is spawned
    return make(generator, **json.loads(settings), **run, **dict(companions))


def _set_variable(name: str, value: str | None) -> None:
    """Set an environment variable; `None` takes it away."""
    if value is not None:
        os.environ[name] = value
    else:
        os.environ.pop(name, None)


def _name_variable(settings: str, generator: Generator) -> str:
    return PREFIX + str(Hasher.hash((settings, generator))).upper()
