"""Prompt templates: sandboxed, strict Jinja. What a placeholder stands for is left to those who fill it in."""

import dataclasses
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import jinja2.meta
from jinja2.exceptions import SecurityError

from hf_rare.errors import TemplateError
from hf_rare.prompts.sandbox import BudgetedEnvironment, spending
from hf_rare.settings.writers import WriterConfig

C = TypeVar("C", bound=WriterConfig)


class Template:
    """A compiled prompt template.

    Args:
        source (`str`):
            The Jinja source.
        sample (`Mapping[str, Any]`):
            A value for each placeholder that there is. The template is filled in with them once, since attributes that
            do not exist show only then.
        hint (`str`, *optional*):
            What to say of the values when the template cannot be filled in.

    Attributes:
        source (`str`): the Jinja source.
        placeholders (`frozenset[str]`): the placeholders it uses.

    Raises:
        TemplateError: It does not compile, uses an unknown placeholder, or cannot be filled in.
    """

    def __init__(self, source: str, sample: Mapping[str, Any], hint: str = "") -> None:
        self.source = source
        self._hint = hint
        environment = BudgetedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            used = jinja2.meta.find_undeclared_variables(environment.parse(source))
            with spending():  # what is constant is reckoned when the template is compiled
                self._template = environment.from_string(source)
            self._template.globals = dict(self._template.globals)  # read for every text, and slow as a chain of dicts
        except jinja2.TemplateSyntaxError as err:
            raise TemplateError(f"The template does not compile: {err.message} (line {err.lineno}).") from err
        except (RecursionError, MemoryError, SecurityError, ValueError) as err:
            raise TemplateError(f"The template does not compile: {type(err).__name__}: {err}.") from err
        if unknown := sorted(used - set(sample) - set(environment.globals)):
            raise TemplateError(
                f"The template uses {', '.join(map(repr, unknown))}; available are {', '.join(map(repr, sample))}. "
                "Mend template=..., or name further columns in template_columns=[...]."
            )
        self.placeholders = frozenset(used & set(sample))
        self.render(sample)

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill in the template.

        Args:
            values (`Mapping[str, Any]`): a value for each placeholder.

        Returns:
            `str`: the text, without white space around it.

        Raises:
            TemplateError: The template asks a value for something that it does not have, or for something unsafe, or
                takes more time or memory than a template may.
        """
        try:
            with spending():
                return self._template.render(values).strip()
        except Exception as err:  # a template can raise anything that its filters and tests raise
            raise TemplateError(f"The template cannot be filled in: {err}. {self._hint}".rstrip()) from err


def read_template_source(template: str, builtin: Collection[str]) -> str:
    """Find the Jinja source that `template` means: a built-in name, the source itself, or the path of a file.

    Args:
        template (`str`): one of these.
        builtin (`Collection[str]`): the built-in names that there are.

    Returns:
        `str`: the source.

    Raises:
        TemplateError: It is none of these.
    """
    if template in builtin:
        return resources.files("hf_rare.prompts").joinpath("jinja", f"{template}.jinja").read_text(encoding="utf-8")
    if is_source(template):
        return template
    try:
        source = Path(template).read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise TemplateError(
            f"template={template!r} is neither a built-in template ({', '.join(builtin)}), nor Jinja source, which "
            f"has placeholders in double braces, such as {{{{ question }}}}, nor a file that can be read ({err})."
        ) from err
    if not is_source(source):
        raise TemplateError(f"The template file {template!r} has no placeholder, such as {{{{ question }}}}.")
    return source


def keep_source(config: C) -> C:
    """Return settings that hold the text of their template, and not the path of a file, which may change.

    Args:
        config ([`WriterConfig`]): the settings.

    Returns:
        [`WriterConfig`]: the same settings; a built-in name stays a name.

    Raises:
        TemplateError: The template is none, or its file cannot be read.
    """
    template = str(config.template)
    if template in config.builtin_templates or is_source(template):
        return config
    return dataclasses.replace(config, template=read_template_source(template, config.builtin_templates))


def is_source(text: str) -> bool:
    """Tell whether a text is Jinja source: whether it has a placeholder."""
    return "{{" in text or "{%" in text
