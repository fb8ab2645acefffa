"""`multibox models`: the table of sheets, and one sheet."""

import json
import re

import pytest

from multibox.cli import main
from multibox.sheet import from_json
from multibox.zoo import list_models, load_spec


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(words)
    return int(exit.value.code or 0)


def test_the_list_names_every_model_on_a_line_of_its_own(capsys):
    assert run("models", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list_models()
    assert lines[0].split() == ["model", "input", "params", "GMACs", "priors", "published", "licence", "weights"]


def test_the_list_shows_the_facts_of_a_sheet(capsys):
    assert run("models", "list", "ssd300_vgg16.mmdet_voc") == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.split()[:6] == ["ssd300_vgg16.mmdet_voc", "300x300", "26.29M", "31.37", "8,732", "VOC07"]
    assert line.split()[-2:] == ["Apache-2.0", "yes"]


@pytest.mark.parametrize("words", [["VGG16", "coco"], ["vgg_ssd300_voc0712"], ["lufficc"]])
def test_words_choose_by_name_alias_and_description_in_any_case(words, capsys):
    assert run("models", "list", *words) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    every = {
        name: " ".join((name, *load_spec(name).aliases, load_spec(name).description)).lower() for name in list_models()
    }
    assert names == [name for name, text in every.items() if all(word.lower() in text for word in words)]


def test_words_that_no_model_has_are_exit_code_4(capsys):
    assert run("models", "list", "vgg61") == 4
    assert "no model has 'vgg61'" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 100])
def test_a_narrow_terminal_shows_tags_under_their_architecture(columns, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run("models", "list") == 0
    shown = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= columns
    specs = [load_spec(name) for name in list_models()]
    assert all(f"\n{spec.architecture}\n" in shown for spec in specs)
    assert shown.count("\n .") == sum(bool(spec.tag) for spec in specs)


def test_the_list_as_json_holds_the_sheets_facts(capsys):
    assert run("models", "list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    row, spec = rows["ssd300_vgg16.torchvision_coco"], load_spec("ssd300_vgg16.torchvision_coco")
    assert row["input"] == [300, 300]
    assert (row["parameters"], row["priors"]) == (spec.check.parameters, spec.check.priors) == (35641826, 8732)
    assert row["macs"] == spec.check.macs
    assert row["metrics"][0].keys() == {"dataset", "metric", "value", "source"}
    assert row["weights"] == {
        "url": spec.weights.url, "sha256": "b556d3b4", "licence": "BSD-3-Clause", "importer": "torchvision",
    }  # fmt: skip
    assert rows["ssd300_vgg16"]["weights"] is None and rows["ssd300_vgg16"]["priors"] is None


@pytest.mark.parametrize("name", list_models())
def test_info_as_json_is_the_sheet(name, capsys):
    assert run("models", "info", name, "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert table.pop("name") == name
    assert from_json(json.dumps(table)) == load_spec(name)


@pytest.mark.parametrize("name", list_models())
def test_info_for_people_names_input_and_licence(name, capsys):
    assert run("models", "info", name) == 0
    words = capsys.readouterr().out
    assert f"height {load_spec(name).input.height}" in words
    assert load_spec(name).licence in words


def test_an_alias_is_the_model(capsys):
    name, alias = next((name, alias) for name in list_models() for alias in load_spec(name).aliases)
    assert run("models", "info", alias) == 0
    assert name in capsys.readouterr().out


def test_a_name_with_a_typo_is_exit_code_4_with_the_nearest(capsys):
    assert run("models", "info", "ssd300_vgg61") == 4
    assert "did you mean 'ssd300_vgg16'" in capsys.readouterr().err
