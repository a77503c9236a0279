"""What the attacks by cards run in a process of its own: pushes to a Hub that is in another one, each twice."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.recipe_job import SECONDS, limit_seconds


def push_twice(url: str, environment: dict[str, str], folder: str, repo_ids: list[str]) -> None:
    """Push rows to repositories with cards; write how each push ended, and whether a second one had anything to do."""
    import datasets

    from hf_rare import push_to_hub
    from hf_rare.errors import HfRareError
    from tests.support.loopback_hub import lead_clients_to

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict({"question": ["What?", "How?"], "reasoning": ["So. [1]", "Thus."]})
    with pytest.MonkeyPatch.context() as patch:
        lead_clients_to(SimpleNamespace(url=url, environment=lambda: environment), patch, Path(folder))
        for repo_id in repo_ids:
            limit_seconds(SECONDS)
            outcome = {"ending": "works", "message": "", "again": False}
            try:
                push_to_hub(rows, repo_id)
                outcome["again"] = push_to_hub(rows, repo_id).has_changed
            except HfRareError as err:
                outcome |= {"ending": "ours", "message": f"{type(err).__name__}: {err}"}
            except BaseException as err:
                outcome |= {"ending": "foreign", "message": f"{type(err).__name__}: {err}"}
            path = Path(folder, repo_id.replace("/", "-"))
            path.with_suffix(".new").write_text(json.dumps(outcome))
            path.with_suffix(".new").rename(path)
