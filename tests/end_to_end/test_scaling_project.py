"""examples/scaling: four data sets times three models, and each edit runs what it adds and nothing else.

Each step is a fresh process, as a user would start it. What has run is told twice: by the result of the run, and by the
output files that are new or were written again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = [f"data_{number}" for number in range(4)]
MODELS = ["linear_probability", "logistic_model", "decision_tree"]
FITS = [f"{data}_{model}" for data in DATA for model in MODELS]
TARGET = "my_project.estimation.tasks:ESTIMATIONS"

DRIVER = """
import json, sys
import d6tpipe
from my_project.data_preparation.tasks import PREPARED
from my_project.estimation.tasks import ESTIMATIONS

result = d6tpipe.run(ESTIMATIONS, execution_summary=False, **json.loads(sys.argv[1]))
names = {task: name for sweep in (PREPARED, ESTIMATIONS) for name, task in sweep.items()}
built = [names[task] for task, state in result.states.items() if str(state) == "built"]
print(json.dumps({"counts": result.counts, "built": built}))
"""

pytestmark = pytest.mark.slow


class Project:
    """A copy of the project, to be edited and run."""

    def __init__(self, folder: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        self.src, self.built_in, self._python = folder / "src", folder / "bld", run_python

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.src / "my_project" / file
        text = path.read_text(encoding="utf-8")
        assert 1 == text.count(old), text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def python(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # The sources of the copy are found because it is the working folder.
        return self._python(*arguments, cwd=self.src, check=check)

    def run(self, **options: Any) -> list[str]:
        """Run all estimations; return the ids of what was built, sorted."""
        before = self.outputs()
        told = json.loads(self.python("-c", DRIVER, json.dumps(options)).stdout)
        assert told["counts"].get("built", 0) == len(told["built"]) == len(self.written_since(before))
        assert set(told["counts"]) <= {"built", "fresh"}  # nothing is stale, whatever was edited
        return sorted(told["built"])

    def command(self, *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run ``d6tpipe ...``; return what it said, and the family of each task that was built, sorted."""
        before = self.outputs()
        done = self.python("-m", "d6tpipe", *words, check=False)
        return done, sorted(path.parent.name for path in self.written_since(before))

    def outputs(self) -> dict[Path, tuple[int, int]]:
        facts = {path: path.stat() for path in self.built_in.glob("*/*-data.*")}
        return {path: (fact.st_ino, fact.st_mtime_ns) for path, fact in facts.items()}

    def written_since(self, before: dict[Path, tuple[int, int]]) -> list[Path]:
        return [path for path, fact in self.outputs().items() if before.get(path) != fact]


@pytest.fixture
def project(tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> Project:
    folder = tmp_path / "scaling"
    shutil.copytree(ROOT / "examples" / "scaling", folder, ignore=shutil.ignore_patterns("bld", "__pycache__", "*.egg-info"))
    return Project(folder, run_python)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy in which everything was run."""
    folder = tmp_path_factory.mktemp("finished") / "scaling"
    shutil.copytree(ROOT / "examples" / "scaling", folder, ignore=shutil.ignore_patterns("bld", "__pycache__", "*.egg-info"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return folder


def test_each_edit_runs_what_it_adds(project: Project) -> None:
    assert sorted(DATA + FITS) == project.run()
    assert [] == project.run()

    project.edit("estimation/config.py", '"decision_tree"]', '"decision_tree", "nearest_neighbours"]')
    project.edit(
        "estimation/tasks.py",
        '    raise ValueError(f"there is no model',
        '    if name == "nearest_neighbours":\n        return make_pipeline(StandardScaler(), KNeighborsClassifier())\n'
        '    raise ValueError(f"there is no model',
    )
