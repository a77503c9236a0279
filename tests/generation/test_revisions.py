"""Which weights exactly."""

import pytest
import torch

from hf_rare import TransformersGenerator
from hf_rare.errors import ModelLoadError
from hf_rare.generation.revisions import digest_folder, resolve_revision


def test_a_commit_sha_stands_for_itself():
    assert resolve_revision("any/model", "a" * 40) == "a" * 40


def test_without_a_connection_the_cache_knows_the_commit(tmp_path, monkeypatch):
    sha = "b" * 40
    repo = tmp_path / "models--some--model"
    (repo / "snapshots" / sha).mkdir(parents=True)
    (repo / "snapshots" / sha / "config.json").write_text("{}")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(sha)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert resolve_revision("some/model", None) == sha
    with pytest.raises(ModelLoadError, match=r"cannot be reached .* has no 'some/model' at revision 'dev'"):
        resolve_revision("some/model", "dev")


@pytest.mark.parametrize("model_id", ["no/such-model", "/no/such/folder", "./nothing here", "x" * 5000])
def test_a_model_that_does_not_exist_is_an_error_when_the_generator_is_made(model_id):
    with pytest.raises(ModelLoadError, match=model_id):
        TransformersGenerator.from_pretrained(model_id)


def test_the_digest_of_a_folder_changes_with_everything_that_counts(tmp_path):
    from safetensors.torch import save_file

    def make(config="{}", template="t", weights=None, readme="r"):
        (tmp_path / "config.json").write_text(config)
        (tmp_path / "chat_template.jinja").write_text(template)
        (tmp_path / "README.md").write_text(readme)
        save_file({"w": torch.zeros(1000, 1000) if weights is None else weights}, tmp_path / "model.safetensors")
        return digest_folder(tmp_path)

    original = make()
    assert original == make()
    assert original == make(readme="other")
    assert original.startswith("local-")
    trained = torch.full((1000, 1000), 1e-3)
    others = [make(config="{ }"), make(template="u"), make(weights=torch.zeros(1000, 1001)), make(weights=trained)]
    assert len({original, *others}) == 5
