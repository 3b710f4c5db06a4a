"""Many inputs: flat, below each other, one by one; files that are made elsewhere; names of an aggregator's tasks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import d6tpipe
from d6tpipe import ExternalFile, glob, sweep
from d6tpipe.errors import BuildError, GraphError, OutputKeyError, ParameterError


class Part(d6tpipe.tasks.TaskPqPandas):
    i = d6tpipe.IntParameter()

    def run(self) -> None:
        self.save(pd.DataFrame({"value": [self.i, self.i + 10]}))


class Number(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()

    def run(self) -> None:
        self.save(self.i)


@pytest.fixture(autouse=True)
def quiet() -> None:
    d6tpipe.settings.execution_summary = False


def run_with(required: Any, body: Any) -> Any:
    class Consumer(d6tpipe.tasks.TaskPickle):
        number = d6tpipe.IntParameter()

        def requires(self) -> Any:
            return required

        def run(self) -> None:
            self.save(body(self))

    task = Consumer(number=next(_numbers))
    d6tpipe.run(task)
    return task.outputLoad()


_numbers = itertools.count()


def test_frames_come_below_each_other_with_the_name_of_their_requirement() -> None:
    found = run_with({"a": Part(i=1), "b": Part(i=2)}, lambda task: task.inputLoad(concat="source"))
    assert found.to_dict("list") == {"value": [1, 11, 2, 12], "source": ["a", "a", "b", "b"]}
    found = run_with(sweep(Part, i=[3, 4]), lambda task: task.inputLoad(concat="id"))
    assert list(found["id"]) == ["i=3", "i=3", "i=4", "i=4"]
    found = run_with([Part(i=5), Part(i=6)], lambda task: task.inputLoad(concat="part"))
    assert set(found["part"]) <= {"0", "1", "i=5", "i=6"}
    found = run_with({"x": [Part(i=1)], "y": {"z": Part(i=2)}}, lambda task: task.inputLoad(concat="place"))
    assert list(found["place"].unique())[1] == "y/z"


def test_values_can_be_had_in_one_list() -> None:
    structure = {"x": [Number(i=1), Number(i=2)], "y": {"z": Number(i=3)}, "w": Number(i=4)}
    assert run_with(structure, lambda task: task.inputLoad(flat=True)) == [1, 2, 3, 4]
    assert run_with(structure, lambda task: task.inputLoad(task="x", flat=True)) == [1, 2]


def test_inputs_can_be_loaded_one_by_one() -> None:
    loaded: list[str] = []

    def body(task: Any) -> Any:
        values = []
        for name, value in task.iterInput():
            loaded.append(name)
            values.append(value)
            if value == 2:
                break
        return values

    assert run_with({"a": Number(i=1), "b": Number(i=2), "c": Number(i=3)}, body) == [1, 2]
    assert loaded == ["a", "b"]
    assert not hasattr(Number(i=1), "iterInput")


def test_what_is_no_frame_or_has_the_column_is_told() -> None:
    with pytest.raises(BuildError) as caught:
        run_with({"a": Part(i=1), "b": Number(i=1)}, lambda task: task.inputLoad(concat="source"))
    assert isinstance(caught.value.failures[0].error, OutputKeyError) and "needs DataFrames" in str(caught.value)
    with pytest.raises(BuildError, match="has such a column"):
        run_with({"a": Part(i=1)}, lambda task: task.inputLoad(concat="value"))


# ---- aggregators


class Some(d6tpipe.tasks.TaskAggregator):
    def run(self) -> Any:
        yield sweep(Number, {"one": {"i": 1}, "two": {"i": 2}})
        yield {"three": Number(i=3), "more": [Number(i=4)]}
        yield Number(i=5)


def test_an_aggregator_loads_by_id_key_or_position() -> None:
    d6tpipe.run(Some())
    assert Some().outputLoad() == [1, 2, 3, 4, 5]
    assert Some().outputLoad(as_dict=True) == {"one": 1, "two": 2, "three": 3, "more/0": 4, "4": 5}
    found = run_with({"all": Some()}, lambda task: dict(task.iterInput()))
    assert found == {"all/one": 1, "all/two": 2, "all/three": 3, "all/more/0": 4, "all/4": 5}


# ---- files


@pytest.fixture
def raw() -> Path:
    folder = Path("raw")
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.csv").write_text(f"x,y\n1,{name}\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "c.csv").write_text("x,y\n2,c\n")
    return folder


class Clean(d6tpipe.tasks.TaskPqPandas):
    def requires(self) -> Any:
        return glob("raw/*.csv", min=1)

    def run(self) -> None:
        self.save(self.inputLoad(concat="file"))


def test_a_pattern_gives_a_task_for_each_file_in_order(raw: Path) -> None:
    found = glob("raw/*.csv")
    assert list(found) == ["a", "b"] and all(isinstance(task, ExternalFile) for task in found.values())
    assert list(glob(raw / "**" / "*.csv", key="name")) == ["a.csv", "b.csv", "c.csv"]
    assert list(glob("raw/**/*.csv", key=lambda path: path.parent.name + "-" + path.stem))[-1] == "deep-c"
    assert list(glob("raw/*", key="path")) == ["raw/a.csv", "raw/b.csv"]
    assert glob("nothing/*.csv") == {}


def test_a_new_file_makes_stale_what_needs_all_and_nothing_else(raw: Path) -> None:
    class OnlyA(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return ExternalFile("raw/a.csv")

        def run(self) -> None:
            self.save(len(self.inputLoad()))

    d6tpipe.run([Clean(), OnlyA()])
    assert list(Clean().outputLoad()["file"]) == ["a", "b"] and OnlyA().outputLoad() == 1
    assert d6tpipe.run([Clean(), OnlyA()], stale="rerun").counts.keys() == {"fresh"}
    (raw / "d.csv").write_text("x,y\n3,d\n")
    states = d6tpipe.run([Clean(), OnlyA()], stale="rerun").states
    assert (str(states[Clean()]), str(states[OnlyA()])) == ("built", "fresh")
    (raw / "a.csv").write_text("x,y\n9,a\n")
    states = d6tpipe.run([Clean(), OnlyA()], stale="rerun").states
    assert (str(states[Clean()]), str(states[OnlyA()])) == ("built", "built")


def test_too_few_files_and_equal_keys_are_errors(raw: Path) -> None:
    with pytest.raises(GraphError, match="fits 2 files, and there must be 3"):
        glob("raw/*.csv", min=3)
    with pytest.raises(GraphError, match="go by the key 'csv'"):
        glob("raw/*.csv", key=lambda path: path.suffix[1:])
    with pytest.raises(ParameterError, match="Did you mean 'stem'"):
        glob("raw/*.csv", key="stm")
    for path in raw.glob("*.csv"):
        path.unlink()
    with pytest.raises(GraphError, match="must be 1"):
        d6tpipe.run(Clean())


def test_a_file_that_is_missing_is_told(raw: Path) -> None:
    with pytest.raises(BuildError, match="external"):
        run_with(ExternalFile("raw/zzz.csv"), lambda task: 1)
