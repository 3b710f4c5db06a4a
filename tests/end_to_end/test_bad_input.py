"""Every way to get it wrong that we know: errors name task, fact and next step, and nothing is left half done."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import luigi
import pandas as pd
import pytest

import d6tpipe
from d6tpipe import errors
from d6tpipe.errors import (
    BuildError,
    CycleError,
    DeclarationError,
    GraphError,
    MissingOutputError,
    NotBuiltError,
    OutputKeyError,
    ParameterError,
    StorageError,
)

ROOT = Path(__file__).resolve().parents[2]


def run(task, **options):
    return d6tpipe.run(task, execution_summary=False, progress=False, **options)


def files(folder="data") -> set[str]:
    """Return every file below a folder, temporary ones too."""
    found = [path for path in Path(folder).rglob("*") if path.is_file() and ".d6tpipe" not in path.parts]
    return {str(path.relative_to(folder)) for path in found}


def says(error, *words):
    """Assert that a message holds each of the words, and ends with a hint."""
    text = str(error.value if hasattr(error, "value") else error)
    for word in words:
        assert str(word) in text, f"{word!r} is not in:\n{text}"


class Source(d6tpipe.tasks.TaskPickle):
    rows = d6tpipe.IntParameter(default=3)
    kind = d6tpipe.Parameter(default="plain")

    def run(self):
        self.save(list(range(self.rows)))


# ---- declarations and values


def test_a_misspelt_parameter_names_the_nearest():
    with pytest.raises(ParameterError) as caught:
        Source(rosw=1)
    says(caught, "Source", "rosw", "Did you mean 'rows'?")


def test_a_missing_parameter_is_named_and_how_to_pass_it():
    class Needy(d6tpipe.tasks.TaskPickle):
        colour = d6tpipe.Parameter()

    with pytest.raises(ParameterError) as caught:
        Needy()
    says(caught, "Needy", "colour", "Needy(colour=...)")


@pytest.mark.parametrize("value", ["many", 1.5, None, [3]])
def test_a_value_of_the_wrong_type_is_shown_with_its_parameter(value):
    with pytest.raises(ParameterError) as caught:
        Source(rows=value)
    says(caught, "Source", "rows", repr(value), type(value).__name__, "IntParameter")


def test_a_parameter_error_can_be_caught_as_value_error():
    with pytest.raises(ValueError):
        Source(rows="many")


def test_a_parameter_called_job_is_refused_when_the_class_is_made():
    with pytest.raises(DeclarationError) as caught:

        class Busy(d6tpipe.tasks.TaskPickle):
            job = d6tpipe.Parameter()

    says(caught, "Busy", "'job'", "self.job", "Rename")


def test_a_parameter_called_job_is_refused_when_it_arrives_by_requires():
    class Plain(luigi.Task):
        job = luigi.Parameter(default="x")

    with pytest.raises(DeclarationError) as caught:

        @d6tpipe.requires(Plain)
        class Heir(d6tpipe.tasks.TaskPickle):
            pass

    says(caught, "Heir", "'job'")


def test_parameters_are_read_only():
    task = Source()
    with pytest.raises(ParameterError) as caught:
        task.rows = 5
    says(caught, "Source(rows=3", "rows", "5", "clone(rows=5)")
    assert 3 == task.rows


def test_too_many_positional_values_are_counted():
    with pytest.raises(ParameterError) as caught:
        Source(1, "x", 3)
    says(caught, "Source", "2 positional", "3 were given")


def test_huge_values_make_a_file_name_that_fits_and_stays_apart():
    one, other = Source(kind="x" * 5000), Source(kind="x" * 4999 + "y")
    run([one, other])
    assert one.outputPath() != other.outputPath()
    assert all(len(os.fsencode(os.path.basename(name))) <= 255 for name in files())
    assert run([one, other]).counts == {"fresh": 2}


def test_a_huge_value_in_another_alphabet_makes_a_file_name_that_fits():
    class Wide(d6tpipe.tasks.TaskPickle):
        a = d6tpipe.Parameter()
        b = d6tpipe.Parameter(default="ж" * 300)
        c = d6tpipe.Parameter(default="語" * 300)
        d = d6tpipe.Parameter(default="é" * 300)
        e = d6tpipe.Parameter(default="z" * 300)

        def run(self):
            self.save(1)

    run(Wide(a="ü" * 300))
    assert 1 == Wide(a="ü" * 300).outputLoad()


# ---- saving and loading


class Two(d6tpipe.tasks.TaskPickle):
    persist = ["first", "second"]
    given = d6tpipe.DictParameter()

    def run(self):
        self.save(dict(self.given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"first": 1}, ["second"]),
        ({"first": 1, "secnd": 2}, ["secnd", "Did you mean 'second'?"]),
        ({"first": 1, "second": 2, "third": 3}, ["third"]),
        ({}, ["first", "second"]),
    ],
)
def test_saving_with_wrong_keys_writes_nothing(given, words):
    result = run(Two(given=given), abort=False)
    (failure,) = result.failures
    assert isinstance(failure.error, OutputKeyError)
    says(failure.error, "Two(", *words)
    assert set() == files()


def test_saving_one_value_where_two_are_declared_says_how():
    class One(d6tpipe.tasks.TaskPickle):
        persist = ["first", "second"]

        def run(self):
            self.save(7)

    (failure,) = run(One(), abort=False).failures
    says(failure.error, "One()", "int", "self.save({'first': ..., 'second': ...})")
    assert set() == files()


def test_a_value_that_cannot_be_written_leaves_no_output_at_all():
    class Unpicklable(d6tpipe.tasks.TaskPickle):
        persist = ["a", "b"]

        def run(self):
            self.save({"a": 1, "b": lambda: None})

    result = run(Unpicklable(), abort=False)
    assert not result.ok
    assert set() == files()
    assert not Unpicklable().complete()


def test_a_value_that_cannot_be_written_leaves_the_old_output():
    class Changing(d6tpipe.tasks.TaskPickle):
        value = 1

        def run(self):
            self.save(self.value)

    task = Changing()
    run(task)
    before = files()
    Changing.value = lambda self: None
    result = run(task, forced=task, abort=False)
    Changing.value = 1
    assert not result.ok
    assert before == files()
    assert 1 == task.outputLoad()


class Silent(d6tpipe.tasks.TaskPickle):
    def run(self):
        pass


class AfterSilent(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Silent()

    def run(self):
        self.save(self.inputLoad())


def test_a_body_that_saves_nothing_fails_if_anything_needs_its_output():
    result = run(AfterSilent(), abort=False)
    assert {Silent(): "failed", AfterSilent(): "upstream_failed"} == result.states
    (failure,) = result.failures
    assert isinstance(failure.error, MissingOutputError)
    says(failure.error, "Silent()", Silent().outputPath(), "self.save(...)")


def test_a_body_that_saves_nothing_warns_if_nothing_needs_its_output():
    with pytest.warns(UserWarning, match="saved nothing") as warned:
        result = run(Silent())
    says(warned[0].message, "Silent()", Silent().outputPath(), "self.save")
    assert __file__ == warned[0].filename  # the line of the user, not one of ours
    assert result.ok and {Silent(): "no_output"} == result.states
    assert "will run again" in result.summary_text


def test_a_body_that_saves_a_part_fails_even_if_nothing_needs_it():
    class Part(d6tpipe.tasks.TaskPickle):
        persist = ["a", "b"]

        def run(self):
            self.output()["a"].save(1)

    (failure,) = run(Part(), abort=False).failures
    assert isinstance(failure.error, MissingOutputError)
    says(failure.error, "Part()", Part().outputPath("b"))


def test_a_silent_body_that_another_body_asks_for_is_a_failure():
    class Asks(d6tpipe.tasks.TaskPickle):
        def run(self):
            yield Silent()
            self.save(1)

    result = run(Asks(), abort=False)
    assert not result.ok
    assert [Silent()] == [failure.task for failure in result.failures]


def test_loading_before_running_says_what_is_missing_and_what_to_do():
    with pytest.raises(NotBuiltError) as caught:
        Source().outputLoad()
    says(caught, "Source(rows=3", Source().outputPath(), "d6tpipe.run(task)")
    assert set() == files()


def test_loading_an_unknown_output_names_the_nearest():
    task = Two(given={"first": 1, "second": 2})
    run(task)
    with pytest.raises(OutputKeyError) as caught:
        task.outputLoad("frist")
    says(caught, "Two(", "frist", "Did you mean 'first'?")


@pytest.mark.parametrize("count", [2, 20])  # few are looked at one by one, of many the folder is listed
def test_one_lost_output_of_two_is_noticed(count):
    class Pair(d6tpipe.tasks.TaskPickle):
        persist = ["a", "b"]
        n = d6tpipe.IntParameter()

        def run(self):
            self.save({"a": self.n, "b": self.n})

    tasks = [Pair(n=n) for n in range(count)]
    run(tasks)
    tasks[1].outputPath("b").unlink()
    assert {tasks[1]} == {task for task, state in run(tasks).states.items() if state == "built"}


@pytest.mark.parametrize("content", [b"", b"\x80\x05", b"not a pickle"])
def test_a_corrupt_pickle_names_the_file_and_how_to_rebuild(content):
    task = Source()
    run(task)
    task.outputPath().write_bytes(content)
    with pytest.warns(UserWarning, match="modified since"), pytest.raises(StorageError) as caught:
        task.outputLoad()
    says(caught, task.outputPath(), "reset")
    assert caught.value.__cause__ is not None


def test_a_corrupt_parquet_file_names_the_file_and_how_to_rebuild():
    class Frame(d6tpipe.tasks.TaskPqPandas):
        def run(self):
            self.save(pd.DataFrame({"a": [1, 2, 3]}))

    class Sum(d6tpipe.tasks.TaskJson):
        def requires(self):
            return Frame()

        def run(self):
            self.save(int(self.inputLoad()["a"].sum()))

    run(Frame())
    path = Frame().outputPath()
    path.write_bytes(path.read_bytes()[:50])
    (failure,) = run(Sum(), abort=False).failures
    assert isinstance(failure.error, StorageError)
    says(failure.error, path, "reset")
    Frame().reset(confirm=False)
    assert run(Sum()).ok and 6 == Sum().outputLoad()


# ---- graphs


class Circle(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter()

    def requires(self):
        return Circle(n=(self.n + 1) % 3)

    def run(self):
        self.save(1)


@pytest.mark.parametrize("ask", [run, d6tpipe.preview, d6tpipe.taskflow_upstream])
def test_a_cycle_shows_its_chain_before_anything_runs(ask):
    with pytest.raises(CycleError) as caught:
        ask(Circle(n=0))
    says(caught, "Circle(n=0) -> Circle(n=1) -> Circle(n=2) -> Circle(n=0)", "Break the circle")
    assert set() == files()


class SamePlace(d6tpipe.tasks.TaskPickle):
    save_attrib = False
    n = d6tpipe.IntParameter()

    def run(self):
        self.save(self.n)


def test_two_tasks_with_one_output_are_refused_before_anything_runs():
    with pytest.raises(GraphError) as caught:
        run([SamePlace(n=1), SamePlace(n=2)])
    says(caught, "SamePlace(n=1)", "SamePlace(n=2)", SamePlace(n=1).outputPath(), "save_attrib")
    assert set() == files()


def test_two_classes_with_one_output_are_refused_before_anything_runs():
    class A(d6tpipe.tasks.TaskPickle):
        save_attrib = False
        target_dir = "shared"

        def run(self):
            self.save("a")

    class B(A):
        def run(self):
            self.save("b")

    with pytest.raises(GraphError) as caught:
        run([A(), B()])
    says(caught, "A()", "B()", A().outputPath())
    assert set() == files()


def test_two_spellings_of_one_folder_are_one_place():
    class A(d6tpipe.tasks.TaskPickle):
        save_attrib = False
        target_dir = "shared"
        path = "data"

        def run(self):
            self.save("a")

    class B(A):
        path = os.path.abspath("data")

    with pytest.raises(GraphError):
        run([A(), B()])


def test_one_output_of_two_tasks_is_refused_when_a_body_asks_for_the_second():
    class Asks(d6tpipe.tasks.TaskPickle):
        def run(self):
            yield SamePlace(n=1)
            yield SamePlace(n=2)
            self.save(1)

    (failure,) = run(Asks(), abort=False).failures
    assert isinstance(failure.error, GraphError)
    says(failure.error, "SamePlace(n=1)", "SamePlace(n=2)")
    assert 1 == SamePlace(n=1).outputLoad()


def test_the_class_in_place_of_a_task_is_refused():
    with pytest.raises(GraphError) as caught:
        run(Source)
    says(caught, "Source", "Make an instance: Source(...)")


def test_requires_that_returns_a_class_is_refused():
    class Bad(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Source

    with pytest.raises(GraphError) as caught:
        run(Bad())
    says(caught, "Bad()", "Source(...)")


@pytest.mark.parametrize("wrong", [7, "Source", ["text"], {"a": 5}, object()])
def test_requires_that_returns_something_else_is_refused(wrong):
    class Bad(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return wrong

    with pytest.raises(GraphError) as caught:
        run(Bad())
    says(caught, "Bad()", "requires")


@pytest.mark.parametrize("error", [ValueError("no such site"), KeyError("x"), SystemExit(3)])
def test_requires_that_raises_names_the_task_and_the_error(error):
    class Bad(d6tpipe.tasks.TaskPickle):
        def requires(self):
            raise error

    if isinstance(error, SystemExit):
        with pytest.raises(SystemExit):
            run(Bad())
        return
    with pytest.raises(GraphError) as caught:
        run([Source(), Bad()])
    says(caught, "Bad()", type(error).__name__, "requires()")
    assert error is caught.value.__cause__
    assert set() == files()


def test_a_wrong_parameter_within_requires_names_both_tasks():
    class Bad(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Source(rosw=3)

    with pytest.raises(GraphError) as caught:
        run(Bad())
    says(caught, "Bad()", "Source", "rosw", "Did you mean 'rows'?")


def test_complete_that_raises_names_the_task():
    class Odd(luigi.Task):
        def complete(self):
            raise OSError("server away")

    with pytest.raises(GraphError) as caught:
        run(Odd())
    says(caught, "Odd", "server away", "complete()")


def test_a_priority_that_raises_names_the_task():
    class Odd(d6tpipe.tasks.TaskPickle):
        @property
        def priority(self):
            raise KeyError("weights")

        def run(self):
            self.save(1)

    with pytest.raises(GraphError) as caught:
        run(Odd())
    says(caught, "Odd()", "weights", "priority")


def test_one_family_from_two_modules_is_refused(isolated):
    for name in ("one", "two"):
        (isolated / f"bad_{name}.py").write_text(
            "import d6tpipe\nclass Shared(d6tpipe.tasks.TaskPickle):\n    def run(self):\n        self.save(1)\n"
        )
    sys.path.insert(0, str(isolated))
    import bad_one
    import bad_two

    with pytest.raises(GraphError) as caught:
        run([bad_one.Shared(), bad_two.Shared()])
    says(caught, "'Shared'", "bad_one.Shared", "bad_two.Shared", "task_namespace")
    assert set() == files()


def test_an_aggregator_that_reads_data_names_the_line():
    class Reads(d6tpipe.tasks.TaskAggregator):
        def run(self):
            rows = Source().outputLoad()
            yield Source(rows=len(rows))

    with pytest.raises(GraphError) as caught:
        run(Reads())
    says(caught, "Reads()", "test_bad_input.py", "rows = Source().outputLoad()")


def test_an_aggregator_that_yields_a_class_is_refused():
    class Yields(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield Source

    with pytest.raises(GraphError) as caught:
        run(Yields())
    says(caught, "Yields()", "parentheses")


def test_a_body_that_yields_no_task_fails_alone():
    class Yields(d6tpipe.tasks.TaskPickle):
        def run(self):
            yield "text"

    result = run([Yields(), Source()], abort=False)
    (failure,) = result.failures
    says(failure.error, "'text'", "not a task")
    assert "built" == result.states[Source()]


def test_an_unknown_option_of_run_names_the_nearest():
    with pytest.raises(TypeError, match="Did you mean 'dry_run'"):
        d6tpipe.run(Source(), dryrun=True)


# ---- failures in the middle


class Branch(d6tpipe.tasks.TaskPickle):
    name = d6tpipe.Parameter()
    level = d6tpipe.IntParameter(default=2)
    broken = True
    ran: list[str] = []

    def requires(self):
        return Branch(name=self.name, level=self.level - 1) if self.level else []

    def run(self):
        self.ran.append(f"{self.name}{self.level}")
        if Branch.broken and self.name == "b" and self.level == 1:
            raise ValueError("the middle of b")
        self.save(self.name)


class Join(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return {name: Branch(name=name) for name in "abc"}

    def run(self):
        Branch.ran.append("join")
        self.save("".join(self.inputLoad().values()))


@pytest.fixture
def branches(monkeypatch):
    monkeypatch.setattr(Branch, "broken", True)
    monkeypatch.setattr(Branch, "ran", [])
    return Branch


def test_a_failure_in_the_middle_lets_other_branches_finish_and_a_second_run_does_the_rest(branches):
    with pytest.raises(BuildError) as caught:
        run(Join())
    assert {"a0", "a1", "a2", "b0", "b1", "c0", "c1", "c2"} == set(branches.ran)
    says(caught, "1 task failed", "Branch(name='b', level=1)", "the middle of b", "2 that need what failed")
    assert isinstance(caught.value.__cause__, ValueError)
    branches.ran.clear()
    branches.broken = False
    assert run(Join()).ok
    assert ["b1", "b2", "join"] == branches.ran
    assert "abc" == Join().outputLoad()


def test_the_failure_shows_the_users_traceback_and_none_of_ours(branches):
    (failure,) = run(Join(), abort=False).failures
    assert 'raise ValueError("the middle of b")' in failure.traceback
    assert os.path.join("d6tpipe", "bodies.py") not in failure.traceback
    assert os.path.join("d6tpipe", "tasks") not in failure.traceback


def test_a_result_that_is_not_raised_is_false_and_holds_everything(branches):
    result = run(Join(), abort=False)
    assert not result and not result.ok
    assert {"built": 7, "failed": 1, "upstream_failed": 2, "fresh": 0} == {
        state: result.counts[state] for state in ("built", "failed", "upstream_failed", "fresh")
    }
    table = result.table().set_index("task")
    assert "ValueError: the middle of b" == table.loc["Branch(name='b', level=1)", "error"]


@pytest.mark.parametrize("error", [SystemExit(2), SystemExit("bye"), GeneratorExit(), RecursionError("deep")])
def test_an_odd_exception_of_a_body_ends_the_task_and_not_the_run(error):
    class Exits(d6tpipe.tasks.TaskPickle):
        def run(self):
            raise error

    result = run([Exits(), Source()], abort=False)
    assert "failed" == result.states[Exits()] and "built" == result.states[Source()]
    assert error is result.failures[0].error


def test_on_failure_that_raises_does_not_hide_the_failure():
    class Twice(d6tpipe.tasks.TaskPickle):
        def run(self):
            raise ValueError("first")

        def on_failure(self, exception):
            raise OSError("second")

    with pytest.warns(UserWarning, match="second"):
        result = run(Twice(), abort=False)
    assert "first" == str(result.failures[0].error)


def test_on_failure_is_called_once_when_an_output_is_missing():
    seen = []

    class Forgets(d6tpipe.tasks.TaskPickle):
        persist = ["a", "b"]

        def run(self):
            self.output()["a"].save(1)

        def on_failure(self, exception):
            seen.append(type(exception))
            raise OSError("second")

    with pytest.warns(UserWarning, match="second"):
        (failure,) = run(Forgets(), abort=False).failures
    assert [MissingOutputError] == seen
    assert isinstance(failure.error, MissingOutputError)


def test_a_callback_that_raises_ends_the_run_with_its_error():
    def callback(event):
        raise LookupError("callback")

    with pytest.raises(LookupError, match="callback"):
        run(Source(), callbacks=[callback])
    assert not any(".tmp" in name for name in files())


# ---- interrupts


def test_ctrl_c_in_a_body_keeps_what_was_built_and_the_next_run_does_the_rest(monkeypatch):
    monkeypatch.setattr(Branch, "ran", [])
    monkeypatch.setattr(Branch, "broken", False)
    original = Branch.run

    def interrupted(self):
        if self.level == 1:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(Branch, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Branch(name="a"))
    assert {Path(Branch(name="a", level=0).outputPath()).name} == {Path(name).name for name in files()}
    monkeypatch.setattr(Branch, "run", original)
    Branch.ran.clear()
    assert run(Branch(name="a")).ok
    assert ["a1", "a2"] == Branch.ran


def test_ctrl_c_prints_what_was_done(capsys):
    class Interrupted(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Source()

        def run(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        d6tpipe.run(Interrupted(), progress=False)
    printed = capsys.readouterr().out
    assert "1 built" in printed and "1 cancelled" in printed


FLOW = '''
    import os, signal, sys, time, pickle
    import d6tpipe

    d6tpipe.set_dir("data")

    class Slow:
        """Pickling it stops half-way, in the middle of the file."""
        def __reduce__(self):
            if os.environ.get("STOP") == "save":
                print("saving", flush=True)
                {stop}
            return (str, ("saved",))

    class Step(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()
        def requires(self):
            return Step(n=self.n - 1) if self.n else []
        def run(self):
            print("ran", self.n, flush=True)
            if self.n == 2 and os.environ.get("STOP") == "body":
                {stop}
            self.save([b"x" * 300_000, Slow()] if self.n == 2 else self.n)

    if __name__ == "__main__":
        d6tpipe.run(Step(n=3), progress=False)
        print("done", d6tpipe.run(Step(n=3), execution_summary=False).counts, flush=True)
'''


def start(isolated, stop, where):
    (isolated / "steps.py").write_text(textwrap.dedent(FLOW).replace("{stop}", stop))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STOP": where, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "steps.py"], cwd=isolated, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("where", ["body", "save"])
def test_a_real_ctrl_c_leaves_no_temporary_and_the_next_run_does_the_rest(isolated, where):
    process = start(isolated, "signal.pause()", where)
    lines = iter(process.stdout.readline, "")
    assert any(line.strip() == ("saving" if where == "save" else "ran 2") for line in lines)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "KeyboardInterrupt" in err
    assert 2 == len(files())
    assert not any(".tmp" in name for name in files())
    out, err = start(isolated, "pass", "").communicate(timeout=60)
    assert ["ran 2", "ran 3"] == [line for line in out.splitlines() if line.startswith("ran")], err
    assert "done" in out


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_kill_9_in_the_middle_of_a_save_leaves_no_half_output(isolated):
    process = start(isolated, "os.kill(os.getpid(), signal.SIGKILL)", "save")
    process.communicate(timeout=60)
    assert -signal.SIGKILL == process.returncode
    kept = {name for name in files() if ".tmp-" not in name}
    assert 2 == len(kept)
    assert 1 == len(files()) - len(kept)  # what the killed process was writing
    for name in kept:
        pickle.loads(Path("data", name).read_bytes())
    out, err = start(isolated, "pass", "").communicate(timeout=60)
    assert ["ran 2", "ran 3"] == [line for line in out.splitlines() if line.startswith("ran")], err
    assert "done" in out
    assert not any(".tmp-" in name for name in files())  # the next run has swept it


# ---- folders that refuse


UNWRITABLE = """
    import sys
    import d6tpipe
    d6tpipe.set_dir("closed/data")
    class Step(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(1)
    class Memory(d6tpipe.tasks.TaskCache):
        def run(self):
            self.save(1)
    result = d6tpipe.run([Step(), Memory()], abort=False, execution_summary=False)
    print({task.task_family: str(state) for task, state in result.states.items()})
    print(type(result.failures[0].error).__name__)
    print(result.failures[0].error)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_cannot_be_written_is_named_and_other_tasks_go_on(as_ordinary_user, common_folder):
    closed = common_folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    done = as_ordinary_user(UNWRITABLE)
    says(done.stdout, "{'Step': 'failed', 'Memory': 'built'}", "StorageError", "closed/data", "Permission denied")
    says(done.stdout, "d6tpipe.set_dir()")
    assert [] == list(closed.iterdir())


def test_a_file_where_a_folder_should_be_is_named():
    Path("data").write_text("I was here first")
    with pytest.warns(UserWarning, match="ot a directory"):  # neither locks nor records have a place
        (failure,) = run(Source(), abort=False).failures
    assert isinstance(failure.error, StorageError)
    says(failure.error, os.path.abspath("data"), "not a")
    assert "I was here first" == Path("data").read_text()
    assert not Source().complete()


def test_a_folder_where_an_output_should_be_is_not_removed():
    place = Source().outputPath()
    place.mkdir(parents=True)
    (place / "keep").write_text("x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(Source(), forced=Source(), abort=False)
    assert (place / "keep").exists()


def test_every_error_of_ours_can_be_caught_as_one():
    for found in vars(errors).values():
        if isinstance(found, type) and issubclass(found, BaseException) and found is not errors.TaskCancelled:
            assert issubclass(found, errors.PipeError)


# ---- errors in odd places


class OddOutput(d6tpipe.tasks.TaskPickle):
    def output(self):
        raise KeyError("unthought of")

    def run(self):
        self.save(1)


class OddFolder(d6tpipe.tasks.TaskPickle):
    @property
    def target_dir(self):
        raise ValueError("unthought of")

    def run(self):
        self.save(1)


@pytest.mark.parametrize("cls", [OddOutput, OddFolder])
def test_outputs_that_cannot_be_told_name_the_task(cls):
    with pytest.raises(GraphError, match=rf"{cls.__name__}\(\)(.|\n)*unthought of"):
        run([Source(), cls()])
    assert not files()


def test_an_external_task_without_proper_targets_fails_alone():
    class Elsewhere(luigi.ExternalTask):
        def output(self):
            return "just a name"

        def complete(self):
            return False

    result = run([Elsewhere(), Source()], abort=False)
    assert ["failed", "built"] == [result.states[task] for task in (Elsewhere(), Source())]
    assert "cannot be told" in str(result.failures[0].error)


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class FailsUnspeakably(d6tpipe.tasks.TaskCache):
    def run(self):
        raise Unspeakable


class Unshowable(d6tpipe.tasks.TaskCache):
    def __repr__(self):
        raise RuntimeError("no repr")

    def run(self):
        raise ValueError("the reason")


@pytest.mark.parametrize(("cls", "told"), [(FailsUnspeakably, "Unspeakable"), (Unshowable, "the reason")])
def test_a_failure_that_cannot_be_shown_is_reported_all_the_same(cls, told, caplog, capsys):
    with pytest.raises(BuildError, match=told):
        run(cls())
    result = d6tpipe.run(cls(), abort=False, execution_summary=True)
    assert told in capsys.readouterr().out and told in result.table()["error"][0]


@pytest.mark.parametrize("base", [d6tpipe.tasks.TaskCache, d6tpipe.tasks.TaskPickle])
def test_an_asynchronous_body_is_refused_and_nothing_is_saved(base):
    class Async(base):
        async def run(self):
            self.save(1)

    with pytest.raises(BuildError, match="asynchronous"):
        run(Async())
    assert not Async().complete()


class RunsItself(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(self.outputLoad(run=True))


class RunsWhatNeedsIt(d6tpipe.tasks.TaskPickle):
    def run(self):
        run(NeedsOneThatRunsIt())
        self.save(1)


@d6tpipe.requires(RunsWhatNeedsIt)
class NeedsOneThatRunsIt(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(1)


@pytest.mark.parametrize("cls", [RunsItself, RunsWhatNeedsIt])
def test_a_body_that_runs_its_own_task_is_an_error_not_a_recursion(cls):
    with pytest.raises(BuildError, match="A body runs its own task"):
        run(cls())
    assert not files()


def test_a_priority_that_is_no_number_names_the_task():
    class Urgent(d6tpipe.tasks.TaskPickle):
        priority = "high"

        def run(self):
            self.save(1)

    with pytest.raises(GraphError, match=r"Urgent\(\)"):
        run(Urgent())


def test_forcing_what_the_flow_does_not_hold_is_not_silent():
    class Asks(d6tpipe.tasks.TaskPickle):
        def run(self):
            yield Source()
            self.save(1)

    with pytest.warns(UserWarning, match=r"forced=Source\(.*no task of the flow"):
        assert 2 == run(Asks(), forced=Source()).counts["built"]
    assert 2 == run(Asks(), forced=Source()).counts["built"], (
        "what a body has asked for is part of the flow from then on"
    )
