"""The requests that continuous batching is writing: how many tokens they have, and whether they go in circles."""

from typing import Any

from hf_rare.compat.transformers import FORKED
from hf_rare.generation.decoding import Decoding
from hf_rare.generation.engines.manager import Session
from hf_rare.generation.protocol import Job, Observer
from hf_rare.generation.repetition import RepetitionDetector

LOOK_EVERY = 32
"""Tokens after which it is looked whether a request repeats itself."""


class RequestCounter:
    """Counts what a manager has read and written since the last count, and tells an observer.

    A manager reads prompts and writes rows in the same steps. Prompts are counted with the first token of their row;
    the samples of a row share one.

    Args:
        session ([`Session`]): the requests.
        observer ([`Observer`]): who is told.
    """

    def __init__(self, session: Session, observer: Observer) -> None:
        self._session = session
        self._observer = observer
        self._written: dict[str, int] = {}

    def count(self, result: Any) -> None:
        """Count the tokens of the rows that are being written, and of the result, where a row has ended."""
        left, active = self._session.left, self._session.active()
        counts = {name: state.generated_len() for name, state in active.items()}
        if result is not None:
            counts[result.request_id] = len(result.generated_tokens)
        read = written = 0
        for name, count in counts.items():
            before = self._written.get(name, 0)
            if count > before:  # a row that was put aside for others begins again with 0
                read += len(left[name].prompt.token_ids) if not before and FORKED not in name else 0
                written += count - before
                self._written[name] = count
        if written:
            self._observer.add_tokens(read, written)
        if result is not None:
            self._written.pop(result.request_id, None)
            active.pop(result.request_id, None)
            if active:
                self._observer.begin([left[name] for name in active])


class Loops:
    """Ends the requests that repeat themselves.

    Args:
        decoding ([`Decoding`]): says what counts as a loop.
    """

    def __init__(self, decoding: Decoding) -> None:
        self._make = decoding.make_detector
        self._seen: dict[str, tuple[RepetitionDetector, int]] = {}

    def end(self, session: Session) -> list[tuple[Job, list[int]]]:
        """End requests that have come to repeat themselves; give their jobs and what they have written."""
        active = session.active() if self._make() is not None else {}
        self._seen = {name: seen for name, seen in self._seen.items() if name in active}
        looping = [name for name, state in active.items() if self._has_looped(name, state.generated_tokens)]
        return [(session.end_early(name), list(active[name].generated_tokens)) for name in looping]

    def _has_looped(self, name: str, tokens: list[int]) -> bool:
        """Look at what a request has written since the last time; another thread adds to it meanwhile."""
        detector, read = self._seen.get(name, (None, 0))
        if detector is None or len(tokens) < read:  # a request that was put aside for others may begin again
            detector, read = self._make(), 0
        if detector is None or len(tokens) - read < LOOK_EVERY:
            return False
        new = tokens[read:]
        self._seen[name] = detector, read + len(new)
        return detector.feed(new)
