"""The command line itself: help without heavy imports, words in both forms, failures in one sentence."""

import subprocess
import sys

import pytest
import typer

from multibox.cli import main
from multibox.cli.failures import exit_code
from multibox.cli.verbs import VERBS, load_command, spell_out
from multibox.errors import DataError, ExportError, ModelError, MultiboxError, UsageError

VERB = {verb.name: verb for verb in VERBS}


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(words)
    return int(exit.value.code or 0)


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["evaluate", "-h"], ["version"]])
def test_help_loads_nothing_heavy(words):
    heavy = ["torch", "supervision", "numpy", "cv2", "openvino", "onnxruntime", "hotcoco", "matplotlib"]
    heavy += ["pydantic"] if words == ["--help"] else []  # typer itself takes it for a verb's options
    code = (
        "import sys\nfrom multibox.cli import main\n"
        f"try: main({words})\n"
        f"finally: sys.stderr.write(','.join(sorted(set({heavy}) & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert done.stderr == ""


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_help(verb, capsys):
    assert run(verb.name, "--help") == 0
    assert "--help" in capsys.readouterr().out


def test_help_lists_every_verb_but_the_aliases(capsys):
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all((f" {verb.name} " in shown) is not verb.hidden for verb in VERBS)


def test_a_verb_with_a_typo_is_corrected(capsys):
    assert run("evalute") == 2
    assert "Did you mean 'evaluate'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["evaluate"], ["predict", "--no-such-option"], ["doctor", "one", "two"]])
def test_wrong_usage_is_exit_code_2(words, capsys):
    assert run(*words) == 2
    assert capsys.readouterr().out == ""


def parameters(name: str):
    return load_command(VERB[name]).params


def test_key_value_words_are_options():
    words = ["a.onnx", "data=/some/folder", "batch=4", "save_dir=out", "--json"]
    spelled = ["a.onnx", "--data", "/some/folder", "--batch", "4", "--save-dir", "out", "--json"]
    assert spell_out(words, parameters("evaluate")) == spelled


def test_key_value_words_turn_switches_on_and_off():
    assert spell_out(["json=true", "quiet=false"], parameters("evaluate")) == ["--json"]
    assert spell_out(["save=false"], parameters("predict")) == ["--no-save"]
    assert spell_out(["save=maybe"], parameters("predict")) == ["--save=maybe"]


def test_an_arguments_name_may_stand_before_its_value():
    assert spell_out(["source=a=b.jpg", "conf=0.5"], parameters("predict")) == ["--source", "a=b.jpg", "--conf", "0.5"]


@pytest.mark.parametrize("words", [["my=photo.jpg"], ["./conf=1.jpg"], ["--project", "conf=1"], ["--", "conf=1"]])
def test_other_words_stay_as_they_are(words):
    assert spell_out(words, parameters("predict")) == words


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MultiboxError("x"), 1),
        (UsageError("x"), 2),
        (DataError("x"), 3),
        (ModelError("x"), 4),
        (ExportError("x"), 5),
        (ZeroDivisionError("x"), 1),
        (ModuleNotFoundError("no module", name="torch.nn"), 1),
    ],
)
def test_a_failure_is_one_line_on_stderr_and_a_code_by_its_kind(error, code, capsys):
    assert exit_code(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_what_nobody_foresaw_names_its_kind_and_the_way_to_the_traceback(capsys):
    exit_code(ValueError("two\nlines"))
    assert capsys.readouterr().err == "error: ValueError: two lines (--debug shows where)\n"


def test_a_missing_extra_is_named_with_its_install_command(capsys):
    exit_code(ModuleNotFoundError("no module", name="torch"))
    assert "pip install 'multibox[train]'" in capsys.readouterr().err


def test_debug_anywhere_keeps_the_traceback(monkeypatch):
    with pytest.raises(ModelError):
        main(["models", "info", "no_such_model", "--debug"])
    monkeypatch.setenv("MULTIBOX_DEBUG", "1")
    with pytest.raises(ModelError):
        main(["models", "info", "no_such_model"])


def test_an_interruption_is_exit_code_130(monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(typer, "echo", interrupt)
    assert run("version") == 130
