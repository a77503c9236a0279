"""Private names of multiprocess: the number of a worker."""

import multiprocess

from hf_rare.compat.private import look_up

SEEN = "0.70.19"
"""The version that was last seen to have these names."""


def count_from_parent() -> tuple[int, ...]:
    """Give the number of this process among those that its parent has started, the parent's own before it.

    `Process._identity`: workers of a pool have consecutive numbers, which nothing public tells.
    """
    return tuple(look_up(multiprocess.current_process(), "_identity", "multiprocess", SEEN))
