"""A whole pipeline in one call: corpus, questions, hard negatives, reasoning, checks, training files, Hub.

A pipeline is a YAML file or a dict with a section for each stage. Every stage writes its rows into a folder of its
own, together with a key of all that they depend on. A stage whose key is the same as before is skipped; one that was
interrupted goes on from its journal.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from datasets.fingerprint import Hasher

from hf_rare._version import __version__
from hf_rare.checks.contamination import decontaminate
from hf_rare.checks.grounding import audit_grounding
from hf_rare.checks.near_duplicates import drop_near_duplicates
from hf_rare.checks.verify import verify
from hf_rare.compat.datasets import fingerprint_of
from hf_rare.errors import ConfigError, DatasetFileError, NothingUsableError, PipelineError
from hf_rare.hub.card.build import build_card
from hf_rare.hub.push import push_to_hub
from hf_rare.negatives.mine import mine_hard_negatives
from hf_rare.negatives.retrieve import retrieve_documents
from hf_rare.pipeline import inputs, kept, outputs
from hf_rare.pipeline.arrow_files import TextForm
from hf_rare.pipeline.readers.cells import Kind
from hf_rare.pipeline.reading import check_reading, reading_settings
from hf_rare.pipeline.settings import (
    CHANGE_NO_ROW,
    MODEL_NAMES,
    READING_STAGES,
    Settings,
    check_pipeline,
    has_model,
    list_stages,
    load_pipeline,
    writer_settings,
)
from hf_rare.pipeline.told import tell_command, tell_stages
from hf_rare.runs.team import read_place
from hf_rare.scoring.evidence import measure_evidence
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.training.left_out import hear_left_out
from hf_rare.training.on_policy import to_prompts
from hf_rare.training.one_trace import keep_one_trace
from hf_rare.training.retrieval import to_retrieval
from hf_rare.training.selection import select_traces
from hf_rare.training.trl import to_preference, to_sft
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.callbacks import Callbacks
from hf_rare.writers.recipe import make_recipe, recipe_beside
from hf_rare.writers.recipe_checks import Recipe
from hf_rare.writers.registry import WRITERS
from hf_rare.writers.usable import advise, check_usable, count_statuses

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "near_duplicates": drop_near_duplicates,
    "decontamination": decontaminate,
    "retrieval": retrieve_documents,
    "negatives": mine_hard_negatives,
    "verify": verify,
    "grounding": audit_grounding,
    "evidence": measure_evidence,
    "selection": select_traces,
    "card": build_card,
    "push": push_to_hub,
}
EXPORTS: dict[str, Callable[..., datasets.Dataset]] = {
    "sft": to_sft,
    "preference": to_preference,
    "prompts": to_prompts,
    "retrieval": to_retrieval,
}


@dataclass(frozen=True)
class StageResult:
    """What a stage has left.

    Args:
        name (`str`): the stage, or the export.
        rows (`int`): rows that it left.
        path (`Path`): where they are.
        is_skipped (`bool`): whether they were there already.
        why (`str`, *optional*): why those that were there have been made again.
    """

    name: str
    rows: int
    path: Path
    is_skipped: bool
    why: str = ""


def run_pipeline(
    pipeline: str | Path | Mapping[str, Any],
    *,
    output: str | Path | None = None,
    on_stage: Callable[[StageResult], None] | None = None,
    callbacks: Callbacks = (),
    **model_settings: Any,
) -> datasets.Dataset:
    """Run a pipeline, and skip what stands already.

    Sections, all but `input` optional. The stages that have a section run in this order:

    - `output`: folder for the results.
    - `input`: rows or documents: a file, a pattern of files, a folder of files or a saved dataset, a name on the Hub,
      or a dict with `name`, `config_name` (of a dataset on the Hub, or the sheet of a spreadsheet), `split`, `rows`
      (the first so many) and, for a CSV or JSON file, `delimiter` and `encoding`.
    - `corpus`: what is searched for documents and negatives, likewise; negatives are by default searched in the rows
      themselves. `retrieval` and `negatives` may each have a `corpus` of their own.
    - `model`: settings that all models share that write: those of [`ModelConfig`], [`DecodingConfig`],
      [`VLLMConfig`], [`EndpointConfig`] and [`RunConfig`]. A stage with a model may have its own beside the settings
      named below.
    - `questions`: [`QueryGenerator`]. Documents without a question are left out.
    - `near_duplicates`: [`drop_near_duplicates`].
    - `decontamination`: [`decontaminate`]; `evaluation_sets` is a list of
      inputs, and needed.
    - `retrieval`: [`retrieve_documents`], for questions without documents.
    - `negatives`: [`mine_hard_negatives`], or, with `method: generated`,
      [`NegativeWriter`].
    - `distill`: [`ReasonDistiller`]; `judge` holds the settings of an
      [`AnswerJudge`].
    - `verify`: [`verify`].
    - `grounding`: [`audit_grounding`].
    - `evidence`: [`measure_evidence`]; `model` is needed.
    - `selection`: [`select_traces`], of rows with several traces; `student` is needed.
    - `export`: for each file a name and a dict with `format` (`sft`, `preference`, `prompts` or `retrieval`) and the
      settings of [`to_sft`], [`to_preference`], [`to_prompts`] or
      [`to_retrieval`]. With `one_trace: true` it gets one trace of each row, by
      [`keep_one_trace`].
    - `card`: settings of [`build_card`], for the card in the output folder and on the Hub.
    - `push`: [`push_to_hub`]; `repo_id` is needed.

    Under a launcher or on several machines, run the stages with a model by themselves.

    Args:
        pipeline (`str`, `Path` or `dict`):
            A YAML file, or its sections.
        output (`str` or `Path`, *optional*):
            Folder for the results; by default what the pipeline says.
        on_stage (`Callable`, *optional*):
            Called with the [`StageResult`] of each stage that is done.
        callbacks (`Sequence`, *optional*):
            Who is told how the stages go in which a model writes: [`Callback`] objects, and functions of a
            [`RunProgress`]. Each stage is a run.
        **model_settings:
            Settings of all models that write, in the place of those of the pipeline, such as `model_id`. Another model
            does not get the `revision`, `gguf_file` and `adapter` that the pipeline gives to its own.

    Returns:
        [`~datasets.Dataset`]: the rows of the last stage. They lie in the output folder, with their card and recipe,
        which tell of all stages. What people have written into a card that is there already stays.

    Raises:
        ConfigError: The pipeline cannot be read, or a setting cannot be right.
        DatasetFileError: An input cannot be read, or the output folder cannot be written to.
        OutputExistsError: The output folder has a `README.md` that is no card of this library, or a `rows.parquet`
            that no earlier run has left.
        PipelineError: A stage or an export has left no rows. Where it is an export, or where no trace can be used and
            there is no export, all else was written, and nothing was pushed.
        HfRareError: What a stage raises.

    Example:
        >>> rows = run_pipeline("pipelines/corpus.yaml", output="out", model_id="Qwen/Qwen3-8B")
    """
    if read_place()[1] > 1:
        raise ConfigError("A pipeline runs in one process. Under a launcher, run its stages one by one.")
    sections = load_pipeline(pipeline) if isinstance(pipeline, str | Path) else pipeline
    reject_unknown_names(model_settings, MODEL_NAMES, "settings")
    settings = check_pipeline(sections, FUNCTIONS, EXPORTS)
    if "journal_dir" in model_settings:  # which models that read have too
        settings["model"] = {**settings.get("model", {}), "journal_dir": model_settings["journal_dir"]}
    folder = output or sections.get("output")
    if folder is None:
        raise ConfigError("The pipeline names no folder for its results. Pass output=..., or write `output: FOLDER`.")
    folder = Path(folder)
    read = [str(settings[name]["name"]) for name in ("input", "corpus") if settings.get(name)]
    has_run = any(folder.glob("*/stage.json"))
    outputs.check_results(folder / "rows.parquet", folder / "README.md", has_run, read)
    writers = _make_writers(settings, model_settings, callbacks)
    for writer in writers.values():
        writer.check_sampling()
    check_reading(settings, writers.get("distill"))
    loaded = _load_inputs(settings)
    run = _Run(folder, loaded, writers, on_stage or (lambda result: None))
    rows = _load("input", settings["input"], _expect_columns(settings, writers))
    outputs.check_holds(folder / "rows.parquet", rows)
    rows = run.run_stages(rows)
    losses = run.export(rows)
    told = {
        "stages": tell_stages(settings, loaded, writers, FUNCTIONS),
        "command": tell_command(pipeline, output, model_settings),
    }
    recipe = run.describe(rows, told)
    if losses:  # all that there is has been written, and nothing of it is pushed
        raise PipelineError(" ".join(losses))
    run.push(rows, recipe, told)
    return rows


def _make_writers(
    settings: Mapping[str, Settings], model_settings: Mapping[str, Any], callbacks: Callbacks
) -> dict[str, ColumnWriter[Any, Any]]:
    """Make what lets models write, by stage; no model is loaded yet."""
    writers = {}
    for stage in list_stages():
        if stage not in settings or not has_model(stage, settings[stage]):
            continue
        own, writer = settings[stage], WRITERS[stage].load()
        companions = {
            name: WRITERS[name].load().from_pretrained(**writer_settings(name, settings, own[name], model_settings))
            for name in writer.companion_names
            if name in own
        }
        given = writer_settings(stage, settings, own, model_settings)
        writers[stage] = writer.from_pretrained(callbacks=callbacks, **given, **companions)
    return writers


class _Run:
    """One run of a pipeline that is known to be right."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Settings],
        writers: Mapping[str, ColumnWriter[Any, Any]],
        on_stage: Callable[[StageResult], None],
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.writers = writers
        self.on_stage = on_stage

    def run_stages(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Run the stages one after the other."""
        key = before = Hasher.hash(json.dumps([__version__, fingerprint_of(rows)]))
        for number, stage in enumerate(list_stages(), start=1):
            if stage not in self.settings:
                continue
            what = self.writers.get(stage) or kept.describe_stage(self.settings[stage])
            key = Hasher.hash(json.dumps([before, stage, Hasher.hash(what)]))
            note = {"stage": stage, "key": key, "before": before, "version": __version__}
            note["settings"] = self._list_settings(stage)
            path = self.folder / f"{number}-{stage}"
            rows = self._keep(stage, path, note, partial(self._run_stage, stage, rows))
            before = key
        return rows

    def export(self, rows: datasets.Dataset) -> list[str]:
        """Write the training files; give why there is nothing in some of them, or in the rows where there are none."""
        exports, losses = self.settings.get("export", {}), list[str]()
        distiller = self.writers.get("distill")
        prefix = distiller.output_prefix if distiller is not None else "reasoning"
        advice = advise(count_statuses(rows, prefix))
        for name, section in exports.items():
            settings = dict(section)
            form = settings.pop("format")
            if form != "retrieval" and distiller is not None:
                settings = {"recipe": distiller, **settings}
            given = keep_one_trace(rows, prefix) if settings.pop("one_trace", False) else rows
            with hear_left_out() as left_out:
                made = EXPORTS[form](given, **settings)
            path = self.folder / "export" / f"{name}.parquet"
            outputs.save_output(made, path)
            self.on_stage(StageResult(f"export {name}", len(made), path, is_skipped=False))
            if not len(made):
                words = " ".join([*left_out, "" if form == "retrieval" else advice]).strip()
                losses.append(f"The export {name!r} has no rows. {words}")
        if distiller is not None and not exports:
            try:
                check_usable(distiller, rows, self.folder / "rows.parquet")
            except NothingUsableError as err:
                losses.append(str(err))
        return losses

    def describe(self, rows: datasets.Dataset, told: Mapping[str, Any]) -> Recipe | None:
        """Write rows, card and recipe, with what is told of the whole pipeline; give the recipe.

        Rows that no model has written to have no recipe: their card tells it all the same.
        """
        last = next((self.writers[stage] for stage in reversed(list_stages()) if stage in self.writers), None)
        recipe = {**make_recipe(last), **told} if last is not None else None
        card = {**(told if recipe is None else {}), **self.settings.get("card", {})}
        path = recipe_beside(self.folder / "rows.parquet")
        here = {"recipe_path": path.name, **card} if recipe is not None else card
        outputs.save_card(build_card(rows, recipe, **here), self.folder / "README.md")  # before rows: see the check
        outputs.save_output(rows, self.folder / "rows.parquet")
        if recipe is not None:
            outputs.write_text(json.dumps(recipe, indent=2, sort_keys=True) + "\n", path)
        else:
            path.unlink(missing_ok=True)
        return recipe

    def push(self, rows: datasets.Dataset, recipe: Recipe | None, told: Mapping[str, Any]) -> None:
        """Push the rows where that is asked for."""
        if "push" in self.settings:
            card = {**(told if recipe is None else {}), **self.settings.get("card", {})}
            push_to_hub(rows, recipe=recipe, **{**card, **self.settings["push"]})

    def _list_settings(self, stage: str) -> Settings:
        """List what a stage depends on, to tell later what has changed: datasets are fingerprints."""
        if stage not in self.writers:
            settings = {name: value for name, value in self.settings[stage].items() if name not in CHANGE_NO_ROW}
            noted: Settings = json.loads(json.dumps(settings, default=kept.identify))
            return noted
        recipe = json.loads(json.dumps(make_recipe(self.writers[stage])))
        sections = {name: section for name, section in recipe.items() if isinstance(section, dict)}
        return {
            **{name: value for name, value in recipe.items() if name not in sections},
            **{name: value for section in sections.values() for name, value in section.items()},
        }

    def _keep(self, stage: str, path: Path, note: Settings, make: Callable[[], datasets.Dataset]) -> datasets.Dataset:
        """Return the rows of a stage: those that are there, where they have this key, or else new ones."""
        existing = kept.read_note(path)
        found, why = kept.load_rows(path, existing, note["key"]), kept.say_what_differs(existing, note)
        if found is None:
            with hear_left_out() as left_out:
                made = make()
            if len(made) == 0:
                words = " ".join([*left_out, self._describe_loss(stage)])
                raise PipelineError(f"The stage {stage!r} has left no rows. {words}")
            rows = kept.save_rows(made, path, note)
        else:
            rows = found
        self.on_stage(StageResult(stage, len(rows), path / "rows", found is not None, why))
        return rows

    def _describe_loss(self, stage: str) -> str:
        """Say what became of the rows of a stage that has left none."""
        if stage in self.writers:
            return f"It has written {self.writers[stage].summary}. `hf-rare journal show` shows what the model wrote."
        return "Loosen its settings, or leave it out."

    def _run_stage(self, stage: str, rows: datasets.Dataset) -> datasets.Dataset:
        if stage in self.writers:
            writer = self.writers[stage]
            written = writer.apply(rows)
            if stage == "questions":
                return written.filter(_has_text, input_columns=[writer.config.question_column])
            return written
        own = self.settings[stage]
        if stage in READING_STAGES:
            own = reading_settings(stage, self.settings, self.writers.get("distill"))
        made: datasets.Dataset = FUNCTIONS[stage](rows, **own)
        return made


def _has_text(value: str | list[str]) -> bool:
    return bool(value)


def _load_inputs(settings: Mapping[str, Settings]) -> dict[str, Settings]:
    """Load what stages read besides their rows: one that is missing is found out before anything is generated."""
    loaded = dict(settings)
    corpus = _load("corpus", settings["corpus"]) if "corpus" in settings else None
    for stage in ("retrieval", "negatives"):
        if stage in settings and not has_model(stage, settings[stage]):
            own = settings[stage].get("corpus")
            loaded[stage] = {**settings[stage], "corpus": _load("corpus", own) if own is not None else corpus}
    if "decontamination" in settings:
        evaluation_sets = [
            _load("evaluation_sets", source) for source in settings["decontamination"]["evaluation_sets"]
        ]
        loaded["decontamination"] = {**settings["decontamination"], "evaluation_sets": evaluation_sets}
    return loaded


def _expect_columns(
    settings: Mapping[str, Settings], writers: Mapping[str, ColumnWriter[Any, Any]]
) -> Mapping[str, Kind]:
    """Say which columns of the input are meant as lists: those that a distiller reads and no stage before it makes."""
    if "distill" not in writers or {"retrieval", "negatives"} & set(settings):
        return {}
    return inputs.expect_columns(writers["distill"])


def _load(setting: str, source: Settings, expected: Mapping[str, Kind] | None = None) -> datasets.Dataset:
    try:
        form = TextForm(source.get("delimiter"), source.get("encoding"), expected or {})
        rows = inputs.load_input(str(source["name"]), source.get("config_name"), source.get("split"), form)
    except (ConfigError, DatasetFileError) as err:
        raise type(err)(f"The pipeline's {setting!r}: {err}") from err
    return rows.select(range(min(len(rows), source["rows"]))) if "rows" in source else rows
