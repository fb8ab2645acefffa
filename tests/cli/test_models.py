"""`multibox models`: the table of sheets, and one sheet."""

import json

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


def test_the_list_as_json_holds_the_sheets_facts(capsys):
    assert run("models", "list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    row, spec = rows["ssd300_vgg16.torchvision_coco"], load_spec("ssd300_vgg16.torchvision_coco")
    assert row["input"] == [300, 300]
    assert (row["parameters"], row["priors"]) == (spec.check.parameters, spec.check.priors) == (35641826, 8732)
    assert row["metrics"][0]["metric"] == "AP"


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
