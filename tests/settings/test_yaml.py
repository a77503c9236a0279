"""YAML files: each key once, and every word means one thing."""

import pytest

from hf_rare.cli.flags import read_settings
from hf_rare.cli.main import build_parser
from hf_rare.errors import ConfigError
from hf_rare.settings.yaml import load_yaml
from tests.support.commands import command

MEANT = {
    "a: true": True,
    "a: False": False,
    "a: 'no'": "no",
    'a: "yes"': "yes",
    "a: 7": 7,
    "a: -7": -7,
    "a: 8_192": 8192,
    "a: 0x1F": 31,
    "a: 0": 0,
    "a: 00501": "00501",
    "a: 012": "012",
    "a: 1.5": 1.5,
    "a: 1e-3": 1e-3,
    "a: 2E5": 2e5,
    "a: .5": 0.5,
    "a: 1.": 1.0,
    "a: 12:30:45": "12:30:45",
    "a: 2024-01-05": "2024-01-05",
    "a: 2024-13-45": "2024-13-45",
    "a: 1.2.3": "1.2.3",
    "a: null": None,
    "a: ~": None,
    "a:": None,
    "a: None": "None",
    "a: n": "n",
    "a: Y": "Y",
    "a: norwegian": "norwegian",
    "a: no way": "no way",
    "a: 5%": "5%",
    "a: [1, b]": [1, "b"],
    "a: &x {b: 1}\nc: *x": {"b": 1},
    "x: &x {b: 1}\na: {<<: *x, c: 2}": {"b": 1, "c": 2},
    "x: &x {b: 1}\na: {<<: *x, b: 2}": {"b": 2},
    "a: |\n  no\n": "no\n",
    "a: .inf": float("inf"),
    "a: 9f3c2e1": "9f3c2e1",
    "\ufeffa: 1": 1,
    "a: {on: 1, 7: 2, ~: 3, 1.5: 4}": {"on": 1, "7": 2, "~": 3, "1.5": 4},
    "a: {? b : 1}": {"b": 1},
}


@pytest.mark.parametrize(("text", "value"), MEANT.items())
def test_a_value_is_what_it_is_meant_for(text, value):
    assert load_yaml(text)["a"] == value
    assert type(load_yaml(text)["a"]) is type(value)


REFUSED = {
    "language: no": ["line 1", "no", '"no"'],
    "- yes": ["yes"],
    "a:\n  - en\n  - No": ["line 3", "No"],
    "a: {do_sample: off}": ["off"],
    "a: 1\nb: 2\na: 3": ["line 3", "'a'", "second time"],
    "a: {b: 1, b: 1}": ["'b'", "second time"],
    "a: 1\n'a': 2": ["'a'", "second time"],
    "a: [": ["line"],
    "a: !!python/object:os.system x": ["python"],
    "a: *nobody": ["nobody"],
    "? [a]\n: 1": ["line"],
    "a: 1\n---\nb: 2": ["document"],
    "a: \x07": [""],
    "[" * 5000: [""],
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_means_no_one_thing_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=r".") as refused:
        load_yaml(text)
    assert [word for word in words if word not in str(refused.value)] == [], str(refused.value)
    (tmp_path / "x.yaml").write_text(text)
    said = command("run", tmp_path / "x.yaml", "--output", tmp_path / "out")
    assert said.code == 2
    assert len(said.said.splitlines()) == 1
    arguments = ["distill", "in.jsonl", "--output", "out", "--config", str(tmp_path / "x.yaml")]
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(build_parser().parse_args(arguments))


@pytest.mark.parametrize("key", ["on", "~", "7", "null", "''", "1.5", "true"])
def test_a_key_that_is_no_setting(tmp_path, key):
    (tmp_path / "x.yaml").write_text(f"input: rows.jsonl\n{key}: 1\n")
    said = command("run", tmp_path / "x.yaml", "--output", tmp_path / "out")
    assert said.code == 2
    assert key.strip("'") in said.said
    assert len(said.said.splitlines()) == 1


def test_a_file_in_another_encoding(tmp_path):
    (tmp_path / "x.yaml").write_bytes("a: é".encode("latin-1"))
    said = command("run", tmp_path / "x.yaml", "--output", tmp_path / "out")
    assert said.code == 2
    assert "cannot be read" in said.said


ALIASES = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
MERGES = "x0: &x0 {a: 1}\n" + "".join(f"x{i}: &x{i} {{<<: [*x{i - 1}, *x{i - 1}]}}\n" for i in range(1, 40))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ALIASES, "its aliases make more than 200,000 values"),
        (MERGES, "its aliases make more than 200,000 values"),
        ("a: &a [*a]", "holds itself"),
        ("a: &a {b: *a}", "holds itself"),
    ],
    ids=["aliases", "merges", "a list in itself", "a dict in itself"],
)
def test_aliases_that_multiply_are_refused_before_anything_is_made_of_them(text, reason):
    with pytest.raises(ValueError, match=reason):
        load_yaml(text)
