"""Private names of datasets: fingerprints, and what a dataset is in the header of a card."""

from typing import Any

import datasets

from hf_rare.compat.private import look_up

SEEN = "5.2.0"
"""The version that was last seen to have these names."""


def fingerprint_of(dataset: datasets.Dataset) -> str:
    """Give what stands for the rows of a dataset and how they came about: `Dataset._fingerprint`."""
    return str(look_up(dataset, "_fingerprint", "datasets", SEEN))


def describe_info(info: datasets.DatasetInfo) -> dict[str, Any]:
    """Describe a dataset as the header of a card does, under `dataset_info`: `DatasetInfo._to_yaml_dict`."""
    described: dict[str, Any] = look_up(info, "_to_yaml_dict", "datasets", SEEN)()
    return described


def read_info(described: dict[str, Any]) -> datasets.DatasetInfo:
    """Read what [`describe_info`] has written: `DatasetInfo._from_yaml_dict`."""
    info: datasets.DatasetInfo = look_up(datasets.DatasetInfo, "_from_yaml_dict", "datasets", SEEN)(described)
    return info
