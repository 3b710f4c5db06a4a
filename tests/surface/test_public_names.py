"""Whatever d6tflow 0.2.8 exports is here, and takes the calls that it took."""

from __future__ import annotations

import importlib
import inspect
import types

import pytest

import d6tpipe

# Public names of d6tflow 0.2.8, module by module, without what its modules merely import.
EXPORTS = {
    "": (
        "BoolParameter ChoiceParameter DateHourParameter DateIntervalParameter DateMinuteParameter DateParameter "
        "DateSecondParameter DictParameter EnumParameter FloatParameter FlowExport FlowImport IntParameter "
        "ListParameter MonthParameter NumericalParameter OptionalParameter Parameter TaskParameter "
        "TimeDeltaParameter TupleParameter Workflow WorkflowMulti YearParameter cache clone_parent data "
        "dict_inherits dict_requires enable_cloud_storage enable_gcs inherits invalidate_all invalidate_downstream "
        "invalidate_orphans invalidate_upstream preview requires run set_dir settings show targets "
        "taskflow_downstream taskflow_upstream tasks utils functional pipes"
    ),
    "tasks": (
        "TaskAggregator TaskCSVGZPandas TaskCSVPandas TaskCache TaskCachePandas TaskData TaskExcelPandas TaskJson "
        "TaskPickle TaskPqPandas"
    ),
    "targets": (
        "CSVGZPandasTarget CSVPandasTarget CacheTarget DataTarget ExcelPandasTarget JsonTarget PdCacheTarget "
        "PickleTarget PqPandasTarget"
    ),
    "functional": "Workflow",
    "settings": (
        "cached check_crc check_dependencies cloud_fs_enabled cloud_fs_prefix db dir dirpath execution_summary isinit "
        "isinitpipe log_level save_with_param set_parameter_len uri"
    ),
    "pipes": "all_pull all_pull_preview all_push all_push_preview get_dirpath get_pipe init init_pipe set_default",
    "utils": (
        "generate_exps_for_multi_param params_generator_multiple params_generator_single print_tree to_parquet traverse"
    ),
    "cache": "api data pipe_default_name pipes",
    "tasks.h5": "TaskH5Pandas",
    "targets.h5": "H5PandasTarget",
}

# Call forms that d6tflow's own documentation and signatures allow. Left out: `current_key` and `multi_exp_dict` of
# two functions in utils, through which they call themselves.
CALLS = {
    "FlowExport": ["tasks=1, flows=2, save=False, path_export=3", "1, 2, True, 'p'", ""],
    "FlowImport": ["path=1, module=2, path_data=3", "1, 2, 3", ""],
    "Workflow": ["task=1, params=2, path=3, env=4", "1, 2, 3, 4", ""],
    "Workflow.attach_flow": ["flow=1, flow_name='x'", "1, 'x'"],
    "Workflow.complete": ["task=1", "1", ""],
    "Workflow.get_task": ["task=1", "1", ""],
    "Workflow.output": ["task=1", "1", ""],
    "Workflow.outputLoad": ["task=1, keys=2, as_dict=True, cached=False", "1, 2, True, False", ""],
    "Workflow.outputLoadAll": ["task=1, keys=2, as_dict=True, cached=False", "1, 2, True, False", ""],
    "Workflow.outputLoadMeta": ["task=1", "1", ""],
    "Workflow.outputPath": ["task=1", "1", ""],
    "Workflow.preview": [
        "tasks=1, indent='', last=True, show_params=True, clip_params=False", "1, '', True, True, False",
    ],
    "Workflow.reset": ["task=1, confirm=False", "1, False", ""],
    "Workflow.reset_downstream": ["task=1, task_downstream=2, confirm=False", "1, 2, False", "1"],
    "Workflow.reset_upstream": ["task=1, confirm=False", "1, False"],
    "Workflow.run": [
        "tasks=1, forced=2, forced_all=3, forced_all_upstream=4, confirm=5, workers=6, abort=7, execution_summary=8",
        "1, 2, 3, 4, 5, 6, 7, 8", "local_scheduler=True", "",
    ],
    "Workflow.set_default": ["task=1", "1"],
    "WorkflowMulti": ["task=1, params=2, path=3, env=4", "1, 2, 3, 4"],
    "WorkflowMulti.get_flow": ["flow=1", "1"],
    "WorkflowMulti.get_task": ["task=1, flow=2", "1, 2", ""],
    "WorkflowMulti.outputLoad": ["task=1, flow=2, keys=3, as_dict=True, cached=False", "1, 2, 3, True, False", ""],
    "WorkflowMulti.outputLoadAll": ["task=1, flow=2, keys=3, as_dict=True, cached=False", "1, 2, 3, True, False", ""],
    "WorkflowMulti.outputLoadMeta": ["task=1, flow=2", "1, 2", ""],
    "WorkflowMulti.outputPath": ["task=1, flow=2", "1, 2", ""],
    "WorkflowMulti.preview": ["tasks=1, flow=2, indent='', last=True, show_params=True, clip_params=False",
                              "1, 2, '', True, True, False", ""],
    "WorkflowMulti.reset": ["task=1, flow=2, confirm=False", "1, 2, False", ""],
    "WorkflowMulti.reset_downstream": ["task=1, flow=2, confirm=False", "1, 2, False", "1"],
    "WorkflowMulti.reset_upstream": ["task=1, flow=2, confirm=False", "1, 2, False", ""],
    "WorkflowMulti.run": [
        "tasks=1, flow=2, forced=3, forced_all=4, forced_all_upstream=5, confirm=6, workers=7, abort=8",
        "1, 2, 3, 4, 5, 6, 7, 8, 9", "local_scheduler=True", "",
    ],
    "WorkflowMulti.set_default": ["task=1", "1"],
    "clone_parent": ["cls=int", "int"],
    "accept": ["tasks=1, upstream=False", "1, False", "1"],
    "catalog": ["root=1, family=2", "1", ""],
    "clean": ["flows=1, root=2, yes=True", "1", "", "yes=True"],
    "enable_cloud_storage": ["protocol=1, bucket=2, prefix=3", "1, 2, 3", "1, 2"],
    "enable_gcs": ["bucket=1, prefix=2", "1, 2", "1"],
    "inherits": ["int", "int, str", "{'a': int}"],
    "requires": ["int", "int, str", "{'a': int}"],
    "dict_inherits": ["{'a': int}"],
    "dict_requires": ["{'a': int}"],
    "invalidate_all": ["confirm=True", "True", ""],
    "invalidate_downstream": ["task=1, task_downstream=2, confirm=True", "1, 2, True", "1, 2"],
    "invalidate_orphans": ["confirm=True", "True", ""],
    "invalidate_upstream": ["task=1, confirm=True", "1, True", "1"],
    "plan": ["tasks=1, stale='rerun'", "1"],
    "log": ["task=1", "1"],
    "preview": ["tasks=1, indent='', last=True, show_params=True, clip_params=False", "1, '', True, True, False", "1"],
    "run": [
        "tasks=1, forced=2, forced_all=3, forced_all_upstream=4, confirm=5, workers=6, abort=7, execution_summary=8",
        "1, 2, 3, 4, 5, 6, 7, 8", "1, local_scheduler=True", "1",
    ],
    "set_dir": ["dir=1", "1", ""],
    "show": ["task=1", "1"],
    "taskflow_downstream": ["task=1, task_downstream=2, only_complete=True", "1, 2, True"],
    "taskflow_upstream": ["task=1, only_complete=True", "1, True", "1"],
    "tasks.TaskData.complete": ["cascade=True", "True", ""],
    "tasks.TaskData.get_pipe": [""],
    "tasks.TaskData.get_pipename": [""],
    "tasks.TaskData.inputLoad": ["keys=1, task=2, cached=True, as_dict=True", "1, 2, True, True", ""],
    "tasks.TaskData.invalidate": ["confirm=True", "True", ""],
    "tasks.TaskData.metaLoad": [""],
    "tasks.TaskData.metaSave": ["data=1", "1"],
    "tasks.TaskData.outputLoad": ["keys=1, as_dict=True, cached=True", "1, True, True", ""],
    "tasks.TaskData.outputLoadAllMeta": [""],
    "tasks.TaskData.outputLoadMeta": [""],
    "tasks.TaskData.pull": ["", "a=1"],
    "tasks.TaskData.pull_preview": ["", "a=1"],
    "tasks.TaskData.push": ["", "a=1"],
    "tasks.TaskData.push_preview": ["", "a=1"],
    "tasks.TaskData.reset": ["confirm=True", "True", ""],
    "tasks.TaskData.save": ["data=1", "1", "1, a=2"],
    "tasks.TaskData.saveMeta": ["data=1", "1"],
    "tasks.TaskAggregator.complete": ["cascade=True", "True", ""],
    "tasks.TaskAggregator.invalidate": ["confirm=True", "True", ""],
    "tasks.TaskAggregator.output": [""],
    "tasks.TaskAggregator.outputLoad": ["keys=1, as_dict=True, cached=True", "1, True, True", ""],
    "tasks.TaskAggregator.reset": ["confirm=True", "True", ""],
    "targets.CacheTarget": ["path='p', format=None, is_tmp=False", "'p'"],
    "targets.CacheTarget.load": ["cached=True", "True", ""],
    "targets.CacheTarget.save": ["df=1", "1"],
    "targets.CacheTarget.exists": [""],
    "targets.CacheTarget.invalidate": [""],
    "targets.DataTarget": ["path=1", "1"],
    "targets.DataTarget.load": ["fun=1, cached=True, a=2", "1, True"],
    "targets.DataTarget.save": ["df=1, fun=2, a=3", "1, 2"],
    "targets.CSVPandasTarget.load": ["cached=True, a=1", "True", ""],
    "targets.CSVPandasTarget.save": ["df=1, a=2", "1"],
    "targets.CSVGZPandasTarget.save": ["df=1, a=2", "1"],
    "targets.ExcelPandasTarget.load": ["cached=True, a=1", ""],
    "targets.ExcelPandasTarget.save": ["df=1, a=2", "1"],
    "targets.JsonTarget.load": ["cached=True, a=1", ""],
    "targets.JsonTarget.save": ["dict_=1, a=2", "1"],
    "targets.PickleTarget.load": ["cached=True, a=1", ""],
    "targets.PickleTarget.save": ["obj=1, a=2", "1"],
    "targets.PqPandasTarget.load": ["cached=True, a=1", ""],
    "targets.PqPandasTarget.save": ["df=1, a=2", "1"],
    "targets.h5.H5PandasTarget.load": ["cached=True, a=1", ""],
    "targets.h5.H5PandasTarget.save": ["df=1, a=2", "1"],
    "env": ["name=1", "1"],
    "explain": ["task=1, stale='rerun'", "1"],
    "forget": ["tasks=1, upstream=True", "1, True", "1"],
    "functional.Workflow": [""],
    "functional.Workflow.add_global_params": ["a=1"],
    "functional.Workflow.delete": ["func_to_reset=1", "1"],
    "functional.Workflow.deleteAll": [""],
    "functional.Workflow.outputLoad": ["func_to_run=1", "1, 2, a=3"],
    "functional.Workflow.outputLoadAll": ["func_to_run=1", "1, 2, a=3"],
    "functional.Workflow.params": ["a=1"],
    "functional.Workflow.persists": ["to_persist=['a']", "['a']"],
    "functional.Workflow.preview": ["func_to_preview=1, params={}", "1, {}"],
    "functional.Workflow.requires": ["1, 2", "{'a': 1}"],
    "functional.Workflow.reset": ["func_to_reset=1, params=None", "1, None, 2"],
    "functional.Workflow.resetAll": ["", "1"],
    "functional.Workflow.run": ["funcs_to_run=1, params=None, multi_params=None", "1, None, None, 2, a=3"],
    "functional.Workflow.task": ["task_type=1", "1"],
    "settings.set_parameter_len": ["nparams=20, len=64", "20, 64", ""],
    "pipes.all_pull": ["task=1, a=2", "1"],
    "pipes.all_pull_preview": ["task=1, a=2", "1"],
    "pipes.all_push": ["task=1, a=2", "1"],
    "pipes.all_push_preview": ["task=1, a=2", "1"],
    "pipes.get_dirpath": ["name=1", ""],
    "pipes.get_pipe": ["name=1", ""],
    "pipes.init": [
        "default_pipe_name=1, profile=2, local_pipe=3, local_api=4, reset=5, api=6, set_dir=7, api_args=8, pipe_args=9",
        "1, 2, 3, 4, 5, 6, 7, 8, 9", "1",
    ],
    "pipes.init_pipe": ["name=1, a=2", ""],
    "pipes.set_default": ["name=1", "1"],
    "utils.generate_exps_for_multi_param": ["params_dict={}", "{}"],
    "utils.params_generator_multiple": ["params_dict={}", "{}"],
    "utils.params_generator_single": ["dict_={}, params_base=None", "{}"],
    "utils.print_tree": ["task=1, indent='', last=True, show_params=True, clip_params=False", "1"],
    "utils.to_parquet": ["df=1, path=2, a=3", "1, 2"],
    "utils.traverse": ["t=1, path=None", "1"],
}  # fmt: skip


def module(name):
    return importlib.import_module(f"d6tpipe.{name}" if name else "d6tpipe")


@pytest.mark.parametrize("name", EXPORTS)
def test_what_d6tflow_exports_is_here(name):
    here = module(name)
    assert [word for word in EXPORTS[name].split() if not hasattr(here, word)] == []


def find(dotted):
    *path, last = dotted.split(".")
    here, owner = d6tpipe, None
    for number, part in enumerate([*path, last]):
        if isinstance(here, types.ModuleType) and not hasattr(here, part):
            importlib.import_module(".".join(["d6tpipe", *path[: number + 1]]))
        owner, here = here, getattr(here, part)
    return here, inspect.isclass(owner)


@pytest.mark.parametrize("dotted", CALLS)
def test_calls_written_for_d6tflow_fit(dotted):
    subject, is_method = find(dotted)
    signature = inspect.signature(subject)
    for call in CALLS[dotted]:
        args, kwargs = eval(f"(lambda *args, **kwargs: (args, kwargs))({call})")
        first = (object(),) if is_method else ()
        try:
            signature.bind(*first, *args, **kwargs)
        except TypeError as error:
            pytest.fail(f"{dotted}({call}) does not fit {signature}: {error}")


def test_every_exported_function_has_its_calls_tested():
    tested = {dotted.split(".")[-1] for dotted in CALLS} | {dotted.split(".")[-2] for dotted in CALLS if "." in dotted}
    untested = []
    for name in EXPORTS:
        for word in EXPORTS[name].split():
            value = getattr(module(name), word, None)
            if inspect.isfunction(value) and word not in tested:
                untested.append(f"{name}.{word}")
    assert untested == []


MODULES = [
    "",
    "tasks",
    "targets",
    "functional",
    "pipes",
    "utils",
    "parameters",
    "workflows",
    "flow",
    "export",
    "errors",
    "acceptance",
    "catalogs",
    "explanations",
    "plans",
    "tasklogs",
]


@pytest.mark.parametrize("name", MODULES)
def test_all_is_what_is_there(name):
    here = module(name)
    assert len(set(here.__all__)) == len(here.__all__)
    assert [word for word in here.__all__ if not hasattr(here, word)] == []


@pytest.mark.parametrize("name", ["tasks", "targets", "functional", "pipes", "utils"])
def test_public_functions_and_classes_of_a_module_are_in_its_all(name):
    here = module(name)
    own = {
        word
        for word, value in vars(here).items()
        if not word.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith(here.__name__)
    }
    assert own - set(here.__all__) == set()


def test_star_import_gives_what_all_says():
    names: dict = {}
    exec("from d6tpipe import *", names)
    assert set(d6tpipe.__all__) <= set(names)


def test_dir_of_the_package_shows_all_of_it():
    assert set(d6tpipe.__all__) <= set(dir(d6tpipe))


def test_every_public_name_has_a_docstring():
    without = [
        f"{name}.{word}"
        for name in ("", "tasks", "targets", "functional", "utils")
        for word in module(name).__all__
        if (inspect.isfunction(value := getattr(module(name), word)) or inspect.isclass(value)) and not value.__doc__
    ]
    assert without == []
