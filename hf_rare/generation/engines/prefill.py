"""How likely a model takes texts to be that are there already: log probabilities and ranks, by reading alone.

The texts of a job often begin alike, as the prompts of a row do from which one document after the other is left out.
One is read whole; of the others only what comes behind the common beginning, for which the keys and values of the
first are taken: a document that is left out changes nothing before its place. On a CPU one text is read after the
other, with an attention for that ([`attend_in_pieces`]); elsewhere several of about one length in one padded batch.
The last layer feeds forward only the tokens that are measured ([`feeding_last`]). Whether a model can be read like
that is tried on the loaded model; any other reads each text whole.
"""

import contextlib
import inspect
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from hf_rare.errors import GenerationError, HfRareError
from hf_rare.generation.attention import IN_PIECES, attend_in_pieces, register
from hf_rare.generation.decoding import Decoding, set_up
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.engines.scheduler import MOST_PADDING, read_tokens
from hf_rare.generation.engines.trial import SHORT, long_length, make_texts, once, why_not_by_place
from hf_rare.generation.failures import free_memory, is_out_of_memory
from hf_rare.generation.packing import BatchPacker

logger = logging.getLogger(__name__)

FEWEST_TOKENS = 64
"""Tokens of which at least so many are read at once, however little memory there is."""

AT_ONCE = 4096
"""Tokens that are read at once where memory has room for them."""

MOST_PADDING_ELSEWHERE = 1 / 3
"""Share of padding in a group where this is no CPU: there it costs less than to read one text after the other."""

LOGITS_AT_ONCE = {"cpu": 2**20}
"""Logits of which probabilities are made at once: 4 MiB of float32, which a CPU keeps near."""

LOGITS_AT_ONCE_ELSEWHERE = 2**24


@dataclass(frozen=True)
class Text:
    """A text in two parts, of which the second is measured.

    Args:
        context (`tuple[int, ...]`): tokens that the model has read before, at least one.
        continuation (`tuple[int, ...]`): tokens that are measured, at least one.
    """

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """What is read: the probability of a token stands behind the one before it."""
        return self.context + self.continuation[:-1]


@dataclass(frozen=True)
class Likelihood:
    """What a model makes of the continuation of a text.

    Args:
        log_probs (`list[float]`): the log probability of each token, in nats.
        ranks (`list[int]`): the rank of each token, 1 for the most likely one.
    """

    log_probs: list[float]
    ranks: list[int]


class PrefillEngine:
    """Measures texts with a loaded model, a job at a time, with as many tokens at once as memory allows.

    Args:
        plain ([`PlainEngine`]):
            The engine for the same model, of which model and settings are taken.

    Raises:
        GenerationError: The model is no decoder of torch, whose probabilities could be read.

    Attributes:
        why_whole (`str`): why each text is read whole; empty where common beginnings are read once.
    """

    def __init__(self, plain: PlainEngine) -> None:
        self._decoding = decoding = plain.decoding
        self._is_one_of_many = plain.is_one_of_many
        model = decoding.model
        if not isinstance(model, torch.nn.Module) or model.config.is_encoder_decoder:
            raise GenerationError(
                f"{type(model).__name__} cannot say how likely a text is: expected a causal language model of torch. "
                "Measure with another model."
            )
        self._packer = BatchPacker(0, AT_ONCE)
        self._attention: str | None = None
        self._feeds_last = False
        self.why_whole = why_not_by_place(model)
        kinds: list[str | None] = [None]
        if decoding.device.type == "cpu":
            register(IN_PIECES, attend_in_pieces)
            kinds.insert(0, IN_PIECES)
        for kind, feeds_last in itertools.product(kinds, (True, False)) if not self.why_whole else ():
            self._attention, self._feeds_last = kind, feeds_last
            what = f"attention {kind} with {'part' if feeds_last else 'all'} of the last layer"
            self.why_whole = once(model, f"prefill {what}", partial(_try_out, decoding, kind, feeds_last))
            if not self.why_whole:
                break
            logger.info("Shared beginnings are not read once by %s: %s.", what, self.why_whole)
        if self.why_whole:
            logger.warning("Each text is read whole, common beginnings again and again: %s.", self.why_whole)

    def measure(self, texts: Sequence[Text]) -> list[Likelihood]:
        """Measure the texts of a job.

        When memory runs out, half as many tokens are read at once; when that is not enough, each text alone.

        Args:
            texts (`Sequence[Text]`): the texts.

        Returns:
            `list[Likelihood]`: what the model makes of each, in order.

        Raises:
            Exception: Whatever the model raises, also where memory runs out with one text alone.
        """
        while True:
            try:
                measured = self._measure(texts)
            except HfRareError:
                raise
            except Exception as err:
                if self._is_one_of_many or not is_out_of_memory(err) or self.why_whole:
                    raise
                if self._packer.max_tokens <= FEWEST_TOKENS:
                    break
                logger.warning("Memory ran out with %d tokens at once: half as many.", self._packer.max_tokens)
                err.__traceback__ = None  # its frames hold the tensors
            else:
                self._packer.grow()
                return measured
            self._packer.shrink(self._packer.max_tokens)
            free_memory()
        free_memory()
        return [one for text in texts for one in self._read([text])]

    def _measure(self, texts: Sequence[Text]) -> list[Likelihood]:
        if self.why_whole:
            return [read_whole(self._decoding, text) for text in texts]
        return self._read(texts)

    def _read(self, texts: Sequence[Text]) -> list[Likelihood]:
        return read_shared(self._decoding, texts, self._packer.max_tokens, self._attention, self._feeds_last)


def read_whole(decoding: Decoding, text: Text) -> Likelihood:
    """Read a text whole, without a cache: what any causal language model can do.

    Args:
        decoding ([`Decoding`]): the model.
        text ([`Text`]): the text.

    Returns:
        [`Likelihood`]: what the model makes of it.
    """
    keep = len(text.continuation)
    model = decoding.model
    kwargs = {"logits_to_keep": keep} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    tokens = torch.tensor([text.read], device=decoding.device)
    with torch.no_grad(), set_up(model, decoding.config):
        logits = model(input_ids=tokens, use_cache=False, **kwargs).logits[0, -keep:]
    return _join([_measure(logits, torch.tensor(text.continuation, device=logits.device))], keep)


def read_shared(
    decoding: Decoding,
    texts: Sequence[Text],
    at_once: int,
    attention: str | None = None,
    feeds_last: bool = False,
    most_padding: float | None = None,
) -> list[Likelihood]:
    """Read texts, their common beginnings once.

    Args:
        decoding ([`Decoding`]): the model.
        texts (`Sequence[Text]`): the texts. What the others have in common with the first is not read again.
        at_once (`int`): most tokens that are read at once, padding counted.
        attention (`str`, *optional*):
            A kind of attention that takes no padding: one text is read after the other. By default the model's own.
        feeds_last (`bool`, *optional*, defaults to `False`):
            Whether the last layer feeds forward only the tokens that are measured.
        most_padding (`float`, *optional*):
            Most padding of a group, as a share. By default what suits the device.

    Returns:
        `list[Likelihood]`: what the model makes of each, in order.
    """
    if most_padding is None:
        most_padding = MOST_PADDING if decoding.device.type == "cpu" else MOST_PADDING_ELSEWHERE
    first, config = texts[0], decoding.model.config
    whole = DynamicCache(config=config)
    measured = {0: read_behind(decoding, whole, [first], [0], at_once, attention, feeds_last)[0]}
    starts = {i: _count_common(first.read, text.context[:-1]) for i, text in enumerate(texts) if i}
    groups = [[i] for i in starts] if attention else _group(texts, starts, at_once, most_padding)
    for group in groups:
        own = [starts[i] for i in group]
        longest, count = max(own), len(group)
        beginnings = [
            tuple(states[:, :, :longest].expand(count, -1, -1, -1) for states in (layer.keys, layer.values))
            for layer in whole.layers
        ]
        cache = DynamicCache(beginnings if longest else None, config=config)
        read = read_behind(decoding, cache, [texts[i] for i in group], own, at_once, attention, feeds_last)
        measured.update(zip(group, read, strict=True))
    return [measured[i] for i in range(len(texts))]


def read_behind(
    decoding: Decoding,
    cache: DynamicCache,
    texts: Sequence[Text],
    starts: Sequence[int],
    at_once: int,
    attention: str | None = None,
    feeds_last: bool = False,
) -> list[Likelihood]:
    """Read what the texts of a group have behind what the cache holds of them.

    Args:
        decoding ([`Decoding`]): the model.
        cache ([`~transformers.DynamicCache`]): the beginnings, as long as the longest of them.
        texts (`Sequence[Text]`): the texts.
        starts (`Sequence[int]`): how many tokens of each are in the cache.
        at_once (`int`): most tokens that are read at once, padding counted.
        attention (`str`, *optional*): the kind of attention; the model's own by default.
        feeds_last (`bool`, *optional*): whether the last layer feeds forward only the tokens that are measured.

    Returns:
        `list[Likelihood]`: what the model makes of each, in order.
    """
    rests = [text.read[start:] for text, start in zip(texts, starts, strict=True)]
    width, held = max(map(len, rests)), max(starts)
    keep = max(len(text.continuation) for text in texts)
    shifts = torch.tensor([[width - len(rest)] for rest in rests])
    begins, columns = torch.tensor(starts)[:, None], torch.arange(width)
    padding = decoding.config.pad_token_id or 0
    tokens = torch.tensor([[padding] * (width - len(rest)) + list(rest) for rest in rests])
    places = (begins + columns - shifts).clamp(min=0)
    mask = torch.cat([torch.arange(held) < begins, columns >= shifts], dim=-1).long()
    is_padded = not bool(mask.all())
    targets = torch.tensor([[0] * (keep - len(text.continuation)) + list(text.continuation) for text in texts])
    pieces: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in texts]
    step, first_kept = max(1, at_once // len(texts)), width - keep
    for start in range(0, width, step):
        end = min(start + step, width)
        inputs = {"input_ids": tokens[:, start:end], "position_ids": places[:, start:end]}
        if is_padded:
            inputs["attention_mask"] = mask[:, : held + end]
        kept = end - max(start, first_kept)
        with feeding_last(decoding.model, max(1, kept)) if feeds_last else contextlib.nullcontext():
            logits = read_tokens(decoding, inputs, cache, max(1, kept), attention)
        if kept > 0:
            wanted = targets[:, end - kept - first_kept : end - first_kept].to(logits.device)
            for row, piece in enumerate(pieces):
                piece.append(_measure(logits[row, -kept:], wanted[row]))
    return [_join(piece, len(text.continuation)) for text, piece in zip(texts, pieces, strict=True)]


@contextlib.contextmanager
def feeding_last(model: Any, keep: int) -> Iterator[None]:
    """Let the last layer feed forward only the last tokens: nothing is read of the others behind it.

    A model whose last layer has no `mlp` feeds all forward.

    Args:
        model (`PreTrainedModel`): the model.
        keep (`int`): how many of the last tokens of each text have logits.
    """
    layers = getattr(model.get_decoder(), "layers", None) or [None]
    mlp = getattr(layers[-1], "mlp", None)
    if not isinstance(mlp, torch.nn.Module):
        yield
        return
    widths = list[int]()

    def cut(_: Any, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        (states,) = inputs
        widths.append(states.shape[1])
        return states[:, -keep:]

    def fill(_: Any, __: Any, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(states, (0, 0, widths.pop() - states.shape[1], 0))

    hooks = [mlp.register_forward_pre_hook(cut), mlp.register_forward_hook(fill)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _measure(logits: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log probability and the rank of each token, from the logits before it, in float32."""
    log_probs, ranks = [], []
    at_once = LOGITS_AT_ONCE.get(logits.device.type, LOGITS_AT_ONCE_ELSEWHERE)
    rows = max(1, at_once // logits.shape[-1])
    for some, wanted in zip(logits.split(rows), tokens.split(rows), strict=True):
        scores = some.float()
        own = scores.gather(1, wanted[:, None])
        log_probs.append(own[:, 0] - scores.logsumexp(dim=-1))
        ranks.append((scores > own).sum(dim=-1) + 1)
    return torch.cat(log_probs).cpu(), torch.cat(ranks).cpu()


def _join(pieces: Sequence[tuple[torch.Tensor, torch.Tensor]], count: int) -> Likelihood:
    """Join the pieces of a text, of which the last `count` tokens are measured and what is before them is padding."""
    log_probs, ranks = (torch.cat(values)[-count:].tolist() for values in zip(*pieces, strict=True))
    return Likelihood(log_probs, ranks)


def _count_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _group(texts: Sequence[Text], starts: Mapping[int, int], at_once: int, most_padding: float) -> Iterator[list[int]]:
    """Put texts together that have about as much to be read, with little padding, up to `at_once` tokens."""
    rests = {i: len(texts[i].read) - start for i, start in starts.items()}
    group: list[int] = []
    for i in sorted(rests, key=lambda i: -rests[i]):
        padded = (len(group) + 1) * rests[group[0]] if group else 0
        padding = padded - sum(rests[j] for j in (*group, i))
        if group and (padded > at_once or padding > most_padding * padded):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _try_out(decoding: Decoding, attention: str | None, feeds_last: bool) -> str:
    """Read texts with beginnings in common, in pieces and in a group with holes, and compare with each read whole."""
    longest = max(4 * SHORT, long_length(decoding))
    quarter = longest // 4
    text, *others = map(tuple, make_texts(decoding, [longest, quarter, quarter + 1]))
    contexts = [text[:-SHORT], text[:quarter] + others[0], text[: quarter + 2] + others[1]]
    texts = [Text(context, text[-SHORT:]) for context in contexts]
    try:
        shared = read_shared(decoding, texts, 2 * (quarter + 1 + SHORT), attention, feeds_last)
        whole = [read_whole(decoding, text) for text in texts]
    except Exception as err:
        return f"the model fails where common beginnings are read once ({type(err).__name__}: {err})"
    differences = [
        abs(one - other)
        for mine, theirs in zip(shared, whole, strict=True)
        for one, other in zip(mine.log_probs, theirs.log_probs, strict=True)
    ]
    scale = max(1.0, *(abs(value) for one in whole for value in one.log_probs))
    error = max(differences) / scale
    tolerance = 1e-3 if decoding.model.dtype.itemsize >= 4 else 0.1
    return "" if error <= tolerance else f"its log probabilities differ by {error:.2g} where beginnings are read once"
