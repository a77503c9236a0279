"""Models larger than one device: layers on the disk, and layers that are spread over all processes."""

import accelerate
import pytest
from packaging.version import Version

from hf_rare import ReasonDistiller
from hf_rare.errors import ConfigError
from tests.runs.test_ranks import Job
from tests.support import rank_job
from tests.support.rule_rows import write_rule_rows
from tests.support.tiny import save_tiny_model

ROWS = 32

PLACEMENTS = {
    "the second layer": {
        "device_map": {
            "model.embed_tokens": "cpu",
            "model.layers.0": "cpu",
            "model.layers.1": "disk",
            "model.norm": "cpu",
            "lm_head": "cpu",
            "model.rotary_emb": "cpu",
        }
    },
    "everything": {"device_map": "auto", "max_memory": {"cpu": "20KB", "disk": "1GB"}},
}


@pytest.mark.parametrize("on_disk", PLACEMENTS)
def test_layers_on_the_disk_give_the_same_text(demo_rows, tiny, tmp_path, on_disk):
    if on_disk == "everything" and Version(accelerate.__version__) < Version("1.15"):
        pytest.skip("accelerate keeps something in memory before 1.15")
    demo_rows = demo_rows.select(range(4))
    expected = ReasonDistiller.from_pretrained(tiny, max_new_tokens=8).apply(demo_rows)
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=8, offload_folder=tmp_path / "weights", **PLACEMENTS[on_disk]
    )
    assert distill_fn.apply(demo_rows).to_list() == expected.to_list()
    assert "disk" in distill_fn.generator.teacher.model.hf_device_map.values()


@pytest.mark.slow
def test_layers_spread_over_processes_give_the_same_text(context, tmp_path):
    rows = write_rule_rows(tmp_path / "rows.jsonl", [1 + i % 4 for i in range(ROWS)])
    teacher = str(save_tiny_model(tmp_path / "teacher", num_key_value_heads=2))
    job = Job(context, tmp_path, rows, teacher)
    assert job.run(rank_job.share, ranks=2) == [None, None]
    whole = job.outputs()
    job.arguments[2] = str(tmp_path / "other journal")
    assert job.run(rank_job.be_one_model, ranks=2) == [None, None]
    assert job.outputs() == whole
    assert job.journalled("other journal") == ROWS  # one process writes for all


def test_what_does_not_go_together(tiny):
    with pytest.raises(ConfigError, match="device_map and tp_plan"):
        ReasonDistiller.from_pretrained(tiny, tp_plan="auto", device_map="auto")
    with pytest.raises(ConfigError, match="max_hours does not go with tp_plan"):
        ReasonDistiller.from_pretrained(tiny, tp_plan="auto", max_hours=1)
