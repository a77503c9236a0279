"""A warning while no actor of Ray has started: what one needs, what the cluster has of it, and what to do."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

logger = logging.getLogger(__name__)

WARN_SECONDS = 60.0
"""Seconds without an actor after which that is said, and again."""

LOOK_SECONDS = 0.2

WATCHER = "hf_rare: start of Ray actors"
"""What the thread is called that looks."""


@contextlib.contextmanager
def warning_until_started(ray: Any, started: Any, needed: Mapping[str, float]) -> Iterator[None]:
    """Warn while no actor has started.

    Args:
        ray: the module.
        started: a reference that is there once an actor has started.
        needed (`Mapping[str, float]`): what an actor needs, by resource.
    """
    is_over = threading.Event()

    def watch() -> None:
        began = warned = time.monotonic()
        while not is_over.wait(LOOK_SECONDS) and not ray.wait([started], timeout=0)[0]:
            now = time.monotonic()
            if now - warned >= WARN_SECONDS:
                warned = now
                logger.warning("No actor has started for %.0f seconds. %s", now - began, describe_need(ray, needed))

    watcher = threading.Thread(target=watch, name=WATCHER, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()  # it must not ask a Ray that has been left


def describe_need(ray: Any, needed: Mapping[str, float]) -> str:
    """Say what an actor needs, what the cluster has of it, and what to do.

    Args:
        ray: the module.
        needed (`Mapping[str, float]`): what an actor needs, by resource.
    """
    has, free = ray.cluster_resources(), ray.available_resources()
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in needed}
    amounts = [
        f"{name}: needed {_show(name, amount)}, there are {_show(name, has.get(name, 0))} "
        f"(at most {_show(name, most[name])} on one machine), free {_show(name, free.get(name, 0))}"
        for name, amount in needed.items()
    ]
    if any(amount > most[name] for name, amount in needed.items()):
        advice = "No machine has what an actor needs: add one that has, or ask for less (num_cpus, num_gpus, ...)."
    elif any(amount > free.get(name, 0) for name, amount in needed.items()):
        advice = "Others have it: end them, wait for them, add machines, or ask for less (num_cpus, num_gpus, ...)."
    else:
        advice = (
            "One may be starting still (imports, `runtime_env`), or no single machine has all of it free: see `ray "
            "status` and the logs of Ray."
        )
    return f"What it needs on one machine, and the cluster has: {'; '.join(amounts)}. {advice}"


def _show(name: str, amount: float) -> str:
    return f"{amount / 2**30:.1f} GiB" if name == "memory" else f"{amount:g}"
