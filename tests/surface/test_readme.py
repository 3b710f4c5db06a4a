"""README.rst does what it says."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", README, re.MULTILINE)
    return [textwrap.dedent(text) for text in found]


@pytest.mark.slow
def test_the_example_runs_six_tasks_and_then_none(capsys, monkeypatch):
    (source,) = blocks("python")
    module = ModuleType("readme_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "README.rst", "exec"), module.__dict__)

    shown = capsys.readouterr().out
    assert "PENDING" in shown
    scores = module.flow.outputLoadMeta()
    assert {name: round(meta["score"], 1) for name, meta in scores.items()} == {
        "model_Ridge_scaled_False": 0.5,
        "model_Ridge_scaled_True": 0.5,
        "model_Lasso_scaled_False": 0.5,
        "model_Lasso_scaled_True": 0.4,
    }
    assert type(module.model).__name__ == "Lasso"
    written = [path.parent.name for path in Path("data").rglob("*") if path.suffix in (".pkl", ".parquet")]
    assert sorted(written) == ["GetData"] * 2 + ["Train"] * 4

    module.flow.run()
    module.flow.preview()
    assert "PENDING" not in capsys.readouterr().out


def test_the_example_has_twenty_lines():
    (source,) = blocks("python")
    assert len([line for line in source.splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize("name", ["demo", "test"])
def test_ci_finds_the_command(name):
    between = re.search(rf"^\.\. ci: {name}$(.*?)^\.\. ci: end$", README, re.MULTILINE | re.DOTALL)
    assert between
    commands = [line for line in between[1].splitlines() if line.startswith("    ")]
    assert len(commands) == 1
    assert commands[0].startswith("    python3 -m venv .venv && ")
    # What is found is a code block of its own, so a reader sees it too.
    assert commands == ["    " + text.strip() for text in blocks("sh") if name in text]
