"""The README's commands are the ones that CI runs, its table is today's, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_exactly_the_two_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    detect, check = re.findall(r"```bash\n(pip install [^\n]+)\n```", README)
    for command in (*detect.split(" && "), *check.split(" && ")):
        assert command in script


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 200


@pytest.mark.parametrize("script", ["model_table.py", "recipe_table.py"])
def test_the_tables_are_made_from_todays_sheets(script: str) -> None:
    made = subprocess.run([sys.executable, ROOT / "docs" / script, "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_links_and_pictures_of_the_readme_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)", README)
    assert targets
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing


def test_every_verb_of_the_readme_exists() -> None:
    from multibox.cli.verbs import VERBS

    words = set(re.findall(r"^multibox (\w+)", README, flags=re.MULTILINE))
    assert words
    assert words <= {verb.name for verb in VERBS}


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch) -> None:
    from multibox.cli.sample import sample_photo

    (code,) = re.findall(r"```python\n(.+?)```", README, flags=re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(Path(sample_photo()).read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "person" in names["found"]["class_name"]
