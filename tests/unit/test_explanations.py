"""What `explain` says of a task: its state, its reasons, root causes first, diffs; and that it only asks."""

from __future__ import annotations

import datetime
import html
import importlib
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe.errors import GraphError, ParameterError
from d6tpipe.examiner import store_of
from d6tpipe.explanations import Explanation, explain
from d6tpipe.interfaces import ReasonKind, State
from d6tpipe.tasks import TaskAggregator, TaskCache, TaskPickle

TOOLS = """
    LIMITS = {"low": 1, "high": 9}

    def scale(rows, by=2):
        found = []
        for row in rows:
            found.append(row * by)
        return found
"""
FLOW = """
    import d6tpipe
    from d6tpipe.tasks import TaskPickle
    from tools import LIMITS, scale

    class Raw(TaskPickle):
        n = d6tpipe.IntParameter(default=3)
        def run(self):
            self.save(list(range(self.n)))

    @d6tpipe.requires(Raw)
    class Clean(TaskPickle):
        def run(self):
            self.save([row for row in self.inputLoad() if row >= LIMITS["low"]])

    @d6tpipe.requires(Clean)
    class Train(TaskPickle):
        model = d6tpipe.Parameter(default="ols")
        def run(self):
            self.save(sum(scale(self.inputLoad())))

    class Report(TaskPickle):
        def requires(self):
            return {"ols": Train(), "gb": Train(model="gb")}
        def run(self):
            self.save(self.inputLoad())
"""


class Project:
    """Modules in a folder that are edited, and loaded as a new process would load them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(text))

    def edit(self, name: str, before: str, after: str) -> Any:
        path = self.folder / f"{name}.py"
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        return self.load()

    def load(self, name: str = "flow") -> Any:
        for other in [path.stem for path in self.folder.glob("*.py")]:
            sys.modules.pop(other, None)
        Register._reg[:] = [cls for cls in Register._reg if cls.__module__ != name]
        importlib.invalidate_caches()
        return importlib.import_module(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = Project(tmp_path)
    found.write("tools", TOOLS)
    found.write("flow", FLOW)
    return found


@pytest.fixture
def flow(project: Project) -> Any:
    """Give the module of a flow that was built."""
    module = project.load()
    build(module.Report())
    return module


def build(*tasks: Any, **options: Any) -> Any:
    return d6tpipe.run(list(tasks), execution_summary=False, progress=False, **options)


def kinds(explanation: Explanation) -> list[str]:
    return [str(reason.kind) for reason in explanation.reasons]


class Number(TaskPickle):
    x = d6tpipe.IntParameter(default=1)

    def run(self):
        self.save(self.x)


@d6tpipe.requires(Number)
class Double(TaskPickle):
    def run(self):
        self.save(2 * self.inputLoad())


@d6tpipe.requires(Double)
class Last(TaskPickle):
    def run(self):
        self.save(self.inputLoad())


# ---- states and reasons


def test_a_fresh_task_has_no_reasons_and_says_since_when_by_which_run_and_for_how_long():
    build(Last())
    found = explain(Last())
    assert (State.FRESH, [], []) == (found.state, found.reasons, found.causes)
    record = store_of(Last()).records.get(Last().task_id)
    assert str(found).startswith("Last(x=1) is fresh: nothing that it depends on has changed since it was built.")
    assert re.search(r"built +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, \d s ago, took \d\.\d\d s", str(found))
    assert f"run {record.run_id}, process {os.getpid()}" in str(found)
    assert "What to do" not in str(found)


def test_of_tasks_that_were_never_built_only_those_furthest_upstream_are_causes():
    found = explain(Last())
    assert State.PENDING is found.state
    assert ["missing", "upstream"] == kinds(found)
    assert [Number()] == [cause.task for cause in found.causes]
    assert [Number(), Double(), Last()] == found.causes[0].chain
    assert "2 tasks upstream have to be built first" in str(found)
    assert "The way: Number(x=1) -> Double(x=1) -> Last(x=1)" in str(found)
    assert "d6tpipe.run(task)" in str(found)


def test_a_missing_output_is_named_by_its_path():
    path = str(Number().output().path)
    (reason,) = explain(Number()).reasons
    assert (ReasonKind.MISSING, path) == (reason.kind, reason.subject)
    assert f"missing: {path}" in str(explain(Number()))
    build(Number())
    os.unlink(path)
    assert f"gone since: {path}" in str(explain(Number()))
    Number.persist = ["data", "more"]
    try:
        build(Number(), abort=False)
        _, second = [str(target.path) for target in Number().output().values()]
        assert f"missing: {second}" in str(explain(Number()))
    finally:
        del Number.persist


def test_an_output_in_another_format_is_missing_and_the_old_one_is_named(project, flow):
    old = str(flow.Raw().output().path)
    flow = project.edit("flow", "class Raw(TaskPickle)", "class Raw(d6tpipe.tasks.TaskJson)")
    assert f"missing: {flow.Raw().output().path} (it was built as {old})" in str(explain(flow.Raw()))


def test_a_task_that_only_waits_is_said_not_to_run_if_its_input_comes_out_equal():
    build(Last())
    Number().reset(confirm=False)
    found = explain(Last())
    assert (State.PENDING, ["upstream"]) == (found.state, kinds(found))
    assert Double() == found.reasons[0].because_of
    assert "If what it needs comes out as it was, it does not run itself." in str(found)
    assert "Last(x=1) itself\n   built" in str(found)


def test_changed_code_names_the_function_and_shows_its_diff(project, flow):
    flow = project.edit("tools", "row * by", "row * by + 1")
    found = explain(flow.Train())
    assert (State.STALE, ["code"]) == (found.state, kinds(found))
    (reason,) = found.reasons
    assert "tools.scale" == reason.subject
    assert reason.before != reason.after
    diff = found.diff(reason)
    assert "-        found.append(row * by)\n+        found.append(row * by + 1)" in diff
    assert {"tools.scale": diff} == found.diffs
    assert "Train(n=3, model='ols') is stale: code of tools.scale()." in str(found)
    assert "+        found.append(row * by + 1)" in str(found)
    assert 'd6tpipe.run(task, stale="rerun")' in str(found)
    assert "d6tpipe.accept(task)" in str(found)


def test_a_new_process_explains_what_changed_since_another_built_it(project, run_python):
    program = "import flow, d6tpipe; from d6tpipe.explanations import explain; "
    environment = {"PYTHONPATH": f"{project.folder}{os.pathsep}{Path(d6tpipe.__file__).parents[1]}"}
    run_python("-c", program + "d6tpipe.run(flow.Report())", env=environment)
    edited = (project.folder / "tools.py").read_text().replace("row * by", "by * row")
    (project.folder / "tools.py").write_text(edited)
    done = run_python("-c", program + "print(explain(flow.Train()))", env=environment)
    assert "code of tools.scale()" in done.stdout
    assert "-        found.append(row * by)" in done.stdout
    assert "+        found.append(by * row)" in done.stdout


def test_a_changed_value_is_shown_as_python_writes_it(project, flow):
    flow = project.edit("tools", '"low": 1', '"low": 2')
    found = explain(flow.Clean())
    assert "value of LIMITS" in str(found) or "value of tools.LIMITS" in str(found)
    assert "-{'low': 1, 'high': 9}" in str(found)
    assert "+{'low': 2, 'high': 9}" in str(found)


def test_objects_and_enumerations_are_shown_an_attribute_a_line(project):
    project.write(
        "tools",
        """
        import dataclasses
        import enum

        class LIMITS(enum.Enum):
            low = 1
            high = 9

        @dataclasses.dataclass
        class Config:
            rate: float = 0.5
            names: tuple = ("a", "b")

        CONFIG = Config()

        def scale(rows):
            return [CONFIG.rate * row for row in rows]
        """,
    )
    build(project.edit("flow", 'LIMITS["low"]', 'LIMITS["low"].value').Train())
    flow = project.edit("tools", "Config()", "Config(rate=0.25)")
    (diff,) = explain(flow.Train()).diffs.values()
    assert "-rate= 0.5\n+rate= 0.25\n names= ('a', 'b')" in diff
    flow = project.edit("tools", "high = 9", "high = 8")
    assert "-{'low': 1, 'high': 9}\n+{'low': 1, 'high': 8}" in "".join(explain(flow.Clean()).diffs.values())


def test_a_value_too_large_to_be_looked_at_shows_its_size(project):
    project.write("tools", TOOLS.replace('{"low": 1, "high": 9}', "{n: n for n in range(10_001)}"))
    project.edit("flow", 'LIMITS["low"]', "LIMITS[1]")
    build(project.load().Clean())
    (diff,) = explain(project.edit("tools", "10_001", "10_002").Clean()).diffs.values()
    assert "-dict 10001(\n+dict 10002(" in diff


def test_a_small_change_in_a_long_line_makes_a_short_diff(project):
    def tools(number):
        entries = ", ".join(f"'key, {n}': {number if n == 17 else n}" for n in range(40))
        return f"LIMITS = {{'low': 1}}\ndef scale(rows):\n    names = {{{entries}}}\n    return rows\n"

    project.write("tools", tools(17))
    build(project.load().Train())
    project.write("tools", tools(99))
    (diff,) = explain(project.load().Train()).diffs.values()
    changed = [line for line in diff.splitlines()[2:] if line[0] in "+-"]
    assert ["-        'key, 17': 17,", "+        'key, 17': 99,"] == changed


def test_a_long_diff_is_cut_in_the_text_and_whole_in_diffs(project, flow):
    more = "".join([f"        found.append({n})\n" for n in range(50)])
    flow = project.edit("tools", "        found.append(row * by)\n", more)
    found = explain(flow.Train())
    assert re.search(r"\.\.\. \d+ more lines, see \.diffs\['tools\.scale'\]", str(found))
    assert "found.append(49)" not in str(found)
    assert "found.append(49)" in found.diffs["tools.scale"]


def test_a_function_that_is_new_and_one_that_is_gone_are_told(project, flow):
    project.edit("tools", "def scale", "def new(row):\n    return row\n\ndef scale")
    flow = project.edit("tools", "row * by", "new(row) * by")
    assert "code of tools.scale(), tools.new() is new" in str(explain(flow.Train()))
    build(flow.Train(), stale="rerun")
    flow = project.edit("tools", "new(row) * by", "row * by")
    assert "code of tools.scale(), tools.new is gone" in str(explain(flow.Train()))


def test_a_default_value_of_a_helper_is_shown(project, flow):
    flow = project.edit("tools", "by=2", "by=3")
    found = str(explain(flow.Train()))
    assert "-def scale(rows, by=2):" in found
    assert "+def scale(rows, by=3):" in found
    assert "holds" not in found


def test_other_reasons_show_before_and_after(tmp_path, monkeypatch):
    from d6tpipe.declared import env

    monkeypatch.setenv("REGION", "north")
    data = tmp_path / "data.csv"
    data.write_text("1")

    class Careful(TaskPickle):
        version = "1"
        depends_on = [data, env("REGION")]

        def run(self):
            self.save(1)

    build(Careful())
    Careful.version = "2"
    data.write_text("12")
    monkeypatch.setenv("REGION", "south")
    found = explain(Careful())
    assert ["version", "file", "env"] == kinds(found)
    assert ("1", "2") == (found.reasons[0].before, found.reasons[0].after)
    assert "* version 1 -> 2\n" in str(found)
    assert f"* file {data} has another content\n" in str(found)
    assert "* environment variable REGION has another value\n" in str(found)
    assert "north" not in str(found) and "south" not in str(found)
    data.unlink()
    monkeypatch.delenv("REGION")
    assert f"file {data} is missing now" in str(explain(Careful()))
    assert "REGION is no longer set" in str(explain(Careful()))


def test_another_default_of_a_parameter_names_both(project):
    project.write(
        "flow",
        """
        import d6tpipe
        from d6tpipe.tasks import TaskPickle

        class Fit(TaskPickle):
            depth = d6tpipe.IntParameter(default=3, ignore_default=True)
            def run(self):
                self.save(self.depth)
        """,
    )
    build(project.load().Fit())
    flow = project.edit("flow", "default=3", "default=4")
    (reason,) = explain(flow.Fit()).reasons
    assert (ReasonKind.DEFAULT_PARAMETER, "depth", "3", "4") == (
        reason.kind,
        reason.subject,
        reason.before,
        reason.after,
    )
    assert "* default of depth 3 -> 4\n" in str(explain(flow.Fit()))


def test_an_expired_task_says_how_old_it_is():
    class Short(TaskPickle):
        expires = datetime.timedelta(0)

        def run(self):
            self.save(1)

    build(Short())
    found = explain(Short())
    assert (State.STALE, ["expired"]) == (found.state, kinds(found))
    assert "expired: 0:00:00 old" in str(found)


def test_other_requirements_name_what_came_and_went():
    class Sum(TaskPickle):
        def requires(self):
            return [Number(x=x) for x in range(LAST[0])]

        def run(self):
            self.save(1)

    LAST = [2]
    build(Sum(), *[Number(x=x) for x in range(3)])
    LAST[0] = 3
    found = explain(Sum())
    assert "input_set" in kinds(found)
    assert "other requirements: 2 then, 3 now" in str(found)
    assert f"new        {Number(x=2).task_id}" in str(found)


def test_an_output_that_was_changed_by_hand_is_the_cause_of_what_needs_it():
    build(Last())
    path = Path(str(Number().output().path))
    path.write_bytes(b"something else")
    found = explain(Double())
    assert (State.STALE, ["input_data"]) == (found.state, kinds(found))
    assert Number() == found.reasons[0].because_of
    assert [(Number(), ["output_modified"])] == [(cause.task, kinds(cause)) for cause in found.causes]
    assert [Number()] == [cause.task for cause in explain(Last(), stale="rerun").causes]
    text = str(found)
    assert "output data was modified outside of d6tpipe" in text
    assert "its input Number(x=1) holds other data than when this was built\n\n" in text
    assert "now   14 bytes" in text
    assert text.index("1. Number(x=1) is stale") < text.index("Double(x=1) itself")


def test_other_data_of_a_sound_input_is_the_tasks_own_reason_and_says_when_it_was_built():
    build(Last())
    store = store_of(Number())
    Path(str(Number().output().path)).write_bytes(b"something else")
    build(Number(), forced=Number())
    before = store.records.get(Number().task_id)
    record = store.records.get(Number().task_id)
    record.outputs[0].digest = b"1" * 16
    record.run_id = "another run"
    store.records.write([record])
    store.records.flush()
    found = explain(Last(), stale="rerun")
    assert before is not None
    assert [(Double(), ["input_data"])] == [(cause.task, kinds(cause)) for cause in found.causes]
    assert "its input Number(x=1) holds other data than when this was built" in str(found)
    assert "by run another run" in str(found)


def test_a_failed_task_shows_the_error_that_was_recorded():
    class Fails(TaskPickle):
        def run(self):
            raise ValueError("boom\nsecond line")

    @d6tpipe.requires(Fails)
    class After(TaskPickle):
        def run(self):
            self.save(1)

    build(After(), abort=False)
    found = explain(After())
    assert [(Fails(), ["missing", "failed"])] == [(cause.task, kinds(cause)) for cause in found.causes]
    assert "the last attempt failed:\n       ValueError: boom\n       second line\n" in str(found)
    assert "try again, when what failed is mended" in str(found)


@pytest.mark.parametrize("with_output", [True, False])
def test_an_interrupted_task_says_so_whether_or_not_it_left_an_output(with_output):
    if with_output:
        build(Number())
    store = store_of(Number())
    store.records.building([(Number().task_family, Number().task_id)], "a run that was killed")
    found = explain(Number())
    assert State.PENDING is found.state
    assert ["interrupted"] == [kind for kind in kinds(found) if kind != "missing"]
    assert "interrupted: the last attempt ended before it was finished" in str(found)


def test_a_task_that_is_being_built_names_the_process():
    store = store_of(Number())
    store.records.building([(Number().task_family, Number().task_id)], "another run")
    assert store.locks.acquire(Number().task_id)
    try:
        text = str(explain(Number()))
        assert "wait for what is being built, and build the rest" in str(explain(Double()))
    finally:
        store.locks.release([Number().task_id])
    assert "is being built by this process" in text
    assert "wait for it, and build what is left" in text
    assert "interrupted:" not in text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="asks another process")
def test_a_task_that_another_process_builds_names_its_id():
    store = store_of(Number())
    holder = (
        "import sys, subprocess; from d6tpipe.storage.locks import locks_for; "
        f"assert locks_for({store.root!r}).acquire({Number().task_id!r}); "
        "print('held', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(d6tpipe.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert b"held" in process.stdout.readline()
        text = str(explain(Number()))
        process.stdin.close()
    assert f"is being built right now by process {process.pid}" in text


def test_an_untracked_task_says_what_that_means():
    build(Number())
    store_of(Number()).records.forget([Number().task_id])
    found = explain(Number())
    assert (State.FRESH, ["untracked"]) == (found.state, kinds(found))
    assert "nothing is recorded of how they came about. They are trusted." in str(found)
    assert "d6tpipe.accept(task)" in str(found)
    assert [] == explain(Double()).causes


def test_a_frozen_task_names_what_is_waived(project):
    project.write("flow", FLOW.replace("class Raw(TaskPickle):", "class Raw(TaskPickle):\n        freeze = True"))
    flow = project.load()
    build(flow.Raw())
    flow = project.edit("flow", "range(self.n)", "range(1, self.n)")
    found = explain(flow.Raw())
    assert (State.FROZEN, "frozen", ["code"]) == (found.state, found.mode, kinds(found))
    assert "is frozen: a run accepts its outputs as they are, in spite of: code of Raw.run()" in str(found)
    assert "no_freeze=True" in str(found)
    assert [] == explain(flow.Clean()).causes


def test_output_of_another_class_of_the_same_name_is_not_taken():
    build(Number())
    store = store_of(Number())
    record = store.records.get(Number().task_id)
    record.module, record.code_fast, record.code_stable, record.seal = "elsewhere", "other", "other", b""
    record.members = {}
    store.records.write([record])
    store.records.flush()
    found = explain(Number())
    assert (State.PENDING, ["other_class"]) == (found.state, kinds(found))
    assert "built by another class called Number, in module elsewhere" in str(found)


def test_a_task_that_was_accepted_says_so(project, flow):
    flow = project.edit("tools", "row * by", "row * by + 1")
    d6tpipe.accept(flow.Train())
    text = str(explain(flow.Train()))
    assert "nothing that it depends on has changed since it was accepted." in text
    assert re.search(r"\n  accepted  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, \d s ago\n  by        run ", text)


# ---- modes


def test_in_mode_warn_a_fresh_task_names_what_is_stale_upstream(project, flow):
    flow = project.edit("tools", "row * by", "row * by + 1")
    found = explain(flow.Report())
    assert (State.FRESH, []) == (found.state, found.reasons)
    assert [flow.Train(), flow.Train(model="gb")] == [cause.task for cause in found.causes]
    assert "But 2 tasks upstream are stale: a run uses them as they are." in str(found)
    assert 'd6tpipe.run(task, stale="rerun")' in str(found)


def test_in_mode_rerun_the_same_task_waits_for_them(project, flow):
    flow = project.edit("tools", "row * by", "row * by + 1")
    found = explain(flow.Report(), stale="rerun")
    assert (State.PENDING, ["upstream", "upstream"]) == (found.state, kinds(found))
    assert [State.PENDING, State.PENDING] == [cause.state for cause in found.causes]
    assert 'd6tpipe.run(task, stale="rerun")' in str(found)


def test_in_mode_ignore_records_do_not_count(project, flow):
    flow = project.edit("tools", "row * by", "row * by + 1")
    found = explain(flow.Train(), stale="ignore")
    assert (State.FRESH, [], "ignore") == (found.state, found.reasons, found.mode)
    assert 'd6tpipe.explain(task, stale="warn")' in str(found)
    flow.Raw().reset(confirm=False)
    assert ["missing"] == kinds(explain(flow.Raw(), stale="ignore"))
    assert [flow.Raw()] == [cause.task for cause in explain(flow.Train(), stale="ignore").causes]


def test_what_makes_a_task_wait_comes_before_what_is_merely_stale(project, flow):
    flow = project.edit("flow", "range(self.n)", "range(1, self.n)")
    flow.Train(model="gb").reset(confirm=False)
    causes = explain(flow.Report()).causes
    assert [flow.Train(model="gb"), flow.Raw()] == [cause.task for cause in causes]
    assert [State.PENDING, State.STALE] == [cause.state for cause in causes]


def test_a_change_is_told_of_every_task_to_which_it_happened_and_what_follows_is_not(project, flow):
    project.edit("flow", "range(self.n)", "range(1, self.n)")
    flow = project.edit("tools", "row * by", "row * by + 1")
    found = explain(flow.Report(), stale="rerun")
    assert [flow.Raw(), flow.Train(), flow.Train(model="gb")] == [cause.task for cause in found.causes]
    assert [flow.Raw()] == [cause.task for cause in found.causes[1].causes]
    assert str(found.causes[1]).startswith("Train(n=3, model='ols') is to be built: code of tools.scale().")
    assert "\n1. Raw(n=3) is to be built: code of Raw.run()." in str(found.causes[1])


def test_in_mode_warn_an_input_that_changed_before_is_no_consequence_of_a_stale_task(project, flow):
    project.edit("flow", "range(self.n)", "range(1, self.n)")
    flow = project.load()
    build(flow.Raw(), stale="rerun")
    flow = project.edit("flow", "range(1, self.n)", "range(2, self.n)")
    found = {cause.task: kinds(cause) for cause in explain(flow.Report()).causes}
    assert {flow.Raw(): ["code"], flow.Clean(): ["input_data"]} == found
    assert [flow.Raw()] == [cause.task for cause in explain(flow.Report(), stale="rerun").causes]


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ParameterError, match="Did you mean 'rerun'"):
        explain(Number(), stale="re-run")


# ---- kinds of tasks


def test_an_external_task_that_is_missing_cannot_be_built():
    class Delivered(TaskPickle):
        external = True

    @d6tpipe.requires(Delivered)
    class Uses(TaskPickle):
        def run(self):
            self.save(1)

    found = explain(Uses())
    assert [Delivered()] == [cause.task for cause in found.causes]
    assert "Delivered() is external and missing: it is made elsewhere, a run cannot build it." in str(found)
    assert f"provide {Delivered().output().path}" in str(found)
    assert "d6tpipe.run(" not in str(explain(Delivered()))
    Path(str(Delivered().output().path)).parent.mkdir(parents=True)
    Path(str(Delivered().output().path)).write_bytes(b"data")
    assert "Delivered() is external, made elsewhere, and it is there." in str(explain(Delivered()))


def test_an_aggregator_tells_of_the_tasks_that_it_stands_for():
    class All(TaskAggregator):
        def run(self):
            for x in range(3):
                yield Number(x=x)

    build(Number(x=1))
    found = explain(All())
    assert State.PENDING is found.state
    assert [Number(x=0), Number(x=2)] == [cause.task for cause in found.causes]
    assert str(found).startswith("All() stands for 3 tasks: 2 pending, 1 fresh.")
    build(All())
    assert State.FRESH is explain(All()).state


def test_a_task_in_memory_says_that_this_process_has_not_built_it():
    class Kept(TaskCache):
        def run(self):
            self.save(1)

    assert "it is kept in memory, and this process has not built it" in str(explain(Kept()))
    build(Kept())
    assert State.FRESH is explain(Kept()).state


def test_plain_luigi_tasks_are_explained_too(tmp_path):
    class Written(luigi.Task):
        def output(self):
            return luigi.LocalTarget(str(tmp_path / "out.txt"))

        def run(self):
            with self.output().open("w") as stream:
                stream.write("1")

    class Nothing(luigi.Task):
        def run(self):
            pass

    class Sure(luigi.Task):
        def complete(self):
            return True

        def output(self):
            return luigi.LocalTarget(str(tmp_path / "never"))

    class Unsure(Sure):
        def complete(self):
            return False

        def output(self):
            return luigi.LocalTarget(str(tmp_path))

    assert f"missing: {tmp_path / 'out.txt'}" in str(explain(Written()))
    build(Written())
    assert State.FRESH is explain(Written()).state
    assert "it has no outputs and no complete() of its own" in str(explain(Nothing()))
    assert (State.FRESH, []) == (explain(Sure()).state, explain(Sure()).reasons)
    assert "its own complete() says so" in str(explain(Sure()))
    assert "missing: complete() says no" in str(explain(Unsure()))


def test_a_disabled_task_says_that_a_run_will_not_build_it():
    class Off(Number):
        disabled = True

    assert "its author has disabled it: a run will not build it" in str(explain(Off()))


def test_tasks_that_a_body_asked_for_are_explained(project):
    project.write(
        "flow",
        """
        import d6tpipe
        from d6tpipe.tasks import TaskPickle

        class Part(TaskPickle):
            x = d6tpipe.IntParameter()
            def run(self):
                self.save(self.x)

        class Asks(TaskPickle):
            def run(self):
                yield Part(x=7)
                self.save(1)
        """,
    )
    flow = project.load()
    build(flow.Asks())
    flow.Part(x=7).reset(confirm=False)
    assert [flow.Part(x=7)] == [cause.task for cause in explain(flow.Asks()).causes]


# ---- many


def test_causes_with_the_same_reasons_are_told_together(project):
    project.write(
        "flow",
        """
        import d6tpipe
        from d6tpipe.tasks import TaskPickle

        class Part(TaskPickle):
            x = d6tpipe.IntParameter()
            def run(self):
                self.save(self.x)

        class Sum(TaskPickle):
            def requires(self):
                return [Part(x=x) for x in range(40)]
            def run(self):
                self.save(1)
        """,
    )
    build(project.load().Sum())
    flow = project.edit("flow", "self.save(self.x)", "self.save(self.x + 1)")
    found = explain(flow.Sum())
    assert 40 == len(found.causes)
    assert 1 == str(found).count("+    self.save(self.x + 1)")
    assert "The same holds for Part(x=1), Part(x=2), Part(x=3) and 36 more." in str(found)
    assert "2. " not in str(found)


def test_a_diff_that_several_causes_have_in_common_is_shown_once(project, flow):
    flow = project.edit("flow", "range(self.n)", "scale(range(self.n))")
    build(flow.Report(), stale="rerun")
    project.edit("flow", "sum(scale(", "max(scale(")
    flow = project.edit("tools", "row * by", "row * by + 1")
    text = str(explain(flow.Report()))
    assert 2 == text.count("* code of tools.scale()")
    assert 1 == text.count("+        found.append(row * by + 1)")
    assert "* code of tools.scale()\n       (see above)" in text


def test_the_way_through_a_long_chain_is_shortened():
    class Link(TaskPickle):
        n = d6tpipe.IntParameter()

        def requires(self):
            return Link(n=self.n - 1) if self.n else []

        def run(self):
            self.save(self.n)

    found = explain(Link(n=3000))
    assert [Link(n=0)] == [cause.task for cause in found.causes]
    assert 3001 == len(found.causes[0].chain)
    assert "Link(n=4) -> ... 2995 more ... -> Link(n=3000)" in str(found)


def test_whole_records_are_read_only_of_tasks_that_are_shown(monkeypatch):
    class Sum(TaskPickle):
        def requires(self):
            return [Number(x=x) for x in range(300)]

        def run(self):
            self.save(1)

    store = store_of(Number())
    read: list[str] = []
    get = store.records.get
    monkeypatch.setattr(
        store.records, "get", lambda task_id, run_id=None: [read.append(task_id), get(task_id, run_id)][1]
    )
    str(explain(Sum()))
    assert len(read) < 10


# ---- only a question


def test_asking_changes_nothing_on_the_disk(project, flow, tmp_path, isolated):
    def everything() -> dict[str, Any]:
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in isolated.rglob("*")}

    flow = project.edit("tools", "row * by", "row * by + 1")
    flow.Raw().reset(confirm=False)
    before = everything()
    for mode in ("ignore", "warn", "rerun"):
        str(explain(flow.Report(), stale=mode))
    assert before == everything()


def test_asking_in_an_empty_place_makes_no_folder(isolated):
    str(explain(Last()))
    assert [] == list(isolated.iterdir())


def test_without_records_everything_is_untracked(isolated):
    build(Last())
    shutil.rmtree(isolated / "data" / ".d6tpipe")
    found = explain(Last())
    assert (State.FRESH, ["untracked"]) == (found.state, kinds(found))


def test_records_that_cannot_be_read_count_as_none(isolated):
    build(Last())
    for path in (isolated / "data" / ".d6tpipe").glob("records.db*"):
        path.write_bytes(b"no database at all" * 100)
    with pytest.warns(UserWarning, match="records"):
        found = explain(Last())
    assert (State.FRESH, ["untracked"]) == (found.state, kinds(found))


def test_without_the_recorded_text_there_is_no_diff(project, flow, monkeypatch):
    flow = project.edit("tools", "row * by", "row * by + 1")
    monkeypatch.setattr(store_of(flow.Train()).records, "get_source", lambda hash: None)
    found = explain(flow.Train())
    assert {"tools.scale": ""} == found.diffs
    assert "(its text from then is not recorded)" in str(found)


# ---- how it shows itself


def test_html_is_the_text_and_escapes_what_users_wrote():
    class Risky(TaskPickle):
        text = d6tpipe.Parameter(default="<script>alert(1)</script>")

        def run(self):
            raise ValueError("<b>&")

    build(Risky(), abort=False)
    found = explain(Risky())
    shown = found._repr_html_()
    assert "<script>" not in shown and "<b>" not in shown
    assert f"<pre>{html.escape(str(found))}</pre>" == shown


def test_the_prompt_shows_the_text():
    found = explain(Number())
    assert str(found) == repr(found)


@pytest.mark.parametrize(("tasks", "count"), [([], "0"), ([Number(x=1), Number(x=2)], "2")])
def test_several_tasks_are_an_error_that_names_plan(tasks, count):
    with pytest.raises(GraphError, match=f"got  {count} tasks") as caught:
        explain(tasks)
    assert "d6tpipe.plan(tasks)" in str(caught.value)


def test_a_list_of_one_task_is_that_task():
    assert Number() == explain([Number()]).task
