"""Private names of huggingface_hub: whether the Hub will leave a file out of a commit."""

from huggingface_hub import CommitOperationAdd

from hf_rare.compat.private import look_up

SEEN = "2.4.0"
"""The version that was last seen to have these names."""


def is_ignored(addition: CommitOperationAdd) -> bool:
    """Tell of a file that was uploaded beforehand whether a `.gitignore` keeps it out: `_should_ignore`."""
    return bool(look_up(addition, "_should_ignore", "huggingface_hub", SEEN))
