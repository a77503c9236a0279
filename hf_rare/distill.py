"""The reasoning distiller: the callable for `Dataset.map`.

The way of one row: `batches` reads it out of the batch, `assembly` makes a prompt of it, `completing` gets the
completion from the journal or the generator, `parsing` reads it, `results` lays out the new columns, and `batches`
puts them into the batch.
"""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import datasets

from hf_rare.assembly import PreparedRow, prepare_rows
from hf_rare.batches import add_columns, column_names, read_columns
from hf_rare.completing import Completer
from hf_rare.config import GENERATION_REVISION, DecodingConfig, DistillConfig, ModelConfig, RunConfig, split_settings
from hf_rare.errors import ColumnError
from hf_rare.estimate import Estimate, estimate_run
from hf_rare.generation.protocol import Completion, EncodedPrompt, Generator
from hf_rare.generation.transformers_generator import TransformersGenerator
from hf_rare.prompts import BUILTIN_TEMPLATES, get_template, input_columns, read_template_source
from hf_rare.recipe import read_recipe, recipe_settings
from hf_rare.results import output_features, read_result, to_columns
from hf_rare.rows import derive_seed
from hf_rare.summary import Summary

logger = logging.getLogger(__name__)


class ReasonDistiller:
    """Adds a teacher's reasoning over the documents of each row: pass it to `Dataset.map(distill_fn, batched=True)`.

    For each row the teacher gets the question, the scenario, and one positive document among hard negatives, in an
    order shuffled by the row's own content. New columns, by default all of them (see [`DistillConfig`] for names and
    shapes):

    - `reasoning` (`str`): the trace; empty where there is none, never null.
    - `reasoning_answer` (`str`): the final answer, where the completion separates it.
    - `reasoning_status` (`str`): `ok`, `truncated`, `empty`, `unparsed`, `invalid_input`, `prompt_too_long`, `failed`.
    - `reasoning_error` (`str`): why it is not `ok`, in words.
    - `reasoning_completion_tokens`, `reasoning_prompt_tokens` (`int64`): tokens.
    - `reasoning_positive_position` (`int64`): place of the positive among the documents, from 1; 0 without a prompt.
    - `reasoning_document_order` (`list[int64]`): the documents in their order; 0 is the positive, i the i-th negative.
    - `reasoning_documents_truncated` (`int64`): how many documents were shortened to fit the context.

    A row that cannot be used gets a status; it never stops the run and never changes another row. Prompt, order and
    draw of a row depend on its content, the settings and the seed alone, not on the batch.

    It pickles to its settings, so that `map` gives it the same fingerprint in every process, before and after the
    model is loaded, and a second run reads the cache of `datasets` without loading a model.

    Args:
        generator ([`Generator`](hf_rare.generation.protocol.Generator)):
            What writes: a [`TransformersGenerator`], or anything of the same shape.
        **settings:
            The settings of [`DistillConfig`](hf_rare.config.DistillConfig) (columns, template, tags, samples,
            seed) and [`RunConfig`](hf_rare.config.RunConfig) (journal, failures, limits).

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        TemplateError: The template cannot be used.

    Example:
        >>> distill_fn = ReasonDistiller.from_pretrained("Qwen/Qwen3-8B", max_new_tokens=4096)
        >>> ds = ds.map(distill_fn, batched=True, batch_size=1000)
    """

    def __init__(self, generator: Generator, **settings: Any) -> None:
        own, run = split_settings(settings, DistillConfig, RunConfig)
        self.generator = generator
        self.run = RunConfig(**run)
        self.completer = Completer(generator, self.run)
        config = DistillConfig(**own)
        if config.template not in BUILTIN_TEMPLATES:  # keep the text, not the path of a file that may change
            config = dataclasses.replace(config, template=read_template_source(str(config.template)))
        self.config = config
        self.summary = Summary()
        get_template(config)  # a wrong template is found out now

    @classmethod
    def from_pretrained(cls, model_id: str, **settings: Any) -> Self:
        """Make a distiller whose teacher is a transformers model, loaded on first use.

        Args:
            model_id (`str`):
                Name of the teacher on the Hub, or a local folder.
            **settings:
                The settings of [`DistillConfig`](hf_rare.config.DistillConfig),
                [`RunConfig`](hf_rare.config.RunConfig), [`ModelConfig`](hf_rare.config.ModelConfig) and
                [`DecodingConfig`](hf_rare.config.DecodingConfig).

        Returns:
            [`ReasonDistiller`]: the distiller.

        Raises:
            ConfigError: A setting is unknown or cannot be right.
            ModelLoadError: The model or revision does not exist, or cannot be found out about.
        """
        own, run, loading, decoding = split_settings(settings, DistillConfig, RunConfig, ModelConfig, DecodingConfig)
        DistillConfig(**own), RunConfig(**run)  # what is wrong with them is found out before the Hub is asked
        return cls(TransformersGenerator.from_pretrained(model_id, **loading, **decoding), **own, **run)

    @classmethod
    def from_recipe(
        cls,
        source: str | Path | Mapping[str, Any],
        *,
        config_name: str = "default",
        revision: str | None = None,
        token: str | bool | None = None,
        **settings: Any,
    ) -> Self:
        """Make the distiller that a recipe describes: equal prompts, equal journal keys, equal hash.

        A recipe is not trusted: it cannot turn on remote code or name a path of this machine.

        Args:
            source (`str`, `Path` or `dict`):
                A `recipe.json`, the name of a dataset on the Hub that was pushed with one, or the recipe itself.
            config_name (`str`, *optional*, defaults to `"default"`):
                Config of the dataset on the Hub.
            revision (`str`, *optional*):
                Revision of the dataset on the Hub.
            token (`str` or `bool`, *optional*):
                Token for the Hub; by default the one of `hf auth login`.
            **settings:
                Settings that are not the recipe's: those of [`RunConfig`](hf_rare.config.RunConfig), and whatever
                should differ. `model_id` says where the teacher lies here, when it came from a local folder.

        Returns:
            [`ReasonDistiller`]: the distiller.

        Raises:
            RecipeError: The recipe cannot be found or read, asks for what it may not, or its teacher cannot be had.
            ConfigError: A setting cannot be right.
            ModelLoadError: The teacher cannot be found.

        Example:
            >>> distill_fn = ReasonDistiller.from_recipe("me/rare-medicine")
        """
        recipe = read_recipe(source, config_name, set(settings) - {"model_id"}, revision=revision, token=token)
        return cls.from_pretrained(**recipe_settings(recipe, settings.pop("model_id", None)) | settings)

    def __reduce__(self) -> tuple[Any, ...]:
        self._publish_run()
        self.completer.note_map()
        # a retry must not be answered from the cache of `datasets`; all other run settings stay out of the fingerprint
        retry = self.run.max_attempts if self.run.retry_failed else 0
        return _rebuild, (type(self), GENERATION_REVISION, self.config.to_json(), self.generator, retry)

    def _publish_run(self) -> None:
        """Leave the run settings in the environment, where the copies in worker processes find them."""
        if self.run != RunConfig():
            os.environ[run_variable(self.config, self.generator)] = self.run.to_json()
        else:
            os.environ.pop(run_variable(self.config, self.generator), None)

    def __call__(self, batch: Any, *context: Any) -> Any:
        """Distil a batch.

        Args:
            batch:
                A batch of rows, as `map` passes it in any format: a mapping of columns, a pyarrow Table, a pandas or
                polars DataFrame.
            *context:
                The indices and the rank that `map` passes with `with_indices` and `with_rank`. They change nothing.

        Returns:
            The new columns, in a container of the type of `batch`.

        Raises:
            BatchTypeError: This is one row, or not a batch at all.
            ColumnError: An input column is missing, or an output column exists already.
            JournalError: The journal cannot be read or written.
            GenerationError: A row failed and `on_error="raise"`.
            BudgetReachedError: `max_rows`, `max_tokens` or `max_hours` ended the run.
            RankError: Another process of the job failed, died, ended, or has other rows or settings.
        """
        with self.completer.call():
            rows = read_columns(batch, input_columns(self.config))
            self._check_outputs(column_names(batch))
            prepared = prepare_rows(rows, self.config, self.generator)
            completions = self._complete(prepared)
        require_answer = self.config.require_answer
        if require_answer is None:
            require_answer = self.config.template == "rare-qa"
        results = [
            read_result(row, written, self.config, require_answer)
            for row, written in zip(prepared, completions, strict=True)
        ]
        self.summary += Summary.of_results(results)
        self.summary.generated = self.completer.generated
        self.summary.generated_tokens = self.completer.tokens
        self.summary.seconds = self.completer.seconds
        logger.info("Distilled %d rows; so far %s", len(results), self.summary)
        repeat = self.config.num_samples if self.config.expand else 1
        return add_columns(batch, to_columns(results, self.config), output_features(self.config), repeat)

    def features(self, features: datasets.Features | None = None) -> datasets.Features:
        """Give the features of the distilled dataset, for `map(features=...)`.

        Args:
            features ([`datasets.Features`], *optional*):
                The features of the dataset. Without them, the new columns alone are given.

        Returns:
            [`datasets.Features`]: `features` and the new columns.

        Raises:
            ColumnError: An output column exists already.
        """
        self._check_outputs(list(features or ()))
        return datasets.Features({**(features or {}), **output_features(self.config)})

    def apply(
        self, dataset: Any, *, batch_size: int = 1000, remove_columns: Sequence[str] | str = (), **map_kwargs: Any
    ) -> Any:
        """Distil a whole dataset: `map` with the column types said up front, so that empty datasets get them too.

        Args:
            dataset (`Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict`):
                The dataset.
            batch_size (`int`, *optional*, defaults to 1000):
                Rows handed over at a time. Bounds neither memory nor micro-batches, which `max_batch_tokens` does.
            remove_columns (`str` or `list[str]`, *optional*):
                Columns to drop: also those of an earlier run that would stand in the way, and with `expand` too.
            **map_kwargs:
                Passed to `map`, for example `num_proc`.

        Returns:
            A dataset of the same kind with the new columns.

        Raises:
            ColumnError: An input column is missing, or an output column exists already.
        """
        map_kwargs |= {"batch_size": batch_size}
        if isinstance(dataset, dict):
            kwargs = {"remove_columns": remove_columns, **map_kwargs}
            return type(dataset)({name: self.apply(split, **kwargs) for name, split in dataset.items()})
        to_remove = [remove_columns] if isinstance(remove_columns, str) else list(remove_columns)
        inputs = input_columns(self.config)
        dataset = dataset.remove_columns([name for name in to_remove if name not in inputs])
        if dataset.features is None:  # an IterableDataset may not know its columns
            distilled = dataset.map(self, batched=True, **map_kwargs)
        else:
            features = self.features(dataset.features)
            read_columns({name: [] for name in dataset.features}, inputs)
            if isinstance(dataset, datasets.Dataset) and len(dataset) == 0:  # `map` would add no columns
                distilled = datasets.Dataset.from_dict({name: [] for name in features}, features=features)
            else:
                distilled = dataset.map(self, batched=True, **{"features": features, **map_kwargs})
        return distilled.remove_columns([name for name in to_remove if name in inputs])

    def select_finished(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Select the rows that need no generation any more: what a run has done that a limit or a crash has ended.

        Reads the journal and generates nothing. `apply` then gives these rows their traces at once.

        Args:
            dataset ([`~datasets.Dataset`]):
                The dataset of the run.

        Returns:
            [`~datasets.Dataset`]: rows of which every sample is in the journal, and rows that cannot be generated.

        Raises:
            ColumnError: An input column is missing.
            JournalError: The journal cannot be read.

        Example:
            >>> done = distill_fn.apply(distill_fn.select_finished(ds))
        """
        self.completer.join()
        places: list[int] = []
        rows = dataset.with_format(None)
        for start in range(0, len(dataset), 1000):
            batch = rows[start : start + 1000]
            prepared = prepare_rows(read_columns(batch, input_columns(self.config)), self.config, self.generator)
            row_numbers, prompts, seeds = self._list_jobs(prepared)
            is_done = self.completer.are_done(prompts, seeds)
            open_rows = {i for i, done in zip(row_numbers, is_done, strict=True) if not done}
            places += [start + i for i in range(len(prepared)) if i not in open_rows]
        return dataset.select(places)

    def estimate(self, dataset: datasets.Dataset, rows: int = 8) -> Estimate:
        """Estimate tokens and hours of a run from a few of its rows, spread over the lengths of their prompts.

        Loads the model and generates; nothing goes into the journal.

        Args:
            dataset ([`~datasets.Dataset`]):
                The dataset.
            rows (`int`, *optional*, defaults to 8):
                Rows to generate, at least 2. More rows make a better estimate of how long completions are.

        Returns:
            [`Estimate`](hf_rare.estimate.Estimate): tokens, hours with their error, rows of the largest micro-batch.

        Raises:
            ColumnError: An input column is missing.
            ConfigError: There are fewer than 2 rows that can be generated.
        """
        self.completer.join()
        return estimate_run(dataset, input_columns(self.config), self.config, self.generator, rows)

    def _check_outputs(self, existing: list[str]) -> None:
        if taken := [name for name in output_features(self.config) if name in existing]:
            raise ColumnError(
                f"The dataset already has a column {', '.join(map(repr, taken))}. Remove it first "
                f"(`ds.remove_columns({taken!r})`), or pass another output_column=..."
            )

    def _complete(self, prepared: Sequence[PreparedRow]) -> list[list[Completion]]:
        """Get `num_samples` completions for each row that can be generated, and none for the others."""
        if self.config.num_samples > 1 and not self.generator.is_sampling:
            logger.warning(
                "num_samples=%d, but the model does not sample, so that all samples of a row are equal. Pass "
                "generation_kwargs={'temperature': ...}.",
                self.config.num_samples,
            )
        row_numbers, prompts, seeds = self._list_jobs(prepared)
        completions: list[list[Completion]] = [[] for _ in prepared]
        for i, completion in zip(row_numbers, self.completer.complete(prompts, seeds, row_numbers), strict=True):
            completions[i].append(completion)
        return completions

    def _list_jobs(self, prepared: Sequence[PreparedRow]) -> tuple[list[int], list[EncodedPrompt], list[int]]:
        """List what is to be generated: for each sample the number of its row, its prompt and its seed."""
        samples = range(self.config.num_samples)
        row_numbers, prompts, seeds = [], [], []
        for i, ready in enumerate(prepared):
            if ready.status == "ok" and ready.row is not None and ready.encoded is not None:
                digest = ready.row.digest(self.config.seed)
                row_numbers += [i for _ in samples]
                prompts += [ready.encoded for _ in samples]
                seeds += [derive_seed(digest, "sample", sample) for sample in samples]
        return row_numbers, prompts, seeds


def run_variable(config: DistillConfig, generator: Generator) -> str:
    """Name the environment variable that takes the run settings of a distiller to worker processes.

    They must reach workers and must not be pickled, since what is pickled is the fingerprint of `Dataset.map`. They
    are put there when the distiller is pickled, which `map` does for the fingerprint before it starts workers.
    """
    settings = repr((config.to_json(), generator.__reduce_ex__(2)[1]))
    return f"HF_RARE_RUN_{hashlib.blake2b(settings.encode(), digest_size=8).hexdigest().upper()}"


def _rebuild(
    cls: type[ReasonDistiller], revision: int, config: str, generator: Generator, retry: int
) -> ReasonDistiller:
    """Make a distiller again from its pickle; `revision` and `retry` are there for the fingerprint alone."""
    run = json.loads(os.environ.get(run_variable(DistillConfig.from_json(config), generator), "{}"))
    return cls(generator, **json.loads(config), **run)
