"""Where d6tpipe deliberately differs from d6tflow 0.2.8, and why: the one list, for tests and docs.

``python tests/peers/differences.py`` prints it as a reStructuredText table for ``docs/``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class _Any:
    """Stands for a value that is not written down here."""

    def __repr__(self) -> str:
        return "ANY"


ANY = _Any()


@dataclass(frozen=True)
class Raises:
    """Our side raises this exception; a class further up its family may be what d6tflow raised."""

    name: str


@dataclass(frozen=True)
class Difference:
    """One deliberate difference.

    Attributes
    ----------
    title : str
        What it is about, in a few words.
    d6tflow, d6tpipe : str
        What either of them does.
    why : str
        The reason.
    fields : dict of str to object
        The observed fields that it covers, as ``script/observation.field``, with what d6tpipe gives there. A field
        covers all below it.
    """

    title: str
    d6tflow: str
    d6tpipe: str
    why: str
    fields: dict[str, Any] = field(default_factory=dict)


DIFFERENCES: tuple[Difference, ...] = (
    # ---- parameters and identity
    Difference(
        title="Unknown parameters",
        d6tflow="drops a parameter that the task does not have",
        d6tpipe='raises ``ParameterError`` with the nearest name; ``settings.unknown_parameters = "ignore"`` drops it',
        why="a misspelt name silently computed something else",
        fields={
            "inheritance/a_misspelt_parameter.constructor": Raises("ParameterError"),
            "inheritance/a_misspelt_parameter.clone": Raises("ParameterError"),
        },
    ),
    Difference(
        title="Values of the wrong type",
        d6tflow="takes anything, also text for an ``IntParameter``",
        d6tpipe="converts what has one meaning and raises ``ParameterError`` for the rest",
        why="the mistake is shown where it was made, and one value has one file name",
        fields={
            "identity/nonsense_where_a_number_belongs.int": Raises("ParameterError"),
            "identity/nonsense_where_a_number_belongs.bool": Raises("ParameterError"),
            "identity/choices.out of range": Raises("ParameterError"),
            "identity/choices.not a member.raises": Raises("ParameterError"),
            "identity/text_where_a_number_belongs.int": 7,
        },
    ),
    Difference(
        title="One form of equal values",
        d6tflow="``5`` and ``5.0`` in a ``FloatParameter``, or a dict in two orders, are two tasks with two files",
        d6tpipe="one task; a file that d6tflow wrote under its other name is found, but not the other way round",
        why="the same values gave two results",
        fields={
            "identity/a_whole_number_for_a_float.facts": ANY,
            "identity/a_whole_number_for_a_float.value": "5",
            "identity/dictionaries_in_another_order.not sorted": ANY,
            "handover/values_that_are_not_canonical": ANY,
        },
    ),
    Difference(
        title="The text of a task",
        d6tflow="``Train(model=ols)``",
        d6tpipe="``Train(model='ols')``",
        why="text and number, and the borders of a text, can be told apart; ``task_id`` is the same",
        fields={
            "identity/the_text_of_a_task.str": "AnyValue(value='two words')",
            "identity/the_text_of_a_task.repr": 'AnyValue(value="it\'s")',
        },
    ),
    Difference(
        title="Classes of errors",
        d6tflow="raises what luigi or Python happened to raise inside",
        d6tpipe="raises its own errors, all of them ``PipeError``",
        why="each says what happened to which task and what to do next",
        fields={
            "inheritance/clone.a class with more parameters.raises": Raises("ParameterError"),
            "inheritance/a_parameter_without_default.missing.raises": Raises("ParameterError"),
            "inheritance/a_parameter_without_default.missing upstream.raises": Raises("ParameterError"),
            "inheritance/a_parameter_without_default.too many.raises": Raises("ParameterError"),
            "inheritance/a_parameter_without_default.twice.raises": Raises("ParameterError"),
            "inheritance/nothing_to_inherit.inherits.raises": Raises("DeclarationError"),
            "inheritance/nothing_to_inherit.requires.raises": Raises("DeclarationError"),
            "outputs/save_with_wrong_keys.NotADict.save.raises": Raises("OutputKeyError"),
            "functional_api/what_the_decorators_leave.not a format.raises": Raises("DeclarationError"),
            "export_import/nothing_to_export.generate.raises": Raises("PipeError"),
            "running/something_that_is_no_task": ANY,
        },
    ),
    # ---- outputs and inputs
    Difference(
        title="One output by its name",
        d6tflow='``outputLoad(keys="ab")`` also matches parts of the name; with ``as_dict=True`` it fails',
        d6tpipe="the output of that name; a tuple of names works like a list",
        why="another output than the one asked for was returned",
        fields={
            "outputs/one_key_that_begins_another.ab": "long",
            "outputs/one_key_as_dict.as_dict": 1,
            "outputs/keys_as_tuple.tuple": [2, 1],
        },
    ),
    Difference(
        title="Inputs by a name that does not exist",
        d6tflow="``inputLoad`` ignores it, returns nothing, or raises ``KeyError``",
        d6tpipe="raises ``OutputKeyError`` with the nearest name",
        why="a misspelt name went on with no data",
        fields={
            "inputs/with_keys_that_do_not_exist.{'keys': ['zz']}": Raises("OutputKeyError"),
            "inputs/from_one_task.{'keys': 'x'}": Raises("OutputKeyError"),
            "inputs/from_one_task.{'keys': ['y', 'x']}": Raises("OutputKeyError"),
            "inputs/from_one_task.{'keys': ['x'], 'as_dict': True}": Raises("OutputKeyError"),
        },
    ),
    Difference(
        title="Requirements in a tuple or in lists in a dict",
        d6tflow="``inputLoad`` fails",
        d6tpipe="loads them in the same shape, a tuple as a list",
        why="luigi accepts these in ``requires()``",
        fields={
            "inputs/from_a_tuple.{}": ["one", "uno"],
            "inputs/from_a_dict_of_lists.{}": {"group": ["one", "uno"]},
        },
    ),
    Difference(
        title="Metadata of a flow in which some tasks have none",
        d6tflow="``outputLoadAllMeta`` leaves others out as well and gives values to the wrong task",
        d6tpipe="each task has its own",
        why="a wrong value",
        fields={
            "meta/some_tasks_without.all": {"MiddleSilent": "middle", "Source": {"rows": 3}, "Other": "any object"}
        },
    ),
    Difference(
        title="Gzipped CSV",
        d6tflow="``TaskCSVGZPandas`` cannot save (0.2.8 passes an argument twice)",
        d6tpipe="saves",
        why="a mistake in d6tflow",
        fields={"formats/csv_gz": ANY},
    ),
    Difference(
        title="Outputs that could not be written",
        d6tflow="half a file stays behind and counts as complete",
        d6tpipe="nothing stays behind: a file gets its name when it is whole",
        why="a broken output was loaded later",
        fields={
            "formats/a_value_that_the_format_cannot_hold.JsonWrong.complete": False,
            "formats/a_value_that_the_format_cannot_hold.files": [],
        },
    ),
    Difference(
        title="``load(cached=True)``",
        d6tflow="reads the file again unless ``settings.cached`` is on, too",
        d6tpipe="returns the same object until the file changes",
        why="who asks for it in the call has said so",
        fields={"outputs/cached_loads.same object when switched off": True},
    ),
    Difference(
        title="Targets",
        d6tflow="``str(target)`` fails, ``CacheTarget.invalidate()`` returns None",
        d6tpipe="``str(target)`` is the path; every ``invalidate()`` returns True",
        why="luigi prints targets; one rule for all of them",
        fields={
            "outputs/a_target_as_text.str": "data/Default/Default__99914b932b-data.pkl",
            "outputs/a_target_by_itself.memory.4": True,
        },
    ),
    # ---- places
    Difference(
        title="Two paths for one task",
        d6tflow="the instance made first decides for both; a second workflow moves the outputs of the first",
        d6tpipe="each keeps its own path",
        why="results were looked for in the wrong folder",
        fields={
            "places/two_instances_with_two_paths.files": [
                "first/Simple/Simple_5_aa4f9f7fa3-data.pkl",
                "second/Simple/Simple_5_aa4f9f7fa3-data.pkl",
            ],
            "places/two_instances_with_two_paths.ran": 2,
            "workflow/two_flows_in_two_folders.paths.0.path": "one/P2/P2_3_b2dbf50908-data.pkl",
        },
    ),
    Difference(
        title="Folders",
        d6tflow="``complete()``, ``preview()``, ``output()`` and ``set_dir()`` create folders",
        d6tpipe="a folder is created by the first task that writes to it",
        why="a question leaves no traces and works in a read-only folder",
        fields={
            "places/questions_create_nothing.folders": [],
            "places/set_dir.folders": [],
            "places/set_dir.folders then": [],
        },
    ),
    Difference(
        title="``task_group``",
        d6tflow="writes to ``/group=<name>`` at the root of the file system",
        d6tpipe="writes to ``<dir>/group=<name>``",
        why="a mistake in d6tflow",
        fields={"places/task_group_goes_where.path.path": "data/group=group1/Grouped/Grouped_1_f4fe3360f0-data.pkl"},
    ),
    Difference(
        title="Very long file names",
        d6tflow="fails with ``File name too long``",
        d6tpipe="shortens the readable part and lengthens the hash",
        why="several long parameters could not be used together",
        fields={
            "places/a_file_name_that_would_be_too_long.run": True,
            "places/a_file_name_that_would_be_too_long.complete": True,
            "places/a_file_name_that_would_be_too_long.longest name": True,
        },
    ),
    # ---- running
    Difference(
        title="What ``run`` returns",
        d6tflow="luigi's result, which is true even if tasks failed, or a bool without ``execution_summary``",
        d6tpipe="always a ``Result``; it is true if nothing failed",
        why="``if run(...)`` says what it means",
        fields={"running/truth_of_a_failed_result.bool": False},
    ),
    Difference(
        title="Order",
        d6tflow="by chance among the requirements of a task; tasks in a list as given",
        d6tpipe="longest remaining chain first, otherwise as declared; always the same",
        why="shorter runs with several workers; logs can be compared",
        fields={
            "running/a_list_of_tasks_runs_in_its_order.ran": ANY,
        },
    ),
    Difference(
        title="A list of tasks in another form",
        d6tflow="``run((a, b))`` fails: only lists are lists",
        d6tpipe="any iterable of tasks",
        why="nothing speaks against it",
        fields={
            "running/a_tuple_of_tasks.run": True,
            "running/a_tuple_of_tasks.ran": ["Alone()", "Source(n=1)"],
        },
    ),
    Difference(
        title="Requirements found while running",
        d6tflow="the body starts again from the top after each ``yield`` of an incomplete task",
        d6tpipe="the body goes on where it was",
        why="work before the ``yield`` is not done twice",
        fields={"running/a_requirement_found_while_running.last": "Source(n=3)"},
    ),
    Difference(
        title="A missing external luigi task",
        d6tflow="``run`` succeeds, although nothing that needs it was run",
        d6tpipe="``run`` raises ``BuildError`` that names it",
        why="the asked-for result is not there",
        fields={"with_luigi/an_external_luigi_task.missing": Raises("BuildError")},
    ),
    Difference(
        title="A requirement that is built again and comes out equal",
        d6tflow="runs all that needs it, too",
        d6tpipe='keeps what needs it; ``stale="ignore"`` does as d6tflow',
        why="records say what was read, and it is the same",
        fields={
            "places/requirements_need_not_be_complete.ran when checked.bodies": ["Up(n=1)"],
            "readme_comparison/a_changed_task_is_reset_and_run_again.after reset of the middle": [
                "Preprocess(do_preprocess=True)"
            ],
            "running/only_what_is_missing.middle was missing": ["Right()"],
            "running/only_what_is_missing.source was missing": ["Source(n=2)"],
            "running/invalidate_upstream.ran.bodies": ["Right()", "Source(n=1)", "Source(n=2)"],
            "workflow/reset.ran then": ["Clean(rows=5, limit=2)"],
            "workflow/reset_upstream.ran": ["Get(rows=5)", "Clean(rows=5, limit=2)"],
        },
    ),
    Difference(
        title="``forced`` tasks",
        d6tflow="forces every task of the family, whatever its parameters; ``forced_all`` makes ``forced`` void",
        d6tpipe="forces that task if it is in the flow, else its family; ``forced_all`` adds to ``forced``",
        why="one member of a sweep can be run again",
        fields={
            "running/forced_of_one_of_two_of_a_family.ran.bodies": ["Bottom()", "Right()", "Source(n=2)"],
            "running/forced_reruns_everything_downstream_of_the_family.source.bodies": [
                "Bottom()",
                "Left()",
                "Right()",
                "Source(n=1)",
            ],
            "running/forced_all.with forced": ["Source(n=1)", "Left()", "Right()", "Bottom()"],
            "running/taskflow_downstream.of a source": ["Bottom()", "Left()", "Right()", "Source(n=1)"],
            "running/invalidate_downstream.complete then.Source(n=2)": True,
        },
    ),
    Difference(
        title="A forced run that fails",
        d6tflow="the old outputs are gone: they are deleted before the run",
        d6tpipe="the old outputs stay until new ones replace them",
        why="a failed run costs no results",
        fields={"running/a_forced_run_that_fails.files": ["data/Turns/Turns__99914b932b-data.pkl"]},
    ),
    Difference(
        title="``invalidate_upstream`` that is not confirmed",
        d6tflow="returns None, as if confirmed",
        d6tpipe="returns False, like ``invalidate_downstream``",
        why="the two answers can be told apart",
        fields={"running/invalidate_upstream.not confirmed": False},
    ),
    # ---- preview
    Difference(
        title="Parameters in ``preview``",
        d6tflow="shown for the first task only; ``clip_params`` is mistaken for ``show_params`` below it",
        d6tpipe="shown, or clipped, for every task",
        why="what d6tflow's documentation shows",
        fields={
            "previewing/parameters_below_the_root.params": ANY,
            "previewing/clipped_parameters_below_the_root.params": ANY,
        },
    ),
    Difference(
        title="Repeated parts in ``preview``",
        d6tflow="shown again at every place: the text of a diamond ladder doubles with each step",
        d6tpipe="what is below a task is shown once per tree",
        why="a preview of a large flow ends",
        fields={
            "previewing/a_shared_task_is_shown_at_every_place.names": [
                "Twice",
                "Plain",
                "A",
                "B",
                "Top",
                "Plain",
                "B",
            ]
        },
    ),
    # ---- aggregators
    Difference(
        title="aggregator, ``outputLoad(as_dict=True)``",
        d6tflow="a list, in which tasks with several outputs are dicts",
        d6tpipe="a dict by the ids of a sweep or the keys that were yielded, else by position",
        why="a table of what many tasks have made needs to know which is which",
        fields={"dynamic_collector/children_with_several_outputs.as_dict": ANY},
    ),
    Difference(
        title="What an aggregator may yield",
        d6tflow="single tasks",
        d6tpipe="also lists and dicts of tasks",
        why="sweeps are lists",
        fields={
            "dynamic_collector/a_yielded_list.run": True,
            "dynamic_collector/a_yielded_list.ran": [
                "TaskTrain(do_preprocess=False)",
                "TaskTrain(do_preprocess=True)",
            ],
            "dynamic_collector/a_yielded_list.loaded": ["trained False", "trained True"],
        },
    ),
    Difference(
        title="A failing task of an aggregator",
        d6tflow="the tasks after it are not run",
        d6tpipe="the others are run",
        why="they do not need each other",
        fields={"dynamic_collector/a_failing_child.other child complete": True},
    ),
    Difference(
        title="Aggregators in a ``Workflow``, or as one of several inputs",
        d6tflow="fail",
        d6tpipe="work",
        why="mistakes in d6tflow",
        fields={
            "dynamic_collector/an_aggregator_in_a_workflow.run": True,
            "dynamic_collector/an_aggregator_in_a_workflow.loaded": ANY,
            "dynamic_collector/aggregators_as_named_requirements": ANY,
        },
    ),
    Difference(
        title="``@requires`` on an aggregator",
        d6tflow="these tasks are run, too, even if it does not yield them",
        d6tpipe="lends their parameters; what runs is what it yields",
        why="an aggregator stands for the tasks that it yields",
        fields={"dynamic_collector/requirements_that_are_not_yielded": ANY},
    ),
    Difference(
        title="The tasks of an aggregator in ``preview`` and ``taskflow_upstream``",
        d6tflow="not there",
        d6tpipe="upstream of the aggregator; they are found before anything runs",
        why="a preview shows what would run",
        fields={
            "dynamic_collector/preview_of_an_aggregator.pending": ANY,
            "dynamic_collector/several_parameters_at_once.upstream": [
                "TaskAggregator()",
                "TaskTrain(do_preprocess=False)",
                "TaskTrain(do_preprocess=True)",
            ],
        },
    ),
    # ---- workflows
    Difference(
        title="``WorkflowMulti`` with lists of one parameter, or without flows",
        d6tflow="raises an error",
        d6tpipe="a sweep of any width, also 0 and 1",
        why="a list that was computed may be short",
        fields={
            "workflow_multi/a_product_of_one.params": {"model_ols": {"model": "ols"}, "model_gbm": {"model": "gbm"}},
            "workflow_multi/a_list_that_is_empty.list": {},
            "workflow_multi/wrong_parameters.empty": ANY,
        },
    ),
    Difference(
        title="``WorkflowMulti.run``",
        d6tflow="one run per flow: shared upstream is forced again for each, and a failing flow stops the later ones",
        d6tpipe="one run of all flows: shared upstream runs once, and the other flows finish",
        why="less work, more results",
        fields={
            "workflow_multi/shared_upstream_is_forced_once_or_for_each_flow.ran": [
                "Get(rows=2)",
                "Train(rows=2, model=a, fast=False)",
                "Train(rows=2, model=b, fast=False)",
            ],
            "workflow_multi/a_failing_flow.good is complete": True,
        },
    ),
    Difference(
        title="``WorkflowMulti.reset_upstream`` and ``reset_downstream`` of one flow",
        d6tflow="reset the task alone",
        d6tpipe="do what they are called",
        why="a mistake in d6tflow",
        fields={
            "workflow_multi/reset_around_one_task_of_one_flow.reset_upstream.0": None,
            "workflow_multi/reset_around_one_task_of_one_flow.reset_upstream.1.0": False,
            "workflow_multi/reset_around_one_task_of_one_flow.reset_downstream.1.1": False,
        },
    ),
    # ---- functional interface
    Difference(
        title="Parameters in the functional interface",
        d6tflow="``params`` and ``add_global_params`` fail with luigi 3.6 and later",
        d6tpipe="work",
        why="a parameter that is put on a class later learns its name",
        fields={"functional_api/parameters_as_users_write_them": ANY},
    ),
    Difference(
        title="What the functional interface gives back",
        d6tflow="``run`` and a direct call of a function return None; only what was passed to ``run`` can be loaded",
        d6tpipe="the ``Result``, the value of the function, and all that was run; formats of one's own are taken",
        why="nothing has to be run again to be looked at",
        fields={
            "functional_api/run_one_function.result": ANY,
            "functional_api/run_one_function.upstream was not asked for": [2, 4, 6],
            "functional_api/what_the_decorators_leave.result of a call": "value",
            "functional_api/what_the_decorators_leave.a format of one's own": ANY,
        },
    ),
    Difference(
        title="``delete`` of a function",
        d6tflow="deletes the outputs of all functions with the same first word (``get_left`` and ``get_right``)",
        d6tpipe="deletes the outputs of this function",
        why="results of others were lost",
        fields={
            "functional_api/delete_of_one_of_two_with_a_common_beginning.files": [
                "data/get/get_right__99914b932b-data.pkl"
            ]
        },
    ),
    Difference(
        title="Names that nobody calls",
        d6tflow="``dotdict``",
        d6tpipe="not there",
        why="helpers of d6tflow's own",
        fields={
            "surface/functions_and_classes.d6tflow.dotdict": "missing",
            "surface/functions_and_classes.d6tflow.utils.generate_exps_for_multi_param": ["params_dict"],
            "surface/functions_and_classes.d6tflow.utils.params_generator_multiple": ["params_dict"],
        },
    ),
    Difference(
        title="``d6tflow.pipes``",
        d6tflow="pushes and pulls files through another package and its server",
        d6tpipe="the functions are there and say what to do instead",
        why="not built yet; that package is dead",
        fields={"surface/functions_and_classes.d6tflow.pipes": ANY},
    ),
    # ---- export and import
    Difference(
        title="``FlowImport`` and ``path_data``",
        d6tflow="only remembers it as ``dirpath``",
        d6tpipe="it is the ``path`` of the imported classes that have none",
        why="imported tasks find their outputs without further ado",
        fields={"export_import/import_a_module.files": []},
    ),
    Difference(
        title="``FlowImport`` of what is not there",
        d6tflow="a task that is not there is None; a broken module prints a line and has no tasks",
        d6tpipe="raises an error that says what is there, or what broke",
        why="the mistake is shown where it was made",
        fields={
            "export_import/import_a_module.missing": Raises("AttributeError"),
            "export_import/import_of_what_is_not_there.broken module": Raises("PipeError"),
        },
    ),
)


def as_rst() -> str:
    """Return the list as a reStructuredText table."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 18 28 28 26", ""]
    rows = [("What", "d6tflow 0.2.8", "d6tpipe", "Why")]
    rows += [(each.title, each.d6tflow, each.d6tpipe, each.why) for each in DIFFERENCES]
    for row in rows:
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_rst(), end="")
