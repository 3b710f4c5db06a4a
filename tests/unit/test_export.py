"""Exporting tasks as a module of external tasks, and importing such modules."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import operator
import pathlib
import sys
import uuid
import zoneinfo

import luigi
import numpy as np
import pytest
from luigi.date_interval import Custom, Month, Week

import d6tpipe
import d6tpipe.tasks.h5
from d6tpipe import FlowExport, FlowImport
from d6tpipe.errors import DeclarationError, ParameterError, PipeError


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class UserParameter(d6tpipe.IntParameter):
    pass


class GetData(d6tpipe.tasks.TaskPickle):
    start = d6tpipe.DateParameter(default=dt.date(2020, 1, 2))

    def run(self):
        self.save("data")


@d6tpipe.requires(GetData)
class Train(d6tpipe.tasks.TaskPickle):
    persist = ["model", "curve"]
    model = d6tpipe.Parameter(default="ols")
    do_preprocess = d6tpipe.BoolParameter(default=True)

    def run(self):
        self.save({"model": self.model, "curve": [1]})


class Everything(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield Train()
        yield Train(model="gbm")


class Plain(luigi.Task):
    pass


def exported(tmp_path, name="tasks_d6tpipe", **kwargs):
    """Export, import, and return the task classes."""
    FlowExport(save=True, path_export=tmp_path / f"{name}.py", **kwargs).generate()
    return FlowImport(tmp_path, name, pathlib.Path.cwd() / "data").tasks


def text(capsys, **kwargs) -> str:
    assert FlowExport(**kwargs).generate() is None
    return capsys.readouterr().out


# ---- what is written


def test_module_looks_as_d6tflows_users_know_it(capsys):
    assert (
        text(capsys, tasks=[GetData(), Train()])
        == """\
# Written by d6tflow.FlowExport: tasks whose outputs exist already.
import d6tflow
import datetime


class GetData(d6tflow.tasks.TaskPickle):
    external = True
    persist = ['data']
    start = d6tflow.DateParameter(default=datetime.date(2020, 1, 2))


class Train(d6tflow.tasks.TaskPickle):
    external = True
    persist = ['model', 'curve']
    start = d6tflow.DateParameter(default=datetime.date(2020, 1, 2))
    model = d6tflow.Parameter(default='ols')
    do_preprocess = d6tflow.BoolParameter(default=True)
"""
    )


def test_exported_tasks_find_the_outputs(tmp_path):
    d6tpipe.run(Train(model="gbm"), execution_summary=False)
    tasks = exported(tmp_path, tasks=[Train(model="gbm"), GetData()])
    assert tasks.Train().outputLoad() == ["gbm", [1]]
    assert tasks.GetData().outputLoad() == "data"
    assert tasks.Train().task_id == Train(model="gbm").task_id
    assert not tasks.Train(model="ols").complete()


def test_exported_tasks_work_in_another_process_and_folder(tmp_path, isolated, run_python):
    d6tpipe.run(Train(), execution_summary=False)
    FlowExport(flows=d6tpipe.Workflow(Train), save=True, path_export=isolated / "shared.py").generate()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"""
import d6tflow
flow = d6tflow.FlowImport({str(isolated)!r}, "shared", "data")
print(flow.tasks.Train().outputLoad(), d6tflow.run(flow.tasks.Train(), execution_summary=False).ok)
"""
    assert run_python("-c", code, cwd=elsewhere).stdout == "['ols', [1]] True\n"
    assert list(elsewhere.iterdir()) == []


def test_a_flow_exports_everything_upstream_sources_first(capsys):
    for flow in (d6tpipe.Workflow(Train), d6tpipe.WorkflowMulti(Train, {"a": {}}), [d6tpipe.Workflow(Train)]):
        shown = text(capsys, flows=flow)
        assert shown.index("class GetData(") < shown.index("class Train(")


def test_tasks_export_only_themselves(capsys):
    assert "class GetData(" not in text(capsys, tasks=Train())


def test_the_callers_list_is_not_changed():
    tasks = [Train()]
    FlowExport(tasks=tasks, flows=d6tpipe.Workflow(Train))
    assert tasks == [Train()]


def test_several_tasks_of_a_class_become_one_class_without_the_defaults_they_differ_in(tmp_path):
    both = d6tpipe.WorkflowMulti(Train, {"model": ["ols", "gbm"]})
    both.run(execution_summary=False)
    tasks = exported(tmp_path, flows=both)
    assert tasks.Train(model="ols").outputLoad(keys="model") == "ols"
    assert tasks.Train(model="gbm").outputLoad(keys="model") == "gbm"
    with pytest.raises(ParameterError, match="needs a value for parameter 'model'"):
        tasks.Train()


def test_the_folder_of_a_workflow_is_written(tmp_path, capsys):
    flow = d6tpipe.Workflow(Train, path="elsewhere", env="prod")
    flow.run(execution_summary=False)
    assert "    path = 'elsewhere/env=prod'\n" in text(capsys, flows=flow)
    assert exported(tmp_path, flows=flow).Train().outputLoad(keys="model") == "ols"


def test_one_class_in_two_folders_is_an_error():
    flows = [d6tpipe.Workflow(Train, path="one"), d6tpipe.Workflow(Train, path="two")]
    with pytest.raises(DeclarationError, match=r"differ in 'path'(.|\n)*one(.|\n)*two"):
        FlowExport(flows=flows).generate()


def test_class_options_that_decide_the_location_survive(tmp_path, capsys):
    class Placed(d6tpipe.tasks.TaskCSVPandas):
        target_dir = "own"
        target_ext = "txt"
        task_group = "group1"
        save_attrib = False
        pipename = "pipe"
        task_namespace = "space"

    assert text(capsys, tasks=Placed()).endswith("""\
class Placed(d6tflow.tasks.TaskCSVPandas):
    external = True
    task_namespace = 'space'
    persist = ['data']
    pipename = 'pipe'
    task_group = 'group1'
    target_dir = 'own'
    target_ext = 'txt'
    save_attrib = False
""")
    again = exported(tmp_path, tasks=Placed()).Placed()
    assert again.task_family == "space.Placed"
    assert again.outputPath().relative_to(pathlib.Path.cwd()) == pathlib.Path("data/group=group1/own/data.txt")


def test_formats_per_output_and_the_alias_persists_survive(tmp_path):
    class Fit(d6tpipe.tasks.TaskData):
        persists = {"model": "pickle", "table": "csv"}

    again = exported(tmp_path, tasks=Fit()).Fit()
    assert {k: p.name for k, p in again.outputPath().items()} == {k: p.name for k, p in Fit().outputPath().items()}


def test_base_classes_have_the_names_users_know(capsys):
    class Fit(d6tpipe.tasks.TaskData):
        pass

    class Table(d6tpipe.tasks.h5.TaskH5Pandas):
        pass

    shown = text(capsys, tasks=[Fit(), Table()])
    assert "class Fit(d6tflow.tasks.TaskData):" in shown
    assert "class Table(d6tflow.tasks.h5.TaskH5Pandas):" in shown
    assert "\nimport d6tflow\nimport d6tflow.tasks.h5\n" in shown


def test_a_target_class_of_the_users_is_imported(tmp_path):
    class Spoken(d6tpipe.tasks.TaskPickle):
        target_class = d6tpipe.targets.JsonTarget
        target_ext = "json"

    assert exported(tmp_path, tasks=Spoken()).Spoken.target_class is d6tpipe.targets.JsonTarget


def test_names_of_class_options_are_the_users_when_they_are_parameters(tmp_path):
    class Words(d6tpipe.tasks.TaskPickle):
        path = d6tpipe.Parameter(default="p")
        task_group = d6tpipe.Parameter(default="g")
        target_dir = d6tpipe.Parameter(default="d")
        export = d6tpipe.BoolParameter(default=False)

    again = exported(tmp_path, tasks=Words()).Words()
    assert (again.path, again.task_group, again.target_dir, again.export) == ("p", "g", "d", False)
    assert again.task_id == Words().task_id


# ---- parameters


VALUES = [
    (d6tpipe.Parameter(), "quo'te\n\"ü\\"),
    (d6tpipe.Parameter(), None),
    (d6tpipe.Parameter(), b"\x00"),
    (d6tpipe.Parameter(), ("one",)),
    (d6tpipe.Parameter(), ()),
    (d6tpipe.Parameter(), {1: {"a": [None, (True,)]}}),
    (d6tpipe.Parameter(), frozenset({2, 1})),
    (d6tpipe.Parameter(), frozenset()),
    (d6tpipe.Parameter(), decimal.Decimal("1.10")),
    (d6tpipe.Parameter(), fractions.Fraction(1, 3)),
    (d6tpipe.Parameter(), uuid.UUID(int=5)),
    (d6tpipe.Parameter(), 3 + 4j),
    (d6tpipe.Parameter(), dt.time(1, 2)),
    (d6tpipe.Parameter(), dt.datetime(2020, 1, 2, 3, tzinfo=dt.timezone.utc)),
    (d6tpipe.Parameter(), dt.datetime(2020, 1, 2, 3, tzinfo=zoneinfo.ZoneInfo("UTC"))),
    (d6tpipe.Parameter(), Colour.RED),
    (d6tpipe.Parameter(), Access.READ | Access.WRITE),
    (d6tpipe.Parameter(), np.float64(1.5)),
    (d6tpipe.Parameter(), np.int32(7)),
    (d6tpipe.Parameter(), operator.add),
    (d6tpipe.Parameter(), dict),
    (d6tpipe.Parameter(), pathlib.PurePosixPath("a/b")),
    (d6tpipe.StrParameter(), "text"),
    (d6tpipe.IntParameter(), -3),
    (luigi.IntParameter(), -3),
    (UserParameter(), 4),
    (d6tpipe.FloatParameter(), 0.1),
    (d6tpipe.FloatParameter(), float("inf")),
    (d6tpipe.BoolParameter(), True),
    (d6tpipe.NumericalParameter(var_type=float, min_value=0, max_value=1, right_op=operator.le), 1.0),
    (d6tpipe.DateParameter(), dt.date(2020, 2, 29)),
    (d6tpipe.MonthParameter(), dt.date(2020, 2, 1)),
    (d6tpipe.YearParameter(), dt.date(2020, 1, 1)),
    (d6tpipe.DateParameter(interval=7, start=dt.date(2020, 1, 1)), dt.date(2020, 1, 8)),
    (d6tpipe.DateHourParameter(interval=6), dt.datetime(2020, 1, 2, 6)),
    (d6tpipe.DateHourParameter(interval=6, start=dt.datetime(2020, 1, 1, 1)), dt.datetime(2020, 1, 2, 7)),
    (d6tpipe.DateMinuteParameter(), dt.datetime(2020, 1, 2, 3, 4)),
    (d6tpipe.DateSecondParameter(), dt.datetime(2020, 1, 2, 3, 4, 5)),
    (d6tpipe.DateIntervalParameter(), Month(2020, 2)),
    (d6tpipe.DateIntervalParameter(), Week(2020, 5)),
    (d6tpipe.DateIntervalParameter(), Custom(dt.date(2020, 1, 1), dt.date(2020, 3, 4))),
    (d6tpipe.TimeDeltaParameter(), dt.timedelta(days=1, seconds=2)),
    (d6tpipe.EnumParameter(enum=Colour), Colour.BLUE),
    (d6tpipe.EnumListParameter(enum=Colour), (Colour.BLUE, Colour.RED)),
    (d6tpipe.ChoiceParameter(choices=["b", "a"]), "a"),
    (d6tpipe.ChoiceParameter(choices=[2, 1], var_type=int), 1),
    (d6tpipe.ChoiceListParameter(choices=["b", "a"]), ("a", "b", "a")),
    (d6tpipe.DictParameter(), {"b": [1, {"c": None}], "a": 2}),
    (d6tpipe.ListParameter(), [1, [2, "x"]]),
    (d6tpipe.TupleParameter(), ((1, 2), (3,))),
    (d6tpipe.PathParameter(), pathlib.Path("a/b")),
    (d6tpipe.PathParameter(absolute=True), pathlib.Path("/a/b")),
    (d6tpipe.TaskParameter(), GetData),
    (d6tpipe.OptionalParameter(), None),
    (d6tpipe.OptionalIntParameter(), None),
    (d6tpipe.OptionalFloatParameter(), 2.5),
    (d6tpipe.OptionalNumericalParameter(var_type=int, min_value=0, max_value=9), None),
    (d6tpipe.OptionalChoiceParameter(choices=["a"]), None),
    (d6tpipe.OptionalPathParameter(), pathlib.Path("x")),
]


@pytest.mark.parametrize(("parameter", "value"), VALUES, ids=lambda x: f"{type(x).__name__}")
def test_every_parameter_and_value_comes_back_as_the_same_task(tmp_path, parameter, value):
    class Holder(d6tpipe.tasks.TaskPickle):
        pass

    Holder.value = parameter
    before = Holder(value=value)
    after = exported(tmp_path, tasks=before).Holder()
    assert after.value == before.value
    assert after.task_id == before.task_id
    assert after.outputPath() == before.outputPath()
    assert type(after).get_params()[0][1].__class__ is parameter.__class__


def test_insignificant_and_hidden_parameters_stay_so(tmp_path):
    class Holder(d6tpipe.tasks.TaskPickle):
        threads = d6tpipe.IntParameter(default=1, significant=False)
        secret = d6tpipe.Parameter(default="s", visibility=d6tpipe.ParameterVisibility.PRIVATE)
        named = d6tpipe.IntParameter(default=1, positional=False)

    tasks = exported(tmp_path, tasks=Holder())
    assert tasks.Holder(threads=4).task_id == Holder().task_id
    assert tasks.Holder(secret="t").task_id == Holder(secret="t").task_id
    with pytest.raises(ParameterError):
        tasks.Holder(1, "s", 1)


@pytest.mark.parametrize("seeds", [[0], [5], [0, 5], [5, 6]])
def test_ignored_defaults_keep_the_identity(tmp_path, seeds):
    class Seeded(d6tpipe.tasks.TaskPickle):
        seed = d6tpipe.IntParameter(default=0, ignore_default=True)

    tasks = exported(tmp_path, tasks=[Seeded(seed=seed) for seed in seeds])
    for seed in seeds:
        assert tasks.Seeded(seed=seed).task_id == Seeded(seed=seed).task_id
    if len(seeds) == 1:
        assert tasks.Seeded().task_id == Seeded(seed=seeds[0]).task_id


def test_parameters_called_like_modules_do_not_hide_them(tmp_path):
    class Clash(d6tpipe.tasks.TaskPickle):
        datetime = d6tpipe.DateSecondParameter(default=dt.datetime(2020, 1, 2))
        d6tflow = d6tpipe.IntParameter(default=1)
        until = d6tpipe.Parameter(default=dt.datetime(2020, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1))))
        zone = d6tpipe.Parameter(default=dt.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")))

    again = exported(tmp_path, tasks=Clash()).Clash()
    assert again.task_id == Clash().task_id
    assert again.until == Clash().until


@pytest.mark.parametrize(
    "value",
    [object(), lambda: 1, type("Local", (), {}), [object()], {"a": object()}, sys],
    ids=["object", "function", "class", "list", "dict", "module"],
)
def test_a_value_without_a_literal_names_task_and_parameter_and_writes_nothing(tmp_path, value):
    class Holder(d6tpipe.tasks.TaskPickle):
        thing = d6tpipe.Parameter()

    path = tmp_path / "tasks.py"
    with pytest.raises(ParameterError, match=r"Holder cannot be exported because of its parameter 'thing'"):
        FlowExport(tasks=[GetData(), Holder(thing=value)], save=True, path_export=path).generate()
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_class_of_a_script_says_to_move_it():
    class Scripted(d6tpipe.Parameter):
        pass

    Scripted.__module__, Scripted.__qualname__ = "__main__", "Scripted"

    class Holder(d6tpipe.tasks.TaskPickle):
        thing = Scripted(default="x")

    with pytest.raises(ParameterError, match="move it to a module"):
        FlowExport(tasks=Holder()).generate()


# ---- what cannot be exported


def test_nothing_to_export_is_an_error():
    for given in ({}, {"tasks": []}, {"tasks": Plain()}):
        with pytest.raises(PipeError, match="nothing to export"):
            FlowExport(**given).generate()


def test_tasks_that_store_nothing_are_left_out_and_named(capsys):
    shown = text(capsys, flows=d6tpipe.Workflow(Everything), tasks=Plain())
    assert "# Left out: Plain (a plain luigi task).\n" in shown
    assert "# Left out: Everything (stores nothing itself).\n" in shown
    assert "class Train(" in shown
    assert "class Everything" not in shown


def test_a_class_may_opt_out(capsys):
    class Private(GetData):
        export = False

    assert "class Private" not in text(capsys, tasks=[Private(), GetData()])


def test_two_classes_of_one_name_are_an_error():
    def other():
        class GetData(d6tpipe.tasks.TaskPickle):
            pass

        return GetData

    with pytest.raises(DeclarationError, match="Two classes are both called GetData"):
        FlowExport(tasks=[GetData(), other()()]).generate()


def test_a_class_with_its_own_output_is_an_error():
    class Own(d6tpipe.tasks.TaskPickle):
        def output(self):
            return luigi.LocalTarget("somewhere")

    with pytest.raises(DeclarationError, match="says itself where its outputs are"):
        FlowExport(tasks=Own()).generate()


def test_a_failed_export_leaves_the_old_file(tmp_path):
    path = tmp_path / "tasks.py"
    assert FlowExport(tasks=GetData(), save=True, path_export=path).generate() == path
    before = path.read_text()

    class Holder(d6tpipe.tasks.TaskPickle):
        thing = d6tpipe.Parameter(default=object())

    with pytest.raises(ParameterError):
        FlowExport(tasks=Holder(), save=True, path_export=path).generate()
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tasks.py"]


# ---- importing


MODULE = """
import d6tflow
from d6tflow.tasks import TaskPickle

class A(TaskPickle):
    external = True

class B(d6tflow.tasks.TaskPickle):
    external = True
    path = "elsewhere"

class C(d6tflow.tasks.TaskPickle):
    path = d6tflow.Parameter(default="a value")
"""


@pytest.fixture
def shared(tmp_path):
    (tmp_path / "shared.py").write_text(MODULE)
    return tmp_path


def test_tasks_are_found_by_name_and_attribute(shared):
    flow = FlowImport(str(shared), "shared.py", "data")
    assert list(flow.tasks) == ["A", "B", "C"]
    assert flow.tasks.A is flow.tasks["A"] is flow.module_obj.A
    assert "A" in dir(flow.tasks)
    with pytest.raises(AttributeError, match=r"no task Aa\. Did you mean A"):
        _ = flow.tasks.Aa


@pytest.mark.parametrize(("given", "expected"), [(None, "data"), ("d", "d"), (pathlib.Path("x/y"), "x/y")])
def test_relative_data_folder_is_below_the_module(shared, given, expected):
    flow = FlowImport(shared, "shared", given)
    assert flow.dirpath == shared / expected
    assert flow.tasks.A().outputPath().parent == shared / expected / "A"


def test_absolute_data_folder_is_taken_as_it_is(shared, tmp_path):
    assert FlowImport(shared, "shared", tmp_path / "other").dirpath == tmp_path / "other"


def test_classes_with_a_path_keep_it(shared):
    tasks = FlowImport(shared, "shared").tasks
    assert tasks.B.path == "elsewhere"
    assert tasks.C().path == "a value"


def test_a_workflow_still_beats_the_imported_folder(shared):
    tasks = FlowImport(shared, "shared").tasks
    assert d6tpipe.Workflow(path="mine").get_task(tasks.A).outputPath().parts[0] == "mine"


def test_modules_of_one_name_in_two_folders_stay_apart(shared, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "shared.py").write_text(MODULE.replace("class A", "class Z"))
    one, two = FlowImport(shared, "shared"), FlowImport(other, "shared")
    assert "A" in one.tasks and "A" not in two.tasks
    assert one.module_obj.__name__ != two.module_obj.__name__
    assert not d6tpipe.run(one.tasks.A(), abort=False, execution_summary=False).ok


def test_an_imported_module_may_import_its_neighbours(shared):
    (shared / "neighbour.py").write_text("NAME = 'n'")
    (shared / "uses.py").write_text("from neighbour import NAME\nfrom shared import A")
    before = list(sys.path)
    flow = FlowImport(shared, "uses")
    assert flow.module_obj.NAME == "n"
    assert list(flow.tasks) == ["A"]
    assert getattr(flow.tasks.A, "path", None) is None  # it belongs to its own module
    assert sys.path == before


def test_a_missing_module_names_the_nearest(shared):
    with pytest.raises(ParameterError, match=r"Did you mean shared\.py"):
        FlowImport(shared, "sharde")
    with pytest.raises(ValueError):  # as d6tflow had it
        FlowImport(shared, "nothing_like_it")
    with pytest.raises(ParameterError, match="needs the name of a module"):
        FlowImport(shared)


def test_a_module_that_fails_says_why(shared):
    (shared / "broken.py").write_text("1 / 0")
    with pytest.raises(PipeError, match="ZeroDivisionError") as caught:
        FlowImport(shared, "broken")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
