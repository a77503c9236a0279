"""Rows shared out: alone, a process takes all; in a team, each claims what it has room for next.

The processes of a team come to each call together. They compare what they were given, tell each other what their
journals hold, claim rows from one count in the store of the job, a few at a time, so that one with long rows does not
hold the others, and tell each other what they have written at the end.
"""

import dataclasses
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hf_rare.errors import RankError
from hf_rare.generation.protocol import Completion
from hf_rare.runs.team import Team

PART = 32
"""Most rows that are taken at a time."""

PARTS_LEFT = 4
"""No process claims more than this share of what is left for each: the last rows go round one by one."""


class Share:
    """What a process that works alone takes: everything."""

    is_shared = False
    """Whether others take rows too."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def claim(self, total: int) -> Iterator[range]:
        """Claim rows, by number, until none are left.

        Args:
            total (`int`): how many there are.

        Yields:
            `range`: rows that are this process's to write.
        """
        for start in range(0, total, PART):
            yield range(start, min(total, start + PART))

    def add(self, name: str, amount: int) -> int:
        """Add to a count of all processes, and give the sum."""
        self._counts[name] += amount
        return self._counts[name]

    def finish(
        self, written: Mapping[str, Completion], limit: str, wait: Callable[[], None]
    ) -> tuple[dict[str, Completion], str]:
        """Tell the others what this process has written, and wait until they have told what they have.

        Args:
            written (`Mapping[str, Completion]`): completions by key.
            limit (`str`): name of the limit that ended it, if one did.
            wait (`Callable`): called now and then while this process waits.

        Returns:
            `tuple[dict[str, Completion], str]`: what all have written, the same in all of them, and the limit that
            ended any of them.
        """
        return dict(written), limit


class TeamShare(Share):
    """What a process of a team takes: what it claims.

    Args:
        team ([`Team`]): the processes, which have come to the call.
        is_lockstep (`bool`): whether all processes together are one model, so that each must write everything.
    """

    def __init__(self, team: Team, is_lockstep: bool) -> None:
        super().__init__()
        self._team = team
        self._name = f"call/{team.calls}"
        self._used: set[str] = set()
        self.is_shared = not is_lockstep

    def agree(self, keys: Sequence[str], done: Mapping[str, Completion]) -> dict[str, Completion]:
        """Compare a call with the other processes.

        Args:
            keys (`Sequence[str]`): the keys of all that its rows can ask for.
            done (`Mapping[str, Completion]`): the completions that this process knows, by key.

        Returns:
            `dict[str, Completion]`: the completions that others know and this process does not, by key.

        Raises:
            RankError: Another process has other rows or other settings.
        """
        ranks = range(self._team.world_size)
        digest = hashlib.blake2b("".join(keys).encode(), digest_size=16).hexdigest()
        places = {key: place for place, key in enumerate(keys)}
        known = {place: _digest(done[key]) for key, place in places.items() if key in done}
        rolls = self._tell_all("roll", [digest, known])
        if others := [rank for rank in ranks if rolls[rank][0] != digest]:
            raise RankError(
                f"The processes of rank {self._team.rank} and {others[0]} disagree about the rows of a batch: "
                f"{_OTHER_ROWS}"
            )
        # what some do not know, or know otherwise, is told by one that knows it, a failure only where all have failed
        tellers: dict[str, int] = {}
        for place in set().union(*(roll[1] for roll in rolls)):
            knowing = [roll[1].get(place, "") for roll in rolls]
            if len(set(knowing)) > 1:
                tellers[keys[int(place)]] = knowing.index(max(knowing))
        told = [key for key, rank in tellers.items() if rank == self._team.rank]
        self._put(f"told/{self._team.rank}", {key: dataclasses.asdict(done[key]) for key in told})
        learnt: dict[str, Completion] = {}
        for rank in sorted(set(tellers.values()) - {self._team.rank}):
            self._team.wait_for([f"{self._name}/told/{rank}"])
            learnt |= {key: Completion(**value) for key, value in self._get(f"told/{rank}").items()}
        return learnt

    def agree_on_journals(self, total: int, keys: str) -> bool:
        """Tell whether the journals of all processes hold the same.

        Args:
            total (`int`): rows of the dataset.
            keys (`str`): a digest of the keys that this process's journal holds.

        Raises:
            RankError: Another process has another number of rows.
        """
        rolls = self._tell_all("journals", [total, keys])
        if others := [rank for rank, roll in enumerate(rolls) if roll[0] != total]:
            raise RankError(
                f"The processes of rank {self._team.rank} and {others[0]} disagree about the dataset, which has "
                f"{total} rows here and {rolls[others[0]][0]} there: {_OTHER_ROWS}"
            )
        return len({roll[1] for roll in rolls}) == 1

    def claim(self, total: int) -> Iterator[range]:
        """Claim rows, by number, until none are left; see [`Share`]."""
        if not self.is_shared:
            yield from super().claim(total)
            return
        claimed = 0
        while claimed < total:
            count = max(1, min(PART, (total - claimed) // (PARTS_LEFT * self._team.world_size)))
            claimed = self.add("claimed", count)
            if claimed - count < total:
                yield range(claimed - count, min(total, claimed))
            self._team.check()

    def add(self, name: str, amount: int) -> int:
        """Add to a count of all processes, and give the sum."""
        if not self.is_shared:
            return super().add(name, amount)
        self._used.add(name)
        return self._team.store.add(f"{self._name}/{name}", amount)

    def finish(
        self, written: Mapping[str, Completion], limit: str, wait: Callable[[], None]
    ) -> tuple[dict[str, Completion], str]:
        """Tell the others what this process has written, and wait for what they have; see [`Share`]."""
        if not self.is_shared:
            return super().finish(written, limit, wait)
        entries = {key: dataclasses.asdict(completion) for key, completion in written.items()}
        told = self._tell_all("written", [limit, entries], wait)
        # equal rows may have been written by several; the lowest rank's text counts, in all processes
        completions = {key: Completion(**value) for _, values in reversed(told) for key, value in values.items()}
        return completions, next((name for name, _ in told if name), "")

    def clear(self) -> None:
        """Let rank 0 empty the store when all have read what is in it; it may hold the store, and so must be last."""
        self._put(f"finished/{self._team.rank}", True)
        if self._team.rank != 0:
            return
        ranks = range(self._team.world_size)
        self._team.wait_for([f"{self._name}/finished/{rank}" for rank in ranks])
        values = ("roll", "told", "journals", "written", "finished")
        names = [*self._used, *(f"{kind}/{rank}" for kind in values for rank in ranks)]
        self._team.store.remove([f"{self._name}/{name}" for name in names])

    def _tell_all(self, kind: str, value: Any, wait: Callable[[], None] = lambda: None) -> list[Any]:
        """Tell all processes a value, and give what each has told, by rank."""
        self._put(f"{kind}/{self._team.rank}", value)
        names = [f"{kind}/{rank}" for rank in range(self._team.world_size)]
        keys = [f"{self._name}/{name}" for name in names]

        def is_told() -> bool:
            wait()
            return self._team.store.has(keys)

        self._team.wait(is_told)
        return [self._get(name) for name in names]

    def _put(self, name: str, value: Any) -> None:
        self._team.store.put(f"{self._name}/{name}", json.dumps(value, ensure_ascii=False).encode())

    def _get(self, name: str) -> Any:
        return json.loads(self._team.store.get(f"{self._name}/{name}"))


_OTHER_ROWS = (
    "they have other rows or other settings. Shuffle with a seed, and let every process read the same data. Where "
    "each has rows of its own, as after `split_dataset_by_node`, pass share_rows=False."
)


def _digest(completion: Completion) -> str:
    """Digest a completion, so that the digest of a failure is less than that of any other."""
    checksum = zlib.crc32(json.dumps(dataclasses.astuple(completion)).encode())
    return f"{not completion.failure:d}{checksum:08x}"
