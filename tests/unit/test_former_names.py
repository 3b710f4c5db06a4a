"""Results stay valid when a class is renamed, moved, or takes other parameters."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path

import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe.errors import DeclarationError, GraphError
from d6tpipe.interfaces import State
from d6tpipe.stores import store_at

GET = """
import d6tpipe as dp

def note(task):
    with open("ran.txt", "a") as log:
        log.write(task.task_family + "\\n")

class Get(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)
    def run(self):
        note(self)
        self.save(list(range(self.n)))
"""
TRAIN = """
@dp.requires(Get)
class Train(dp.tasks.TaskPickle):
    lr = dp.FloatParameter(default=0.1)
    def run(self):
        note(self)
        self.save({"lr": self.lr, "data": self.inputLoad()})
        self.saveMeta({"score": self.lr * 10})
        print("trained with", self.lr)
"""
REPORT = """
@dp.requires(Train)
class Report(dp.tasks.TaskJson):
    def run(self):
        note(self)
        self.save(self.inputLoad()["lr"])

class Evaluate(dp.tasks.TaskJson):
    model = dp.TaskInstanceParameter(Train)
    def run(self):
        note(self)
        self.save(self.model.outputLoad()["lr"])

class Walk(dp.tasks.TaskJson):
    def run(self):
        note(self)
        found = []
        for lr in (0.1, 0.2):
            target = yield Train(lr=lr)
            found.append(target.load()["lr"])
        self.save(found)
"""
FLOW = GET + TRAIN + REPORT
RENAMED = FLOW.replace("Train", "Fit").replace("@dp.requires(Get)", '@dp.renamed_from("Train")\n@dp.requires(Get)')
RATES = (0.1, 0.2, 0.3)


@pytest.fixture(autouse=True)
def quiet(isolated, monkeypatch):
    monkeypatch.setattr(d6tpipe.settings, "execution_summary", False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(isolated)
    ours = [cls for cls in Register._reg if cls.__module__.partition(".")[0] in ("luigi", "d6tpipe")]
    monkeypatch.setattr(Register, "_reg", ours)


def define(name, text):
    """Write a module and import it, as a new process would: nothing is left of an earlier one of this name."""
    drop(name)
    Path(f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def drop(name):
    sys.modules.pop(name, None)
    Path(f"{name}.py").unlink(missing_ok=True)
    Register._reg[:] = [cls for cls in Register._reg if cls.__module__ != name]


def ran():
    """Return the families of the bodies that ran since the last question."""
    path = Path("ran.txt")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(found)


def everything_in(folder="data"):
    return {
        str(path): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and ".d6tpipe" not in path.parts
    }


def goals(flow, name):
    cls = getattr(flow, name)
    return [
        *[flow.Report(lr=lr) for lr in RATES],
        *[flow.Evaluate(model=cls(lr=lr)) for lr in RATES],
        flow.Walk(),
    ]


def build(flow, name="Train"):
    d6tpipe.run(goals(flow, name))
    return ran()


# ---- months of results


@pytest.mark.parametrize("stale", ["ignore", "warn", "rerun"])
def test_after_a_rename_nothing_runs_neither_the_class_nor_what_needs_it(stale):
    assert sorted(["Get", *3 * ["Train"], *3 * ["Report"], *3 * ["Evaluate"], "Walk"]) == build(define("flow", FLOW))
    before = everything_in()
    flow = define("flow", RENAMED)
    for _ in range(3):
        result = d6tpipe.run(goals(flow, "Fit"), stale=stale)
        assert [] == ran()
        assert {State.FRESH} == set(result.table()["state"].map(State)) if "state" in result.table() else True
    assert before == everything_in()


def test_what_was_not_renamed_in_the_decorator_is_built_anew():
    build(define("flow", FLOW))
    flow = define("flow", FLOW.replace("Train", "Fit"))
    d6tpipe.run(goals(flow, "Fit"), stale="rerun")
    assert sorted([*3 * ["Fit"], *3 * ["Report"], *3 * ["Evaluate"], "Walk"]) == ran()


MIGRATED = (
    FLOW.replace("Train", "Fit")
    .replace("@dp.requires(Get)", '@dp.migrates_from("Train", convert)\n@dp.requires(Get)')
    .replace(
        "lr = dp.FloatParameter(default=0.1)",
        "lr = dp.FloatParameter(default=0.1)\n    steps = dp.IntParameter(default=100)",
    )
    .replace(
        "@dp.migrates",
        'def convert(old):\n    return {"lr": old["lr"], "n": old["n"], "steps": 100}\n\n@dp.migrates',
    )
)


@pytest.mark.parametrize("stale", ["ignore", "warn", "rerun"])
def test_after_a_change_of_parameters_with_a_conversion_nothing_runs(stale):
    d6tpipe.run([define("flow", FLOW).Report(lr=lr) for lr in RATES])
    ran()
    before = everything_in()
    text = MIGRATED.replace("@dp.requires(Fit)\nclass Report", "class Report").replace(
        "class Report(dp.tasks.TaskJson):",
        "class Report(dp.tasks.TaskJson):\n    lr = dp.FloatParameter(default=0.1)\n    n = dp.IntParameter(default=1)\n"
        "    def requires(self):\n        return Fit(lr=self.lr, n=self.n)",
    )
    flow = define("flow", text)
    for _ in range(3):
        d6tpipe.run([flow.Report(lr=lr) for lr in RATES], stale=stale)
        assert [] == ran()
    assert before == everything_in()
    d6tpipe.run(flow.Fit(steps=7), stale=stale)
    assert ["Fit"] == ran()
