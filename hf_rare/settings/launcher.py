"""How many processes a launcher has started, as it says in the environment."""

import os

from hf_rare.errors import ConfigError


def read_number_of_processes(variable: str = "WORLD_SIZE") -> int:
    """Read how many processes share the work; 1 where nothing is said.

    Args:
        variable (`str`, *optional*, defaults to `"WORLD_SIZE"`):
            The environment variable: `WORLD_SIZE` for those of the job, `LOCAL_WORLD_SIZE` for those of this machine.

    Raises:
        ConfigError: It holds no number of processes.
    """
    value = os.environ.get(variable, "").strip() or "1"
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(
            f"{variable}={value!r} is in the environment; expected a number of processes. Launchers set it; unset it "
            "to work alone."
        )
    return int(value)
