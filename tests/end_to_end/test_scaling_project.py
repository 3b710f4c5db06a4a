"""examples/scaling: four data sets times three models, and each edit of a config runs what it adds and nothing else.

Each run is a fresh process, as a user would start it. What has run is told twice: by the result of the run, and by the
output files that are new or were written again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = [f"data_{number}" for number in range(4)]
MODELS = ["decision_tree", "linear_probability", "logistic_model"]
TARGET = "my_project.estimation.tasks:ESTIMATIONS"
DRIVER = """
import json, sys
import d6tpipe
from my_project.data_preparation.tasks import PREPARED
from my_project.estimation.tasks import ESTIMATIONS

names = {task: name for sweep in (PREPARED, ESTIMATIONS) for name, task in sweep.items()}
for options in json.loads(sys.argv[1]):
    result = d6tpipe.run(ESTIMATIONS, execution_summary=False, **options)
    built = [names[task] for task, state in result.states.items() if str(state) == "built"]
    print(json.dumps({"counts": result.counts, "built": sorted(built)}))
"""

pytestmark = pytest.mark.slow


def fits(*datas: str) -> list[str]:
    """Return the ids of all estimations of data sets."""
    return [f"{data}_{model}" for data in datas for model in MODELS]


class Project:
    """A copy of the project, to be edited and run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.src = folder, folder / "src"
        left = shutil.ignore_patterns("bld", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "examples" / "scaling", folder, ignore=left)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.src / "my_project" / file
        text = path.read_text(encoding="utf-8")
        assert 1 == text.count(old), text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.src, env=environment, capture_output=True, text=True
        )  # my_project is found because it lies in the working folder

    def run(self, **options: Any) -> list[str]:
        """Run the estimations; return the ids of what was built, sorted."""
        return self.runs(options)[0]

    def runs(self, *all_options: dict[str, Any]) -> list[list[str]]:
        """Run the estimations several times in one process."""
        before = self.outputs()
        done = self.python("-c", DRIVER, json.dumps(all_options))
        assert 0 == done.returncode, done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one["counts"].get("built", 0) for one in told] == [len(one["built"]) for one in told]
        assert sum(len(one["built"]) for one in told) == len(self.written_since(before))
        assert all(set(one["counts"]) <= {"built", "fresh"} for one in told)  # no edit has made anything stale
        return [one["built"] for one in told]

    def command(self, *words: str) -> tuple[int, str, dict[str, int]]:
        """Run ``d6tpipe ...``; return its exit code, what it said, and how many of each class were built."""
        before = self.outputs()
        done = self.python("-m", "d6tpipe", *words)
        families = [path.parent.name for path in self.written_since(before)]
        return done.returncode, done.stdout + done.stderr, {name: families.count(name) for name in sorted(families)}

    def outputs(self) -> dict[Path, tuple[int, int]]:
        facts = {path: path.stat() for path in self.folder.glob("bld/*/*-data.*")}
        return {path: (fact.st_ino, fact.st_mtime_ns) for path, fact in facts.items()}

    def written_since(self, before: dict[Path, tuple[int, int]]) -> list[Path]:
        return [path for path, fact in self.outputs().items() if before.get(path) != fact]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "scaling")


def test_each_edit_of_a_config_runs_what_it_adds(project: Project) -> None:
    assert sorted([*DATA, *fits(*DATA)]) == project.run()
    assert [] == project.run()

    # a model more: its estimations
    models = "estimation/config.py"
    project.edit(models, "MODELS = {", 'MODELS = {\n    "naive": {"class": "sklearn.naive_bayes.GaussianNB"},')
    assert [f"{data}_naive" for data in DATA] == project.run()

    # a data set more: its preparation and its estimations
    data = "data_preparation/config.py"
    project.edit(data, "DATA = {", 'DATA = {\n    "small": {"subset": "subset_1", "trim": 0.1},')
    assert sorted(["small", "small_naive", *fits("small")]) == project.run()

    # another id, and another order: nothing
    project.edit(data, '"data_0": {"subset": "subset_1"},', "")
    project.edit(data, 'subset_4"},', 'subset_4"},\n    "first": {"subset": "subset_1"},')
    project.edit(models, '"logistic_model"', '"logit"')
    assert [] == project.run(stale="rerun")

    # another value of a data set: its preparation and its estimations
    project.edit(data, '"subset": "subset_2"', '"subset": "subset_2", "trim": 0.05')
    changed = [f"data_1_{model}" for model in ("decision_tree", "linear_probability", "logit", "naive")]
    assert ["data_1", *changed] == project.run()

    # another option of a model: its estimations
    project.edit(models, '"max_depth": 4', '"max_depth": 2')
    assert [f"{name}_decision_tree" for name in ("data_1", "data_2", "data_3", "first", "small")] == project.run()

    # less of everything: nothing
    project.edit(data, '"small": {"subset": "subset_1", "trim": 0.1},', "")
    assert [] == project.run()


def test_a_selection_runs_what_it_needs_and_no_more(project: Project) -> None:
    expected = {
        "linear_probability and data_0": ["data_0", "data_0_linear_probability"],
        "[data_0_linear_probability]": [],
        "[data_0]+": ["data_0_decision_tree", "data_0_logistic_model"],
        "PrepareData[data_1]": ["data_1"],
        "@state=missing and data=data_1 and tree": ["data_1_decision_tree"],
        "data.subset=subset_3 and model.C<1": ["data_2", "data_2_logistic_model"],
        "not (data_0 or data_1 or data_2)": ["data_3", *fits("data_3")],
    }
    built = project.runs(*[{"select": expression} for expression in expected], {"marks": "costly"})
    assert list(expected.values()) == built[:-1]
    assert 4 == len(built[-1])


def test_the_results_are_those_of_the_models(project: Project) -> None:
    code = """
import json
from my_project.data_preparation.tasks import PREPARED
from my_project.estimation.tasks import ESTIMATIONS
ESTIMATIONS.run(workers=2)
rows = {name: len(df) for name, df in PREPARED.load().items()}
meta = {name: task.outputLoadMeta()["accuracy"] for name, task in ESTIMATIONS.items()}
kinds = {name: type(model[-1]).__name__ for name, model in ESTIMATIONS.load().items()}
print(json.dumps([rows, meta, kinds]))
"""
    done = project.python("-c", code)
    assert 0 == done.returncode, done.stderr
    rows, accuracies, kinds = json.loads(done.stdout.splitlines()[-1])
    assert {"data_0": 143, "data_1": 142, "data_2": 142, "data_3": 142} == rows
    assert set(accuracies) == set(kinds) == set(fits(*DATA))
    assert all(0.8 < accuracy < 1 for accuracy in accuracies.values()), accuracies
    assert 0.9535 == pytest.approx(accuracies["data_2_logistic_model"], abs=1e-3)
    classes = {"linear_probability": "LinearRegression", "logistic_model": "LogisticRegression",
               "decision_tree": "DecisionTreeClassifier"}  # fmt: skip
    assert all(classes[name[len("data_0_") :]] == kind for name, kind in kinds.items())


def test_it_says_how_to_compare_the_models(project: Project) -> None:
    first, second = project.python("-m", "my_project"), project.python("-m", "my_project")
    assert re.search(r"^\* 16 built", first.stdout, re.M), first.stdout + first.stderr
    assert re.search(r"^data_2_logistic_model +0\.953$", first.stdout, re.M)
    assert re.search(r"^\* 16 complete", second.stdout, re.M)


# ---- on the command line


def test_the_command_line_selects_too(project: Project) -> None:
    code, said, built = project.command("run", TARGET, "-k", "linear_probability and data_0")
    assert (0, {"EstimateModel": 1, "PrepareData": 1}) == (code, built), said
    code, said, built = project.command("run", TARGET, "-k", "tree", "-m", "costly", "-n", "2")
    assert (0, {"EstimateModel": 4, "PrepareData": 3}) == (code, built), said
    code, said, built = project.command("list", TARGET, "-k", "[data_3]+")
    assert [f"EstimateModel[{name}]" for name in fits("data_3")] + ["PrepareData[data_3]"] == sorted(
        line.rpartition(".")[2] for line in said.splitlines()
    )
    code, said, built = project.command("run", TARGET)
    assert (0, {"EstimateModel": 7}) == (code, built), said
    code, said, built = project.command("run", TARGET)
    assert (0, {}) == (code, built), said


def test_a_selection_of_nothing_and_a_wrong_one_run_nothing(project: Project) -> None:
    for expression, wanted, words in (
        ("linear_probability_data_0", 5, "Did you mean: linear_probability and data_0;"),
        ("data_0 and", 4, "column 11: it ends here"),
    ):
        code, said, built = project.command("run", TARGET, "-k", expression)
        assert (wanted, {}) == (code, built), said
        assert words in said
    done = project.python("-c", DRIVER, json.dumps([{"select": "linear_probability_data_0"}]))
    assert "NothingSelectedError" in done.stderr and "Did you mean: linear_probability and data_0;" in done.stderr
    assert not list(project.folder.glob("bld/*/*"))


def test_exit_codes_of_selections(project: Project) -> None:
    """All in one process: what ``d6tpipe`` exits with is what its ``main`` returns."""
    expected = {
        ("-k", "@stale"): 5,
        ("-k", "data_0", "-m", "freeze"): 5,
        ("-k", "data_9"): 5,
        ("-k", "modell=x"): 4,
        ("-k", ""): 4,
        ("-m", "costli"): 4,
        ("-m", "costly>1"): 4,
        ("-k", "data_0", "--dry-run"): 0,
    }
    code = "import json, sys; from d6tpipe.cli import main\nprint([main(words) for words in json.loads(sys.argv[1])])"
    done = project.python("-c", code, json.dumps([["run", TARGET, *options] for options in expected]))
    assert str(list(expected.values())) == done.stdout.splitlines()[-1], done.stdout + done.stderr
    for words in ("Did you mean 'model'?", "Did you mean 'costly'?", "Marks have a name and nothing else"):
        assert words in done.stderr
    assert not list(project.folder.glob("bld/*/*"))
