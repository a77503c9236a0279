"""How a callable is made: of a local model, of one behind an address, or by a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from hf_rare.errors import RecipeError
from hf_rare.generation.choose import make_generator
from hf_rare.generation.inference_client import InferenceClientGenerator
from hf_rare.generation.protocol import Generator
from hf_rare.settings.base import split_settings
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.run import RunConfig
from hf_rare.settings.vllm import VLLMConfig
from hf_rare.settings.writers import WriterConfig
from hf_rare.writers.callbacks import Callbacks
from hf_rare.writers.recipe import read_recipe, recipe_settings
from hf_rare.writers.recipe_checks import explaining_recipe


class MadeOfModel:
    """What a callable has that lets a model write: the ways to make it."""

    config_type: ClassVar[type[WriterConfig]]
    """The settings it takes."""

    kind: ClassVar[str]
    """What a recipe calls it."""

    companion_names: ClassVar[tuple[str, ...]] = ()
    """Arguments that are other writers, which it needs for its own work."""

    def __init__(self, generator: Generator, *, callbacks: Callbacks = (), **settings: Any) -> None:
        """Make one around what writes."""

    @classmethod
    def from_pretrained(cls, model_id: str, *, callbacks: Callbacks = (), **settings: Any) -> Self:
        """Make one whose model is a local one, loaded on first use by transformers, or by vLLM with `engine="vllm"`.

        With `base_url` or `provider` it is that of a server, as in [`ColumnWriter.from_endpoint`].

        Args:
            model_id (`str`):
                Name of the model on the Hub, or a local folder.
            callbacks (`Sequence`, *optional*):
                Who is told how its runs go: [`Callback`] objects, and functions of a [`RunProgress`].
            **settings:
                The settings of `config_type`, [`RunConfig`], [`ModelConfig`] and [`DecodingConfig`]; with
                `engine="vllm"` also those of [`VLLMConfig`], and with `base_url` or `provider` those of
                [`EndpointConfig`]. A [`ReasonDistiller`] also takes `judge`, an [`AnswerJudge`].

        Returns:
            The callable.

        Raises:
            ConfigError: A setting is unknown or cannot be right.
            TemplateError: The template cannot be used.
            ModelLoadError: The model or revision does not exist, or cannot be found out about.
            MissingPackageError: With `engine="vllm"`, which reads tokenizer and configs at once: they need a package
                that is not installed. Whether vLLM itself is installed is found out with the first batch.
        """
        companions = {name: settings.pop(name) for name in cls.companion_names if name in settings}
        own, run, *others = split_settings(
            settings, cls.config_type, RunConfig, ModelConfig, DecodingConfig, VLLMConfig, EndpointConfig
        )
        cls.config_type(**own), RunConfig(**run)  # what is wrong with them is found out before the Hub is asked
        generator = make_generator(model_id, **{name: value for part in others for name, value in part.items()})
        return cls(generator, callbacks=callbacks, **own, **run, **companions)

    @classmethod
    def from_endpoint(
        cls, model_id: str, *, token: str | None = None, callbacks: Callbacks = (), **settings: Any
    ) -> Self:
        """Make one whose model is behind an address: a server of one's own, an Inference Provider, a gateway.

        Args:
            model_id (`str`):
                What the server calls the model.
            token (`str`, *optional*):
                The key; see [`InferenceClientGenerator.from_endpoint`].
            callbacks (`Sequence`, *optional*):
                Who is told how its runs go.
            **settings:
                The settings of `config_type`, [`RunConfig`], [`EndpointConfig`] (`base_url` or `provider`, ...) and
                [`DecodingConfig`]. A [`ReasonDistiller`] also takes `judge`, an [`AnswerJudge`].

        Returns:
            The callable. Nothing is asked before the first batch.

        Raises:
            ConfigError: A setting is unknown, cannot be right, or is nothing for an endpoint.
            TemplateError: The template cannot be used.

        Example:
            >>> distill_fn = ReasonDistiller.from_endpoint("Qwen/Qwen3-8B", base_url="http://localhost:8000/v1")
        """
        companions = {name: settings.pop(name) for name in cls.companion_names if name in settings}
        own, run, decoding, endpoint = split_settings(
            settings, cls.config_type, RunConfig, DecodingConfig, EndpointConfig
        )
        generator = InferenceClientGenerator.from_endpoint(model_id, token=token, **decoding, **endpoint)
        return cls(generator, callbacks=callbacks, **own, **run, **companions)

    @classmethod
    def from_recipe(
        cls,
        source: str | Path | Mapping[str, Any],
        *,
        config_name: str = "default",
        revision: str | None = None,
        token: str | bool | None = None,
        callbacks: Callbacks = (),
        **settings: Any,
    ) -> Self:
        """Make the one that a recipe describes: equal prompts, equal journal keys, equal hash.

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
            callbacks (`Sequence`, *optional*):
                Who is told how its runs go. They are no part of a recipe.
            **settings:
                Settings that are not the recipe's: those of [`RunConfig`], and whatever should differ. `model_id` and
                `adapter` say where these lie here, when they came from a local folder. Rows that were made with a
                judge need `judge`, an [`AnswerJudge`], or `judge=None`.

        Returns:
            The callable.

        Raises:
            RecipeError: The recipe cannot be found or read, asks for what it may not, or its model cannot be had.
            ConfigError: A setting cannot be right.
            TemplateError: The template cannot be used.
            ModelLoadError: The model cannot be found.
            MissingPackageError: As in [`ColumnWriter.from_pretrained`].

        Example:
            >>> distill_fn = ReasonDistiller.from_recipe("me/rare-medicine")
        """
        recipe = read_recipe(
            source, config_name, set(settings) - {"model_id"}, kind=cls.kind, revision=revision, token=token
        )
        if missing := [name for name in cls.companion_names if name in recipe and name not in settings]:
            raise RecipeError(
                f"The rows were made with a {missing[0]}, whose recipe is recipe[{missing[0]!r}]. Pass "
                f"{missing[0]}=..., made from it, or {missing[0]}=None to go without."
            )
        with explaining_recipe():
            settings = recipe_settings(recipe, settings.pop("model_id", None)) | settings
            if recipe.get("endpoint") is not None and not settings.get("base_url") and not settings.get("provider"):
                raise RecipeError(
                    f"The rows were written by {settings['model_id']} behind an address, which a recipe does not "
                    "hold. Pass base_url=..., the address of a server that has it, or provider=..., an Inference "
                    "Provider."
                )
            return cls.from_pretrained(callbacks=callbacks, **settings)
