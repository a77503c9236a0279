"""The Ray that a run uses: the one that is there, or one for as long as the run takes."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from hf_rare.compat.ray import PROGRESS_LOGGER
from hf_rare.errors import ConfigError, MissingPackageError

LOG_LEVELS = {"ray.data": logging.WARNING, PROGRESS_LOGGER: logging.ERROR}


def import_ray() -> Any:
    """Import Ray Data.

    Raises:
        MissingPackageError: Ray is not installed.
    """
    try:
        import ray.data
    except ImportError as err:
        raise MissingPackageError(
            f"Distilling with Ray needs a package: {err}. Install it: `pip install hf-rare[ray]`."
        ) from err
    return ray


@contextlib.contextmanager
def session(ray: Any, **needed: float) -> Iterator[None]:
    """Use the Ray that runs, or start one and end it.

    Args:
        ray: the module.
        **needed (`float`): how much of a resource an actor takes, by Ray's name of it.

    Raises:
        ConfigError: This machine has less than an actor takes, and is the only one.
    """
    if ray.is_initialized():
        yield
        return
    # Ray's own default is 15, with which actors starve beside anything else that runs on the machine
    with _set_variable("RAY_worker_niceness", "0"):
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
    try:
        existing = ray.cluster_resources()
        for name, amount in needed.items():
            if "RAY_ADDRESS" not in os.environ and amount > existing.get(name, 0):  # a cluster may grow
                raise ConfigError(
                    f"num_{name.lower()}s={amount} is more than this machine has: {existing.get(name, 0):g}."
                )
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _set_variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a while, where it is not set already."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Let Ray Data log warnings, and no plans or missing progress bars."""
    before = {name: logging.getLogger(name).level for name in LOG_LEVELS}
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
