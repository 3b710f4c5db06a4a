"""``d6tpipe demo``: a real comparison on real data, and nothing to do the second time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import d6tpipe

pytestmark = pytest.mark.slow

ROOT = Path(d6tpipe.__file__).parents[1]
MODELS = ("ols", "ridge", "random_forest", "gradient_boosting")


def demo(folder: Path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "d6tpipe", "demo", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folder and two calls of the demo, one after the other."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, demo(folder), demo(folder)


def table(shown: str) -> list[list[str]]:
    """Return the rows of the score table."""
    rows = [line.split() for line in shown.splitlines()]
    return [row for row in rows if row and row[0] in MODELS]


def test_first_call_builds_all_and_prints_tree_progress_and_scores(runs):
    _, first, _ = runs
    assert first.returncode == 0, first.stderr
    assert "└─--[CompareModels-{} (PENDING" in first.stdout
    assert "[1/12] built GetData()" in first.stderr
    assert len(table(first.stdout)) == 8
    assert "12 tasks were run" in first.stdout


def test_scores_are_those_of_real_models_best_first(runs):
    scores = [float(row[2]) for row in table(runs[1].stdout)]
    assert scores == sorted(scores, reverse=True)
    assert 0.40 < scores[-1] < scores[0] < 0.55  # a regression on these data explains about half of the variance
    best = table(runs[1].stdout)[0]
    assert best[:2] == ["ols", "True"]


def test_second_call_does_nothing_says_so_and_shows_the_same_scores(runs):
    _, first, second = runs
    assert second.returncode == 0, second.stderr
    assert second.stderr == ""
    assert "Nothing to do: all 12 tasks are complete" in second.stdout
    assert "(PENDING" not in second.stdout
    assert table(second.stdout) == table(first.stdout)


def test_second_call_loads_no_heavy_library(runs):
    # What makes it quick: reading eight small files of scores needs neither data frames nor models.
    code = (
        "import sys; from d6tpipe.cli import main; assert main(['demo']) == 0;"
        "print(sorted({'pandas', 'numpy', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=runs[0],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_outputs_lie_where_it_says_and_load_as_it_says(runs, run_python):
    folder, first, _ = runs
    assert sorted(p.name for p in (folder / "d6tpipe-demo").iterdir()) == [".d6tpipe", "GetData", "Preprocess", "Train"]
    said = first.stdout.partition("To load the best model in Python:")[2]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    code = "\n".join([*lines[:-1], f"print(type({lines[-1]}).__name__)"])
    assert run_python("-W", "ignore", "-c", code, cwd=folder).stdout.strip() == "LinearRegression"


def test_the_reset_it_names_empties_the_folder(runs, tmp_path):
    shutil.copytree(runs[0] / "d6tpipe-demo", tmp_path / "d6tpipe-demo")
    (line,) = [line for line in runs[2].stdout.splitlines() if line.startswith("To build them again: ")]
    words = line.partition(": d6tpipe ")[2].split()
    done = subprocess.run(
        [sys.executable, "-m", "d6tpipe", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    left = [p for p in tmp_path.rglob("*") if p.is_file() and not p.name.endswith("-meta.pickle")]
    assert [p.name for p in left if ".d6tpipe" not in p.parts] == []


def test_the_flow_is_an_ordinary_file_for_the_command_line(run_python, tmp_path):
    file = Path(d6tpipe.__file__).parent / "demo" / "flow.py"
    done = run_python("-m", "d6tpipe", "list", str(file), cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "GetData", "Preprocess", "Train", "CompareModels",
    ]  # fmt: skip


def test_without_scikit_learn_it_gives_the_pip_command(tmp_path):
    (tmp_path / "hidden").mkdir()
    # Python runs this file at start; None stands for a module that is not there.
    (tmp_path / "hidden" / "sitecustomize.py").write_text("import sys; sys.modules['sklearn'] = None")
    done = demo(tmp_path, path=str(tmp_path / "hidden"))
    assert done.returncode == 2
    assert "pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d6tpipe-demo").exists()


def test_another_folder_can_be_chosen_but_not_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    done = demo(tmp_path, "--dir", "file")
    assert done.returncode == 2
    assert "is a file" in done.stderr
