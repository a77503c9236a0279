"""The picture of a card."""

import io
import subprocess
import sys
import warnings

import pytest
from datasets import Dataset, DatasetDict

from hf_rare.errors import ColumnError, MissingPackageError
from hf_rare.rows.statistics import measure
from hf_rare.views.plots import choose_panels, plot_statistics
from tests.support.distilled import distilled_rows


def _image(png: bytes):
    from PIL import Image

    return Image.open(io.BytesIO(png))


@pytest.mark.slow
def test_equal_data_give_equal_bytes_in_every_process(demo_rows, tmp_path):
    rows = distilled_rows(demo_rows)
    png = plot_statistics(rows)
    image = _image(png)
    assert image.size[0] == 1600
    assert image.getpixel((3, 3))[3] == 0, "the background is transparent"
    assert image.info.keys() <= {"dpi"}, "no time and no version"
    rows.to_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys; from datasets import Dataset; from hf_rare.views.plots import plot_statistics;"
        "import matplotlib; matplotlib.rcParams['font.size'] = 30;"
        f"png = plot_statistics(Dataset.from_parquet({str(tmp_path / 'rows.parquet')!r}));"
        "assert 'matplotlib.pyplot' not in sys.modules; sys.stdout.buffer.write(png)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout == png
    assert plot_statistics(DatasetDict(a=rows.select(range(5)), b=rows.select(range(5, 14)))) == png
    assert plot_statistics(rows.select(range(9))) != png


@pytest.mark.parametrize(
    "columns",
    [
        {"reasoning_status": ["odd", "ok"]},
        {"reasoning_status": ["ok", None], "reasoning_completion_tokens": [5, 5]},
        {"reasoning_completion_tokens": [1, 10**12]},
        {"reasoning_positive_position": [1, 40], "reasoning_document_order": [[0], [*range(40)]]},
        {"reasoning_positive_position": [0, -3]},
        {"reasoning_status": ["failed"], "reasoning_completion_tokens": [0], "reasoning_positive_position": [0]},
    ],
)
def test_odd_columns_can_be_drawn(columns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _image(plot_statistics(Dataset.from_dict(columns))).size[0] == 1600


def test_no_panel_is_empty_and_none_shows_a_single_status_beside_others():
    def panels(**columns) -> list[str]:
        rows = Dataset.from_dict({f"reasoning_{name}": values for name, values in columns.items()})
        return [draw.__name__ for draw in choose_panels(measure(rows))]

    known = {"completion_tokens": [5, 7], "positive_position": [1, 2]}
    assert panels(status=["ok", "ok"], **known) == ["_draw_tokens", "_draw_places"]
    assert panels(status=["ok", "failed"], **known) == ["_draw_statuses", "_draw_tokens", "_draw_places"]
    nothing = {"completion_tokens": [0, 0], "positive_position": [0, 0]}
    assert panels(status=["failed", "failed"], **nothing) == ["_draw_statuses"]
    assert panels(status=["ok", "ok"], completion_tokens=[5, 7], positive_position=[0, 0]) == ["_draw_tokens"]
    assert panels(**nothing) == []


@pytest.mark.parametrize("columns", [{"reasoning_status": []}, {"reasoning_positive_position": ["first"]}], ids=str)
def test_columns_that_say_nothing_have_no_picture(columns):
    with pytest.raises(ColumnError, match="say nothing"):
        plot_statistics(Dataset.from_dict(columns))


def test_what_cannot_be_drawn_is_said(monkeypatch):
    with pytest.raises(ColumnError, match="'out_status'"):
        plot_statistics(Dataset.from_dict({"reasoning_status": ["ok"]}), "out")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"hf-rare\[plots\]"):
        plot_statistics(Dataset.from_dict({"reasoning_status": ["ok"]}))
