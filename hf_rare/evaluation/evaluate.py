"""Students are asked, and their answers measured: one stream of questions for each student, through the journal."""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any

import datasets
from annotated_types import Gt, Lt

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.evaluation.conditions import (
    AT_PLACE,
    CONDITION,
    CONDITIONS,
    DOCUMENTS,
    ROW,
    STUDENT,
    Change,
    Condition,
    Questions,
)
from hf_rare.evaluation.measures import condition_of, measure_answers
from hf_rare.evaluation.result import Evaluation
from hf_rare.evaluation.settings import MAY_BE_NONE, OF_ALL_STUDENTS, SHARED, EvaluationConfig
from hf_rare.evaluation.writer import StudentWriter
from hf_rare.generation.protocol import Generator
from hf_rare.rows.columns import STRING
from hf_rare.settings.base import split_settings
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.kinds import AtLeastOne, AtLeastZero, Places, check_value
from hf_rare.settings.run import RunConfig
from hf_rare.settings.vllm import VLLMConfig
from hf_rare.writers.callbacks import Callbacks
from hf_rare.writers.distill import ReasonDistiller
from hf_rare.writers.judge import AnswerJudge
from hf_rare.writers.known_settings import known_settings
from hf_rare.writers.recipe import make_recipe

logger = logging.getLogger(__name__)

OneStudent = str | Generator | ReasonDistiller | Mapping[str, Any]
MODEL_CONFIGS = (ModelConfig, DecodingConfig, VLLMConfig, EndpointConfig)
Share = Annotated[float, Gt(0), Lt(1), "a number above 0 and below 1"]


def evaluate(
    students: OneStudent | Mapping[str, OneStudent],
    dataset: datasets.Dataset,
    *,
    conditions: Sequence[Condition] | None = None,
    recipe: Any = None,
    changed: Change | None = None,
    changed_gold: Change | None = None,
    num_negatives: int | None = None,
    places: Collection[int] | None = None,
    judge: AnswerJudge | None = None,
    keep_columns: Collection[str] = (),
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    resample_seed: int = 0,
    batch_size: int = 1000,
    callbacks: Callbacks = (),
    **settings: Any,
) -> Evaluation:
    """Ask students about held-out rows, with and without the documents that help, and measure their answers.

    Every question becomes a job of one stream for each student: it goes through the journal, so that a run that was
    ended goes on where it was, and the processes of a launcher share it. A prompt is that of the student's training
    rows: same template, tags and numbering. The conditions, with the terms of RGB (arXiv 2309.01431, section 2):

    - `closed_book`: no documents. What the student knows anyway.
    - `positive`: the positive alone. What it can do with the right document.
    - `with_documents`: the positive among the row's hard negatives, at each place in turn (`positive_at_1`, ...), the
      negatives in the row's own order. RGB's noise robustness, and as RARE (arXiv 2503.23513) asks its students.
    - `negatives`: the hard negatives alone. Right is to say that they do not settle it: RGB's negative rejection,
      whose rejection rate is the accuracy here.
    - `changed`: the positive with its key fact changed. Right is what the changed document says. RGB's counterfactual
      robustness asks for the contrary, that the model goes by what it knows: its accuracy with counterfactual
      documents is `original_answer`.

    Measured, as shares of all answers of a condition:

    - `accuracy`: finished and right, by [`check_answer`] or the judge. Rows without a right answer are left out.
    - `read`: finished, and an answer can be read in it: RARE's rate of valid extractions. Where the template asks for
      an answer in tags (`require_answer`), one that has none is not read. An answer that abstains is.
    - `abstains`: says that the documents do not settle the question, or that it does not know, by word lists in 14
      languages. That is right in `negatives`, wrong where the positive is there, and neither in `closed_book`.
    - `cites_positive`: trace or answer cite the positive by its number. Where it is there.
    - `original_answer`: gives the answer from before the key fact was changed, by [`check_answer`]. In `changed`.
    - `tokens`: the mean tokens of a completion.

    Intervals are percentile intervals of the bootstrap over rows (Efron and Tibshirani 1993, chapter 13). All students
    are reckoned on the same resamples, so that their differences are paired.

    Args:
        students (`str`, [`Generator`], [`ReasonDistiller`] or `dict`):
            A student, or several by name, the one that others are compared with first. A student is the name of a
            model or a folder, a generator, a distiller (whose generator and settings are taken), or a dict of
            settings, such as `{"model_id": "Qwen/Qwen3-0.6B", "adapter": "./lora"}`, without those that say what all
            are asked and how they are measured: columns, `gold_column` and `check`.
        dataset ([`~datasets.Dataset`]):
            Rows that no student was trained on.
        conditions (`Sequence[str]`, *optional*):
            Which of the conditions. By default all, and `changed` where `changed=` is given.
        recipe ([`ReasonDistiller`], `str`, `Path` or `dict`, *optional*):
            What made the training rows: gives columns, template, system prompt and tags, as in [`to_sft`].
        changed (`str` or `Callable`, *optional*):
            The positive with its key fact changed: a column, or a function of a row (a dict of all its columns). A row
            for which it gives nothing, or the positive itself, is not asked in `changed`.
        changed_gold (`str` or `Callable`, *optional*):
            The right answer then, likewise. Without it `changed` has no accuracy.
        num_negatives (`int`, *optional*):
            Most hard negatives in a prompt, the first ones. By default all of the row. What equals the positive, but
            for letter case and white space, is none.
        places (`Collection[int]`, *optional*):
            Places of the positive among the hard negatives, from 1. By default each, which is a prompt for each
            document.
        judge ([`AnswerJudge`], *optional*):
            A model that compares answers with the right ones, in the place of `check`.
        keep_columns (`Collection[str]`, *optional*):
            Columns that the answers carry along, such as ids.
        num_resamples (`int`, *optional*, defaults to 10000):
            How often rows are drawn for the intervals.
        confidence (`float`, *optional*, defaults to 0.95):
            The share of resampled values in an interval.
        resample_seed (`int`, *optional*, defaults to 0):
            Seed of these draws.
        batch_size (`int`, *optional*, defaults to 1000):
            Questions that `map` hands over at a time. It changes no number.
        callbacks (`Sequence`, *optional*):
            Who is told how it goes: [`Callback`] objects, and functions that are called with each [`RunProgress`].
            Each student is a run.
        **settings:
            The settings of [`DistillConfig`] (columns, template, `gold_column`, which is `"answer"` by default,
            `check`, ...) but for those of samples, and of [`RunConfig`]; for students that are names or dicts also
            those of [`ModelConfig`], [`DecodingConfig`], and so on, as [`ReasonDistiller.from_pretrained`] takes them.
            They are no settings of generators and distillers, which have their own.

    Returns:
        [`Evaluation`]: answers, scores with their intervals, and differences between students.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ColumnError: A column is missing, or no row can be asked about.
        ModelLoadError: A model does not exist or cannot be loaded.
        BudgetReachedError: `max_rows`, `max_tokens`, `max_hours` or `max_cost` ended the run. Run it again to go on.
        BatchTypeError: `dataset` is no `Dataset`.

    Example:
        >>> students = {"small": "Qwen/Qwen3-0.6B", "large": "Qwen/Qwen3-8B"}
        >>> evaluation = evaluate(students, rows, recipe=distill_fn, conditions=["positive"], max_new_tokens=64)
        >>> print(evaluation.table())
        Answers to 6 rows, with intervals of 95 % from 10,000 resamples of the rows:
        ...
        >>> evaluation.scores["large"]["positive"]["read"]
        Score(value=1.0, low=1.0, high=1.0)
    """
    named = _name_students(students)
    check_value("num_resamples", num_resamples, AtLeastOne)
    check_value("confidence", confidence, Share)
    check_value("resample_seed", resample_seed, AtLeastZero)
    check_value("num_negatives", num_negatives, AtLeastOne | None)
    places = check_value("places", places, Places | None)
    own, run, *others = split_settings(settings, EvaluationConfig, RunConfig, *MODEL_CONFIGS)
    config = {**_shared_settings(recipe, named), **own}
    model = {name: value for part in others for name, value in part.items()}
    _check_model_settings(named, model)
    making = (config, run, model, judge, callbacks)
    writers = {name: _make_writer(student, *making) for name, student in named.items()}
    checked = EvaluationConfig.from_json(next(iter(writers.values())).config.to_json())
    chosen = _choose_conditions(conditions, changed)
    questions = Questions(checked, chosen, changed, changed_gold, num_negatives, places)
    asked = questions.ask(dataset, keep_columns)
    if not len(asked):
        raise ColumnError(
            "There is nothing to ask: no row can be used, or none has what the conditions need (hard negatives for "
            "'with_documents' and 'negatives', a changed positive for 'changed')."
        )
    _say_what_is_not_asked(asked, chosen if conditions is not None else [], places)
    answers = [
        _name_answers(_answer(writer, named[name], asked, batch_size), name) for name, writer in writers.items()
    ]
    rows = datasets.concatenate_datasets(answers)
    scores, differences, counts = measure_answers(
        rows,
        checked.output_column,
        checked.gold_column,
        list(writers),
        num_resamples=num_resamples,
        confidence=confidence,
        seed=resample_seed,
    )
    return Evaluation(
        rows=rows,
        scores=scores,
        differences=differences,
        answers=counts,
        baseline=next(iter(writers)),
        num_rows=len(asked.unique(ROW)),
        num_resamples=num_resamples,
        confidence=confidence,
        seed=resample_seed,
        settings=json.loads(checked.to_json()),
        students={name: make_recipe(writer)["identity"] for name, writer in writers.items()},
    )


def _name_students(students: Any) -> dict[str, OneStudent]:
    is_many = isinstance(students, Mapping) and "model_id" not in students
    named = dict(students) if is_many else {"student": students}
    for name, student in named.items():
        if (
            not name
            or not isinstance(name, str)
            or not isinstance(student, str | Generator | ReasonDistiller | Mapping)
        ):
            raise ConfigError(
                f"The student {name!r} is a {type(student).__name__}; expected the name of a model or its folder, a "
                "generator, a distiller, or a dict of settings with its model_id."
            )
    if not named:
        raise ConfigError("There are no students: pass one, or several by name.")
    return named


def _check_model_settings(students: Mapping[str, OneStudent], model: Mapping[str, Any]) -> None:
    """Find out whether each student has a model, and whether there are students that settings of models are for."""
    for name, student in students.items():
        if isinstance(student, Mapping) and (own := [one for one in OF_ALL_STUDENTS if one in student]):
            raise ConfigError(
                f"The student {name!r} has {own[0]!r}, which says what all students are asked or how they are "
                f"measured. Pass it to evaluate: {own[0]}={student[own[0]]!r}."
            )
        if isinstance(student, Mapping) and not {**model, **student}.get("model_id"):
            raise ConfigError(
                f"The student {name!r} has no model_id; it has {', '.join(map(repr, student)) or 'nothing'}. Add "
                "'model_id', the name of a model or its folder, an adapter's base model too."
            )
    loaded = [name for name, student in students.items() if isinstance(student, Generator | ReasonDistiller)]
    if not model or not loaded:
        return
    given = ", ".join(f"{name}=" for name in model)
    said = f"{given} cannot change the student {loaded[0]!r}, whose model is loaded already"
    if len(loaded) == len(students):
        raise ConfigError(f"{said}. Set it where that one is made, or pass the name of its model.")
    logger.warning("%s; it is for the others alone.", said)


def _say_what_is_not_asked(
    asked: datasets.Dataset, conditions: Sequence[Condition], places: Collection[int] | None
) -> None:
    """Log which conditions and places were asked for and have no question."""
    names = asked.unique(CONDITION)
    found = {condition_of(name) for name in names}
    if missing := [condition for condition in conditions if condition not in found]:
        logger.warning(
            "No row can be asked in %s: 'with_documents' and 'negatives' need hard negatives, the first one a place "
            "among them, and 'changed' a positive that differs.",
            ", ".join(map(repr, missing)),
        )
    if beyond := [place for place in places or () if f"{AT_PLACE}{place}" not in names]:
        logger.warning("No row has so many documents that its positive can stand at %s.", ", ".join(map(str, beyond)))


def _shared_settings(recipe: Any, students: Mapping[str, OneStudent]) -> dict[str, Any]:
    """Return the settings that prompts are made by, as the recipe or the distillers among the students say."""
    sources = [recipe] if recipe is not None else [s for s in students.values() if isinstance(s, ReasonDistiller)]
    found = [
        {
            name: value
            for name, value in known_settings(source).items()
            if name in SHARED and (value is not None or name in MAY_BE_NONE)
        }
        for source in sources
    ]
    differing = [name for name in SHARED if any(one.get(name) != found[0].get(name) for one in found[1:])]
    if differing:
        raise ConfigError(
            f"The distillers differ in {', '.join(differing)}. Pass recipe=, the one whose prompts all students get."
        )
    return found[0] if found else {}


def _choose_conditions(conditions: Sequence[Condition] | None, changed: Change | None) -> list[Condition]:
    if conditions is None:
        return [condition for condition in CONDITIONS if condition != "changed" or changed is not None]
    chosen = [conditions] if isinstance(conditions, str) else conditions
    chosen = list(chosen) if isinstance(chosen, Iterable) else chosen
    unknown = [one for one in chosen if one not in CONDITIONS] if isinstance(chosen, list) else chosen
    if unknown or not chosen:
        raise ConfigError(
            f"conditions={unknown!r} cannot be right: expected some of {', '.join(map(repr, CONDITIONS))}."
        )
    if ("changed" in chosen) != (changed is not None):
        raise ConfigError(
            "The condition 'changed' and the argument changed= (a column, or a function of a row, that gives the "
            "positive with its key fact changed) go together: pass both, or neither."
        )
    return [condition for condition in CONDITIONS if condition in chosen]


def _make_writer(
    student: OneStudent,
    config: Mapping[str, Any],
    run: Mapping[str, Any],
    model: Mapping[str, Any],
    judge: AnswerJudge | None,
    callbacks: Callbacks,
) -> StudentWriter:
    EvaluationConfig(**config)  # what is wrong with it is found out before a model is looked for
    if isinstance(student, ReasonDistiller):
        of_distiller = json.loads(student.run.to_json())
        given = {**config, **of_distiller, **run}
        return StudentWriter(student.generator, judge=judge, callbacks=callbacks, **given)
    if isinstance(student, Generator):
        return StudentWriter(student, judge=judge, callbacks=callbacks, **config, **run)
    own = {"model_id": student} if isinstance(student, str) else dict(student)
    return StudentWriter.from_pretrained(judge=judge, callbacks=callbacks, **{**config, **run, **model, **own})


def _answer(writer: StudentWriter, student: OneStudent, asked: datasets.Dataset, batch_size: int) -> datasets.Dataset:
    answers = writer.apply(asked, batch_size=batch_size)
    if not isinstance(student, Generator | ReasonDistiller) and (unload := getattr(writer.generator, "unload", None)):
        unload()  # it was loaded here, and the next one needs the room
    return answers


def _name_answers(answers: datasets.Dataset, student: str) -> datasets.Dataset:
    names = [name for name in answers.column_names if name != DOCUMENTS]
    answers = answers.select_columns(names).add_column(STUDENT, [student] * len(answers), feature=STRING)
    return answers.select_columns([STUDENT, *names])
