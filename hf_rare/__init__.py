"""Reasoning distillation for retrieval-augmented models, as a plugin for Hugging Face datasets.

Every public name is here. It is imported on first use, so that `import hf_rare` alone takes no time.
"""

from typing import TYPE_CHECKING, Any

from hf_rare._version import __version__
from hf_rare.errors import (
    BatchTypeError,
    BudgetReachedError,
    ColumnError,
    ConfigError,
    DatasetFileError,
    EndpointError,
    GenerationError,
    HfRareError,
    HubError,
    JournalError,
    MissingPackageError,
    ModelLoadError,
    NothingUsableError,
    OutputExistsError,
    PipelineError,
    RankError,
    RecipeError,
    RunEndedError,
    TemplateError,
)

if TYPE_CHECKING:
    from hf_rare.checks.answers import Verdict, check_answer
    from hf_rare.checks.contamination import decontaminate
    from hf_rare.checks.grounding import GroundingAudit, audit_grounding
    from hf_rare.checks.grounding_rates import GroundingSummary, summarize_grounding
    from hf_rare.checks.near_duplicates import drop_near_duplicates
    from hf_rare.checks.verify import AnswerCheck, verify
    from hf_rare.evaluation.bootstrap import Score
    from hf_rare.evaluation.evaluate import evaluate
    from hf_rare.evaluation.result import Evaluation
    from hf_rare.generation.inference_client import InferenceClientGenerator
    from hf_rare.generation.protocol import (
        Completion,
        EncodedPrompt,
        Encoder,
        Generator,
        Job,
        JobList,
        JobSource,
        Observer,
    )
    from hf_rare.generation.transformers import TransformersGenerator
    from hf_rare.generation.vllm import VLLMGenerator
    from hf_rare.hub.card.build import build_card
    from hf_rare.hub.push import PushResult, push_to_hub
    from hf_rare.negatives.mine import mine_hard_negatives
    from hf_rare.negatives.retrieve import retrieve_documents
    from hf_rare.pipeline.run import StageResult, run_pipeline
    from hf_rare.rows.demo import load_demo_dataset
    from hf_rare.scoring.evidence import EvidenceMeasure, measure_evidence
    from hf_rare.training.on_policy import to_prompts
    from hf_rare.training.one_trace import keep_one_trace
    from hf_rare.training.retrieval import to_retrieval
    from hf_rare.training.selection import TeacherComparison, compare_teachers, select_traces
    from hf_rare.training.trl import to_preference, to_sft
    from hf_rare.views.plots import plot_statistics
    from hf_rare.views.preview import Preview, preview
    from hf_rare.views.report.build import Report, report
    from hf_rare.writers.callbacks import Callback, RunBegin, RunEnd, RunProgress
    from hf_rare.writers.distill import ReasonDistiller
    from hf_rare.writers.estimate import Estimate
    from hf_rare.writers.judge import AnswerJudge
    from hf_rare.writers.negatives import NegativeWriter
    from hf_rare.writers.questions import QueryGenerator, make_question_schema
    from hf_rare.writers.ray import distill_with_ray
    from hf_rare.writers.recipe import read_recipe
    from hf_rare.writers.summary import Summary

__all__ = [
    "AnswerCheck",
    "AnswerJudge",
    "BatchTypeError",
    "BudgetReachedError",
    "Callback",
    "ColumnError",
    "Completion",
    "ConfigError",
    "DatasetFileError",
    "EncodedPrompt",
    "Encoder",
    "EndpointError",
    "Estimate",
    "Evaluation",
    "EvidenceMeasure",
    "GenerationError",
    "Generator",
    "GroundingAudit",
    "GroundingSummary",
    "HfRareError",
    "HubError",
    "InferenceClientGenerator",
    "Job",
    "JobList",
    "JobSource",
    "JournalError",
    "MissingPackageError",
    "ModelLoadError",
    "NegativeWriter",
    "NothingUsableError",
    "Observer",
    "OutputExistsError",
    "PipelineError",
    "Preview",
    "PushResult",
    "QueryGenerator",
    "RankError",
    "ReasonDistiller",
    "RecipeError",
    "Report",
    "RunBegin",
    "RunEnd",
    "RunEndedError",
    "RunProgress",
    "Score",
    "StageResult",
    "Summary",
    "TeacherComparison",
    "TemplateError",
    "TransformersGenerator",
    "VLLMGenerator",
    "Verdict",
    "__version__",
    "audit_grounding",
    "build_card",
    "check_answer",
    "compare_teachers",
    "decontaminate",
    "distill_with_ray",
    "drop_near_duplicates",
    "evaluate",
    "keep_one_trace",
    "load_demo_dataset",
    "make_question_schema",
    "measure_evidence",
    "mine_hard_negatives",
    "plot_statistics",
    "preview",
    "push_to_hub",
    "read_recipe",
    "report",
    "retrieve_documents",
    "run_pipeline",
    "select_traces",
    "summarize_grounding",
    "to_preference",
    "to_prompts",
    "to_retrieval",
    "to_sft",
    "verify",
]

_HOMES = {
    "AnswerCheck": "hf_rare.checks.verify",
    "AnswerJudge": "hf_rare.writers.judge",
    "Callback": "hf_rare.writers.callbacks",
    "Completion": "hf_rare.generation.protocol",
    "EncodedPrompt": "hf_rare.generation.protocol",
    "Encoder": "hf_rare.generation.protocol",
    "Estimate": "hf_rare.writers.estimate",
    "Evaluation": "hf_rare.evaluation.result",
    "EvidenceMeasure": "hf_rare.scoring.evidence",
    "Generator": "hf_rare.generation.protocol",
    "GroundingAudit": "hf_rare.checks.grounding",
    "GroundingSummary": "hf_rare.checks.grounding_rates",
    "InferenceClientGenerator": "hf_rare.generation.inference_client",
    "Job": "hf_rare.generation.protocol",
    "JobList": "hf_rare.generation.protocol",
    "JobSource": "hf_rare.generation.protocol",
    "NegativeWriter": "hf_rare.writers.negatives",
    "Observer": "hf_rare.generation.protocol",
    "Preview": "hf_rare.views.preview",
    "PushResult": "hf_rare.hub.push",
    "QueryGenerator": "hf_rare.writers.questions",
    "ReasonDistiller": "hf_rare.writers.distill",
    "Report": "hf_rare.views.report.build",
    "RunBegin": "hf_rare.writers.callbacks",
    "RunEnd": "hf_rare.writers.callbacks",
    "RunProgress": "hf_rare.writers.callbacks",
    "Score": "hf_rare.evaluation.bootstrap",
    "StageResult": "hf_rare.pipeline.run",
    "Summary": "hf_rare.writers.summary",
    "TeacherComparison": "hf_rare.training.selection",
    "TransformersGenerator": "hf_rare.generation.transformers",
    "VLLMGenerator": "hf_rare.generation.vllm",
    "Verdict": "hf_rare.checks.answers",
    "audit_grounding": "hf_rare.checks.grounding",
    "build_card": "hf_rare.hub.card.build",
    "check_answer": "hf_rare.checks.answers",
    "compare_teachers": "hf_rare.training.selection",
    "decontaminate": "hf_rare.checks.contamination",
    "distill_with_ray": "hf_rare.writers.ray",
    "drop_near_duplicates": "hf_rare.checks.near_duplicates",
    "evaluate": "hf_rare.evaluation.evaluate",
    "keep_one_trace": "hf_rare.training.one_trace",
    "load_demo_dataset": "hf_rare.rows.demo",
    "make_question_schema": "hf_rare.writers.questions",
    "measure_evidence": "hf_rare.scoring.evidence",
    "mine_hard_negatives": "hf_rare.negatives.mine",
    "plot_statistics": "hf_rare.views.plots",
    "preview": "hf_rare.views.preview",
    "push_to_hub": "hf_rare.hub.push",
    "read_recipe": "hf_rare.writers.recipe",
    "report": "hf_rare.views.report.build",
    "retrieve_documents": "hf_rare.negatives.retrieve",
    "run_pipeline": "hf_rare.pipeline.run",
    "select_traces": "hf_rare.training.selection",
    "summarize_grounding": "hf_rare.checks.grounding_rates",
    "to_preference": "hf_rare.training.trl",
    "to_prompts": "hf_rare.training.on_policy",
    "to_retrieval": "hf_rare.training.retrieval",
    "to_sft": "hf_rare.training.trl",
    "verify": "hf_rare.checks.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
