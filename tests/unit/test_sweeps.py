"""Sweeps: ids, entries, stacking, errors; points: sizes, order, uniqueness."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import itertools
import os
import pickle
import random
import subprocess
import sys
import textwrap
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

import d6tpipe
from d6tpipe import product, sweep, zipped
from d6tpipe.errors import ExpressionError, NothingSelectedError, ParameterError, shown
from d6tpipe.labels import ids_of
from d6tpipe.points import Axis, Points


class Prepare(d6tpipe.tasks.TaskPickle):
    subset = d6tpipe.Parameter()
    dataset = d6tpipe.Parameter(default="data")

    def run(self) -> None:
        self.save(self.subset)


class Fit(d6tpipe.tasks.TaskPickle):
    data = d6tpipe.TaskInstanceParameter(Prepare)
    model = d6tpipe.Parameter(default="ols")
    lr = d6tpipe.FloatParameter(default=0.1)

    def run(self) -> None:
        self.save((self.data.outputLoad(), self.model))


class Plot(d6tpipe.tasks.TaskPickle):
    fit = d6tpipe.TaskInstanceParameter(Fit)
    kind = d6tpipe.Parameter()

    def run(self) -> None:
        self.save(self.kind)


DATA = {f"data_{i}": {"subset": f"subset_{i}"} for i in range(4)}
MODELS = ["linear_probability", "logistic_model", "decision_tree"]


@pytest.fixture(autouse=True)
def quiet() -> None:
    d6tpipe.settings.execution_summary = False


def prepared() -> Any:
    return sweep(Prepare, DATA, common={"dataset": "data"})


def fitted() -> Any:
    return sweep(Fit, product(data=prepared(), model=MODELS), id="{data}_{model}")


# ---- entries and ids


def test_a_mapping_makes_tasks_under_its_keys_in_order() -> None:
    found = prepared()
    assert list(found) == list(found.ids) == list(DATA) and len(found) == 4
    assert found["data_2"] is Prepare(subset="subset_2")
    assert [task.subset for task in found.values()] == [entry["subset"] for entry in DATA.values()]
    assert dict(found) == {name: Prepare(**values) for name, values in DATA.items()}


def test_entries_may_be_named_tuples_dataclasses_and_tasks() -> None:
    Row = namedtuple("Row", ["subset"])

    @dataclasses.dataclass
    class Data:
        subset: str
        dataset: str = "other"

    found = sweep(Prepare, {"a": Row("x"), "b": Data("y"), "c": Prepare(subset="z"), "d": {"subset": "w"}})
    assert [task.subset for task in found.tasks] == ["x", "y", "z", "w"] and found["b"].dataset == "other"


def test_an_entry_beats_what_is_common() -> None:
    found = sweep(Prepare, {"a": {"subset": "x"}, "b": {"subset": "y", "dataset": "mine"}}, common={"dataset": "all"})
    assert [task.dataset for task in found.tasks] == ["all", "mine"]


def test_a_label_is_the_class_and_the_id_and_no_part_of_the_identity() -> None:
    task = prepared()["data_0"]
    assert shown(task).endswith("test_sweeps.Prepare[data_0]")
    same = Prepare(subset="subset_0")
    assert task is same and task.task_id == Prepare.from_str_params(task.to_str_params()).task_id
    renamed = sweep(Prepare, {"first": {"subset": "subset_0"}})
    assert renamed["first"] is task and ids_of(task)[-1] == "first"


def test_renaming_and_extending_a_sweep_builds_only_what_is_new() -> None:
    assert d6tpipe.run(sweep(Prepare, {"only": {"subset": "a"}})).counts == {"built": 1}
    result = d6tpipe.run(sweep(Prepare, {"first": {"subset": "a"}, "second": {"subset": "b"}}))
    assert result.counts == {"fresh": 1, "built": 1}


def test_ids_are_made_of_what_varies() -> None:
    assert list(sweep(Prepare, subset=["a", "b"]).ids) == ["subset=a", "subset=b"]
    assert list(sweep(Prepare, dataset=["u"], subset=["a", "b"]).ids) == ["subset=a,dataset=u", "subset=b,dataset=u"]
    assert list(sweep(Prepare, subset=["a", "b"], dataset="u").ids) == ["subset=a", "subset=b"]
    assert list(sweep(Prepare, [{"subset": "a"}, {"subset": "b"}]).ids) == ["subset=a", "subset=b"]
    assert list(sweep(Prepare, [{"subset": "a", "dataset": "d"}]).ids) == ["subset=a,dataset=d"]


def test_what_stands_for_a_value_never_depends_on_its_place() -> None:
    class Colour(enum.Enum):
        RED = 1

    class Any_(d6tpipe.tasks.TaskPickle):
        value = d6tpipe.Parameter()

    values = [(1, 2), [3], {"a": 1}, "x" * 300, "a[b]", datetime.date(2020, 1, 2), Colour.RED, None, 1.5, True]
    ids = list(sweep(Any_, value=values).ids)
    assert len(set(ids)) == len(ids)
    shuffled = random.Random(3).sample(values, len(values))
    assert sorted(sweep(Any_, value=shuffled).ids) == sorted(ids)
    assert {"value=2020-01-02", "value=RED", "value=None", "value=1.5", "value=True"} <= set(ids)
    assert all(len(name) < 30 for name in ids)


def test_a_template_may_format_values_and_look_into_tasks() -> None:
    found = sweep(Fit, product(data=prepared(), lr=[0.1, 0.25]), id="{data.subset}-{lr:.2f}")
    assert list(found.ids)[:2] == ["subset_0-0.10", "subset_0-0.25"]
    assert list(sweep(Prepare, product(subset=["a"]), id="{subset}@{dataset}", common={"dataset": "d"}).ids) == ["a@d"]


@pytest.mark.parametrize("width", [0, 1])
def test_sweeps_of_no_and_of_one_task_work(width: int) -> None:
    for found in (sweep(Prepare, subset=["a"][:width]), sweep(Prepare, dict(itertools.islice(DATA.items(), width)))):
        assert len(found) == len(found.tasks) == width
        assert d6tpipe.run(found).ok and len(found.load()) == width
    assert len(sweep(Fit, product(data=sweep(Prepare, {}), model=MODELS), id="{data}_{model}")) == 0


# ---- stacking


def test_sweeps_stack() -> None:
    data, fits = prepared(), fitted()
    assert len(fits) == 12 and list(fits.ids)[:2] == ["data_0_linear_probability", "data_0_logistic_model"]
    assert fits["data_0_logistic_model"].data is data["data_0"]
    result = d6tpipe.run(fits)
    assert result.counts == {"built": 16}
    more = sweep(Fit, product(data=data, model=[*MODELS, "forest"]), id="{data}_{model}")
    assert d6tpipe.run(more).counts == {"fresh": 16, "built": 4}
    wider = sweep(Prepare, {**DATA, "data_4": {"subset": "subset_4"}})
    assert d6tpipe.run(sweep(Fit, product(data=wider, model=MODELS), id="{data}_{model}")).counts == {
        "fresh": 16,
        "built": 4,
    }
    renamed = sweep(Fit, product(model=MODELS, data=data), id="{model}/{data}")
    assert d6tpipe.run(renamed).counts == {"fresh": 16}


def test_then_stacks_a_class_on_a_sweep() -> None:
    plots = fitted().then(Plot, kind=["roc", "calib"])
    assert len(plots) == 24 and list(plots.ids)[:2] == [
        "data_0_linear_probability_roc",
        "data_0_linear_probability_calib",
    ]
    assert d6tpipe.run(plots).counts == {"built": 40}
    assert list(prepared().then(Fit, model="ols").ids) == list(DATA)


def test_then_has_to_know_the_parameter() -> None:
    class Both(d6tpipe.tasks.TaskPickle):
        left = d6tpipe.TaskInstanceParameter(Prepare)
        right = d6tpipe.TaskInstanceParameter(Prepare, default=None)

    with pytest.raises(ParameterError, match="into="):
        prepared().then(Both)
    assert prepared().then(Both, into="left")["data_1"].left is prepared()["data_1"]
    with pytest.raises(ParameterError, match="no parameter 'middle'"):
        prepared().then(Both, into="middle")
    with pytest.raises(ParameterError, match="none"):
        fitted().then(Prepare)


def test_sweeps_can_be_joined_filtered_and_selected() -> None:
    fits = fitted()
    assert len(fits.where(lambda task: task.model != "decision_tree")) == 8
    assert len(prepared() + fits) == 16
    with pytest.raises(ParameterError, match="have the id 'data_0'"):
        (prepared() + prepared()).ids
    assert list(fits.select("logistic and [data_0_logistic_model]").ids) == ["data_0_logistic_model"]
    assert len(fits.select("data.subset=subset_1")) == 3
    assert len(fits.select("data=data_1 and lr>=0.1")) == 3
    with pytest.raises(NothingSelectedError, match="linear_probability and data_0"):
        fits.select("linear_probability_data_0")
    with pytest.raises(ExpressionError, match="column 7"):
        fits.select("lr>=0 an")


def test_dotted_names_change_the_task_that_is_a_value() -> None:
    base = Prepare(subset="a")
    found = sweep(Fit, product(**{"data.dataset": ["x", "y"], "lr": [0.1, 0.2]}), common={"data": base})
    assert [task.data.dataset for task in found.tasks] == ["x", "x", "y", "y"]
    assert {task.data.subset for task in found.tasks} == {"a"}
    assert found.ids[0] == "data.dataset=x,lr=0.1"


# ---- mistakes


def test_all_bad_entries_are_in_one_message_with_their_ids() -> None:
    with pytest.raises(ParameterError) as caught:
        sweep(Prepare, {"a": {"subst": "x"}, "b": {}, 3: {"subset": "z"}, "c": {"subset": "x"}, "d": {"subset": "x"},
                        "e": 7, "[f]": {"subset": "q"}})  # fmt: skip
    said = str(caught.value)
    assert "6 bad entries" in said
    for words in ("a    ", "'subst'", "needs a value", "d    ", "same task as 'c'", "named tuple", "[f]"):
        assert words in said, said
    with pytest.raises(ParameterError) as caught:
        sweep(Fit, data=prepared(), mdel=["x"], lr=[0.1, "much", 0.1])
    said = str(caught.value)
    assert "3 bad entries" in said and "Fit has no parameter 'mdel'" in said and "lr=much" in said and "twice" in said


def test_two_ids_of_one_task_may_be_allowed() -> None:
    found = sweep(Prepare, {"a": {"subset": "x"}, "b": {"subset": "x"}}, allow_alias=True)
    assert found["a"] is found["b"]


def test_a_template_that_leaves_something_out_is_told_with_two_points() -> None:
    with pytest.raises(ParameterError) as caught:
        sweep(Fit, product(data=prepared(), model=MODELS), id="{data}").tasks
    assert "data=data_0, model=linear_probability" in str(caught.value)
    assert "data=data_0, model=logistic_model" in str(caught.value)
    with pytest.raises(ParameterError, match=r"Did you mean \{data\}"):
        sweep(Fit, product(data=prepared(), model=MODELS), id="{dta}")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sweep("Fit"), "needs a task class"),
        (lambda: sweep(Prepare, {"a": {"subset": "x"}}, dataset=["a"]), "not both"),
        (lambda: sweep(Prepare, 3), "needs a mapping"),
        (lambda: product(model="ols"), "must be a list"),
        (lambda: product(product(a=[1]), a=[2]), "comes up twice"),
        (lambda: zipped(a=[1], b=[1, 2]), "equally many"),
        (lambda: product([1, 2]), "by name"),
        (lambda: sweep(Fit, data=fitted()), "expected tasks of the class Prepare"),
        (lambda: sweep(Prepare, dataset=["a"]), "needs a value for parameter 'subset'"),
        (lambda: sweep(Prepare, {"a": {"subset": "x"}}, marks={"b": "smoke"}), "does not have: 'b'"),
        (lambda: Fit(data=Prepare), "add the parentheses"),
        (lambda: Fit(data=Fit), "add the parentheses"),
        (lambda: d6tpipe.TaskInstanceParameter("Fit"), "needs a task class"),
    ],
)
def test_mistakes_say_what_to_do(make: Any, words: str) -> None:
    with pytest.raises(d6tpipe.errors.PipeError, match=words):
        made = make()
        made.ids


# ---- laziness


def test_a_million_points_are_counted_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(Prepare, "note_made", lambda self: made.append(self), raising=False)
    points = product(subset=range(1000), dataset=range(1000))
    before = len(Prepare.__dict__)
    found = sweep(Prepare, points, id="{subset}/{dataset}")
    assert len(points) == len(found) == 1_000_000
    assert found._made_few == {} and len(Prepare.__dict__) == before
    assert points[999_999].values == {"subset": 999, "dataset": 999}


def test_a_task_is_found_by_its_id_without_making_the_others() -> None:
    found = sweep(Prepare, product(subset=range(100), dataset=range(100)), id="{subset}/{dataset}")
    assert found["7/8"].subset == 7
    assert [task for task in found._made if task is not None] == [found["7/8"]]


# ---- requirements, aggregators


def test_a_sweep_may_be_required_and_yielded() -> None:
    class Needs(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return {"all": prepared(), "one": Prepare(subset="one")}

        def run(self) -> None:
            self.save({"all": [target.load() for target in self.input()["all"].values()]})

    class Only(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return prepared()

        def run(self) -> None:
            self.save(self.inputLoad())

    class All(d6tpipe.tasks.TaskAggregator):
        def run(self) -> Any:
            yield sweep(Prepare, subset=["u", "v"])

    assert d6tpipe.run([Needs(), Only(), All()]).ok
    assert Needs().outputLoad()["all"] == ["subset_0", "subset_1", "subset_2", "subset_3"]
    assert Only().outputLoad() == {name: entry["subset"] for name, entry in DATA.items()}
    assert All().outputLoad() == ["u", "v"]


# ---- tasks as values


def test_a_task_as_a_value_is_part_of_the_identity_and_is_built_before() -> None:
    one, other = Fit(data=Prepare(subset="a")), Fit(data=Prepare(subset="b"))
    assert one != other and one.task_id != other.task_id
    assert d6tpipe.run(one).counts == {"built": 2}
    assert one.outputLoad() == ("a", "ols") and one.requires() == []
    assert Fit.from_str_params(one.to_str_params()) is one
    assert pickle.loads(pickle.dumps(one)) is one
    d6tpipe.run(Prepare(subset="a"), forced_all=True)
    assert d6tpipe.run(one, stale="rerun").counts == {"fresh": 2}
    Prepare(subset="a").save("changed")
    result = d6tpipe.run(one, stale="rerun", dry_run=True)
    assert str(result.states[one]) == "pending"
    Prepare(subset="b").reset(confirm=False)
    assert not other.complete()


def test_a_text_that_is_no_task_is_told_so() -> None:
    parameter = d6tpipe.TaskInstanceParameter(Prepare)
    for text, words in (
        ("{", "as JSON"),
        ("[1]", '"module"'),
        ('{"module": "nowhere", "class": "X", "params": {}}', "no class X"),
        ('{"module": "json", "class": "JSONDecoder", "params": {}}', "not a class of tasks or configs"),
    ):
        with pytest.raises(ValueError, match=words):
            parameter.parse(text)


# ---- points, against lists


def naive(points: list[list[dict[str, Any]]], kind: str) -> list[dict[str, Any]]:
    if kind == "zip":
        return [{k: v for part in row for k, v in part.items()} for row in zip(*points, strict=True)]
    return [{k: v for part in row for k, v in part.items()} for row in itertools.product(*points)]


def random_points(rng: random.Random, names: list[str], depth: int = 2) -> tuple[Points, list[dict[str, Any]]]:
    if depth == 0 or len(names) == 1 or rng.random() < 0.2:
        name = names.pop()
        values = [rng.randrange(100) for _ in range(rng.randrange(4))]
        return Axis(name, values), [{name: value} for value in values]
    parts = [random_points(rng, names, depth - 1) for _ in range(min(len(names), rng.randrange(1, 4))) if names]
    if len({len(listed) for _, listed in parts}) == 1 and rng.random() < 0.5:
        return zipped(*[points for points, _ in parts]), naive([listed for _, listed in parts], "zip")
    return product(*[points for points, _ in parts]), naive([listed for _, listed in parts], "product")


@pytest.mark.parametrize("seed", range(200))
def test_points_are_those_of_lists(seed: int) -> None:
    points, listed = random_points(random.Random(seed), list("abcdefghi"))
    assert len(points) == len(listed)
    assert [point.values for point in points] == listed
    for index in range(-len(listed), len(listed)):
        assert points[index].values == listed[index]
    with pytest.raises(IndexError):
        points[len(listed)]
    assert [point.values for point in points[1:3]] == listed[1:3]


def test_a_script_that_is_run_and_one_that_is_imported_have_the_same_tasks() -> None:
    script = Path("pipeline.py")
    script.write_text(
        textwrap.dedent(
            """
            import d6tpipe
            class Up(d6tpipe.tasks.TaskPickle):
                i = d6tpipe.IntParameter()
            class Down(d6tpipe.tasks.TaskPickle):
                up = d6tpipe.TaskInstanceParameter(Up)
            task = Down(up=Up(i=1))
            if __name__ == "__main__":
                print(task.task_id)
                assert Down.from_str_params(task.to_str_params()) is task
            """
        )
    )
    ran = subprocess.run([sys.executable, "pipeline.py"], capture_output=True, text=True, check=True, env=with_path())
    code = "import pipeline; print(pipeline.task.task_id)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=with_path())
    assert ran.stdout == imported.stdout and ran.stdout.startswith("Down_")


def with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(d6tpipe.__file__).parents[1]), os.getcwd()])}


CELL = """
class CellPrepare(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        self.save(self.i * {by})
"""
CELL_FIT = """
class CellFit(d6tpipe.tasks.TaskPickle):
    data = d6tpipe.TaskInstanceParameter(CellPrepare)
    k = d6tpipe.IntParameter()
    def run(self):
        self.save(self.data.outputLoad() * self.k)
FITS = d6tpipe.sweep(CellPrepare, {{"a": {{"i": 1}}, "b": {{"i": 2}}}}).then(CellFit, k=[1, 10])
"""


def test_a_script_with_a_sweep_runs_in_processes_and_cells_may_be_run_again(tmp_path: Path) -> None:
    script = f"""
import d6tpipe
d6tpipe.settings.execution_summary = False
CELL, FIT = {CELL!r}, {CELL_FIT!r}
if __name__ == "__main__":
    exec(CELL.format(by=1) + FIT.format())
    counts = [d6tpipe.run(FITS, workers=2).counts]
    assert FITS.load() == {{"a_1": 1, "a_10": 10, "b_1": 2, "b_10": 20}}, FITS.load()
    old = FITS
    exec(CELL.format(by=3) + FIT.format())
    counts.append(d6tpipe.run(old, stale="rerun").counts)
    assert old.load()["b_10"] == 60
    exec(CELL.format(by=5))
    counts.append(d6tpipe.run(FITS, stale="rerun").counts)
    assert FITS.load()["b_10"] == 100, FITS.load()
    print([dict(one) for one in counts])
"""
    (tmp_path / "cells.py").write_text(script)
    ran = subprocess.run([sys.executable, tmp_path / "cells.py"], capture_output=True, text=True, env=with_path())
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("'built'>: 6") == 3


# ---- what users tried


class Shaped(d6tpipe.tasks.TaskPickle):
    shape = d6tpipe.DictParameter(default={})
    lr = d6tpipe.FloatParameter(default=0.5)

    def run(self) -> None:
        if self.lr < 0:
            raise ValueError("negative")
        self.save(self.lr)


def test_words_find_a_task_by_each_of_its_ids() -> None:
    first = sweep(Shaped, {"alpha": {"lr": 1.0}, "beta": {"lr": 2.0}})
    second = sweep(Shaped, {"gamma": {"lr": 1.0}})
    assert list(second.tasks) == [first["alpha"]]
    assert list(first.select("alpha")) == ["alpha"]
    assert list(second.select("alpha")) == ["gamma"]
    assert d6tpipe.run(first, select="gamma", dry_run=True).counts["pending"] == 1


def test_a_task_goes_by_the_id_of_the_sweep_that_is_used() -> None:
    first = sweep(Shaped, {"alpha": {"lr": 1.0}})
    sweep(Shaped, {"gamma": {"lr": 1.0}})
    assert "[alpha]" in d6tpipe.run(first, dry_run=True).summary_text
    assert list(first.table().index) == ["alpha"]


def test_zipped_values_may_come_up_twice_but_points_may_not() -> None:
    both = sweep(Shaped, zipped(lr=[0.5, 0.5], shape={"wide": {"w": 9}, "deep": {"d": 9}}))
    assert list(both) == ["shape=wide,lr=0.5", "shape=deep,lr=0.5"]
    assert len(set(both.tasks)) == 2
    same = sweep(Shaped, zipped(lr=[1, 1.0], shape=[{}, {}]), id="{lr}")
    with pytest.raises(ParameterError, match="is the same task as '1'; allow_alias=True"):
        same.tasks
    assert len(sweep(Shaped, zipped(lr=[1, 1.0]), id="{lr}", allow_alias=True).tasks) == 2
    with pytest.raises(ParameterError, match="comes up twice"):
        sweep(Shaped, product(lr=[1, 1.0], shape=[{}]))


def test_a_value_given_under_a_key_is_tagged_selected_and_told_by_it() -> None:
    shapes = {"wide": {"w": 9}, "deep": {"d": 9}}
    some = sweep(Shaped, shape=shapes, lr={"small": 0.1, "large": 1.0})
    assert d6tpipe.tags(some["shape=deep,lr=small"]) == {"shape": "deep", "lr": "small"}
    assert list(some.select("shape=deep and lr!=small")) == ["shape=deep,lr=large"]
    assert list(some.select("lr>=0.5 and shape.w=9")) == ["shape=wide,lr=large"]
    assert list(some.select("'shape=wide' and lr=0.1")) == ["shape=wide,lr=small"]
    frame = some.table()
    assert list(frame["shape"]) == ["wide", "wide", "deep", "deep"]
    assert list(frame["lr"]) == [0.1, 1.0, 0.1, 1.0]
    zip_names = sweep(Shaped, zipped(lr={"a": 0.25, "b": 0.25}, shape=list(shapes.values())), id="{lr}")
    assert [d6tpipe.tags(task)["lr"] for task in zip_names.tasks] == ["a", "b"]


def test_a_list_names_all_bad_entries_by_their_place() -> None:
    with pytest.raises(ParameterError) as caught:
        sweep(Shaped, [{"lr": 1}, 7, {"lr": "fast"}, {"rl": 3}, None])
    told = str(caught.value)
    assert "has 4 bad entries" in told
    assert "entry 2" in told and "entry 5" in told and "fast" in told and "'rl'" in told


def test_ids_of_a_list_have_the_default_of_what_an_entry_leaves_out() -> None:
    assert list(sweep(Shaped, [{"lr": 2.0, "shape": {}}, {"shape": {}}])) == ["lr=2.0", "lr=0.5"]
    assert list(sweep(Shaped, [{"lr": 2.0}, {}], common={"lr": 7.0})) == ["lr=2.0", "lr=7.0"]


@pytest.mark.parametrize("template", [None, "{lr}", "{lr:.2f}"])
def test_a_sweep_of_points_can_be_pickled(template: str | None) -> None:
    some = sweep(Shaped, product(lr=[0.1, 0.2]), id=template)
    again = pickle.loads(pickle.dumps(some))
    assert list(again) == list(some) and again.tasks == some.tasks


def test_sweeps_may_be_members_of_what_is_run() -> None:
    first, second = sweep(Shaped, lr=[1, 2]), sweep(Shaped, lr=[3, 4])
    assert d6tpipe.run([first, Shaped(lr=9), second]).counts["built"] == 5
    assert d6tpipe.run({"one": first, "two": second}).counts["fresh"] == 4
    assert d6tpipe.run(one for one in (first, second)).counts["fresh"] == 4
    with pytest.raises(d6tpipe.errors.GraphError, match="not a task"):
        d6tpipe.run([first, "second"])


def test_each_sweep_tolerates_its_own_failures_only() -> None:
    def result(tolerance: int, *others: Any) -> Any:
        return d6tpipe.run([sweep(Shaped, lr=[-1, 2], tolerance=tolerance), *others], abort=False)

    assert result(1)
    assert result(1, sweep(Shaped, lr=[5, 6]))
    assert not result(1, sweep(Shaped, lr=[5, -6]))
    assert not result(2, Shaped(lr=-7))


def test_a_sweep_may_be_frozen_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    some = sweep(Shaped, lr=[1, 2])
    d6tpipe.run(some)
    monkeypatch.setattr(Shaped, "version", "2", raising=False)
    assert d6tpipe.run(some, stale="rerun", dry_run=True).counts["pending"] == 2
    assert d6tpipe.run(some, stale="rerun", stale_ok=some, dry_run=True).counts["stale"] == 2
    assert d6tpipe.run(some, stale="rerun", freeze=[some]).counts["frozen"] == 2


def test_a_selected_run_looks_at_what_is_selected_and_needed_only() -> None:
    fits = fitted()
    d6tpipe.run(fits.select("data_0"))
    result = d6tpipe.run(fits, select="data_0")
    assert {str(state): count for state, count in result.counts.items()} == {"fresh": 4}
    assert len(result.states) == 4


def test_stale_is_stale_also_where_it_is_to_be_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    some = sweep(Shaped, lr=[1, 2])
    d6tpipe.run(some)
    monkeypatch.setattr(Shaped, "version", "2", raising=False)
    monkeypatch.setattr(d6tpipe.settings, "stale", "rerun")
    assert len(some.select("@state=stale")) == 2
    assert list(some.table()["state"]) == ["stale", "stale"]


class Named(d6tpipe.tasks.TaskPickle):
    base = d6tpipe.TaskInstanceParameter(Shaped, default=None)
    other = d6tpipe.Parameter(default="x")

    def run(self) -> None:
        self.save(self.base.lr)


def test_the_readable_part_of_an_id_has_the_id_of_a_task_that_is_a_value() -> None:
    task = Named(base=Shaped(lr=2))
    assert task.task_id.startswith(f"Named_{Shaped(lr=2).task_id}_x_")
    assert task.output().path.name == f"{task.task_id}-data.pkl"
    assert Named().task_id.startswith("Named__x_")
    with d6tpipe.settings.override(parameter_length=30):
        short = Named(base=Shaped(lr=3))
        assert short.task_id.startswith(f"Named_{Shaped(lr=3).task_id[:30]}_x_")


def test_tables_and_trees_show_a_task_that_is_a_value_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    task = Named(base=Shaped(lr=2.5))
    name = shown(Shaped(lr=2.5))
    assert list(d6tpipe.plan(task)["base"].dropna()) == [name]
    assert list(d6tpipe.run(task).table()["base"].dropna()) == [name]
    d6tpipe.preview(task)
    assert "'base': 'Shaped(" in capsys.readouterr().out


class Under(d6tpipe.tasks.TaskPickle):
    names = d6tpipe.ListParameter(default=["one", "two"])

    def requires(self) -> Any:
        ids = {name: {"lr": number} for number, name in enumerate(self.names, 1)}
        return {"fits": sweep(Shaped, ids), "pair": [Shaped(lr=8), Shaped(lr=9)]}

    def run(self) -> None:
        self.save(self.inputLoad())


def test_a_sweep_among_requirements_is_loaded_by_id() -> None:
    d6tpipe.run(Under())
    assert Under().outputLoad() == {"fits": {"one": 1.0, "two": 2.0}, "pair": [8.0, 9.0]}


def test_explain_tells_requirements_under_other_names_by_these(monkeypatch: pytest.MonkeyPatch) -> None:
    d6tpipe.run(Under())
    requires = Under.requires
    monkeypatch.setattr(
        Under, "requires", lambda self: {"fits": {f"{k}s": v for k, v in requires(self)["fits"].items()},
                                         "pair": requires(self)["pair"]},
    )  # fmt: skip
    told = str(d6tpipe.explain(Under()))
    assert "other requirements: the same under other names" in told
    assert "ones" in told and "Shaped_" not in told


def test_registered_marks_refuse_others(monkeypatch: pytest.MonkeyPatch) -> None:
    some = sweep(Shaped, lr=[1, 2], id="{lr}", marks={"1": "costlly"})
    assert list(some.select(marks="costlly")) == ["1"]
    monkeypatch.setattr(d6tpipe.settings, "marks", "costly, slow")
    with pytest.raises(d6tpipe.errors.DeclarationError, match="Did you mean 'costly'"):
        some.select(marks="slow")


# ---- what a review found


class Odd(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter()

    def run(self) -> None:
        if self.n == 0:
            raise ValueError("zero")
        self.saveMeta({"n": self.n})
        self.save(self.n)


class OnOdd(d6tpipe.tasks.TaskPickle):
    data = d6tpipe.TaskInstanceParameter(Odd)

    def run(self) -> None:
        self.save(self.data.outputLoad() * 10)


class Tolerant(d6tpipe.tasks.TaskAggregator):
    tolerance = 1

    def run(self) -> Any:
        yield sweep(Odd, n=[0, 1, 2])


class Around(d6tpipe.tasks.TaskAggregator):
    def run(self) -> Any:
        yield Tolerant()
        yield Odd(n=5)


class AroundTolerant(Around):
    tolerance = 1


class Above(d6tpipe.tasks.TaskAggregator):
    tolerance = 1

    def run(self) -> Any:
        yield sweep(OnOdd, data=sweep(Odd, n=[0, 1, 2]))


class Uses(d6tpipe.tasks.TaskPickle):
    which = d6tpipe.Parameter()

    def requires(self) -> Any:
        return {"around": Around, "tolerant": AroundTolerant, "above": Above, "plain": Tolerant}[self.which]()

    def run(self) -> None:
        self.save((self.inputLoad(), self.inputLoad(flat=True)))


@pytest.mark.parametrize(
    ("which", "loaded", "flat"),
    [
        ("plain", [1, 2], [1, 2]),
        ("around", [[1, 2], 5], [1, 2, 5]),
        ("tolerant", [[1, 2], 5], [1, 2, 5]),
        ("above", [10, 20], [10, 20]),
    ],
)
def test_what_tolerates_failures_is_loaded_without_them_however_deep(which: str, loaded: Any, flat: Any) -> None:
    task = Uses(which=which)
    assert d6tpipe.run(task, abort=False)
    assert task.outputLoad() == (loaded, flat)
    assert d6tpipe.run(task, abort=False) and task.outputLoad() == (loaded, flat)
    assert d6tpipe.run(task, dry_run=True).counts["pending"] == 0


def test_what_was_never_tried_is_not_tolerated() -> None:
    some = sweep(Odd, n=[0, 1, 2], tolerance=3)
    with pytest.raises(d6tpipe.errors.NotBuiltError):
        some.load()
    with pytest.raises(d6tpipe.errors.NotBuiltError):
        Tolerant().outputLoad()
    d6tpipe.run(some, abort=False)
    assert some.load() == {"n=1": 1, "n=2": 2}
    assert Tolerant().outputLoad() == [1, 2]
    assert Tolerant().outputLoadMeta() == [{"n": 1}, {"n": 2}]


def test_a_selection_tolerates_failures_of_the_members_that_it_selects_only() -> None:
    some = sweep(OnOdd, data=sweep(Odd, n=[0, 1, 2, 3]), tolerance=0.5)
    assert not some.run(select="data.n=0", abort=False)
    assert some.run(select="OnOdd and data.n<2", abort=False)
    assert not some.run(select="Odd and not OnOdd and n=0", abort=False)


def test_flows_of_a_multi_workflow_keep_what_they_tolerate() -> None:
    class PerFlow(d6tpipe.tasks.TaskAggregator):
        tolerance = 1
        m = d6tpipe.IntParameter()

        def run(self) -> Any:
            yield sweep(Odd, n=[0, self.m])

    results = d6tpipe.WorkflowMulti(PerFlow, {"a": {"m": 3}, "b": {"m": 4}}).run()
    assert [bool(one) for one in results.values()] == [True, True]


def test_a_task_as_a_value_is_found_by_each_of_its_ids_and_keys() -> None:
    prepared = prepared_again = sweep(Prepare, {"data_0": {"subset": "a"}}, common={"dataset": "d"})
    fits = sweep(Fit, {"one": {"data": prepared["data_0"], "model": "x"}})
    smoke = sweep(Prepare, {"smoke": {"subset": "a"}}, common={"dataset": "d"})
    assert prepared_again["data_0"] is smoke["smoke"]
    for word in ("data_0", "smoke"):
        assert list(fits.select(f"data={word}")) == ["one"]
        assert list(fits.select(f"'data={word}'")) == ["one"]
    with pytest.raises(NothingSelectedError):
        fits.select("data!=data_0")
    first = sweep(Shaped, shape={"short": {"w": 1}})
    second = sweep(Shaped, shape={"kurz": {"w": 1}})
    assert list(second.tasks) == list(first.tasks)
    assert list(first.select("shape=short")) == ["shape=short"] and list(first.select("shape=kurz")) == ["shape=short"]


class Counts(d6tpipe.tasks.TaskPickle):
    count = d6tpipe.IntParameter()
    value = d6tpipe.Parameter(default="v")
    text = d6tpipe.Parameter(default="t")


class OnCounts(d6tpipe.tasks.TaskPickle):
    data = d6tpipe.TaskInstanceParameter(Counts)
    word = d6tpipe.Parameter(default="w")


def test_a_template_reaches_parameters_whatever_they_are_called() -> None:
    one = sweep(Counts, {"a": {"count": 1}})
    template = "{data.count}-{data.value}-{data.text}-{data}-{word!r}"
    assert list(sweep(OnCounts, product(data=one, word=["x"]), id=template)) == ["1-v-t-a-'x'"]
    with pytest.raises(ParameterError, match="'upper' is a method"):
        sweep(OnCounts, product(data=one, word=["x"]), id="{word.upper}").ids


def test_dotted_names_reach_into_dicts_in_dicts() -> None:
    some = sweep(
        Shaped, {"a": {"shape.net.depth": 2, "shape.net.deeper.still": 3}}, common={"shape": {"net": {"w": 3}}}
    )
    assert some["a"].shape == {"net": {"w": 3, "depth": 2, "deeper": {"still": 3}}}
    assert list(some.select("shape.net.depth=2")) == ["a"]


def test_points_of_which_some_lack_a_name_get_its_default_in_ids() -> None:
    points = d6tpipe.grid([{"n": [1, 2]}, {"n": 5, "s": ["a", "b"]}])

    class Both(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()
        s = d6tpipe.Parameter(default="z")

    assert list(sweep(Both, points, id="{n:03d}_{s}")) == ["001_z", "002_z", "005_a", "005_b"]
    assert list(sweep(Both, points)) == ["n=1,s=z", "n=2,s=z", "n=5,s=a", "n=5,s=b"]


def test_a_slice_of_points_keeps_their_texts() -> None:
    points = product(shape={"wide": {"w": 1}, "deep": {"d": 1}}, lr=[1, 2])
    assert (
        list(sweep(Shaped, points[1:3])) == list(sweep(Shaped, points))[1:3] == list(sweep(Shaped, list(points)[1:3]))
    )
    assert list(sweep(Shaped, points[1:3])) == ["shape=wide,lr=2", "shape=deep,lr=1"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sweep(Odd, n=[1], tolerance=-1), "a sweep of Odd"),
        (lambda: sweep(Odd, [{"n": 1}, {"n": 1}]).ids, "leave out what is there twice"),
        (lambda: sweep(Odd, zipped(n=[1, 1])).ids, "The points are the same"),
        (lambda: sweep(Odd, n=[1], id=5), "id= is a template"),
        (lambda: sweep(Odd, n=[1], marks=5), "marks= is words"),
        (lambda: sweep(Odd, n=[1]).then("A"), "needs a task class"),
        (lambda: sweep(Odd, n=[1]).best(["score"]), "No task has a metric"),
        (lambda: sweep(Odd, {"a": {"n": 1}}, id="{n}"), "the keys of a mapping are ids"),
        (lambda: sweep(Odd, {}, common={"nope": 1}), "has no parameter 'nope'"),
        (lambda: sweep(Shaped, shape={"ok": {}, "b[0]": {"w": 1}, "": {"w": 2}}, id="{shape}").ids, "2 bad entries"),
    ],
)
def test_more_mistakes_say_what_to_do(make: Any, words: str) -> None:
    with pytest.raises(d6tpipe.errors.PipeError) as caught:
        make()
    assert words in str(caught.value)


def test_equal_sweeps_are_one_key_and_ids_cannot_be_changed() -> None:
    one, other = sweep(Odd, n=[1, 2]), sweep(Odd, n=[1, 2])
    assert {one: 1}[other] == 1
    assert isinstance(one.ids, tuple)
    assert repr(sweep(Odd, {})) == "<Sweep of 0 Odd>"
    assert one.where(lambda task: task.n > 1).tolerance is None
    assert sweep(Odd, n=[1, 2], tolerance=1).select("n=1").tolerance == 1
