"""accept and forget: records are edited, nothing is run, outputs stay as they are."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import warnings
from datetime import timedelta
from pathlib import Path

import luigi
import pytest

import d6tpipe
from d6tpipe.acceptance import survey
from d6tpipe.errors import StorageError
from d6tpipe.interfaces import Standing, State
from d6tpipe.stores import MEMORY, close_all, store_at


class Get(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter(default=1)

    def run(self):
        self.save(self.n)


@d6tpipe.requires(Get)
class Fit(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(self.inputLoad() + 1)


@d6tpipe.requires(Fit)
class Plot(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(str(self.inputLoad()))


class Everything(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield Plot(n=1)
        yield Plot(n=2)


class Asking(d6tpipe.tasks.TaskPickle):
    def run(self):
        got = yield Get(n=5)
        self.save(got.load())


class Kept(d6tpipe.tasks.TaskCache):
    def requires(self):
        return Get()

    def run(self):
        self.save(object())  # no two are the same, as far as anybody can tell


@d6tpipe.requires(Kept)
class AfterKept(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(1)


class Given(d6tpipe.tasks.TaskPickle):
    external = True


@d6tpipe.requires(Given)
class FromGiven(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(self.inputLoad())


class Plain(luigi.Task):
    def requires(self):
        return Get()

    def output(self):
        return luigi.LocalTarget("plain.txt")

    def run(self):
        with self.output().open("w") as stream:
            stream.write("x")


@pytest.fixture(autouse=True)
def quiet(isolated, monkeypatch):
    monkeypatch.setattr(d6tpipe.settings, "execution_summary", False)
    yield
    store_at(MEMORY).records.forget([record.task_id for record in store_at(MEMORY).records.all()])


@pytest.fixture
def changed(monkeypatch):
    """Return a function after which results of a class depend on something else than before."""
    return lambda cls: monkeypatch.setattr(cls, "version", "2", raising=False)


def records():
    return {record.family: record for record in store_at("data").records.all()}


def rerun(task):
    """Return the names of the bodies that a run runs for which stale tasks are to be built again."""
    result = d6tpipe.run(task, stale="rerun")
    return [task.task_family for task, state in result.states.items() if state is State.BUILT]


def everything_in(folder):
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return [(path, path.stat().st_mtime_ns, path.read_bytes()) for path in paths]


def edit(task, value):
    Path(task.outputPath()).write_bytes(pickle.dumps(value))


def names(tasks):
    return [task.task_family for task in tasks]


def interrupt(task):
    store = store_at("data")
    store.records.building([(task.task_family, task.task_id)], "a run that was killed")
    store.records.close()


# ---- what is accepted


def test_fresh_tasks_need_not_be_accepted():
    d6tpipe.run(Plot())
    before = everything_in("data")
    assert [] == d6tpipe.accept(Plot())
    assert before == everything_in("data")


def test_stale_tasks_are_accepted_needs_first_and_nothing_runs_any_more(changed):
    d6tpipe.run(Plot())
    changed(Plot)
    changed(Get)
    assert ["Get", "Plot"] == names(d6tpipe.accept(Plot()))
    assert [] == rerun(Plot())
    assert records()["Get"].accepted and records()["Plot"].accepted and not records()["Fit"].accepted


def test_without_accepting_the_same_tasks_run_again(changed):
    d6tpipe.run(Plot())
    changed(Get)
    assert ["Get"] == rerun(Plot())


def test_what_needs_a_task_with_metadata_need_not_run_after_it_was_accepted():
    class Scored(d6tpipe.tasks.TaskPickle):
        depends_on = [d6tpipe.env("D6TPIPE_TEST_ACCEPT")]

        def run(self):
            self.save(1)
            self.saveMeta({"score": 2})

    @d6tpipe.requires(Scored)
    class Uses(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(self.metaLoad()["score"])

    d6tpipe.run(Uses())
    for way in ("accept", "freeze"):
        os.environ["D6TPIPE_TEST_ACCEPT"] = way
        if way == "accept":
            assert d6tpipe.accept(Scored()) == [Scored()]
        else:
            d6tpipe.run(Scored(), freeze=Scored)
        states = d6tpipe.run(Uses(), stale="rerun").states
        assert set(states.values()) == {State.FRESH}, way
    Scored().saveMeta({"score": 3})  # edited by hand: other data
    os.environ["D6TPIPE_TEST_ACCEPT"] = "again"
    d6tpipe.accept(Scored())
    assert d6tpipe.run(Uses(), stale="rerun").states[Uses()] == State.BUILT
    assert Uses().outputLoad() == 3


def test_outputs_from_before_there_were_records_are_accepted():
    d6tpipe.run(Plot())
    d6tpipe.forget(Plot(), upstream=True)
    assert ["Get", "Fit", "Plot"] == names(d6tpipe.accept(Plot()))
    assert all(record.accepted and not record.observed for record in records().values())


def test_what_was_accepted_is_noticed_when_it_changes_later(changed):
    d6tpipe.run(Plot())
    d6tpipe.forget(Plot(), upstream=True)
    d6tpipe.accept(Plot())
    changed(Fit)
    assert ["Fit"] == rerun(Plot())


def test_an_output_edited_by_hand_is_accepted_with_all_that_was_made_from_it():
    d6tpipe.run(Plot())
    edit(Get(), 77)
    assert ["Get", "Fit"] == names(d6tpipe.accept(Plot()))
    assert [] == rerun(Plot())
    assert 77 == Get().outputLoad()
    assert "2" == Plot().outputLoad()


def test_an_interrupted_task_is_accepted_if_its_output_is_there():
    d6tpipe.run(Plot())
    interrupt(Fit())
    assert ["Fit"] == names(d6tpipe.accept(Plot()))
    assert [] == rerun(Plot())


def test_what_an_interrupted_attempt_left_counts_for_those_that_need_it():
    d6tpipe.run(Plot())
    interrupt(Fit())
    edit(Fit(), 99)
    assert ["Fit", "Plot"] == names(d6tpipe.accept(Plot()))
    assert [] == rerun(Plot())


def test_a_task_that_failed_after_saving_is_accepted(monkeypatch):
    d6tpipe.run(Get())

    def run(self):
        self.save(3)
        raise ValueError("after saving")

    monkeypatch.setattr(Fit, "run", run)
    assert not d6tpipe.run(Fit(), abort=False)
    assert "failed" == records()["Fit"].stage
    assert ["Fit"] == names(d6tpipe.accept(Fit()))
    assert [] == rerun(Fit())
    assert 3 == Fit().outputLoad()


def test_outputs_of_another_class_of_this_name_are_accepted():
    d6tpipe.run(Fit())
    record = records()["Fit"]
    record.module, record.code_fast, record.code_stable, record.seal = "elsewhere", "3.0-0", "0", b"other"
    store_at("data").records.write([record])
    (node,) = survey(Fit()).nodes
    assert ["other_class"] == [str(reason.kind) for reason in node.reasons]
    assert ["Fit"] == names(d6tpipe.accept(Fit()))
    assert [] == rerun(Fit())


def test_an_aggregator_stands_for_its_tasks(changed):
    d6tpipe.run(Everything())
    changed(Plot)
    assert [Plot(n=1), Plot(n=2)] == d6tpipe.accept(Everything(), upstream=False)
    assert [] == rerun(Everything())


class Summary(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Everything()

    def run(self):
        self.save(len(self.inputLoad()))


def test_what_was_made_from_an_aggregator_is_accepted_with_the_task_that_holds_other_data():
    d6tpipe.run(Summary())
    interrupt(Plot(n=2))
    edit(Plot(n=2), "other")
    assert [Plot(n=2), Summary()] == d6tpipe.accept(Summary())
    assert [] == rerun(Summary())


def test_without_upstream_only_the_tasks_named_are_accepted_with_inputs_as_they_are_now(changed):
    d6tpipe.run(Plot())
    changed(Fit)
    edit(Get(), 50)
    assert ["Fit"] == names(d6tpipe.accept(Fit(), upstream=False))
    (node,) = survey(Plot()).nodes
    assert "Get" == node.task.task_family
    assert ["Get"] == rerun(Plot())[:1]


def test_of_an_interrupted_input_that_is_not_accepted_the_content_counts_not_its_record(changed):
    d6tpipe.run(Fit())
    interrupt(Get())
    edit(Get(), 8)
    changed(Fit)
    assert ["Fit"] == names(d6tpipe.accept(Fit(), upstream=False))
    (recorded,) = records()["Fit"].inputs
    assert recorded.digest != records()["Get"].digest
    assert "building" == records()["Get"].stage
    d6tpipe.accept(Get())
    assert [] == rerun(Fit())


def test_external_inputs_are_read_and_not_recorded():
    Path("data/Given").mkdir(parents=True)
    edit(Given(), 4)
    d6tpipe.run(FromGiven())
    edit(Given(), 5)
    assert ["FromGiven"] == names(d6tpipe.accept(FromGiven()))
    assert [] == rerun(FromGiven())
    assert not records()["Given"].accepted
    d6tpipe.forget(FromGiven(), upstream=True)
    assert ["FromGiven"] == names(d6tpipe.accept(FromGiven()))


def test_plain_luigi_tasks_are_accepted(changed):
    d6tpipe.run(Plain())
    changed(Plain)
    assert ["Plain"] == names(d6tpipe.accept(Plain()))
    assert [] == rerun(Plain())


def test_what_a_body_once_asked_for_is_kept_in_mind(changed):
    d6tpipe.run(Asking())
    changed(Asking)
    assert ["Asking"] == names(d6tpipe.accept(Asking()))
    assert [Get(n=5).task_id] == [one.task_id for one in records()["Asking"].dynamic_inputs]
    edit(Get(n=5), 6)
    assert ["Get", "Asking"] == names(d6tpipe.accept(Asking()))


def test_what_a_body_once_asked_for_is_kept_in_mind_when_it_was_to_run_anyway(changed):
    d6tpipe.run(Asking())
    record = records()["Asking"]
    record.module, record.code_fast, record.code_stable, record.seal = "elsewhere", "3.0-0", "0", b"other"
    store_at("data").records.write([record])
    assert ["Asking"] == names(d6tpipe.accept(Asking()))
    assert [Get(n=5).task_id] == [one.task_id for one in records()["Asking"].dynamic_inputs]
    assert [] == rerun(Asking())


def test_values_in_memory_are_accepted_with_what_needs_them(changed):
    d6tpipe.run(AfterKept())
    changed(Kept)
    assert ["Kept", "AfterKept"] == names(d6tpipe.accept(AfterKept()))
    assert [] == rerun(AfterKept())


@pytest.mark.parametrize("mode", ["ignore", "rerun"])
def test_records_count_whatever_the_settings_say_of_stale_tasks(mode, changed, monkeypatch):
    d6tpipe.run(Plot())
    changed(Get)
    monkeypatch.setattr(d6tpipe.settings, "stale", mode)
    monkeypatch.setattr(Get, "freeze", True, raising=False)
    assert ["Get"] == names(d6tpipe.accept(Plot()))


def test_the_age_that_expires_begins_anew(monkeypatch):
    d6tpipe.run(Get())
    record = records()["Get"]
    record.started -= 7200
    store_at("data").records.write([record])
    monkeypatch.setattr(Get, "expires", timedelta(hours=1), raising=False)
    assert not survey(Get()).fresh
    d6tpipe.accept(Get())
    assert [] == rerun(Get())


# ---- what cannot be


def test_what_has_no_output_is_left_out_and_named():
    d6tpipe.run(Fit())
    d6tpipe.forget(Fit())
    with pytest.warns(UserWarning, match=r"Not accepted: Plot\(n=1\) has no output. The next run builds it"):
        accepted = d6tpipe.accept(Plot())
    assert [Fit()] == accepted


def test_nothing_is_recorded_for_an_input_of_which_nothing_is_known():
    d6tpipe.run(Fit())
    d6tpipe.forget(Fit(), upstream=True)
    Get().reset(confirm=False)
    with pytest.warns(UserWarning, match=r"Get\(n=1\) has no output; Fit\(n=1\) needs Get\(n=1\), which has no output"):
        assert [] == d6tpipe.accept(Fit())
    assert {} == records()


def test_with_the_record_of_an_input_whose_output_is_gone_what_was_made_from_it_is_accepted(changed):
    d6tpipe.run(Fit())
    changed(Fit)
    Get().reset(confirm=False)
    with pytest.warns(UserWarning, match="Not accepted"):
        assert ["Fit"] == names(d6tpipe.accept(Fit()))
    assert ["Get"] == rerun(Fit())


def test_a_task_that_says_itself_that_it_is_not_complete_is_left_out(monkeypatch):
    d6tpipe.run(Plain())
    monkeypatch.setattr(Plain, "complete", lambda self: False)
    d6tpipe.forget(Plain())
    with pytest.warns(UserWarning, match="says itself that it is not complete"):
        assert [] == d6tpipe.accept(Plain())


def test_looking_what_could_be_accepted_writes_nothing(changed):
    d6tpipe.run(Plot())
    d6tpipe.forget(Get())
    changed(Plot)
    before = everything_in("data")
    assert 2 == len(survey(Plot()).nodes)
    assert before == everything_in("data")


# ---- while somebody builds


HOLDER = """
    import sys, d6tpipe
    from d6tpipe.stores import store_at
    assert store_at("data").locks.acquire(sys.argv[1])
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere(isolated):
    """Return a function after which another process has a task in hand; it returns the process."""
    started = []

    def hold(task):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HOLDER), task.task_id],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=isolated,
            env={**os.environ, "PYTHONPATH": str(Path(d6tpipe.__file__).parents[1])},
        )  # fmt: skip
        started.append(process)
        assert "holding\n" == process.stdout.readline()
        return process

    yield hold
    for process in started:
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("edit_records", [d6tpipe.accept, lambda task: d6tpipe.forget(task, upstream=True)])
def test_a_task_that_is_being_built_is_an_error_that_names_the_process(edit_records, changed, elsewhere):
    d6tpipe.run(Plot())
    changed(Plot)
    changed(Fit)
    before = records()
    process = elsewhere(Fit())
    with pytest.raises(StorageError, match=f"process {process.pid}") as caught:
        edit_records(Plot())
    assert "Fit(n=1)" in str(caught.value) and "nothing was" in str(caught.value)
    assert before == records()
    process.communicate()
    edit_records(Plot())
    assert before != records()


@pytest.mark.parametrize("edit_records", [d6tpipe.accept, d6tpipe.forget])
def test_nothing_at_all_is_edited_if_one_of_many_tasks_is_being_built(edit_records, changed):
    many = [Get(n=n) for n in range(100)]
    d6tpipe.run(many)
    changed(Get)
    before = list(store_at("data").records.all())
    store_at("data").locks.acquire(many[-1].task_id)
    try:
        with pytest.raises(StorageError, match=f"process {os.getpid()}"):
            edit_records(many)
    finally:
        store_at("data").locks.release([many[-1].task_id])
    assert before == list(store_at("data").records.all())


def test_a_task_that_somebody_has_just_begun_to_build_is_not_accepted(changed, monkeypatch):
    many = [Get(n=n) for n in range(100)]
    d6tpipe.run(many)
    changed(Get)
    monkeypatch.setattr("d6tpipe.acceptance.holder", lambda store, task_id: None)
    store_at("data").locks.acquire(many[-1].task_id)
    try:
        with pytest.raises(StorageError, match="only 64 others were accepted"):
            d6tpipe.accept(many)
    finally:
        store_at("data").locks.release([many[-1].task_id])
    assert 64 == sum(record.accepted for record in store_at("data").records.all())


def test_nobody_can_build_a_task_while_it_is_accepted(changed, monkeypatch):
    d6tpipe.run(Plot())
    changed(Plot)
    held = []
    monkeypatch.setattr(
        "d6tpipe.acceptance.fail_point", lambda name: held.append(store_at("data").locks.holds(Plot().task_id))
    )
    d6tpipe.accept(Plot())
    assert [True] == held


def test_an_output_that_changes_while_it_is_accepted_is_recorded_as_it_is_then(changed):
    d6tpipe.run(Get())
    changed(Get)
    found = survey(Get())
    edit(Get(), "something longer")
    found.write()
    assert os.path.getsize(Get().outputPath()) == records()["Get"].outputs[0].size
    assert [] == rerun(Get())


def test_after_accepting_and_forgetting_nothing_is_held(changed):
    d6tpipe.run(Plot())
    changed(Plot)
    d6tpipe.accept(Plot())
    d6tpipe.forget(Plot(), upstream=True)
    assert [] == [name for name in (Get(), Fit(), Plot()) if store_at("data").locks.holds(name.task_id)]


@pytest.mark.slow
def test_killed_in_the_middle_accepting_can_be_said_again(isolated, run_python, changed):
    (isolated / "flow.py").write_text(
        "import d6tpipe\n"
        "class Get(d6tpipe.tasks.TaskPickle):\n"
        "    n = d6tpipe.IntParameter()\n"
        "    def run(self):\n        self.save(self.n)\n"
        "class All(d6tpipe.tasks.TaskAggregator):\n"
        "    def run(self):\n        yield [Get(n=n) for n in range(100)]\n"
    )
    env = {"PYTHONPATH": f"{isolated}:{Path(d6tpipe.__file__).parents[1]}"}
    run_python("-c", "import d6tpipe, flow; d6tpipe.run(flow.All())", env=env)
    run_python("-c", "import d6tpipe, flow; d6tpipe.forget(flow.All())", env=env)
    # On a busy machine a second batch may have waited so long that a part of it is written before it is whole.
    never_early = "import d6tpipe.storage.sqlite_records as records; records._GROUP = 1e9; "
    accept = ("-c", f"{never_early}import d6tpipe, flow; print(len(d6tpipe.accept(flow.All())))")
    done = run_python(*accept, env={**env, "_D6TPIPE_FAIL_POINT": "accept.written*2"}, check=False)
    assert -signal.SIGKILL == done.returncode
    assert 64 == sum(record.accepted for record in store_at("data").records.all())
    close_all([store_at("data")])
    assert "36\n" == run_python(*accept, env=env).stdout
    again = "import d6tpipe, flow; print(d6tpipe.run(flow.All(), stale='rerun', execution_summary=False).counts)"
    assert "fresh" in run_python("-c", again, env=env).stdout


# ---- forget


def test_forgotten_tasks_are_untracked_and_their_outputs_stay():
    d6tpipe.run(Plot())
    assert [Plot()] == d6tpipe.forget(Plot())
    assert {"Get", "Fit"} == set(records())
    assert "2" == Plot().outputLoad()
    assert [] == rerun(Plot())
    assert [Standing.UNTRACKED] == [node.standing for node in survey(Plot()).nodes]


def test_forgetting_an_interrupted_or_failed_attempt_trusts_what_it_left():
    d6tpipe.run(Get())
    interrupt(Get())
    d6tpipe.forget(Get())
    assert [State.FRESH] == list(d6tpipe.run(Get(), stale="rerun").states.values())


def test_forgetting_an_aggregator_forgets_its_tasks():
    d6tpipe.run(Everything())
    assert {Plot(n=1), Plot(n=2)} == set(d6tpipe.forget(Everything()))


def test_of_what_there_is_no_record_there_is_nothing_to_forget():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [] == d6tpipe.forget(Plot(), upstream=True)
    assert not Path("data").exists()
