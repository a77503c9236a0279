"""Names of datasets that are private (fingerprints, headers of cards, batches before they are decoded) or new."""

import copy
from typing import Any

import datasets
from datasets.formatting.formatting import LazyDict

from hf_rare.compat.private import look_up

SEEN = "5.2.0"
"""The version that was last seen to have these names."""


def fingerprint_of(dataset: datasets.Dataset) -> str:
    """Return what stands for the rows of a dataset and how they came about: `Dataset._fingerprint`."""
    return str(look_up(dataset, "_fingerprint", "datasets", SEEN))


def describe_info(info: datasets.DatasetInfo) -> dict[str, Any]:
    """Describe a dataset as the header of a card does, under `dataset_info`: `DatasetInfo._to_yaml_dict`."""
    described: dict[str, Any] = look_up(info, "_to_yaml_dict", "datasets", SEEN)()
    return described


def read_info(described: dict[str, Any]) -> datasets.DatasetInfo:
    """Read what [`describe_info`] has written: `DatasetInfo._from_yaml_dict`."""
    info: datasets.DatasetInfo = look_up(datasets.DatasetInfo, "_from_yaml_dict", "datasets", SEEN)(described)
    return info


def read_undecoded(batch: Any) -> Any:
    """Return a batch as the table that lies on the disk, where it has one, in which pictures may be broken."""
    return batch.pa_table if isinstance(batch, LazyDict) else batch


def is_json(feature: Any) -> bool:
    """Tell whether a column holds values of any kind: `datasets.Json`, which datasets 4.0 does not have."""
    return isinstance(feature, getattr(datasets, "Json", ()))


def by_size_alone(dataset: datasets.Dataset) -> datasets.Dataset:
    """Return the dataset with the size of its rows: to write it, `datasets` looks up each picture's file."""
    made = copy.copy(dataset)
    size = dataset.data.nbytes * len(dataset) // max(1, len(dataset.data))
    made._estimate_nbytes = lambda: size
    return made
