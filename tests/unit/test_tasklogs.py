"""Task logs: what a body has printed is kept per task, of its last attempt, and costs silent tasks nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import luigi
import pytest

import d6tpipe
from d6tpipe import plugins
from d6tpipe.capture import Captured
from d6tpipe.errors import GraphError, StorageError
from d6tpipe.examiner import store_of
from d6tpipe.interfaces import Outcome, State
from d6tpipe.storage.files import host_tag
from d6tpipe.tasklogs import TaskLogs


class Talk(d6tpipe.tasks.TaskPickle):
    words = d6tpipe.Parameter(default="hello")
    n = d6tpipe.IntParameter(default=0)

    def run(self):
        if self.words:
            print(self.words, self.n)
        self.save(1)


class InMemory(d6tpipe.tasks.TaskCache):
    def run(self):
        print("from memory")
        self.save(1)


class Loud(d6tpipe.tasks.TaskPickle):
    """Prints what the file ``say`` holds, fails if that is "fail"."""

    def run(self):
        text = Path("say").read_text()
        if text:
            print(text)
        if text == "fail":
            raise ValueError
        self.save(1)


@pytest.fixture(autouse=True)
def quiet():
    d6tpipe.settings.execution_summary = False


@pytest.fixture
def logs(isolated):
    """Return a function that lists the files of logs below a data folder."""

    def listed(root="data"):
        return sorted(path.name for path in (isolated / root / ".d6tpipe" / "logs").rglob("*") if path.is_file())

    return listed


def test_what_a_task_prints_can_be_read_afterwards():
    d6tpipe.run(Talk())
    assert "----- stdout -----\nhello 0\n" == d6tpipe.log(Talk())


def test_a_task_that_never_ran_and_one_that_was_silent_have_an_empty_log(logs):
    d6tpipe.run(Talk(words=""))
    assert ("", "", []) == (d6tpipe.log(Talk()), d6tpipe.log(Talk(words="")), logs())


def test_a_log_is_of_the_last_attempt(isolated, logs):
    Path("say").write_text("first")
    d6tpipe.run(Loud())
    Path("say").write_text("fail")
    d6tpipe.run(Loud(), forced=Loud(), abort=False)
    assert "fail" in d6tpipe.log(Loud()) and "first" not in d6tpipe.log(Loud())
    Path("say").write_text("")
    d6tpipe.run(Loud(), forced=Loud())
    assert "" == d6tpipe.log(Loud())
    assert [] == logs()


def test_a_run_that_does_not_run_a_task_leaves_its_log():
    d6tpipe.run(Talk())
    d6tpipe.run(Talk())
    assert "hello" in d6tpipe.log(Talk())


def test_a_body_run_by_hand_leaves_no_older_log(capsys):
    d6tpipe.run(Talk())
    Talk().run()
    assert "" == d6tpipe.log(Talk())


def test_a_task_in_memory_has_its_log_in_the_data_folder(logs):
    d6tpipe.run(InMemory())
    assert "from memory" in d6tpipe.log(InMemory())
    assert 1 == len(logs())


def test_a_bound_task_has_its_log_in_its_own_folder(logs):
    flow = d6tpipe.Workflow(Talk, path="elsewhere")
    flow.run()
    assert "hello" in d6tpipe.log(flow.get_task())
    assert ([], 1) == (logs(), len(logs("elsewhere")))


def test_a_plain_luigi_task_and_a_wrapper_have_logs():
    class Plain(luigi.Task):
        def output(self):
            return luigi.LocalTarget("plain.txt")

        def run(self):
            print("plain")
            with self.output().open("w") as file:
                file.write("x")

    class Wrapper(luigi.WrapperTask):
        def requires(self):
            return Plain()

        def run(self):
            print("wrapper")

    d6tpipe.run(Wrapper())
    assert ("plain" in d6tpipe.log(Plain()), "wrapper" in d6tpipe.log(Wrapper())) == (True, True)


def test_names_that_are_no_file_names_are_made_some(logs):
    class Odd(d6tpipe.tasks.TaskCache):
        task_namespace = "../up/and.away"

        def run(self):
            print("odd")
            self.save(1)

    class Long(d6tpipe.tasks.TaskCache):
        text = d6tpipe.Parameter()
        more = d6tpipe.Parameter()

        def run(self):
            print("long", self.text[-1])
            self.save(1)

    d6tpipe.settings.parameter_length = 400
    tasks = [Odd(), Long(text="x" * 300 + "a", more=""), Long(text="x" * 300 + "b", more="")]
    d6tpipe.run(tasks)
    assert ["odd", "long a", "long b"] == [d6tpipe.log(task).splitlines()[1] for task in tasks]
    assert 3 == len(logs())


def test_text_that_no_encoding_knows_is_kept():
    class Broken(d6tpipe.tasks.TaskCache):
        pass

    # pytest's own stream cannot take it, so no run
    TaskLogs().note(Broken(), Outcome(State.BUILT, 0.0, captured=Captured("\udce9 \u20ac\r\n")), store_of(Broken()))
    assert "----- stdout -----\n\\udce9 \u20ac\r\n" == d6tpipe.log(Broken())


@pytest.mark.parametrize("wrong", [Talk, "Talk", [Talk()]])
def test_a_log_is_of_one_task(wrong):
    with pytest.raises(GraphError, match="log\\(\\) is about one task"):
        d6tpipe.log(wrong)


def test_a_log_that_cannot_be_read_is_an_error(logs):
    d6tpipe.run(Talk())
    path = next(Path("data/.d6tpipe/logs").rglob("*.txt"))
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="log of a task cannot be read"):
        d6tpipe.log(Talk())


# ---- cost


class CountingFiles:
    """Counts the calls to the files below it."""

    def __init__(self, below):
        self.below, self.calls = below, []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            return getattr(self.below, name)(*arguments)

        return call


def test_silent_tasks_cost_one_look_at_the_folder():
    files = CountingFiles(plugins.load("files", "local"))
    written = TaskLogs(files)
    for number in range(100):
        written.note(Talk(n=number), Outcome(State.BUILT, 0.0), store_of(Talk()))
    assert ["listing"] == files.calls


def test_old_logs_are_removed_without_looking_for_each():
    d6tpipe.run([Talk(n=number) for number in range(5)])
    files = CountingFiles(plugins.load("files", "local"))
    written = TaskLogs(files)
    for number in range(100):
        written.note(Talk(n=number), Outcome(State.BUILT, 0.0), store_of(Talk()))
    assert ["listing", "remove", "remove", "remove", "remove", "remove"] == files.calls


def test_a_body_that_was_given_up_changes_no_log():
    d6tpipe.run(Talk())
    TaskLogs().note(Talk(), Outcome(State.CANCELLED, 0.0), store_of(Talk()))
    assert "hello" in d6tpipe.log(Talk())


def test_what_a_killed_process_left_is_swept(isolated):
    d6tpipe.run(Talk())
    folder = next((isolated / "data/.d6tpipe/logs").iterdir())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder / f".tmp-{host_tag()}-{dead.pid}-0.txt").write_text("half")
    d6tpipe.run(Talk(n=1))
    assert ["Talk_0", "Talk_1"] == sorted(path.name[:6] for path in folder.iterdir())


# ---- going


def test_clean_removes_the_log_with_the_record(logs):
    d6tpipe.run([Talk(), Talk(n=1)])
    d6tpipe.clean(Talk(), yes=True)
    assert ["Talk_0_hello" in name for name in logs()] == [True]
    assert "" == d6tpipe.log(Talk(n=1))


def test_forget_removes_the_log(logs):
    d6tpipe.run(Talk())
    d6tpipe.forget(Talk())
    assert [] == logs()


def test_reset_leaves_the_log_with_the_record(logs):
    d6tpipe.run(Talk())
    Talk().reset(confirm=False)
    assert "hello" in d6tpipe.log(Talk())


def test_a_folder_that_takes_no_logs_is_told_once_and_the_run_goes_on(isolated):
    folder = isolated / "data" / ".d6tpipe"
    folder.mkdir(parents=True)
    (folder / "logs").write_text("a file in the way")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = d6tpipe.run([Talk(n=number) for number in range(3)])
    assert result.ok
    assert 1 == len([one for one in told if "What tasks print is not kept" in str(one.message)])
    assert "" == d6tpipe.log(Talk())
