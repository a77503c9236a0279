"""What is passed in as a dataset, and what to do where it is none."""

from typing import Any

import datasets

from hf_rare.errors import BatchTypeError

DATASETS = (datasets.Dataset, datasets.DatasetDict, datasets.IterableDataset, datasets.IterableDatasetDict)


def check_dataset(dataset: Any, caller: str) -> None:
    """Raise [`BatchTypeError`] for anything but a [`~datasets.Dataset`].

    Args:
        dataset: what was passed in.
        caller (`str`): what takes it, for the message.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise BatchTypeError(f"{caller} takes a Dataset, and this is a {type(dataset).__name__}. {advise(dataset)}")


def advise(dataset: Any) -> str:
    """Say how a [`~datasets.Dataset`] is made of something else.

    Args:
        dataset: what was passed in.
    """
    if isinstance(dataset, datasets.DatasetDict | datasets.IterableDatasetDict):
        return "Pass its splits, one by one: ds['train']."
    if isinstance(dataset, datasets.IterableDataset):
        return "Make one of the stream first, or of its first rows: Dataset.from_list(list(stream.take(100)))."
    return "Make one of it: Dataset.from_pandas(frame), Dataset.from_list(rows)."
