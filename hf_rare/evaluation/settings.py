"""What a student is asked, and how its answers are read: the settings of a distiller, without those of samples."""

from dataclasses import dataclass

from hf_rare.errors import ConfigError
from hf_rare.settings.kinds import AtLeastOne, ColumnName
from hf_rare.settings.writers import OF_ROWS, OF_TEXT, DistillConfig

SHARED = (*OF_TEXT, "require_answer", "gold_column", "check")
"""Settings that are taken from a recipe or a distiller: those that prompts are made and completions are read by."""
MAY_BE_NONE = ("scenario_column", "hard_negatives_column")
"""Those among them that say something by being `None`."""
OF_ALL_STUDENTS = (*OF_ROWS, "gold_column", "check")
"""Settings that no student has for itself: questions and measures are the same for all."""
FIXED = ("columns", "num_samples", "expand", "max_attempts", "keep_attempts")
"""Settings of a distiller that are what they are: each question is answered once."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(DistillConfig):
    """What a student is asked, and how its answers are read.

    These are the settings of [`DistillConfig`]. Each question is answered once: settings of samples and attempts
    cannot be changed.

    Args:
        gold_column (`str`, *optional*, defaults to `"answer"`):
            Column with the right answer, in whatever form `check` understands. `None` where there is none: then
            accuracy is left out, but for rows without the positive.
        max_attempts (`int`, *optional*, defaults to 1):
            Always 1.
    """

    gold_column: ColumnName | None = "answer"
    max_attempts: AtLeastOne | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in FIXED:
            default = getattr(EvaluationConfig, name)
            if getattr(self, name) != default:
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} cannot be right: a student answers each question once, so that "
                    f"it must be {default!r}. Leave it out."
                )
