"""How a run goes on: journal, failures, limits, processes. None of it changes a completion."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen

from hf_rare.settings.base import Config
from hf_rare.settings.kinds import AtLeastOne, PathText, Positive


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """How a run goes on: its journal, what becomes of failures, and its limits. None of it changes a completion.

    Args:
        journal_dir (`str` or `Path`, *optional*, defaults to `"auto"`):
            Folder of the journal, in which every completion is safe as soon as it is written, and which a later run
            reads first. `"auto"` is the folder that the environment variable `HF_RARE_JOURNAL` names, or one in the
            Hugging Face cache; `None` is no journal.
        journal_sync (`float`, *optional*, defaults to 1):
            Seconds after which a completion is safe from a power failure too (`fdatasync`); from a crash it is at
            once. `None` leaves that to the system, which may take half a minute.
        journal_prompts (`bool`, *optional*, defaults to `True`):
            Whether the journal holds prompts beside completions, for people to read. They are plain text: `False`
            where documents hold secrets. Completions may quote them all the same.
        retry_failed (`bool`, *optional*, defaults to `False`):
            Whether rows that failed in an earlier run are tried again.
        max_tries (`int`, *optional*, defaults to 3):
            How often a row that fails is tried in all, with `retry_failed`; and with Ray, how often a row by itself
            may end its actor before it fails.
        on_error (`"status"` or `"raise"`, *optional*, defaults to `"status"`):
            Whether a row that fails gets the status `failed`, or ends the run with an exception.
        max_rows (`int`, *optional*):
            Most completions to generate; then the run ends with `BudgetReachedError`. Each sample of a row and each
            attempt at it is a completion: with `num_samples=4`, 8 are two rows. Counted for the whole job under a
            launcher, and for each worker with `num_proc` and Ray.
        max_tokens (`int`, *optional*):
            Most tokens to generate, give or take the completions that end together, counted likewise. The length of
            one completion is limited by `max_new_tokens`.
        max_hours (`float`, *optional*):
            Most hours to run, give or take the time until the next completion ends.
        max_cost (`float`, *optional*):
            Most that the completions may cost, by the `price_per_million` of an endpoint, give or take those that are
            under way; counted likewise.
        stall_timeout (`float`, *optional*, defaults to 600):
            Seconds without a token after which the rows being written are logged as a warning; `None` for never.
        checkpoint_repo (`str`, *optional*):
            Dataset repository on the Hub, made private, to which the journal is committed while the run goes on, and
            from which a fresh machine starts.
        checkpoint_minutes (`float`, *optional*, defaults to 10):
            Minutes between two of these commits.
        share_rows (`bool`, *optional*, defaults to `True`):
            Whether the processes that a launcher has started share the rows of every batch. `False` where each has
            rows of its own, as after `split_dataset_by_node`.
        rank_timeout (`float`, *optional*, defaults to 300):
            Seconds to wait for processes of the job that have not been heard of at all. Once they have been, nothing
            but their death ends the wait.
    """

    journal_dir: Annotated[Annotated[PathText, MinLen(1)] | None, "a folder, 'auto', or None for no journal"] = "auto"
    journal_sync: Positive | None = 1.0
    journal_prompts: bool = True
    retry_failed: bool = False
    max_tries: AtLeastOne = 3
    on_error: Literal["status", "raise"] = "status"
    max_rows: AtLeastOne | None = None
    max_tokens: AtLeastOne | None = None
    max_hours: Positive | None = None
    max_cost: Positive | None = None
    stall_timeout: Positive | None = 600.0
    checkpoint_repo: Annotated[str | None, "the name of a repository, or None for none"] = None
    checkpoint_minutes: Positive = 10.0
    share_rows: bool = True
    rank_timeout: Positive = 300.0
