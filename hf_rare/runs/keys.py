"""Where completions are kept, and under which key: all that a completion depends on."""

import hashlib
import os
from pathlib import Path

from huggingface_hub import constants

from hf_rare.generation.protocol import EncodedPrompt
from hf_rare.settings.run import RunConfig

JOURNAL_VARIABLE = "HF_RARE_JOURNAL"
OFF = ("", "0", "off", "none")


def journal_folder(run: RunConfig) -> Path | None:
    """Return the folder of all journals: `journal_dir`, else `HF_RARE_JOURNAL`, else one in the Hugging Face cache."""
    if run.journal_dir != "auto":
        return Path(run.journal_dir).expanduser() if run.journal_dir is not None else None
    moved = os.environ.get(JOURNAL_VARIABLE)
    if moved is not None:
        return Path(moved).expanduser() if moved.lower() not in OFF else None
    return Path(constants.HF_HOME) / "hf_rare" / "journal"


def hash_job(identity: bytes, prompt: EncodedPrompt, seed: int | None) -> str:
    """Hash all that a completion depends on: the generator, the prompt, and the seed where it samples.

    Args:
        identity (`bytes`): what stands for the generator, of 16 bytes.
        prompt ([`EncodedPrompt`]): the prompt.
        seed (`int`, *optional*): the seed of the draw; `None` where nothing is drawn.

    Returns:
        `str`: 32 hexadecimal digits.
    """
    texts = [prompt.text, *(text for message in prompt.messages for text in message.values())]
    hasher = hashlib.blake2b(identity, digest_size=16)
    for text in [*texts, str(seed) if seed is not None else ""]:
        data = text.encode()
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()
