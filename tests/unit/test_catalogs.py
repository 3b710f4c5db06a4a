"""The catalog, and what clean, invalidate_all and invalidate_orphans delete: orphans and no file more."""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe import catalogs
from d6tpipe.errors import GraphError
from d6tpipe.interfaces import State
from d6tpipe.records import OutputRecord
from d6tpipe.stores import close_all, store_at

FLOW = """
import d6tpipe

class Get(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter(default=1)
    def run(self):
        self.save(self.n)

@d6tpipe.requires(Get)
class Fit(d6tpipe.tasks.TaskData):
    persist = {"model": "pickle", "scores": "json"}
    def run(self):
        self.save({"model": self.inputLoad(), "scores": [1]})
"""


@pytest.fixture(autouse=True)
def quiet(isolated, monkeypatch):
    monkeypatch.setattr(d6tpipe.settings, "execution_summary", False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(isolated)
    # Classes of other tests have the same names; of whatever module a class is, it counts.
    ours = [cls for cls in Register._reg if cls.__module__.partition(".")[0] in ("luigi", "d6tpipe", __name__)]
    monkeypatch.setattr(Register, "_reg", ours + [cls for cls in Register._reg if cls.__module__ == __name__])


def define(name, text=FLOW):
    """Write a module and import it, as a new process would: nothing is left of an earlier one of this name."""
    Path(f"{name}.py").write_text(text)
    forget_module(name)
    return importlib.import_module(name)


def forget_module(name):
    sys.modules.pop(name, None)
    Register._reg[:] = [cls for cls in Register._reg if cls.__module__ != name]
    importlib.invalidate_caches()


@pytest.fixture
def flow():
    return define("prices")


def store(root="data"):
    return store_at(root)


def recorded(root="data"):
    return sorted(record.task_id.rpartition("_")[0] for record in store(root).records.all())


def files(folder="data"):
    paths = sorted(path for path in Path(folder).rglob("*") if not path.is_dir() and ".d6tpipe" not in path.parts)
    return [path.name.split("-")[0].rpartition("_")[0] + "-" + path.name.partition("-")[2] for path in paths]


def everything_in(folder="data"):
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        facts = path.lstat()
        found[str(path)] = (facts.st_mode, facts.st_mtime_ns, path.read_bytes() if path.is_file() else None)
    return found


def interrupt(task):
    store().records.building([(task.task_family, task.task_id)], "a run that was killed")
    store().records.close()


def rows(frame):
    """Return {file name: (whether it goes, why)}."""
    return {os.path.basename(row.path): (row.delete, row.why) for row in frame.itertuples()}


# ---- the catalog


def test_before_anything_is_built_the_catalog_is_empty_and_makes_nothing(isolated):
    frame = d6tpipe.catalog()
    assert list(catalogs.COLUMNS) == list(frame.columns)
    assert 0 == len(frame)
    assert "datetime64" in str(frame.built.dtype) and "UTC" in str(frame.built.dtype)
    assert ["int64", "float64", "bool"] == [str(frame[name].dtype) for name in ("bytes", "seconds", "exists")]
    assert not Path("data").exists()


def test_the_catalog_has_a_row_per_task_the_latest_first(flow):
    before = time.time()
    d6tpipe.run(flow.Fit(n=3))
    frame = d6tpipe.catalog()
    assert ["Fit", "Get"] == list(frame.family)
    first = frame.iloc[0]
    assert flow.Fit(n=3).task_id == first.task_id
    assert {"n": "3"} == first.parameters
    assert "finished" == first.state
    assert sorted(os.path.relpath(path, "data") for path in flow.Fit(n=3).outputPath().values()) == sorted(
        first.outputs
    )
    assert sum(os.path.getsize(path) for path in flow.Fit(n=3).outputPath().values()) == first.bytes
    assert before <= first.built.timestamp() <= time.time()
    assert 0 <= first.seconds < 60
    assert first.run_id and first.host and first.python == sys.version.partition(" ")[0]
    assert ("", True) == (first.error, first.exists)


def test_the_catalog_tells_the_state_of_each_task(flow, monkeypatch):
    Path("data/Given").mkdir(parents=True)

    class Given(d6tpipe.tasks.TaskPickle):
        external = True

    class Uses(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Given()

        def run(self):
            self.save(self.inputLoad())

    class Fails(d6tpipe.tasks.TaskPickle):
        def run(self):
            raise ValueError("the user's mistake")

    Path(Given().outputPath()).write_bytes(pickle.dumps(1))
    d6tpipe.run([Uses(), Fails(), flow.Get(n=1), flow.Get(n=2), flow.Get(n=3)], abort=False)
    d6tpipe.forget(flow.Get(n=2))
    d6tpipe.accept(flow.Get(n=2))
    interrupt(flow.Get(n=3))
    frame = d6tpipe.catalog()
    states = {row.task_id: row.state for row in frame.itertuples()}
    assert {
        Given().task_id: "observed",
        Uses().task_id: "finished",
        Fails().task_id: "failed",
        flow.Get(n=1).task_id: "finished",
        flow.Get(n=2).task_id: "accepted",
        flow.Get(n=3).task_id: "interrupted",
    } == states
    failed = frame[frame.state == "failed"].iloc[0]
    assert "ValueError: the user's mistake" == failed.error
    assert (0, False) == (failed.bytes, failed.exists)


def test_what_is_being_built_is_running_not_interrupted(flow):
    seen = []

    class Looks(d6tpipe.tasks.TaskPickle):
        def run(self):
            seen.extend(d6tpipe.catalog(family="Looks").state)
            self.save(1)

    d6tpipe.run(Looks())
    assert ["running"] == seen


def test_an_output_that_is_gone_does_not_exist(flow):
    d6tpipe.run(flow.Fit())
    os.unlink(flow.Fit().outputPath("scores"))
    assert {"Fit": False, "Get": True} == dict(zip(*d6tpipe.catalog()[["family", "exists"]].values.T, strict=True))


def test_each_data_folder_has_a_catalog_of_its_own(flow):
    d6tpipe.run(flow.Get())
    d6tpipe.Workflow(flow.Get, {"n": 5}, path="elsewhere").run()
    assert [{"n": "1"}] == list(d6tpipe.catalog().parameters)
    assert [{"n": "5"}] == list(d6tpipe.catalog("elsewhere").parameters)
    assert 0 == len(d6tpipe.catalog("nowhere"))
    assert not Path("nowhere").exists()


def test_the_catalog_of_one_family(flow):
    d6tpipe.run(flow.Fit())
    assert ["Get"] == list(d6tpipe.catalog(family="Get").family)
    assert 0 == len(d6tpipe.catalog(family="Nobody"))


def test_looking_changes_nothing(flow):
    d6tpipe.run(flow.Fit())
    before = everything_in()
    d6tpipe.catalog()
    d6tpipe.clean()
    d6tpipe.clean(flow.Get())
    assert before == everything_in()


def test_records_that_cannot_be_read_are_warned_about_and_none_are_returned(flow):
    d6tpipe.run(flow.Fit())
    close_all([store()])
    Path("data/.d6tpipe/records.db").write_bytes(b"no database at all" * 1000)
    with pytest.warns(UserWarning, match="cannot be read"):
        assert 0 == len(d6tpipe.catalog())
    with pytest.warns(UserWarning, match="cannot be read"):
        close_all([store()])
        assert 0 == len(d6tpipe.clean(flow.Get(), yes=True))
    assert 3 == len(files())
    shutil.rmtree("data/.d6tpipe")
    close_all([store()])


# ---- clean, given the flows


def test_what_the_flows_make_and_need_is_no_orphan(flow):
    d6tpipe.run([flow.Fit(n=1), flow.Fit(n=2)])
    assert 0 == len(d6tpipe.clean([flow.Fit(n=1), flow.Fit(n=2)]))


def test_orphans_are_only_shown_until_yes_is_said(flow):
    d6tpipe.run([flow.Fit(n=1), flow.Fit(n=2)])
    before = everything_in()
    frame = d6tpipe.clean(flow.Fit(n=1))
    assert before == everything_in()
    assert ["task", "path", "bytes", "delete", "why"] == list(frame.columns)
    assert 3 == len(frame) and frame.delete.all() and set(frame.why) == {"none of these flows makes it"}
    assert sum(os.path.getsize(path) for path in frame.path) == frame.bytes.sum()
    assert {flow.Fit(n=2).task_id, flow.Get(n=2).task_id} == set(frame.task)


def test_orphans_are_deleted_with_their_records_and_nothing_else_is(flow):
    d6tpipe.run([flow.Fit(n=1), flow.Fit(n=2)])
    Path("data/Fit/notes.txt").write_text("mine")
    before = everything_in()
    frame = d6tpipe.clean(flow.Fit(n=1), yes=True)
    assert frame.delete.all()
    gone = {path for path in before if not os.path.exists(path)}
    assert {os.path.relpath(path) for path in frame.path} == gone
    left = {path: facts for path, facts in everything_in().items() if ".d6tpipe" not in path and Path(path).is_file()}
    assert left == {path: before[path] for path in left}
    assert ["Fit_1", "Get_1"] == recorded()
    assert [State.FRESH] * 2 == list(d6tpipe.run(flow.Fit(n=1), stale="rerun").states.values())
    assert 0 == len(d6tpipe.clean(flow.Fit(n=1)))


def test_the_folder_of_the_bodies_of_an_orphan_goes_with_it(tmp_path):
    class Leaves(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()

        def run(self):
            self.job.artifact("big/file.bin").write_bytes(b"x" * 1000)
            self.save(str(self.job.dir))

    tasks = [Leaves(n=n) for n in range(3)]
    d6tpipe.run(tasks)
    places = [Path(task.outputLoad()) for task in tasks]
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(places[2])
    places[2].symlink_to(outside)
    frame = d6tpipe.clean(tasks[0])
    assert {os.path.abspath(path) for path in frame.path[frame.why == "files of its bodies"]} == {
        str(places[1].absolute())
    }
    assert frame.bytes.max() >= 1000 and places[1].is_dir()
    d6tpipe.clean(tasks[0], yes=True)
    assert places[0].is_dir() and not places[1].exists() and outside.is_dir()
    assert not tasks[1].complete() and tasks[0].complete()


def test_a_folder_of_bodies_that_cannot_be_deleted_is_told(monkeypatch):
    class Leaves(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()

        def run(self):
            self.save(str(self.job.dir))

    d6tpipe.run([Leaves(n=0), Leaves(n=1)])
    place = Path(Leaves(n=1).outputLoad())

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as context:
        context.setattr(shutil, "rmtree", refuse)
        with pytest.raises(d6tpipe.errors.StorageError, match=r"(?s)cannot be deleted.*Leaves_1.*Permission denied"):
            d6tpipe.clean(Leaves(n=0), yes=True)
    assert place.is_dir()
    d6tpipe.clean(Leaves(n=0), yes=True)
    assert not place.exists() and Leaves(n=0).complete()


@pytest.mark.parametrize(
    "given",
    [
        lambda flow: d6tpipe.Workflow(flow.Fit, {"n": 1}),
        lambda flow: d6tpipe.WorkflowMulti(flow.Fit, {"a": {"n": 1}}),
        lambda flow: {"one": flow.Fit(n=1)},
        lambda flow: [d6tpipe.Workflow([flow.Fit], {"n": 1}), [flow.Get(n=1)]],
    ],
)
def test_flows_may_be_workflows_and_collections(flow, given):
    d6tpipe.run([flow.Fit(n=1), flow.Get(n=2)])
    assert [flow.Get(n=2).task_id] == list(d6tpipe.clean(given(flow)).task)


def test_a_functional_workflow_knows_what_it_has_run():
    steps = d6tpipe.functional.Workflow()

    @steps.task(d6tpipe.tasks.TaskPickle)
    @steps.params(n=d6tpipe.IntParameter(default=1))
    def step(task):
        task.save(task.n)

    with pytest.raises(GraphError, match="this one has run none"):
        d6tpipe.clean(steps)
    steps.run("step", params={"n": 2})
    other = d6tpipe.functional.Workflow()
    other.task(d6tpipe.tasks.TaskPickle)(other.params(n=d6tpipe.IntParameter(default=1))(step))
    other.run("step")
    assert ["step_1"] == [task.rpartition("_")[0] for task in d6tpipe.clean(steps).task]


def test_the_data_folder_is_that_of_the_flows(flow):
    d6tpipe.run(flow.Get(n=1))
    one, two = (d6tpipe.Workflow(flow.Get, {"n": n}, path="elsewhere") for n in (1, 2))
    one.run()
    two.run()
    assert [flow.Get(n=2).task_id] == list(d6tpipe.clean(one).task)
    with pytest.raises(GraphError, match="several data folders"):
        d6tpipe.clean([one, flow.Get(n=1)])
    assert 0 == len(d6tpipe.clean([one, two, flow.Get(n=1)], root="elsewhere"))


def test_a_folder_that_none_of_the_flows_uses_is_refused(flow):
    d6tpipe.run(flow.Get(n=1))
    with pytest.raises(GraphError, match="all in it would be orphans"):
        d6tpipe.clean(d6tpipe.Workflow(flow.Get, path="elsewhere"), root="data", yes=True)
    with pytest.raises(GraphError, match="in memory"):
        d6tpipe.clean([], yes=True)
    assert ["Get_1-data.pkl"] == files()


def test_a_file_that_was_changed_by_hand_stays_and_its_siblings_with_it(flow):
    d6tpipe.run([flow.Fit(n=1), flow.Fit(n=2)])
    Path(flow.Fit(n=2).outputPath("scores")).write_text("[2]")
    found = rows(d6tpipe.clean(flow.Fit(n=1), yes=True))
    edited, sibling = (os.path.basename(flow.Fit(n=2).outputPath(key)) for key in ("scores", "model"))
    assert (False, "has been changed since it was recorded") == found[edited]
    assert (False, f"stays with {edited}") == found[sibling]
    assert "Fit_2" in recorded() and "Get_2" not in recorded()
    assert "[2]" == Path(flow.Fit(n=2).outputPath("scores")).read_text()


def test_even_a_changed_time_keeps_a_file(flow):
    d6tpipe.run([flow.Get(n=1), flow.Get(n=2)])
    os.utime(flow.Get(n=2).outputPath(), (1, 1))
    assert [False] == list(d6tpipe.clean(flow.Get(n=1), yes=True).delete)
    assert os.path.exists(flow.Get(n=2).outputPath())


def test_what_an_attempt_that_failed_has_left_stays(flow, monkeypatch):
    d6tpipe.run(flow.Get(n=1))

    def run(self):
        self.save(2)
        raise ValueError

    monkeypatch.setattr(flow.Get, "run", run)
    d6tpipe.run(flow.Get(n=2), abort=False)
    ((goes, why),) = rows(d6tpipe.clean(flow.Get(n=1), yes=True)).values()
    assert not goes and "failed attempt" in why


def test_of_a_task_without_outputs_the_record_goes(flow):
    d6tpipe.run([flow.Get(n=1), flow.Get(n=2)])
    flow.Get(n=2).reset(confirm=False)
    frame = d6tpipe.clean(flow.Get(n=1), yes=True)
    assert [("", True)] == [(row.path, row.delete) for row in frame.itertuples()]
    assert ["Get_1"] == recorded()


def test_external_data_stay(flow):
    class Given(d6tpipe.tasks.TaskPickle):
        external = True

    class Uses(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Given()

        def run(self):
            self.save(self.inputLoad())

    Path("data/Given").mkdir(parents=True)
    Path(Given().outputPath()).write_bytes(pickle.dumps(1))
    d6tpipe.run([Uses(), flow.Get()])
    assert "Given_" in recorded()
    found = rows(d6tpipe.clean(flow.Get(), yes=True))
    assert (False, "was not made here, only read") == found[os.path.basename(Given().outputPath())]
    assert os.path.exists(Given().outputPath()) and not os.path.exists(Uses().outputPath())


def lay(task, path, outside=False):
    """Record `path` as the output of a task that nobody makes."""
    record = next(record for record in store().records.all() if record.task_id == task.task_id)
    record.task_id, record.family = "Old_9_0123456789", "Old"
    facts = os.stat(path) if os.path.exists(path) else None
    size, mtime_ns = (-1, 0) if facts is None else (facts.st_size, facts.st_mtime_ns)
    if os.path.isdir(path):
        size, mtime_ns = d6tpipe.plugins.load("files", "local").stat(path)
    record.outputs = [OutputRecord("data", path if outside else os.path.relpath(path, "data"), size, mtime_ns)]
    store().records.write([record])
    close_all([store()])


def test_what_lies_outside_the_data_folder_stays(flow, isolated):
    d6tpipe.run(flow.Get())
    (isolated / "outside").mkdir()
    (isolated / "outside" / "a.txt").write_text("a")
    (isolated / "data" / "door").symlink_to(isolated / "outside")
    for path, outside in (
        (isolated / "outside" / "a.txt", True),
        (isolated / "data" / ".." / "outside" / "a.txt", False),
        (isolated / "data" / "door" / "a.txt", True),
    ):
        lay(flow.Get(), str(path), outside)
        (why,) = d6tpipe.clean(flow.Get(), yes=True).why
        assert "lies outside the data folder" == why
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.print", lambda *words: None)
            d6tpipe.invalidate_all()
        assert "a" == (isolated / "outside" / "a.txt").read_text()
        d6tpipe.run(flow.Get())


def test_links_and_folders_stay(flow, isolated):
    d6tpipe.run(flow.Get())
    target = isolated / "data" / "real.txt"
    target.write_text("a")
    (isolated / "data" / "link.txt").symlink_to(target)
    lay(flow.Get(), str(isolated / "data" / "link.txt"))
    assert ["is a link, which no task makes"] == list(d6tpipe.clean(flow.Get(), yes=True).why)
    (isolated / "data" / "folder").mkdir()
    (isolated / "data" / "folder" / "part").write_text("a")
    lay(flow.Get(), str(isolated / "data" / "folder"))
    assert ["is a folder: remove it yourself"] == list(d6tpipe.clean(flow.Get(), yes=True).why)
    assert (isolated / "data" / "folder" / "part").exists() and (isolated / "data" / "link.txt").is_symlink()


@pytest.mark.parametrize(("path", "size"), [("s3://bucket/x", 5), ("a table", -1)])
def test_an_output_that_is_no_file_stays_with_its_record(flow, path, size):
    d6tpipe.run(flow.Get())
    lay(flow.Get(), path, outside=True)
    record = next(record for record in store().records.all() if record.family == "Old")
    record.outputs[0].size = size
    store().records.write([record])
    assert list(d6tpipe.catalog(family="Old").exists) == [True]
    assert [(False, "is not a file")] == [
        (row.delete, row.why) for row in d6tpipe.clean(flow.Get(), yes=True).itertuples()
    ]
    assert "Old_9" in recorded()


def test_a_file_that_another_task_uses_stays(flow):
    d6tpipe.run(flow.Get())
    lay(flow.Get(), flow.Get().outputPath())
    (why,) = d6tpipe.clean(flow.Get(), yes=True).why
    assert "is an output of Get(n=1), too" == why
    assert os.path.exists(flow.Get().outputPath())


def test_of_two_orphans_with_one_file_both_stay_if_one_has_to(flow):
    d6tpipe.run([flow.Get(n=1), flow.Get(n=2)])
    lay(flow.Get(n=2), flow.Get(n=2).outputPath())
    record = next(record for record in store().records.all() if record.family == "Old")
    record.outputs[0].size += 1
    store().records.write([record])
    for yes in (False, True):
        frame = d6tpipe.clean(flow.Get(n=1), yes=yes)
        assert 2 == len(frame) and not frame.delete.any()
    assert os.path.exists(flow.Get(n=2).outputPath())


def test_the_metadata_of_orphans_stay_since_they_have_no_record():
    class Scored(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()

        def run(self):
            self.saveMeta({"score": 1})
            self.save(1)

    d6tpipe.run([Scored(n=1), Scored(n=2)])
    d6tpipe.clean(Scored(n=1), yes=True)
    assert 3 == len(files())


class Child(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter()

    def run(self):
        self.save(self.n)


@d6tpipe.requires(Child)
class GrandParent(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(1)


class Asking(d6tpipe.tasks.TaskPickle):
    fail = d6tpipe.BoolParameter(default=False, significant=False)

    def run(self):
        yield GrandParent(n=5)
        if self.fail:
            raise ValueError
        self.save(1)


def test_what_a_body_has_asked_for_is_no_orphan():
    d6tpipe.run([Asking(), Child(n=6)])
    assert [Child(n=6).task_id] == list(d6tpipe.clean(Asking()).task)


def test_what_a_body_has_asked_for_is_no_orphan_though_its_class_cannot_be_found(monkeypatch):
    d6tpipe.run([Asking(), Child(n=6)])
    monkeypatch.setattr("d6tpipe.examiner._made_again", lambda old: None)
    assert [Child(n=6).task_id] == list(d6tpipe.clean(Asking()).task)


def test_as_long_as_a_body_may_ask_for_anything_everything_stays():
    d6tpipe.run([Asking(fail=True), Child(n=6)], abort=False)
    assert [(False, Child(n=6).task_id)] == list(
        d6tpipe.clean(Asking(), yes=True)[["delete", "task"]].itertuples(False)
    )
    d6tpipe.forget(Asking())
    frame = d6tpipe.clean(Asking(), yes=True)
    assert {Child(n=5).task_id, Child(n=6).task_id, GrandParent(n=5).task_id} == set(frame.task)
    assert not frame.delete.any()
    assert all("what that asks for in run() is not known" in why for why in frame.why)


def test_what_an_accepted_body_may_ask_for_is_not_known_either():
    d6tpipe.run([Asking(), Child(n=6)])
    d6tpipe.forget(Asking())
    d6tpipe.accept(Asking())
    assert not d6tpipe.clean(Asking()).delete.any()


def test_what_is_being_built_stays(flow):
    found = []

    class Cleans(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(1)
            found.append(d6tpipe.clean(flow.Get()))
            found.append(d6tpipe.clean(flow.Get(), yes=True))

    d6tpipe.run([flow.Get(), flow.Get(n=2)])
    d6tpipe.run(Cleans())
    for frame in found:
        goes = dict(zip(frame.task, frame.delete, strict=True))
        assert {Cleans().task_id: False, flow.Get(n=2).task_id: True} == goes
        assert f"process {os.getpid()} is building it" in set(frame.why)
    assert 1 == Cleans().outputLoad()


def test_what_has_changed_between_looking_and_deleting_stays(flow):
    d6tpipe.run([flow.Get(n=n) for n in (1, 2, 3, 4)])
    removal = catalogs.removal(flow.Get(n=1))
    Path(flow.Get(n=2).outputPath()).write_bytes(b"mine now")
    d6tpipe.run(flow.Get(n=3), forced_all=True)
    d6tpipe.forget(flow.Get(n=4))
    d6tpipe.accept(flow.Get(n=4))
    assert 3 == len(removal.going)
    removal.carry_out()
    assert [] == removal.going
    assert {"has changed in the meantime"} == {one.why for one in removal.staying}
    assert 4 == len(files()) == len(recorded())


def test_a_file_that_cannot_be_deleted_is_an_error_and_leaves_a_task_that_is_not_built(flow, monkeypatch):
    d6tpipe.run([flow.Fit(n=1), flow.Fit(n=2)])
    local = type(d6tpipe.plugins.load("files", "local"))
    remove = local.remove

    def refuse(self, path):
        if path.endswith(".json"):
            raise d6tpipe.errors.StorageError("Cannot remove a file")
        return remove(self, path)

    monkeypatch.setattr(local, "remove", refuse)
    with pytest.raises(d6tpipe.errors.StorageError):
        d6tpipe.clean(flow.Fit(n=1), yes=True)
    monkeypatch.undo()
    assert not store().locks.holds(flow.Fit(n=2).task_id)
    assert State.FRESH not in d6tpipe.run(flow.Fit(n=2), dry_run=True).states.values()


@pytest.mark.slow
def test_killed_in_the_middle_it_leaves_tasks_that_are_not_built(flow, run_python, isolated):
    d6tpipe.run([flow.Get(n=n) for n in range(5)])
    close_all([store()])
    env = {"PYTHONPATH": f"{isolated}:{Path(d6tpipe.__file__).parents[1]}"}
    clean = ("-c", "import d6tpipe, prices; print(d6tpipe.clean(prices.Get(n=0), yes=True).delete.sum())")
    done = run_python(*clean, env={**env, "_D6TPIPE_FAIL_POINT": "removal.files*2"}, check=False)
    assert -signal.SIGKILL == done.returncode
    assert 3 == len(files()) and 5 == len(recorded())
    pending = d6tpipe.run([flow.Get(n=n) for n in range(5)], dry_run=True).counts
    assert {State.FRESH: 3, State.PENDING: 2} == dict(pending)
    close_all([store()])
    assert "4\n" == run_python(*clean, env=env).stdout
    assert ["Get_0"] == recorded()


# ---- clean, without flows: what cannot be made any more


def clean_rows(**options):
    return {row.task.rpartition("_")[0]: (row.delete, row.why) for row in d6tpipe.clean(**options).itertuples()}


def test_what_its_class_still_makes_is_no_orphan(flow):
    d6tpipe.run([flow.Fit(n=n) for n in range(5)])
    assert {} == clean_rows()
    forget_module("prices")  # a new process, which has to import it first
    assert {} == clean_rows()


def test_outputs_of_a_class_that_is_gone_are_orphans(flow):
    d6tpipe.run(flow.Fit())
    define("prices", FLOW.partition("@")[0])
    assert {"Fit_1": (True, "there is no class Fit in prices any more")} == clean_rows()
    assert {"Fit_1"} == set(clean_rows(yes=True))
    assert ["Get_1"] == recorded() and ["Get_1-data.pkl"] == files()


def test_a_class_that_was_moved_still_makes_them(flow):
    d6tpipe.run(flow.Fit())
    Path("moved.py").write_text(FLOW)
    forget_module("moved")
    define("prices", "import moved\n")
    assert {} == clean_rows(yes=True)


SAME = "n = d6tpipe.IntParameter(default=1)"


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ("m = d6tpipe.IntParameter(default=1)", "has other parameters now: n gone; m new"),
        (f"{SAME}\n    m = d6tpipe.IntParameter(default=1)", "has other parameters now: m new"),
        ("n = d6tpipe.IntParameter(default=1, significant=False)", "has other parameters now: other ones count"),
        ("n = d6tpipe.ChoiceParameter(choices=['a', 'b'], default='a')", "does not take its parameter values any more"),
        ("n = d6tpipe.DateParameter(default=None)", "does not take its parameter values any more"),
    ],
)
def test_outputs_with_parameters_that_the_class_does_not_take_are_orphans(flow, now, why):
    d6tpipe.run(flow.Get())
    define("prices", FLOW.replace(SAME, now).replace("self.n", "0"))
    ((goes, told),) = clean_rows().values()
    assert goes and told.startswith(f"Get {why}")


@pytest.mark.parametrize(
    "now",
    [
        "n = d6tpipe.IntParameter(default=7)",
        "n = d6tpipe.Parameter(default='1')",
        f"{SAME}\n    m = d6tpipe.IntParameter(default=1, significant=False)",
        f"{SAME}\n    m = d6tpipe.IntParameter(default=1, ignore_default=True)",
    ],
)
def test_outputs_that_the_class_could_still_make_stay(flow, now):
    d6tpipe.run(flow.Get())
    define("prices", FLOW.replace(SAME, now))
    assert {} == clean_rows()


@pytest.mark.parametrize(
    "now",
    [
        # Not all of what decides is in the record, or a class of somebody else decides.
        f"{SAME}\n    m = d6tpipe.IntParameter(visibility=2)",
        f"{SAME}\n    m = d6tpipe.IntParameter()\n    o = d6tpipe.IntParameter(default=1, ignore_default=True)",
        "n = type('Own', (d6tpipe.Parameter,), {'parse': lambda self, text: 1 / 0})(default=1)",
    ],
)  # fmt: skip
def test_where_there_is_doubt_outputs_stay_and_that_is_told(flow, now):
    d6tpipe.run(flow.Get())
    define("prices", FLOW.replace(SAME, now).replace("self.n", "0"))
    ((goes, why),) = clean_rows(yes=True).values()
    assert not goes and "its parameters cannot be read back" in why
    assert ["Get_1-data.pkl"] == files()


def test_a_module_that_cannot_be_imported_proves_nothing(flow):
    d6tpipe.run(flow.Get())
    forget_module("prices")
    Path("prices.py").unlink()
    why = "its module prices cannot be imported: ModuleNotFoundError: No module named 'prices'"
    assert {"Get_1": (False, why)} == clean_rows(yes=True)
    Path("prices.py").write_text("raise SystemExit(3)")
    assert "SystemExit" in clean_rows(yes=True)["Get_1"][1]
    assert ["Get_1-data.pkl"] == files()


def test_a_class_of_this_name_in_another_module_proves_nothing(flow):
    d6tpipe.run(flow.Get())
    forget_module("prices")
    Path("prices.py").unlink()
    define("other", FLOW.replace(SAME, "m = d6tpipe.IntParameter(default=1)"))
    assert "cannot be imported" in clean_rows(yes=True)["Get_1"][1]


def test_a_class_of_this_name_in_another_module_does_not_save_them(flow):
    d6tpipe.run(flow.Get())
    define("prices", "")
    define("other", FLOW.replace(SAME, f"{SAME}\n    m = d6tpipe.IntParameter(visibility=2)"))
    assert {"Get_1": (True, "there is no class Get in prices any more")} == clean_rows()


def test_a_module_that_is_still_being_imported_proves_nothing(flow):
    d6tpipe.run(flow.Fit())
    before, decorator, after = FLOW.partition("@d6tpipe")
    module = define("prices", f"{before}\nfound = d6tpipe.clean()\n{decorator}{after}")
    assert {"its module prices is still being imported"} == set(module.found.why)
    assert not module.found.delete.any()


def test_a_class_made_by_a_function_may_be_made_again(flow):
    made = define(
        "made",
        "import d6tpipe\ndef make():\n    class Inner(d6tpipe.tasks.TaskPickle):\n"
        "        def run(self):\n            self.save(1)\n    return Inner\n",
    )
    d6tpipe.run(made.make()())
    define("made", Path("made.py").read_text())
    assert {"Inner_": (False, "its class Inner is made by a function, which may make it again")} == clean_rows(yes=True)


def test_scripts_and_notebooks_are_not_imported(isolated, run_python):
    (isolated / "script.py").write_text(FLOW + "\nprint('script runs')\nd6tpipe.run(Get(), execution_summary=False)\n")
    run_python("script.py")
    run_python("-c", FLOW + "\nd6tpipe.run(Get(n=2), execution_summary=False)\n")
    assert {
        "Get_1": (False, "its class is from the script script.py, which is not imported here"),
        "Get_2": (False, "its class is from a notebook, or from where is not known"),
    } == clean_rows(yes=True)
    assert "script" not in sys.modules


def test_the_lengths_of_task_ids_are_a_setting_and_prove_nothing(flow):
    d6tpipe.run(flow.Get(n=12345))
    d6tpipe.settings.set_parameter_len(20, 2)
    flow = define("prices")
    assert flow.Get(n=12345).task_id not in list(d6tpipe.catalog().task_id)
    assert {} == clean_rows()


def test_the_same_safeguards_hold_without_flows(flow):
    d6tpipe.run(flow.Fit())
    Path(flow.Fit().outputPath("model")).write_bytes(b"mine")
    define("prices", FLOW.partition("@")[0])
    assert not d6tpipe.clean(yes=True).delete.any()
    assert 3 == len(files())


# ---- d6tflow's names


def test_invalidate_all_deletes_recorded_outputs_and_records_and_says_so(flow, capsys):
    d6tpipe.run(flow.Fit())
    Path("data/Fit/notes.txt").write_text("mine")
    Path(flow.Get().outputPath()).write_bytes(b"mine, but an output all the same")
    assert d6tpipe.invalidate_all()
    said = capsys.readouterr().out.splitlines()
    assert 3 == sum(line.startswith(f"delete  data{os.sep}") for line in said)
    assert "(has been changed since it was recorded)" in " ".join(said)
    assert said[-1].startswith("Deleted 3 outputs (") and said[-1].endswith("of 2 tasks.")
    assert ["-"] == [name[:1] for name in files()] and Path("data/Fit/notes.txt").exists()
    assert [] == recorded()
    assert d6tpipe.invalidate_all()
    assert "no outputs to delete\n" == capsys.readouterr().out


@pytest.mark.parametrize(("answer", "left"), [("n", 3), ("", 3), ("yes", 0)])
def test_invalidate_all_asks_if_told_to(flow, monkeypatch, answer, left):
    d6tpipe.run(flow.Fit())
    questions = []
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or answer)
    assert (left == 0) == d6tpipe.invalidate_all(confirm=True)
    assert left == len(files()) and "3 outputs" in questions[0]


def test_invalidate_orphans_deletes_what_cannot_be_made_any_more(flow, capsys):
    d6tpipe.run(flow.Fit())
    define("prices", FLOW.partition("@")[0])
    assert d6tpipe.invalidate_orphans()
    assert "there is no class Fit in prices any more" in capsys.readouterr().out
    assert ["Get_1-data.pkl"] == files()
