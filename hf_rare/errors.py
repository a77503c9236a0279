"""Every error the library raises on purpose.

HfRareError
├── ConfigError (ValueError)             a setting that cannot be right
│   ├── TemplateError                    a prompt template that does not compile or names an unknown placeholder
│   └── RecipeError                      a recipe that cannot be read, or asks for what it may not ask for
├── ColumnError (ValueError)             a column that is missing, of another type, or exists already
├── BatchTypeError (TypeError)           not a batch of rows
├── ModelLoadError (OSError)             a model, tokenizer or revision that cannot be found or loaded
├── MissingPackageError (ImportError)    an optional package that this feature needs
├── JournalError (OSError)               the journal cannot be opened, read or written
├── GenerationError (RuntimeError)       a row failed and `on_error="raise"`
├── RunEndedError (RuntimeError)         the run ends early, and what was generated is in the journal
│   ├── BudgetReachedError               a limit on rows, tokens, hours or cost ends it
│   └── EndpointError                    nothing goes well any more with an endpoint
├── RankError (RuntimeError)             another process of the job failed, died, ended, or disagrees
├── HubError (RuntimeError)              the Hub refused, cannot be reached, or was faster
├── NothingUsableError (RuntimeError)    a run or an export that leaves nothing that can be used
│   └── PipelineError                    a stage or an export of a pipeline left no rows
├── DatasetFileError (OSError)           an input or an output that cannot be read or written
└── OutputExistsError (FileExistsError)  an output that would replace what is there

Each also inherits the builtin that fits, so that `except ValueError` goes on working. A bad row is never an exception:
it is a status in the row itself.
"""


class HfRareError(Exception):
    """Base class of all errors raised on purpose."""


class ConfigError(HfRareError, ValueError):
    """A setting has a value or a name that cannot be right."""


class TemplateError(ConfigError):
    """A prompt template does not compile, or names a placeholder that does not exist."""


class RecipeError(ConfigError):
    """A recipe cannot be found or read, or asks for what a recipe may not ask for."""


class ColumnError(HfRareError, ValueError):
    """An input column is missing or of another type, or an output column exists already."""


class BatchTypeError(HfRareError, TypeError):
    """What was passed in is not a batch of rows."""


class ModelLoadError(HfRareError, OSError):
    """A model, tokenizer or revision cannot be found or loaded."""


class MissingPackageError(HfRareError, ImportError):
    """An optional package is needed and not installed."""


class JournalError(HfRareError, OSError):
    """The journal cannot be opened, read or written."""


class GenerationError(HfRareError, RuntimeError):
    """A row failed, and failures are to be raised."""


class RunEndedError(HfRareError, RuntimeError):
    """The run ends early and in good order; what was generated is in the journal."""


class BudgetReachedError(RunEndedError):
    """A limit on rows, tokens, hours or cost ends the run."""


class EndpointError(RunEndedError):
    """Nothing goes well any more with an endpoint: it is down, or would refuse every row."""


class HubError(HfRareError, RuntimeError):
    """A push or a checkpoint failed; the message says what is on the Hub now, and what to do."""


class NothingUsableError(HfRareError, RuntimeError):
    """A run or an export has left nothing that can be used; the message says why, and what to change."""


class PipelineError(NothingUsableError):
    """A stage or an export of a pipeline left no rows."""


class DatasetFileError(HfRareError, OSError):
    """An input or an output cannot be read or written.

    The command line, [`run_pipeline`], [`distill_with_ray`] and [`Report.save`] raise it.
    """


class OutputExistsError(HfRareError, FileExistsError):
    """An output exists already, and would be replaced.

    The command line, [`run_pipeline`] and [`distill_with_ray`] raise it.
    """


class RankError(HfRareError, RuntimeError):
    """Another process of the job failed, died, ended, or has other rows or settings."""
