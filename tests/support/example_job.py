"""What a machine does that runs an example, in a process of its own, which tests can kill."""

import contextlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


def run_example(script: str, arguments: list[str], url: str, environment: dict[str, str], folder: str) -> None:
    """Run a script whose Hub is in another process; write its exit code and what it printed to `FOLDER/outcome`."""
    import datasets

    from tests.support.loopback_hub import lead_clients_to

    datasets.disable_progress_bars()
    with pytest.MonkeyPatch.context() as patch:
        lead_clients_to(SimpleNamespace(url=url, environment=lambda: environment), patch, Path(folder))
        patch.setenv("HF_RARE_JOURNAL", str(Path(folder, "journal")))
        main = runpy.run_path(script)["main"]
        with Path(folder, "printed").open("w") as printed, contextlib.redirect_stdout(printed):
            code = main(arguments)
        text = Path(folder, "printed").read_text()
        Path(folder, "outcome").write_text(json.dumps({"code": code, "printed": text}))
