"""Stand-ins for loggers that people use: modules whose functions take what those of the real ones take."""

from types import SimpleNamespace
from typing import Any


class Run:
    """A run: what it was given, and what was logged. As in the real ones, nothing can be logged once it is over."""

    def __init__(self, config: dict[str, Any] | None) -> None:
        self.config = dict(config or {})
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.is_finished = False

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        assert not self.is_finished
        self.logged.append(dict(data))

    def finish(self, exit_code: int | None = None) -> None:
        assert not self.is_finished
        self.exit_code, self.is_finished = exit_code, True


def make_trackio() -> SimpleNamespace:
    """Make a module with what `trackio` 0.43 has: functions that work on the run that was begun last."""

    def init(
        project: str,
        name: str | None = None,
        group: str | None = None,
        space_id: str | None = None,
        *,
        config: dict[str, Any] | None = None,
    ) -> Run:
        runs.append(Run(config))
        return runs[-1]

    def log(metrics: dict[str, Any], step: int | None = None) -> None:
        runs[-1].log(metrics, step)

    def finish() -> None:
        runs[-1].finish()

    runs: list[Run] = []
    return SimpleNamespace(init=init, log=log, finish=finish, runs=runs)


def make_wandb() -> SimpleNamespace:
    """Make a module with what `wandb` 0.31 has: a function that gives a run."""

    def init(
        entity: str | None = None,
        project: str | None = None,
        *,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        group: str | None = None,
        job_type: str | None = None,
    ) -> Run:
        runs.append(Run(config))
        return runs[-1]

    runs: list[Run] = []
    return SimpleNamespace(init=init, runs=runs)
