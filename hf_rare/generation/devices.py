"""Which device a process takes, and what workers of `map(num_proc=...)` must mind."""

import os
from typing import TYPE_CHECKING

import multiprocess

from hf_rare.compat.multiprocess import count_from_parent
from hf_rare.compat.torch import is_in_bad_fork
from hf_rare.errors import ConfigError

if TYPE_CHECKING:
    import torch


def pick_device() -> "torch.device":
    """Pick the device of this process.

    A worker of `map(num_proc=...)` takes the devices in turn, by its number among the workers that live: the rank that
    `map` passes is the number of a shard, and two shards that are left over may have the same rank modulo devices. A
    process of a launcher takes the device of its `LOCAL_RANK`, without setting up a process group, which waits for all
    processes. Any other takes what accelerate gives it.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    number = worker_number()
    if number is None and "LOCAL_RANK" in os.environ and not torch.distributed.is_initialized():
        number = int(os.environ["LOCAL_RANK"])
    if number is None:
        return PartialState().device
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or parse_flag_from_env("ACCELERATE_USE_CPU"):
        return torch.device("cpu")
    index = number % torch.accelerator.device_count()
    torch.accelerator.set_device_index(index)  # kernels that ask for the current device must find this one
    return torch.device(accelerator.type, index)


def pick_device_numbers(count: int) -> list[int] | None:
    """Pick the devices of this process by number, for what starts processes of its own on them.

    Args:
        count (`int`): how many it is to have.

    Returns:
        `list[int]`: those that no other process of a launcher, or worker of `map(num_proc=...)`, picks; `None` where
        this process is the only one, or there are no devices but the CPU.

    Raises:
        ConfigError: There are not enough devices.
    """
    import torch

    number = worker_number()
    if number is None and "LOCAL_RANK" in os.environ:
        number = int(os.environ["LOCAL_RANK"])
    if number is None or not has_accelerator():
        return None
    devices = list(range(number * count, (number + 1) * count))
    if devices[-1] >= (there_are := torch.accelerator.device_count()):
        raise ConfigError(
            f"Process {number} of this machine needs the devices {devices}, and there are {there_are}. Start fewer "
            "processes, or spread each over fewer devices."
        )
    return devices


def has_accelerator() -> bool:
    """Tell whether there is any device but the CPU."""
    import torch

    return torch.accelerator.current_accelerator(check_available=True) is not None


def prepare_worker() -> None:
    """Make a worker of `map(num_proc=...)` fit for torch. To be called before any operation of torch.

    Raises:
        ConfigError: It is a fork of a process that has used CUDA.
    """
    if worker_number() is None:
        return
    import torch

    if is_in_bad_fork():
        raise ConfigError(
            "num_proc= with workers that are forked from a process that has used CUDA cannot work. Call "
            '`multiprocess.set_start_method("spawn")` (of the package multiprocess) first, under `if __name__ == '
            '"__main__":`, or leave CUDA alone before `map`.'
        )
    torch.set_num_threads(1)  # OpenMP hangs in a fork of a process that has used it


def worker_number() -> int | None:
    """Return the number of this worker: consecutive among the workers of a pool; `None` in any other process."""
    if multiprocess.parent_process() is None:
        return None
    numbers = count_from_parent()
    return numbers[-1] - 1 if numbers else 0
