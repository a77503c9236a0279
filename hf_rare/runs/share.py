"""The rows of one call shared out: alone, a process generates all; in a team, each claims what it can take next.

The processes of a team come to each batch together. They compare what they were given, tell each other what their
journals hold, claim micro-batches one by one through the store of the job, so that one with long rows does not hold
the others, and read what the others hand in. In the end each has a completion for every prompt.
"""

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hf_rare.errors import RankError
from hf_rare.generation.protocol import Completion
from hf_rare.runs.team import Team

MicroBatches = list[list[int]]
"""Prompts, by index, that are generated together."""

_ALL = 1 << 40  # claiming so many micro-batches at once leaves none for others


class Share:
    """What a process that works alone generates of a call: everything."""

    stopped = ""
    """Name of the limit that ended the call, when one did."""

    def agree(self, keys: Sequence[str], done: Mapping[str, Completion]) -> dict[str, Completion]:
        """Compare the call with the other processes.

        Args:
            keys (`Sequence[str]`): the keys of its prompts.
            done (`Mapping[str, Completion]`): the completions that this process knows, by key.

        Returns:
            `dict[str, Completion]`: the completions that others know and this process does not, by key.
        """
        return {}

    def claim(self, missing: list[int], pack: Callable[[list[int]], MicroBatches]) -> Iterator[list[int]]:
        """Claim prompts, until none are left.

        Args:
            missing (`list[int]`): the prompts that no process knows a completion for, by index.
            pack (`Callable`): packs prompts into micro-batches.

        Yields:
            `list[int]`: prompts that are this process's to generate.
        """
        yield missing

    def hand_in(self, completions: Mapping[int, Completion]) -> None:
        """Give the others the completions of the prompts that were claimed last."""

    def stop(self, limit: str) -> None:
        """Let nobody claim any more, because a limit is reached."""
        self.stopped = limit

    def receive(self) -> Iterator[dict[int, Completion]]:
        """Give what others have handed in since the last time."""
        yield from ()

    def finish(self) -> Iterator[dict[int, Completion]]:
        """Give what others hand in, until everything is there, and end the call."""
        yield from ()


class TeamShare(Share):
    """What a process of a team generates of a call: what it claims.

    Args:
        team ([`Team`]): the processes, which have come to the call.
        is_lockstep (`bool`): whether all processes together are one model, so that each must generate everything.
    """

    def __init__(self, team: Team, is_lockstep: bool) -> None:
        self._team = team
        self._is_lockstep = is_lockstep
        self._name = f"call/{team.calls}"
        self._micro_batches: int | None = None
        self._handed_in: set[int] = set()
        self._read = 0

    def agree(self, keys: Sequence[str], done: Mapping[str, Completion]) -> dict[str, Completion]:
        """Compare the call with the other processes.

        Raises:
            RankError: Another process has other rows or other settings.
        """
        ranks = range(self._team.world_size)
        digest = hashlib.blake2b("".join(keys).encode(), digest_size=16).hexdigest()
        known = [_digest(done[key]) if key in done else "" for key in keys]
        self._put(f"roll/{self._team.rank}", [digest, known])
        self._team.wait_for([f"{self._name}/roll/{rank}" for rank in ranks])
        rolls = [self._get(f"roll/{rank}") for rank in ranks]
        if others := [rank for rank in ranks if rolls[rank][0] != digest]:
            raise RankError(
                f"The processes of rank {self._team.rank} and {others[0]} disagree about batch {self._team.calls}: "
                "they have other rows or other settings. Shuffle with a seed, and let every process read the same "
                "data. Where each has rows of its own, as after `split_dataset_by_node`, pass share_rows=False."
            )
        # what some do not know, or know otherwise, is told by one that knows it, a failure only where all have failed
        knowing = dict(zip(keys, zip(*(roll[1] for roll in rolls), strict=True), strict=True))
        tellers = {key: who.index(max(who)) for key, who in knowing.items() if len(set(who)) > 1}
        told = [key for key, rank in tellers.items() if rank == self._team.rank]
        self._put(f"told/{self._team.rank}", {key: dataclasses.asdict(done[key]) for key in told})
        learnt: dict[str, Completion] = {}
        for rank in set(tellers.values()) - {self._team.rank}:
            self._team.wait_for([f"{self._name}/told/{rank}"])
            learnt |= {key: Completion(**value) for key, value in self._get(f"told/{rank}").items()}
        return learnt

    def claim(self, missing: list[int], pack: Callable[[list[int]], MicroBatches]) -> Iterator[list[int]]:
        """Claim micro-batches, as the process of rank 0 packs them, until none are left."""
        if self._is_lockstep:
            yield missing
            return
        if self._team.rank == 0:
            self._put("micro-batches", pack(missing))
        self._team.wait_for([f"{self._name}/micro-batches"])
        micro_batches = self._get("micro-batches")
        self._micro_batches = len(micro_batches)
        while (number := self._team.store.add(f"{self._name}/claimed", 1) - 1) < len(micro_batches):
            yield micro_batches[number]
            self._team.check()

    def hand_in(self, completions: Mapping[int, Completion]) -> None:
        """Give the others the completions of the micro-batch that was claimed last."""
        if not self._is_lockstep:
            number = self._team.store.add(f"{self._name}/handed-in", 1) - 1
            self._handed_in.add(number)
            self._put(f"result/{number}", {i: dataclasses.asdict(done) for i, done in completions.items()})

    def stop(self, limit: str) -> None:
        """Let nobody claim any more, because a limit is reached."""
        super().stop(limit)
        if not self._is_lockstep:
            claimed = self._team.store.add(f"{self._name}/claimed", _ALL) - _ALL
            if claimed < _ALL:  # the first to stop
                self._put("stopped", [min(claimed, self._micro_batches or 0), limit])

    def receive(self) -> Iterator[dict[int, Completion]]:
        """Give what others have handed in since the last time."""
        while self._read in self._handed_in or self._has_result():
            if self._read not in self._handed_in:
                values = self._get(f"result/{self._read}")
                yield {int(i): Completion(**value) for i, value in values.items()}
            self._read += 1

    def finish(self) -> Iterator[dict[int, Completion]]:
        """Give what others hand in, until everything is there, and end the call."""
        yield from self.receive()
        while not self._is_everything_read():
            self._team.wait(lambda: self._has_result() or self._is_everything_read())
            yield from self.receive()
        self._clear()

    def _has_result(self) -> bool:
        return self._team.store.has([f"{self._name}/result/{self._read}"])

    def _is_everything_read(self) -> bool:
        if self._micro_batches and self._team.store.has([f"{self._name}/stopped"]):
            self._micro_batches, self.stopped = self._get("stopped")
        return self._read >= (self._micro_batches or 0)

    def _clear(self) -> None:
        """Let rank 0 empty the store when all have read what is in it; it may hold the store, and so must be last."""
        self._put(f"finished/{self._team.rank}", True)
        if self._team.rank != 0:
            return
        ranks = range(self._team.world_size)
        self._team.wait_for([f"{self._name}/finished/{rank}" for rank in ranks])
        names = [f"{kind}/{rank}" for kind in ("roll", "told", "finished") for rank in ranks]
        names += ["micro-batches", "stopped", "claimed", "handed-in"]
        names += [f"result/{number}" for number in range(self._read)]
        self._team.store.remove([f"{self._name}/{name}" for name in names])

    def _put(self, name: str, value: Any) -> None:
        self._team.store.put(f"{self._name}/{name}", json.dumps(value, ensure_ascii=False).encode())

    def _get(self, name: str) -> Any:
        return json.loads(self._team.store.get(f"{self._name}/{name}"))


def _digest(completion: Completion) -> str:
    """Digest a completion, so that the digest of a failure is less than that of any other."""
    checksum = zlib.crc32(json.dumps(dataclasses.astuple(completion)).encode())
    return f"{completion.finish_reason != 'error':d}{checksum:08x}"
