"""Flows of plain functions."""

from __future__ import annotations

from pathlib import Path

import luigi
import pandas as pd
import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe.errors import BuildError, DeclarationError, NotBuiltError, ParameterError, PipeError
from d6tpipe.functional import Workflow


@pytest.fixture
def ran():
    """Names of the bodies that ran, in order."""
    return []


@pytest.fixture
def flow(ran):
    """Two sources and what is made of them: scale(by) <- numbers, letters."""
    flow = Workflow()

    @flow.task(d6tpipe.tasks.TaskPickle)
    def numbers(task):
        ran.append("numbers")
        task.save([1, 2, 3])

    @flow.task(d6tpipe.tasks.TaskCache)
    def letters(task):
        ran.append("letters")
        return "abc"

    @flow.task(d6tpipe.tasks.TaskPickle)
    @flow.requires({"n": numbers, "l": letters})
    @flow.params(by=d6tpipe.IntParameter(default=1))
    def scale(task):
        """Multiply."""
        ran.append(f"scale {task.by}")
        got = task.inputLoad()
        task.save([n * task.by for n in got["n"]] + [got["l"]])

    return flow


def files(folder) -> list[str]:
    found = [p.relative_to(folder) for p in Path(folder).rglob("*") if p.is_file()]
    return sorted(str(p) for p in found if ".d6tpipe" not in p.parts)


def registered(name: str) -> list[type]:
    return [cls for cls in Register._reg if cls.__name__ == name]


# ---- declaring


def test_functions_become_task_classes_of_their_name(flow):
    assert list(flow.steps) == ["numbers", "letters", "scale"]
    scale = flow.steps["scale"]
    assert issubclass(scale, d6tpipe.tasks.TaskPickle)
    assert scale.get_task_family() == scale.__name__ == "scale"
    assert scale.__doc__ == "Multiply."
    assert scale.__module__ == __name__
    assert scale().requires() == {"n": flow.steps["numbers"](), "l": flow.steps["letters"]()}


def test_no_step_is_registered_under_another_name(flow):
    assert flow.steps["scale"] in registered("scale")
    assert registered("0") == registered("1") == registered("run") == []


def test_luigi_finds_a_step_by_its_name():
    flow = Workflow()

    @flow.task(d6tpipe.tasks.TaskCache)
    def registered_once(task):
        task.save(1)

    assert Register.get_task_cls("registered_once") is flow.steps["registered_once"]


def test_the_decorated_function_stays_what_it_was(flow):
    def plain(task):
        return task

    assert flow.task(d6tpipe.tasks.TaskCache)(plain) is plain


def test_decorators_below_and_above_flow_task_mean_the_same():
    flow = Workflow()

    @flow.task(d6tpipe.tasks.TaskCache)
    def first(task):
        task.save(1)

    @flow.persists(["a", "b"])
    @flow.params(x=d6tpipe.IntParameter(default=1))
    @flow.requires(first)
    @flow.task(d6tpipe.tasks.TaskCache)
    def second(task):
        task.save({"a": task.inputLoad(), "b": task.x})

    flow.run(second)
    assert flow.outputLoad(second) == [1, 1]


def test_outputs_can_be_several_and_have_formats():
    flow = Workflow()

    @flow.task(d6tpipe.tasks.TaskData)
    @flow.persists({"table": "parquet", "words": "json"})
    def both(task):
        task.save({"table": pd.DataFrame({"a": [1]}), "words": {"k": 2}})

    flow.run(both)
    assert flow.outputLoad(both, keys="words") == {"k": 2}
    assert list(flow.outputLoad(both, as_dict=True)) == ["table", "words"]


def test_ordinary_task_classes_can_be_required(ran):
    class Ordinary(d6tpipe.tasks.TaskCache):
        size = d6tpipe.IntParameter(default=4)

        def run(self):
            self.save(self.size)

    flow = Workflow()

    @flow.task(d6tpipe.tasks.TaskCache)
    @flow.requires(Ordinary)
    def double(task):
        task.save(2 * task.inputLoad())

    flow.run(double, params={"size": 5})
    assert flow.outputLoad(double) == 10


def test_an_aggregator_can_be_a_step(flow, ran):
    @flow.task(d6tpipe.tasks.TaskAggregator)
    def everything(task):
        yield flow.steps["scale"](by=1)
        yield flow.steps["scale"](by=2)

    flow.run(everything)
    assert ran.count("numbers") == 1
    assert flow.outputLoad(everything) == [[1, 2, 3, "abc"], [2, 4, 6, "abc"]]


def test_a_step_defined_again_replaces_the_old_one_everywhere(flow, ran):
    flow.run("scale")

    @flow.task(d6tpipe.tasks.TaskPickle)
    def numbers(task):
        ran.append("new numbers")
        task.save([7])

    flow.reset(numbers, confirm=False)
    flow.reset("scale", confirm=False)
    assert flow.run("scale").ok
    assert flow.outputLoad("scale") == [7, "abc"]
    assert ran == ["numbers", "letters", "scale 1", "new numbers", "scale 1"]


def test_global_parameters_reach_every_step_declared_before(flow):
    flow.add_global_params(seed=d6tpipe.IntParameter(default=3))
    assert flow.steps["numbers"]().seed == 3
    flow.run("scale", params={"seed": 5})
    assert flow.instantiated_tasks["scale"].requires()["n"].seed == 5


@pytest.mark.parametrize("wrong", [d6tpipe.tasks, luigi.Task, "TaskCache", d6tpipe.tasks.TaskCache(), len])
def test_a_task_type_that_is_none_is_an_error(wrong):
    with pytest.raises(DeclarationError, match=r"@flow.task\(d6tpipe.tasks.TaskPqPandas\)"):
        Workflow().task(wrong)


def test_a_parameter_that_is_a_plain_value_is_an_error(flow):
    with pytest.raises(DeclarationError, match="'by' is not declared as a parameter"):
        flow.params(by=2)
    with pytest.raises(DeclarationError, match="IntParameter"):
        flow.add_global_params(by=2)


def test_an_unknown_requirement_names_the_nearest_step(flow):
    def number(task):
        pass

    with pytest.raises(DeclarationError, match="Did you mean numbers"):
        flow.requires(number)
    with pytest.raises(DeclarationError, match="no step"):
        flow.requires()


def test_a_function_without_flow_task_says_so(flow):
    @flow.params(x=d6tpipe.IntParameter())
    def forgotten(task):
        pass

    with pytest.raises(DeclarationError, match=r"Put @flow.task\(...\) above the other decorators of forgotten"):
        flow.run(forgotten)


# ---- running and loading


def test_a_step_runs_after_what_it_requires_and_only_once(flow, ran, capsys):
    result = flow.run("scale", params={"by": 2}, execution_summary=False)
    assert result.ok
    assert ran == ["numbers", "letters", "scale 2"]
    assert flow.outputLoad("scale") == [2, 4, 6, "abc"]
    flow.run("scale", params={"by": 2}, execution_summary=False)
    assert len(ran) == 3
    assert capsys.readouterr().out == ""


def test_several_steps_take_those_parameters_that_they_have(flow):
    flow.run(["numbers", "scale"], params={"by": 3})
    assert flow.outputLoad("numbers") == [1, 2, 3]
    assert flow.outputLoad("scale") == [3, 6, 9, "abc"]


def test_only_the_steps_asked_for_run(flow, ran):
    flow.run("numbers")
    flow.reset("numbers", confirm=False)
    flow.run("letters")
    assert ran == ["numbers", "letters"]


def test_options_of_a_run_are_passed_on(flow, ran):
    flow.run("numbers")
    flow.run("numbers", forced_all=True)
    assert ran == ["numbers", "numbers"]
    assert flow.run("scale", dry_run=True).ok
    assert len(ran) == 2


def test_a_failing_step_raises_and_the_rest_can_be_loaded(flow):
    @flow.task(d6tpipe.tasks.TaskCache)
    @flow.requires(flow.steps["numbers"])
    def broken(task):
        raise ValueError("no luck")

    with pytest.raises(BuildError, match="no luck"):
        flow.run(broken)
    assert flow.outputLoad("numbers") == [1, 2, 3]
    assert not flow.run(broken, abort=False).ok


def test_steps_built_on_the_way_can_be_loaded(flow):
    flow.run("scale")
    assert flow.outputLoad("numbers") == [1, 2, 3]


def test_loading_what_never_ran_names_what_to_do(flow):
    with pytest.raises(NotBuiltError, match=r"scale has not been run yet(.|\n)*Call run\(scale\)"):
        flow.outputLoad("scale")
    with pytest.raises(RuntimeError):  # as d6tflow had it
        flow.outputLoadAll("scale")


def test_everything_upstream_is_loaded_by_name(flow):
    flow.run("scale")
    assert flow.outputLoadAll("scale") == {"scale": [1, 2, 3, "abc"], "numbers": [1, 2, 3], "letters": "abc"}


def test_an_unknown_step_names_the_nearest(flow):
    for call in (flow.run, flow.outputLoad, flow.outputLoadAll, flow.preview, flow.reset, flow.delete):
        with pytest.raises(DeclarationError, match="Did you mean scale"):
            call("scales")


def test_a_parameter_that_no_step_has_warns_with_the_nearest(flow):
    with pytest.warns(UserWarning, match="No task of the flow has a parameter 'bye'. Did you mean 'by'"):
        flow.run("scale", params={"bye": 2})
    assert flow.outputLoad("scale") == [1, 2, 3, "abc"]


# ---- experiments


EXPERIMENTS = {"one": {"by": 1}, "ten": {"by": 10}}


def test_experiments_are_one_run_with_shared_steps_built_once(flow, ran):
    result = flow.run("scale", multi_params=EXPERIMENTS)
    assert sorted(ran) == ["letters", "numbers", "scale 1", "scale 10"]
    assert len(result.states) == 4
    assert flow.outputLoad("scale") == {"one": [1, 2, 3, "abc"], "ten": [10, 20, 30, "abc"]}
    assert flow.multi_params_tasks == {"one": flow.steps["scale"](by=1), "ten": flow.steps["scale"](by=10)}


def test_each_step_of_the_experiments_is_loaded_as_itself(flow):
    flow.run(["scale", "letters"], multi_params=EXPERIMENTS)
    assert flow.outputLoad("letters") == {"one": "abc", "ten": "abc"}
    assert flow.outputLoad("numbers") == {"one": [1, 2, 3], "ten": [1, 2, 3]}
    assert flow.outputLoadAll("scale")["ten"]["scale"] == [10, 20, 30, "abc"]


def test_a_run_without_experiments_ends_them(flow):
    flow.run("scale", multi_params=EXPERIMENTS)
    flow.run("scale", params={"by": 2})
    assert flow.multi_params is None
    assert flow.outputLoad("scale") == [2, 4, 6, "abc"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, []),
        ({"only": {"by": 1}}, ["only"]),
        ([{"by": 1}, {"by": 2}], [0, 1]),
        ({"by": [1, 2]}, ["by_1", "by_2"]),
    ],
)
def test_experiments_of_any_form_and_width(flow, given, names):
    assert flow.run("scale", multi_params=given).ok
    assert list(flow.outputLoad("scale")) == names


def test_experiments_without_parameters_are_an_error(flow, ran):
    for wrong in ({"a": 1}, [1], 3, {"a": {"by": 1}, "b": [1]}):
        with pytest.raises(DeclarationError, match="which sets there are"):
            flow.run("scale", multi_params=wrong)
    with pytest.raises(ParameterError, match="both params and multi_params"):
        flow.run("scale", params={"by": 1}, multi_params=EXPERIMENTS)
    assert ran == []


# ---- previewing


def test_preview_shows_given_then_used_then_default_parameters(flow, capsys):
    flow.preview("scale")
    assert "'by': '1'" in capsys.readouterr().out
    flow.run("scale", params={"by": 2}, execution_summary=False)
    flow.run("scale", params={"by": 3}, execution_summary=False)
    flow.run("scale", params={"by": 3}, execution_summary=False)
    flow.preview("scale")
    shown = capsys.readouterr().out
    assert [shown.count(f"scale-{{'by': '{n}'}} (COMPLETE") for n in (1, 2, 3)] == [0, 1, 1]
    flow.preview("scale", {"by": 4})
    assert "'by': '4'} (PENDING" in capsys.readouterr().out


# ---- removing


def test_reset_deletes_all_that_ran_or_just_the_given(flow):
    flow.run("scale", multi_params=EXPERIMENTS)
    flow.reset("scale", {"by": 1}, confirm=False)
    assert not flow.steps["scale"](by=1).complete()
    assert flow.steps["scale"](by=10).complete()
    assert flow.reset("scale", confirm=False) == [True, True]
    assert not flow.steps["scale"](by=10).complete()
    assert flow.steps["numbers"]().complete()


def test_reset_of_a_step_that_never_ran_does_nothing(flow):
    assert flow.reset("scale", confirm=False) == []


def test_reset_all_deletes_what_ran_on_the_way_too(flow, isolated):
    flow.run("scale", params={"by": 2})
    flow.resetAll(confirm=False)
    assert files(isolated) == []
    assert not flow.steps["letters"]().complete()


def test_delete_removes_earlier_sessions_too_and_nothing_else(flow, isolated):
    flow.run("scale", params={"by": 2})
    flow.steps["scale"](by=77).save("of an earlier session")
    flow.steps["scale"](by=77).saveMeta("score")
    other = isolated / "data" / "scale" / "notes.txt"
    other.write_text("mine")
    flow.delete("scale")
    assert files(isolated / "data" / "scale") == ["notes.txt"]
    assert flow.steps["numbers"]().complete()


def test_delete_spares_steps_whose_names_begin_alike(isolated):
    # Their folder is one: it is named by the text before the first underscore.
    flow = Workflow()
    make = flow.task(d6tpipe.tasks.TaskPickle)

    def get_data(task):
        task.save(1)

    def get_data_again(task):
        task.save(2)

    def get_other(task):
        task.save(3)

    flow.params(word=d6tpipe.Parameter(default="again"))(make(get_data))
    make(get_data_again)
    make(get_other)
    flow.run([get_data, get_data_again, get_other])
    assert len(files(isolated / "data" / "get")) == 3
    flow.delete(get_other)
    assert not flow.steps["get_other"]().complete()
    flow.delete(get_data_again)
    assert not flow.steps["get_data_again"]().complete()
    assert flow.steps["get_data"]().complete()


def test_delete_makes_no_task_so_parameters_may_be_missing(flow, isolated):
    @flow.task(d6tpipe.tasks.TaskPickle)
    @flow.params(must=d6tpipe.IntParameter())
    def strict(task):
        task.save(task.must)

    flow.run("scale")
    flow.run(strict, params={"must": 1})
    flow.delete(strict)
    assert not flow.steps["strict"](must=1).complete()
    flow.deleteAll()
    assert files(isolated) == []
    assert not flow.steps["letters"]().complete()  # kept in memory


def test_delete_follows_target_dir_and_group_and_unnamed_files(isolated):
    class Base(d6tpipe.tasks.TaskPickle):
        task_group = "g"
        target_dir = "own"
        save_attrib = False

    flow = Workflow()

    @flow.task(Base)
    def step(task):
        task.save(1)

    flow.run(step)
    (isolated / "data/group=g/own/keep.pkl").write_text("mine")
    assert files(isolated) == ["data/group=g/own/data.pkl", "data/group=g/own/keep.pkl"]
    flow.delete(step)
    assert files(isolated) == ["data/group=g/own/keep.pkl"]


def test_delete_refuses_external_data(isolated):
    class Given(d6tpipe.tasks.TaskPickle):
        external = True

    flow = Workflow()

    @flow.task(Given)
    def given(task):
        pass

    flow.steps["given"]().save("precious")
    with pytest.raises(PipeError, match="external"):
        flow.delete(given)
    flow.deleteAll()
    assert flow.steps["given"]().outputLoad() == "precious"
