"""Which weights exactly: names and revisions resolved to a commit sha, local folders to a digest of their files."""

import hashlib
import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from hf_rare.errors import ModelLoadError
from hf_rare.hub_errors import NETWORK_ERRORS
from hf_rare.paths import is_folder

FOLDER_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.safetensors", "*.gguf", "*.py")
LOCAL, IN_MEMORY = "local-", "memory-"
"""How revisions begin that stand for a folder of this machine, or for objects that were loaded by hand."""
SAMPLED_BLOCKS = 64
BLOCK_BYTES = 4096


def is_local(model_id: str) -> bool:
    """Tell whether `model_id` is a folder of this machine rather than a name on the Hub."""
    return is_folder(model_id)


def is_on_hub(revision: object) -> bool:
    """Tell whether a revision is one of the Hub, and neither of a folder nor of objects that were loaded by hand."""
    return not str(revision or "").startswith((LOCAL, IN_MEMORY))


def resolve_revision(model_id: str, revision: str | None) -> str:
    """Resolve a model to what stands for its weights.

    Args:
        model_id (`str`):
            Name on the Hub, or a local folder.
        revision (`str`, *optional*):
            Branch, tag or commit; not for a folder.

    Returns:
        `str`: the commit sha of a model on the Hub (without a connection the one in the local cache); for a folder,
        `"local-"` and a digest of its files (see [`digest_folder`]).

    Raises:
        ModelLoadError: There is no such model or revision, or the Hub cannot be reached and the cache does not have
        it.
    """
    if is_local(model_id):
        return digest_folder(Path(model_id))
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        sha = huggingface_hub.HfApi().model_info(model_id, revision=revision).sha
    except HFValidationError as err:
        raise ModelLoadError(f"model_id={model_id!r} is neither a local folder nor a name on the Hub: {err}") from err
    except (RepositoryNotFoundError, RevisionNotFoundError) as err:
        raise ModelLoadError(
            f"model_id={model_id!r}, revision={revision!r} is neither on the Hub nor a local folder. Check the "
            "spelling; for a private or gated model log in with `hf auth login`."
        ) from err
    except NETWORK_ERRORS as err:  # or offline
        sha = find_cached_revision(model_id, revision)
        if sha is None:
            raise ModelLoadError(
                f"The Hub cannot be reached ({type(err).__name__}) and the local cache has no {model_id!r} at "
                f"revision {revision or 'main'!r}. Connect, or pass a local folder."
            ) from err
    return str(sha)


def find_cached_revision(model_id: str, revision: str | None) -> str | None:
    """Look up the commit that the local cache holds for a revision."""
    path = huggingface_hub.try_to_load_from_cache(model_id, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


def digest_folder(folder: Path) -> str:
    """Digest the files of a model folder, in a fraction of a second whatever its size.

    Small files (config, tokenizer, templates) count with every byte. Weight files count with their size, their header,
    and 64 blocks of 4 KB spread evenly over their data: a header names shapes and types only and stays the same when
    the model is trained further.

    Returns:
        `str`: `"local-"` and 40 hexadecimal digits.
    """
    hasher = hashlib.sha256()
    paths = sorted({path for pattern in FOLDER_FILES for path in folder.glob(pattern) if path.is_file()})
    for path in paths:
        hasher.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        if path.suffix in (".safetensors", ".gguf"):
            _hash_sampled(path, hasher)
        else:
            hasher.update(path.read_bytes())
    return f"{LOCAL}{hasher.hexdigest()[:40]}"


def _hash_sampled(path: Path, hasher: "hashlib._Hash") -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        header_length = 8 + int.from_bytes(file.read(8), "little") if path.suffix == ".safetensors" else 1 << 20
        file.seek(0)
        hasher.update(file.read(min(header_length, size)))
        step = max(BLOCK_BYTES, (size - header_length) // SAMPLED_BLOCKS)
        for offset in range(header_length, size, step):
            file.seek(offset)
            hasher.update(file.read(BLOCK_BYTES))
