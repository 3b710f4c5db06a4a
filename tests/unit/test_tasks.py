"""TaskData and TaskAggregator: saving, loading, what counts as complete, and what a wrong use is told."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import luigi
import pandas as pd
import pytest

import d6tpipe
from d6tpipe.engine.graph import Graph
from d6tpipe.errors import (
    BuildError,
    DeclarationError,
    GraphError,
    MissingOutputError,
    NotBuiltError,
    OutputKeyError,
    StorageError,
)


def run(*tasks, **options):
    return d6tpipe.run(list(tasks), execution_summary=False, **options)


def data_files():
    found = Path(d6tpipe.settings.dirpath).rglob("*")
    return sorted(path.name for path in found if path.is_file() and ".d6tpipe" not in path.parts)


class One(d6tpipe.tasks.TaskPickle):
    x = d6tpipe.IntParameter(default=1)

    def run(self):
        self.save({"x": self.x})


class Two(d6tpipe.tasks.TaskPickle):
    persist = ["a", "b"]

    def run(self):
        self.save({"a": 1, "b": 2})


class Mixed(d6tpipe.tasks.TaskData):
    persist = {"model": "pickle", "scores": "parquet", "report": "json", "kept": "cache"}

    def run(self):
        self.save({"model": [1], "scores": pd.DataFrame({"a": [1]}), "report": {"r": 1}, "kept": object})


# --------------------------------------------------------------------------------------- outputs and places


def test_naming_outputs_makes_nothing_on_disk():
    for task in (One(), Two(), Mixed()):
        task.output()
        task.outputPath()
        task.complete()
    assert not Path(d6tpipe.settings.dirpath).exists()


def test_one_output_is_bare_and_several_are_by_name():
    assert isinstance(One().output(), luigi.Target)
    assert list(Two().output()) == ["a", "b"]
    assert One().outputPath() == One().output().path
    assert Two().outputPath("b") == Two().output()["b"].path
    with pytest.raises(OutputKeyError, match="Did you mean"):
        Mixed().outputPath("modle")


def test_each_output_of_a_dict_has_its_format():
    run(Mixed())
    names = data_files()
    assert [name.split("-")[-1] for name in names] == ["model.pkl", "report.json", "scores.parquet"]
    model, scores, report, kept = Mixed().outputLoad()
    assert (model, report, kept) == ([1], {"r": 1}, object)
    assert scores.equals(pd.DataFrame({"a": [1]}))


@pytest.mark.parametrize("persist", ["ab", 3, ["a", "a"], ["a/b"], [""], [3], {"a": 3}], ids=repr)
def test_a_wrong_persist_names_the_class(persist):
    cls = type("Wrong", (d6tpipe.tasks.TaskPickle,), {"persist": persist})
    with pytest.raises(DeclarationError, match=r"Wrong(.|\n)*persist|persist(.|\n)*Wrong"):
        cls().output()


def test_an_unknown_format_names_the_nearest():
    cls = type("Wrong", (d6tpipe.tasks.TaskData,), {"persist": {"a": "parqet"}})
    with pytest.raises(d6tpipe.errors.PipeError, match="parquet"):
        cls().output()


def test_persists_is_the_same_as_persist():
    cls = type("Alias", (d6tpipe.tasks.TaskPickle,), {"persists": ["a", "b"]})
    assert list(cls().output()) == ["a", "b"]
    assert cls().persists == cls().persist == ["a", "b"]
    cls.persists = ["c", "d"]
    assert list(cls().output()) == ["c", "d"]


def test_persist_of_an_instance():
    task = One(x=99)
    task.persist = ["a", "b"]
    assert list(task.output()) == ["a", "b"]


@pytest.mark.parametrize(
    ("attributes", "folder"),
    [
        ({}, "Placed"),
        ({"target_dir": "mine"}, "mine"),
        ({"task_group": "g"}, "group=g/Placed"),
        ({"target_dir": "mine/deep", "task_group": "g"}, "group=g/mine/deep"),
    ],
)
def test_where_outputs_lie(attributes, folder):
    cls = type("Placed", (d6tpipe.tasks.TaskPickle,), attributes)
    expected = os.path.join(str(d6tpipe.settings.dirpath), folder)
    assert os.path.dirname(str(cls().output().path)) == os.path.normpath(expected)


def test_target_ext_of_an_instance_changes_the_file():
    task = One(x=98)
    task.target_ext = "pq"
    assert str(task.output().path).endswith(".pq")
    assert str(One(x=97).output().path).endswith(".pkl")


def test_set_dir_reaches_tasks_that_are_already_there(tmp_path):
    task = One()
    before = str(task.output().path)
    d6tpipe.set_dir(tmp_path / "elsewhere")
    assert str(task.output().path).startswith(str(tmp_path / "elsewhere"))
    assert before != str(task.output().path)


# --------------------------------------------------------------------------------------------------- saving


def test_what_run_returns_is_saved():
    class Returns(d6tpipe.tasks.TaskPickle):
        def run(self):
            return [1, 2]

    class ReturnsMany(d6tpipe.tasks.TaskPickle):
        persist = ["a", "b"]

        def run(self):
            return {"a": 1, "b": 2}

    run(Returns(), ReturnsMany())
    assert Returns().outputLoad() == [1, 2] and ReturnsMany().outputLoad() == [1, 2]


def test_what_a_body_that_yields_returns_is_saved():
    class Yields(d6tpipe.tasks.TaskPickle):
        def run(self):
            target = yield One(x=5)
            return target.load()

    run(Yields())
    assert Yields().outputLoad() == {"x": 5}


def test_what_run_returns_does_not_replace_what_it_saved():
    class Both(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save("saved")
            return "returned"

    run(Both())
    assert Both().outputLoad() == "saved"


def test_a_body_run_by_hand_saves_what_it_returns():
    class Returns(d6tpipe.tasks.TaskPickle):
        def run(self):
            return 5

    Returns().run()
    assert Returns().outputLoad() == 5


def test_super_run_does_not_save_twice():
    class Base(d6tpipe.tasks.TaskPickle):
        def run(self):
            return 1

    class Sub(Base):
        def run(self):
            return super().run() + 1

    run(Sub())
    assert Sub().outputLoad() == 2


def test_run_of_a_mixin_saves_what_it_returns():
    class Body:
        def run(self):
            return "from the mixin"

    class Task(Body, d6tpipe.tasks.TaskPickle):
        pass

    run(Task())
    assert Task().outputLoad() == "from the mixin"


@pytest.mark.parametrize("given", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "B": 2}, [1, 2], 3], ids=repr)
def test_save_with_wrong_names_writes_nothing(given):
    class Wrong(d6tpipe.tasks.TaskPickle):
        persist = ["a", "b"]

        def run(self):
            self.save(given)

    with pytest.raises(BuildError) as caught:
        run(Wrong())
    error = caught.value.failures[0].error
    assert isinstance(error, OutputKeyError) and isinstance(error, ValueError)
    assert "Wrong" in str(error)
    assert data_files() == []


def test_when_one_of_several_outputs_cannot_be_written_none_is():
    class Half(d6tpipe.tasks.TaskData):
        persist = {"good": "json", "bad": "json"}

        def run(self):
            self.save({"good": 1, "bad": object()})

    with pytest.raises(BuildError):
        run(Half())
    assert data_files() == []


def test_a_failed_save_keeps_what_was_there_before():
    class Changing(d6tpipe.tasks.TaskJson):
        value = {"good": 1}

        def run(self):
            self.save(type(self).value)

    run(Changing())
    Changing.value = {"bad": object()}
    with pytest.raises(BuildError):
        run(Changing(), forced_all=True)
    assert Changing().outputLoad() == {"good": 1}
    assert len(data_files()) == 1


def test_a_task_that_saves_nothing_warns_and_is_not_complete():
    class Check(d6tpipe.tasks.TaskPickle):
        def run(self):
            pass

    with pytest.warns(UserWarning, match="saved nothing"):
        result = run(Check())
    assert result.ok and not Check().complete()


def test_a_task_that_saves_nothing_fails_if_it_is_needed():
    class Check(d6tpipe.tasks.TaskPickle):
        def run(self):
            pass

    @d6tpipe.requires(Check)
    class Use(d6tpipe.tasks.TaskPickle):
        def run(self):
            raise AssertionError("must not run")

    with pytest.raises(BuildError, match="Check") as caught:
        run(Use())
    assert isinstance(caught.value.failures[0].error, MissingOutputError)


def test_writing_to_the_path_by_hand_works():
    class ByHand(d6tpipe.tasks.TaskPickle):
        def run(self):
            pd.to_pickle([3], self.output().path)

    assert run(ByHand()).ok
    assert ByHand().outputLoad() == [3]


# -------------------------------------------------------------------------------------------------- loading


def test_loading_before_running_says_what_to_do():
    with pytest.raises(NotBuiltError, match=r"One\(x=1\)(.|\n)*d6tpipe.run") as caught:
        One().outputLoad()
    assert isinstance(caught.value, RuntimeError)
    assert str(One().output().path) in str(caught.value)


def test_loading_may_build_first():
    assert One(x=6).outputLoad(run=True) == {"x": 6}


def test_keys_choose_outputs():
    run(Two())
    task = Two()
    assert task.outputLoad() == [1, 2]
    assert task.outputLoad(keys="b") == 2
    assert task.outputLoad(keys=["b"]) == [2]
    assert task.outputLoad(as_dict=True) == {"a": 1, "b": 2}
    with pytest.raises(OutputKeyError, match="'c'"):
        task.outputLoad(keys="c")


def consumer(requirement, **load):
    """Return a class that requires `requirement` and keeps what inputLoad(**load) gives."""

    class Consumer(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return requirement

        def run(self):
            self.save({"loaded": self.inputLoad(**load)})

    run(Consumer(), forced_all=True)
    return Consumer().outputLoad()["loaded"]


@pytest.mark.parametrize(
    ("requirement", "load", "expected"),
    [
        (One(x=1), {}, {"x": 1}),
        (Two(), {}, [1, 2]),
        (Two(), {"as_dict": True}, {"a": 1, "b": 2}),
        (Two(), {"keys": "b"}, 2),
        (Two(), {"keys": ["b"]}, [2]),
        ([One(x=1), One(x=2)], {}, [{"x": 1}, {"x": 2}]),
        ([One(x=1), Two()], {}, [{"x": 1}, [1, 2]]),
        ([One(x=1), Two()], {"task": 1}, [1, 2]),
        ([One(x=1), Two()], {"task": 1, "keys": "a"}, 1),
        ((One(x=1), One(x=2)), {"task": 0}, {"x": 1}),
        ({"p": One(x=1), "q": Two()}, {}, {"p": {"x": 1}, "q": [1, 2]}),
        ({"p": One(x=1), "q": Two()}, {"task": "q"}, [1, 2]),
        ({"p": One(x=1), "q": Two()}, {"task": "q", "as_dict": True}, {"a": 1, "b": 2}),
        ({"p": One(x=1), "q": Two()}, {"task": "q", "keys": "b"}, 2),
        ({"p": One(x=1), "q": Two()}, {"keys": "p"}, {"x": 1}),
    ],
    ids=str,
)
def test_input_load(requirement, load, expected):
    assert consumer(requirement, **load) == expected


@pytest.mark.parametrize(
    ("requirement", "load"),
    [([One()], {"task": 3}), ({"p": One()}, {"task": "q"}), (Two(), {"keys": "z"}), ({"p": One()}, {"keys": "q"})],
    ids=str,
)
def test_input_load_of_what_is_not_there_says_what_is(requirement, load):
    with pytest.raises(BuildError) as caught:
        consumer(requirement, **load)
    assert isinstance(caught.value.failures[0].error, OutputKeyError)


def test_an_aggregator_as_a_requirement_gives_the_list_of_its_tasks():
    class All(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield One(x=1)
            yield Two()

    assert consumer(All()) == [{"x": 1}, [1, 2]]


def test_a_corrupt_file_names_it_and_says_how_to_rebuild():
    run(One())
    path = Path(One().output().path)
    path.write_bytes(b"\x80no pickle")
    with pytest.warns(UserWarning, match="modified"), pytest.raises(StorageError, match="reset") as caught:
        One().outputLoad()
    assert str(path) in str(caught.value)


# ---------------------------------------------------------------------------------------- complete and reset


def chain():
    class Low(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(1)

    @d6tpipe.requires(Low)
    class High(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(2)

    return Low, High


def test_a_task_is_complete_when_all_it_requires_is():
    low, high = chain()
    run(high())
    assert high().complete()
    low().reset(confirm=False)
    assert not high().complete()
    assert high().complete(cascade=False)
    d6tpipe.settings.check_dependencies = False
    assert high().complete()


def test_a_reset_task_upstream_runs_and_what_needs_it_is_kept_if_it_comes_out_equal():
    low, high = chain()
    run(high())
    low().reset(confirm=False)
    assert {low(): "built", high(): "cached"} == run(high()).states
    low().reset(confirm=False)
    assert {low(): "built", high(): "built"} == run(high(), stale="ignore").states, "luigi's rule"


def test_reset_asks_and_takes_no_for_an_answer(monkeypatch):
    run(One())
    for answer, there in (("n", True), ("", True), ("y", False)):
        monkeypatch.setattr("builtins.input", lambda prompt, answer=answer: answer)
        assert One().reset() is True
        assert One().complete() is there


def test_reset_of_what_was_never_built_is_fine():
    assert One(x=77).reset(confirm=False) is True


def test_an_external_task_is_never_run_and_needs_nothing():
    class Outside(d6tpipe.tasks.TaskPickle):
        external = True

        def requires(self):
            return One(x=1000)

        def run(self):
            raise AssertionError("must not run")

    with pytest.raises(BuildError, match="external"):
        run(Outside())
    path = Path(Outside().output().path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.to_pickle(5, path)
    assert run(Outside()).ok and Outside().complete()
    assert Outside().outputLoad() == 5


def test_a_custom_complete_of_ours_is_asked():
    class Never(d6tpipe.tasks.TaskPickle):
        ran = 0

        def complete(self, cascade=True):
            return type(self).ran > 0 and super().complete(cascade)

        def run(self):
            type(self).ran += 1
            self.save(1)

    run(Never())
    assert Never.ran == 1
    run(Never())
    assert Never.ran == 1


def test_metadata_of_a_task_and_of_what_it_requires():
    class Low(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(1)
            self.saveMeta({"low": 1})

    @d6tpipe.requires(Low)
    class High(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(2)
            self.metaSave({"of low": self.metaLoad()})

    with pytest.raises(NotBuiltError):
        Low().outputLoadMeta()
    run(High())
    assert High().outputLoadMeta() == {"of low": {"low": 1}}
    assert High().outputLoadAllMeta() == {"High": {"of low": {"low": 1}}, "Low": {"low": 1}}


def test_metadata_that_was_never_saved():
    run(One())
    with pytest.raises(NotBuiltError, match="metadata"):
        One().outputLoadMeta()
    assert One().outputLoadAllMeta() == {}


def test_input_keys_that_choose_nothing_are_refused():
    @d6tpipe.requires(One)
    class Single(d6tpipe.tasks.TaskPickle):
        pass

    @d6tpipe.requires(One, Two)
    class Several(d6tpipe.tasks.TaskPickle):
        pass

    run(One(), Two())
    assert Single().inputLoad(keys="data") == {"x": 1}
    with pytest.raises(OutputKeyError, match="no output 'date'"):
        Single().inputLoad(keys="date")
    with pytest.raises(OutputKeyError, match="task=0"):
        Several().inputLoad(keys="a")
    assert Several().inputLoad(task=1, keys="a") == Two().outputLoad(keys="a")


def test_a_failing_target_of_ones_own_takes_the_other_outputs_with_it():
    class Fussy(d6tpipe.targets.DataTarget):
        def save(self, df):
            raise ValueError("not today")

    class Together(d6tpipe.tasks.TaskData):
        persist = {"kept": "cache", "own": Fussy, "table": "pickle"}

    with pytest.raises(ValueError, match="not today"):
        Together().save({"kept": 1, "own": 2, "table": 3})
    assert data_files() == [] and not d6tpipe.cache.data


def test_metadata_that_cannot_be_pickled_say_so_and_leave_nothing():
    with pytest.raises(DeclarationError, match="cannot be pickled"):
        One().saveMeta({"model": lambda x: x})
    assert data_files() == []


def test_a_parameter_class_without_parentheses_is_refused():
    with pytest.raises(DeclarationError, match=r"x = IntParameter\(\)"):
        type("Bare", (d6tpipe.tasks.TaskPickle,), {"x": d6tpipe.IntParameter})


def test_a_class_without_a_format_is_told_to_name_one():
    class Formless(d6tpipe.tasks.TaskData):
        pass

    with pytest.raises(DeclarationError, match="TaskPickle"):
        Formless().save(1)
    Formless().output().path.parent.mkdir(parents=True)
    Formless().output().path.write_text("by hand")
    with pytest.raises(DeclarationError, match=r"Formless\(\)(.|\n)*output\(\)\.path"):
        Formless().outputLoad()


def test_a_class_without_run_is_told_to_have_one():
    class Idle(d6tpipe.tasks.TaskPickle):
        pass

    @d6tpipe.requires(Idle)
    class User(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(1)

    with pytest.raises(BuildError, match=r"Idle has no run\(\)"):
        run(User())


# ----------------------------------------------------------------------------------------------- aggregators


def test_an_aggregator_flattens_what_it_yields():
    class All(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield One(x=1)
            yield [One(x=2), {"k": One(x=3)}]
            for x in (4, 5):
                yield One(x=x)

    run(All())
    assert All().outputLoad() == [{"x": x} for x in range(1, 6)]
    assert All().complete() and len(All().output()) == 5
    All().reset(confirm=False)
    assert not All().complete() and not One(x=3).complete()


class Raw(luigi.Task):
    def output(self):
        return luigi.LocalTarget("raw.txt")

    def run(self):
        with self.output().open("w") as stream:
            stream.write("raw")


class Delivered(d6tpipe.tasks.TaskJson):
    external = True


class Assorted(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield [One(x=1), Raw(), Delivered(), One(x=2)]


def test_resetting_an_aggregator_leaves_alone_what_is_not_ours():
    Delivered().output().save("from elsewhere")
    run(Assorted())
    Assorted().reset(confirm=False)
    assert [False, True, True, False] == [task.complete() for task in (One(x=1), Raw(), Delivered(), One(x=2))]


def test_loading_an_aggregator_of_plain_luigi_tasks_says_which_one_cannot():
    Delivered().output().save("from elsewhere")
    run(Assorted())
    with pytest.raises(DeclarationError, match=r"Raw\(\)"):
        Assorted().outputLoad()


def test_an_aggregator_can_be_built_by_loading_it():
    class All(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield [One(x=1), One(x=2)]

    d6tpipe.settings.execution_summary = False
    with pytest.raises(NotBuiltError):
        All().outputLoad()
    assert All().outputLoad(run=True) == [{"x": 1}, {"x": 2}]


def test_an_empty_aggregator_is_complete():
    class Nothing(d6tpipe.tasks.TaskAggregator):
        def run(self):
            if False:
                yield One()

    with pytest.warns(UserWarning, match="stands for no task"):
        assert run(Nothing()).ok
    assert Nothing().outputLoad() == []


def test_aggregators_may_be_nested():
    class Inner(d6tpipe.tasks.TaskAggregator):
        n = d6tpipe.IntParameter()

        def run(self):
            yield [One(x=self.n), One(x=self.n + 1)]

    class Outer(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield Inner(n=1)
            yield Inner(n=2)

    assert run(Outer()).ok
    assert Outer().outputLoad() == [[{"x": 1}, {"x": 2}], [{"x": 2}, {"x": 3}]]


def test_a_ladder_of_aggregators_is_linear():
    calls = []

    class Rung(d6tpipe.tasks.TaskAggregator):
        level = d6tpipe.IntParameter()
        side = d6tpipe.IntParameter(default=0)

        def run(self):
            calls.append(self)
            if self.level == 40:
                yield One(x=self.side)
            else:
                yield [Rung(level=self.level + 1, side=0), Rung(level=self.level + 1, side=1)]

    assert run(Rung(level=0)).ok
    assert len(calls) <= 81 * 3
    calls.clear()
    assert Rung(level=0).complete()
    assert len(calls) <= 81 * 3


@pytest.mark.parametrize("wrong", [3, "text", One, None], ids=repr)
def test_an_aggregator_that_yields_no_task_says_so(wrong):
    class Wrong(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield wrong

    with pytest.raises(GraphError, match="Wrong"):
        run(Wrong())


def test_an_aggregator_that_reads_its_input_names_the_line():
    @d6tpipe.requires(One)
    class Reads(d6tpipe.tasks.TaskAggregator):
        def run(self):
            with open("does not exist") as stream:
                yield One(x=int(stream.read()))

    with pytest.raises(GraphError, match=r"test_tasks.py:\d+: with open"):
        run(Reads())


def test_an_aggregator_that_returns_a_list_is_told_to_yield():
    class Returns(d6tpipe.tasks.TaskAggregator):
        def run(self):
            return [One()]

    with pytest.raises(GraphError, match="yield"):
        run(Returns())


# ---------------------------------------------------------------------------------------- classes run again


def test_a_class_defined_again_is_used_instead_of_the_old_one(monkeypatch):
    import sys
    import types

    cell = types.ModuleType("notebook_cell")
    monkeypatch.setitem(sys.modules, "notebook_cell", cell)
    source = (
        "import d6tpipe\n"
        "class Low(d6tpipe.tasks.TaskCache):\n"
        "    def run(self): self.save({})\n"
        "@d6tpipe.requires(Low)\n"
        "class High(d6tpipe.tasks.TaskCache):\n"
        "    def run(self): self.save(self.inputLoad())\n"
    )
    exec(source.format("'old'"), vars(cell))
    old = cell.High()
    exec(source.format("'new'").split("@")[0], vars(cell))
    run(old)
    assert old.outputLoad() == "new"


def test_repr_shows_values_as_code():
    assert repr(One(x=3)) == "One(x=3)"
    cls = type("Text", (d6tpipe.tasks.TaskCache,), {"s": d6tpipe.Parameter()})
    assert repr(cls(s="a'b")) == 'Text(s="a\'b")'


# ------------------------------------------------------------------------------------ what a run finds of a task


def test_outputs_in_memory_and_on_disk_are_both_found_by_the_next_run():
    run(Mixed())
    assert {"fresh"} == {str(state) for state in run(Mixed()).states.values()}
    d6tpipe.cache.data.clear()
    assert {"built"} == {str(state) for state in run(Mixed()).states.values()}


def test_a_complete_that_asks_another_task_hears_of_what_that_one_requires():
    @d6tpipe.requires(One)
    class Upper(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save(1)

    class Asks(luigi.Task):
        def complete(self):
            return Upper().complete()

    class Root(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return [Asks(), Upper()]  # both are known when the first is asked, the second is not looked into yet

        def run(self):
            self.save(1)

    run(Upper())
    One().reset(confirm=False)
    assert not Asks().complete()
    states = run(Root(), dry_run=True).states
    assert "pending" == states[Asks()]


def test_status_calls_work_while_another_thread_ends_the_same_body():
    entered, ended = threading.Event(), threading.Event()

    class Told(d6tpipe.tasks.TaskCache):
        def run(self):
            if threading.current_thread() is slow:
                entered.set()
                ended.wait(60)
            self.set_status_message("half-way")
            self.save(1)

    task, results = Told(), []
    slow = threading.Thread(target=lambda: results.append(run(task, forced_all=True, abort=False)))
    slow.start()
    entered.wait(60)
    results.append(run(task, forced_all=True, abort=False))
    ended.set()
    slow.join()
    assert [True, True] == [result.ok for result in results]
    assert task.set_status_message is None


def test_a_class_of_a_script_is_shipped_with_its_code(run_python, tmp_path):
    script = """if True:
        import cloudpickle, d6tpipe

        class Source(d6tpipe.tasks.TaskPickle):
            n = d6tpipe.IntParameter()
            def run(self):
                return self.n

        @d6tpipe.requires(Source)
        class Double(d6tpipe.tasks.TaskPickle):
            def run(self):
                self.save(2 * self.inputLoad())

        task = d6tpipe.Workflow(Double, {"n": 4}, path="here").get_task()
        open("task.pkl", "wb").write(cloudpickle.dumps(task))
    """
    there = """if True:
        import pickle, d6tpipe

        task = pickle.load(open("task.pkl", "rb"))
        d6tpipe.run(task, execution_summary=False)
        print(task, task.outputLoad(), task.outputPath().parts[0])
    """
    run_python("-c", script, cwd=tmp_path)
    assert "Double(n=4) 8 here" == run_python("-c", there, cwd=tmp_path).stdout.strip()


def test_forcing_several_tasks_costs_one_walk(monkeypatch):
    walks = []
    between = Graph.between
    monkeypatch.setattr(Graph, "between", lambda *arguments: walks.append(1) or between(*arguments))
    tasks = [One(x=x) for x in range(5)]
    assert 5 == run(*tasks, forced_all=True).counts["built"] and [1] == walks


def test_forcing_a_ladder_of_aggregators_looks_at_each_once():
    class Rung(d6tpipe.tasks.TaskAggregator):
        level = d6tpipe.IntParameter()
        side = d6tpipe.IntParameter(default=0)

        def run(self):
            yield [Rung(level=self.level - 1, side=side) for side in (0, 1)] if self.level else One(x=self.side)

    assert run(Rung(level=60), forced_all=True).ok  # 2 ** 60 paths


def test_a_representation_of_ones_own_is_shown_whole(capsys):
    class Own(d6tpipe.tasks.TaskCache):
        def __repr__(self):
            return "my very own task"

        def run(self):
            self.save(1)

    d6tpipe.run(Own(), execution_summary=True)
    assert "my very own task" in capsys.readouterr().out


def test_an_aggregator_answers_for_what_it_stands_for():
    class Part(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()

        def run(self):
            self.saveMeta({"n": self.n})
            self.save(self.n)

    class All(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield [Part(n=1), Part(n=2)]

    d6tpipe.run(All(), execution_summary=False)
    assert All().outputLoadMeta() == [{"n": 1}, {"n": 2}]
    assert All().outputPath() == [Part(n=1).outputPath(), Part(n=2).outputPath()]
