"""Our tasks, run by luigi: luigi.build, the luigi command, its tree, its summary, its processes."""

from __future__ import annotations

import datetime
import importlib
import sys
import warnings
from pathlib import Path

import luigi
import pytest
from luigi.task_register import Register, load_task

import d6tpipe
from d6tpipe.identity import task_id_text

FLOW = """
import datetime
import enum
import luigi
import d6tpipe
from pathlib import Path

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

class Source(d6tpipe.tasks.TaskPickle):
    rows = d6tpipe.IntParameter(default=3)
    threads = d6tpipe.IntParameter(default=1, significant=False)
    def run(self):
        self.save(list(range(self.rows)))

@d6tpipe.requires(Source)
class Parts(d6tpipe.tasks.TaskData):
    persist = {"low": "json", "high": "pickle"}
    def run(self):
        rows = self.inputLoad()
        return {"low": rows[:1], "high": rows[1:]}

@d6tpipe.requires({"parts": Parts, "source": Source})
class Table(d6tpipe.tasks.TaskCSVPandas):
    factor = d6tpipe.FloatParameter(default=2)
    def run(self):
        import pandas as pd
        data = self.inputLoad()
        low, high = data["parts"]
        self.save(pd.DataFrame({"v": [value * self.factor for value in low + high]}))
        self.saveMeta({"rows": len(data["source"])})

class Asks(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter(default=2)
    def run(self):
        targets = yield [Source(rows=rows) for rows in range(self.n)]
        return [target.load() for target in targets]

class Every(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield Table(rows=4)
        yield [Table(rows=5, factor=0.5), Asks()]

class Wrapped(luigi.WrapperTask):
    def requires(self):
        return [Table(), Asks(n=3)]

class Typed(d6tpipe.tasks.TaskJson):
    word = d6tpipe.Parameter()
    number = d6tpipe.IntParameter()
    share = d6tpipe.FloatParameter()
    flag = d6tpipe.BoolParameter()
    day = d6tpipe.DateParameter()
    colour = d6tpipe.EnumParameter(enum=Colour)
    choice = d6tpipe.ChoiceParameter(choices=["a", "b"])
    table = d6tpipe.DictParameter()
    items = d6tpipe.ListParameter()
    pair = d6tpipe.TupleParameter()
    span = d6tpipe.TimeDeltaParameter()
    maybe = d6tpipe.OptionalIntParameter(default=None)
    where = d6tpipe.PathParameter(default="x/y")
    def run(self):
        self.save({name: repr(getattr(self, name)) for name in self.get_param_names()})

class Bad(d6tpipe.tasks.TaskPickle):
    def run(self):
        raise ValueError("bad body")

@d6tpipe.requires(Bad)
class NeedsBad(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(1)
"""


@pytest.fixture
def flow(isolated):
    """Write FLOW as a module `flow` into the working folder and import it, the only classes luigi knows by name."""
    (isolated / "flow.py").write_text(FLOW)
    sys.path.insert(0, str(isolated))
    importlib.invalidate_caches()
    classes = list(Register._reg)
    Register._reg[:] = [cls for cls in classes if cls.__module__.startswith("luigi")]
    yield importlib.import_module("flow")
    Register._reg[:] = classes


def luigi_build(tasks, workers=1):
    config = luigi.configuration.get_config()
    config.set("core", "no_configure_logging", "true")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return luigi.build(tasks, local_scheduler=True, workers=workers, detailed_summary=True, no_lock=True)
    finally:
        config.remove_option("core", "no_configure_logging")


def contents(folder):
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".d6tpipe" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


ROOTS = {
    "chain": lambda flow: [flow.Parts()],
    "dict of requirements": lambda flow: [flow.Table(rows="6", factor=3)],
    "body that yields": lambda flow: [flow.Asks()],
    "aggregator": lambda flow: [flow.Every()],
    "luigi wrapper": lambda flow: [flow.Wrapped()],
    "several": lambda flow: [flow.Table(), flow.Source(rows=9), flow.Parts()],
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("root", ROOTS)
def test_luigi_builds_the_same_files_as_d6tpipe(flow, tmp_path, root, workers):
    folders = {}
    for name in ("luigi", "d6tpipe"):
        d6tpipe.set_dir(tmp_path / name)
        tasks = ROOTS[root](flow)
        if name == "luigi":
            result = luigi_build(tasks, workers)
            assert result.status is luigi.LuigiStatusCode.SUCCESS, result.summary_text
        else:
            assert d6tpipe.run(tasks, execution_summary=False).ok
        assert all(task.complete() for task in tasks)
        folders[name] = contents(tmp_path / name)
    assert folders["luigi"] == folders["d6tpipe"] != {}


def test_what_luigi_built_is_complete_for_d6tpipe_and_the_other_way_round(flow):
    luigi_build([flow.Table(rows=4)])
    result = d6tpipe.run(flow.Table(rows=4), execution_summary=False)
    assert {str(state) for state in result.states.values()} == {"fresh"}
    d6tpipe.run(flow.Parts(rows=8), execution_summary=False)
    assert "* 1 complete ones" in luigi_build([flow.Parts(rows=8)]).summary_text


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_under_luigi_stops_what_needs_it(flow, workers):
    result = luigi_build([flow.NeedsBad(), flow.Source()], workers)
    assert result.status is luigi.LuigiStatusCode.FAILED
    assert "1 failed" in result.summary_text and "Bad(" in result.summary_text
    assert flow.Source().complete() and not flow.NeedsBad().complete()


def test_luigis_summary_of_many_tasks_of_every_type(flow):
    tasks = [flow.Source(rows=rows) for rows in range(12)]
    tasks += [flow.Table(rows=3, factor=factor / 4) for factor in range(8)]
    for day in range(1, 8):
        tasks.append(
            flow.Typed(
                word="w", number=1, share=0.5, flag=True, day=datetime.date(2020, 1, day), colour="RED", choice="a",
                table={"a": 1}, items=[1], pair=(1, 2), span=datetime.timedelta(1),
            )
        )  # fmt: skip
    result = luigi_build(tasks)
    assert result.status is luigi.LuigiStatusCode.SUCCESS
    assert "12 Source(rows=0...11, threads=1)" in result.summary_text
    assert "7 Typed(" in result.summary_text


def test_events_and_hooks_of_our_tasks_under_luigi(flow):
    seen = []

    class Watched(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.set_status_message("m")
            self.set_progress_percentage(3)
            self.save(1)

        def on_success(self):
            seen.append("on_success")

    @Watched.event_handler(luigi.Event.SUCCESS)
    def note(task):
        seen.append(task)

    luigi_build([Watched()])
    assert seen == ["on_success", Watched()]


def test_a_task_bound_to_a_folder_is_built_there(flow, tmp_path):
    task = d6tpipe.Workflow(flow.Table, {"rows": 2}, path=str(tmp_path / "bound")).get_task()
    assert luigi_build([task]).status is luigi.LuigiStatusCode.SUCCESS
    assert task.complete() and len(contents(tmp_path / "bound")) == 5
    assert not flow.Table(rows=2).complete()


def test_luigi_finds_our_classes_by_name(flow):
    assert Register.get_task_cls("Table") is flow.Table
    task = flow.Table(rows=5)
    loaded = load_task("flow", "Table", task.to_str_params())
    assert loaded is task
    assert flow.Table.from_str_params({"rows": "5"}) is task


def command(run_python, isolated, *arguments, check=True):
    (isolated / "flow.py").write_text(FLOW)
    return run_python(
        "-W", "ignore", "-m", "luigi", "--module", "flow", *arguments, "--local-scheduler", "--no-lock", check=check,
        env={"D6TPIPE_DIR": str(isolated / "cli"), "PYTHONPATH": f"{Path(d6tpipe.__file__).parents[1]}:{isolated}"},
    )  # fmt: skip


def test_the_luigi_command_takes_parameters_of_every_type(run_python, isolated):
    done = command(
        run_python, isolated, "Typed", "--word", "w x", "--number", "7", "--share", "5", "--flag", "--day",
        "2020-02-03", "--colour", "BLUE", "--choice", "b", "--table", '{"b": 1, "a": [2]}', "--items", "[1, 2]",
        "--pair", '[3, "c"]', "--span", "2 hours", "--maybe", "4", "--where", "a/b",
    )  # fmt: skip
    assert "This progress looks :)" in done.stderr + done.stdout
    sys.path.insert(0, str(isolated))
    flow = importlib.import_module("flow")
    d6tpipe.set_dir(isolated / "cli")
    task = flow.Typed(
        word="w x", number=7, share=5, flag=True, day=datetime.date(2020, 2, 3), colour=flow.Colour.BLUE, choice="b",
        table={"a": [2], "b": 1}, items=[1, 2], pair=(3, "c"), span=datetime.timedelta(hours=2), maybe=4, where="a/b",
    )  # fmt: skip
    assert task.complete()
    loaded = task.outputLoad()
    assert loaded["number"] == "7" and loaded["share"] == "5.0" and loaded["flag"] == "True"
    assert loaded == {name: repr(getattr(task, name)) for name in task.get_param_names()}


def test_the_luigi_command_builds_a_graph_with_two_workers(run_python, isolated):
    command(run_python, isolated, "Every", "--workers", "2")
    names = contents(isolated / "cli")
    assert any(name.startswith("Table/Table_0_5_5_") for name in names)
    assert any(name.startswith("Asks/") for name in names)


def test_the_luigi_command_sets_parameters_of_other_classes(run_python, isolated):
    command(run_python, isolated, "Wrapped", "--Source-rows", "2", "--Table-rows", "2")
    assert any(name.startswith("Table/Table_2_0_2_") for name in contents(isolated / "cli"))


def test_the_luigi_command_refuses_an_unknown_parameter(run_python, isolated):
    done = command(run_python, isolated, "Source", "--rowz", "2", check=False)
    assert done.returncode != 0 and "rowz" in done.stderr


def test_the_luigi_command_shows_help_for_our_tasks(run_python, isolated):
    done = command(run_python, isolated, "Table", "--help", check=False)
    assert "--factor" in done.stdout and "--rows" in done.stdout


def test_luigis_tree_of_our_tasks(flow):
    from luigi.tools.deps_tree import print_tree

    text = print_tree(flow.Table(rows=3))
    assert text.count("Source-{'rows': '3'}") == 2
    assert "PENDING" in text and "COMPLETE" not in text
    d6tpipe.run(flow.Table(rows=3), execution_summary=False)
    assert "PENDING" not in print_tree(flow.Table(rows=3))


def test_luigis_deps_tool_finds_upstream(flow):
    from luigi.tools.deps import find_deps

    found = find_deps(flow.Table(rows=3), "Source")
    assert flow.Source(rows=3) in found


@pytest.mark.parametrize("family", ["Source", "Table"])
def test_ids_under_luigi_are_those_of_our_own_limits(flow, family):
    cls = getattr(flow, family)
    task = cls()
    assert task.task_id == task_id_text(family, task.to_str_params(only_significant=True))
