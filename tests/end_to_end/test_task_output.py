"""What tasks print: seen at once, kept per task, shown of failed ones, on the command line and in notebooks."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import warnings

import pytest

import d6tpipe
from d6tpipe.bodies import BodyRunner
from d6tpipe.capture import DescriptorCapture, PythonCapture
from d6tpipe.cli import main
from d6tpipe.errors import BuildError, ParameterError
from d6tpipe.interfaces import State


class Talk(d6tpipe.tasks.TaskPickle):
    name = d6tpipe.Parameter(default="a")

    def run(self):
        print("printed by", self.name)
        print("complained by", self.name, file=sys.stderr)
        logging.getLogger("talk").warning("logged by %s", self.name)
        if self.name == "broken":
            raise ValueError("refused")
        self.save(self.name)


class Collect(d6tpipe.tasks.TaskPickle):
    """Asks for more while it runs: its body has several steps."""

    def run(self):
        print("step 1")
        yield Talk(name="x")
        print("step 2")
        yield [Talk(name="y"), Talk(name="z")]
        print("step 3")
        self.save(1)


class Node:
    def __init__(self, task):
        self.task, self.requires = task, task.requires()


@pytest.fixture(autouse=True)
def quiet(request):
    d6tpipe.settings.execution_summary = False


# ---- bodies


def test_a_body_in_steps_has_one_log_and_those_it_asked_for_have_theirs():
    d6tpipe.run(Collect())
    assert "----- stdout -----\nstep 1\nstep 2\nstep 3\n" == d6tpipe.log(Collect())
    for name in "xyz":
        assert f"printed by {name}\n" in d6tpipe.log(Talk(name=name))


def test_a_run_inside_a_body_has_logs_of_its_own():
    class Outer(d6tpipe.tasks.TaskPickle):
        def run(self):
            print("before")
            d6tpipe.run(Talk(name="inner"))
            print("after")
            self.save(1)

    d6tpipe.run(Outer())
    assert "----- stdout -----\nbefore\nafter\n" == d6tpipe.log(Outer())
    assert "printed by inner" in d6tpipe.log(Talk(name="inner"))


def test_on_success_and_on_failure_are_part_of_the_body():
    class Hooked(d6tpipe.tasks.TaskPickle):
        fail = d6tpipe.BoolParameter(default=False)

        def run(self):
            if self.fail:
                raise ValueError
            self.save(1)

        def on_success(self):
            print("succeeded")

        def on_failure(self, exception):
            print("failed")

    d6tpipe.run([Hooked(), Hooked(fail=True)], abort=False)
    assert ("succeeded" in d6tpipe.log(Hooked()), "failed" in d6tpipe.log(Hooked(fail=True))) == (True, True)


def test_streams_are_as_before_after_a_run_that_fails_or_is_interrupted():
    class Stops(d6tpipe.tasks.TaskPickle):
        def run(self):
            raise KeyboardInterrupt

    before = sys.stdout, sys.stderr, warnings.showwarning, logging.Logger.callHandlers
    with pytest.raises(BuildError):
        d6tpipe.run(Talk(name="broken"))
    with pytest.raises(KeyboardInterrupt):
        d6tpipe.run(Stops())
    assert before == (sys.stdout, sys.stderr, warnings.showwarning, logging.Logger.callHandlers)


def test_output_is_seen_where_it_was_seen_before(capsys, caplog):
    d6tpipe.run(Talk())
    assert ("printed by a\n", "complained by a\n") == tuple(capsys.readouterr())
    assert ["logged by a"] == caplog.messages


def test_output_that_is_redirected_goes_there():
    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        d6tpipe.run(Talk())
    assert "printed by a\n" == buffer.getvalue()
    assert "printed by a\n" in d6tpipe.log(Talk())


@pytest.mark.parametrize("kind", [PythonCapture, DescriptorCapture])
def test_the_outcome_of_a_body_carries_what_it_printed(kind):
    with kind() as capture:
        bodies = BodyRunner(capture=capture)
        good, bad = bodies(Node(Talk()), True), bodies(Node(Talk(name="broken")), True)
    assert (State.BUILT, State.FAILED) == (good.state, bad.state)
    assert ("printed by a\n", "printed by broken\n") == (good.captured.stdout, bad.captured.stdout)
    assert bad.failure.captured is bad.captured


def test_without_a_capture_bodies_run_and_nothing_is_known():
    outcome = BodyRunner()(Node(Talk()), True)
    assert (State.BUILT, None) == (outcome.state, outcome.captured)


def test_bodies_in_threads_are_not_mixed():
    turn = threading.Barrier(2, timeout=30)

    class InStep(d6tpipe.tasks.TaskPickle):
        name = d6tpipe.Parameter()

        def run(self):
            for number in range(20):
                turn.wait()
                print(self.name, number)
            self.save(1)

    d6tpipe.run([InStep(name="a"), InStep(name="b")], workers=2, executor="threads")
    for name in "ab":
        lines = "".join(f"{name} {number}\n" for number in range(20))
        assert f"----- stdout -----\n{lines}" == d6tpipe.log(InStep(name=name))


# ---- failures


def test_the_error_of_a_run_shows_what_the_failed_task_printed():
    with pytest.raises(BuildError) as caught:
        d6tpipe.run([Talk(name="broken"), Talk()])
    text = str(caught.value)
    for line in ("----- captured stdout -----", "printed by broken", "complained by broken", "logged by broken"):
        assert line in text
    assert "by a" not in text
    assert "printed by broken\n" == caught.value.failures[0].captured.stdout


@pytest.mark.parametrize(
    ("word", "seen"),
    [("no", set()), ("stdout", {"printed"}), ("stderr", {"complained"}), ("log", {"logged"}),
     ("all", {"printed", "complained", "logged"})],
)  # fmt: skip
def test_one_word_says_what_is_shown_of_failed_tasks(word, seen):
    by_option = d6tpipe.run(Talk(name="broken"), abort=False, show_capture=word).summary_text
    with d6tpipe.settings.override(show_capture=word):
        by_setting = d6tpipe.run(Talk(name="broken"), abort=False).summary_text
    for text in (by_option, by_setting):
        assert seen == {verb for verb in ("printed", "complained", "logged") if f"{verb} by broken" in text}


def test_only_the_last_lines_are_shown():
    class Much(d6tpipe.tasks.TaskPickle):
        def run(self):
            for number in range(1000):
                print(f"line {number}")
            raise ValueError

    text = d6tpipe.run(Much(), abort=False).summary_text
    assert "line 999" in text and "line 980" in text and "line 979" not in text
    assert "last 20 of 1000 lines" in text
    assert "line 0\n" in d6tpipe.log(Much())


def test_results_of_the_flows_of_a_sweep_show_it_too():
    sweep = d6tpipe.WorkflowMulti(Talk, {"good": {"name": "a"}, "bad": {"name": "broken"}})
    results = sweep.run(abort=False, show_capture="stdout")
    assert "printed by broken" in results["bad"].summary_text
    assert "complained by broken" not in results["bad"].summary_text
    assert "printed by" not in results["good"].summary_text


def test_a_wrong_word_is_an_error_and_nothing_runs():
    with pytest.raises(ParameterError, match="Did you mean 'stderr'"):
        d6tpipe.run(Talk(), show_capture="stder")
    assert not Talk().complete()


# ---- the command line


FLOW = """
import d6tpipe

class Talk(d6tpipe.tasks.TaskPickle):
    name = d6tpipe.Parameter(default="a")
    def run(self):
        print("printed by", self.name)
        if self.name == "broken":
            raise ValueError("refused")
        self.save(1)

class Silent(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(1)
"""


def test_the_command_log_prints_what_a_task_has_printed(isolated, capsys):
    (isolated / "flow.py").write_text(FLOW)
    assert 0 == main(["run", "flow.py"])
    capsys.readouterr()
    assert 0 == main(["log", "flow.py:Talk"])
    assert "----- stdout -----\nprinted by a\n" == capsys.readouterr().out
    assert 0 == main(["log", "flow.py"])
    assert "===== Talk(name='a') =====\n----- stdout -----\nprinted by a\n" == capsys.readouterr().out
    assert 0 == main(["log", "flow.py:Silent"])
    assert ("", "Nothing is known to have been printed by Silent().\n") == tuple(capsys.readouterr())


def test_the_option_show_capture_of_the_command_run(isolated, capsys):
    (isolated / "flow.py").write_text(FLOW)
    assert 1 == main(["run", "flow.py:Talk", "--name", "broken"])
    assert "captured stdout" in capsys.readouterr().out
    assert 1 == main(["run", "flow.py:Talk", "--name", "broken", "--show-capture", "no"])
    assert "captured stdout" not in capsys.readouterr().out
    assert 2 == main(["run", "flow.py:Talk", "--show-capture", "everything"])


@pytest.mark.slow
def test_output_appears_while_the_body_runs(isolated, run_python):
    """A body that prints and dies at once: what was printed is there all the same."""
    (isolated / "flow.py").write_text(
        "import d6tpipe, os, sys\n"
        "class Dies(d6tpipe.tasks.TaskPickle):\n"
        "    def run(self):\n"
        "        print('last words', flush=True)\n"
        "        os._exit(7)\n"
    )
    done = run_python("-m", "d6tpipe", "run", "flow.py", check=False)
    assert (7, "last words\n") == (done.returncode, done.stdout)


# ---- notebooks


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_in_a_notebook_output_appears_in_its_cell_and_is_kept(isolated, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [
        FLOW + "d6tpipe.set_dir('data'); d6tpipe.settings.execution_summary = False",
        "result = d6tpipe.run([Talk(), Talk(name='broken')], abort=False)",
        "print(d6tpipe.log(Talk()), result.failures[0].captured.stdout)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    from pathlib import Path

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(isolated)}}).execute()
    printed = ["".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout")
               for cell in notebook.cells]  # fmt: skip
    assert ["printed by a", "printed by broken"] == sorted(printed[1].split("\n"))[1:]
    assert "----- stdout -----\nprinted by a\n" in printed[2] and "printed by broken" in printed[2]
