"""The public names of d6tflow and how they may be called."""

import importlib
import inspect

from observe import main, observation

import d6tflow


def parameters(thing):
    """Return the parameter names of a function in order, without what only says "anything else"."""
    try:
        found = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    return [each.name for each in found if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]


def ours(thing):
    """Say whether a function or class is the package's own, or one of the parameter classes it hands on."""
    module = getattr(thing, "__module__", None) or ""
    return module.partition(".")[0] in ("d6tflow", "d6tpipe") or module == "luigi.parameter"


def public(holder, wanted):
    names = {}
    for name in dir(holder):
        if name.startswith("_"):
            continue
        # Through the class, so that a method is seen with its own signature and not bound to anything.
        thing = inspect.getattr_static(holder, name, None)
        thing = getattr(thing, "__func__", thing)
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and wanted(thing):
            names[name] = thing
    return names


def names_of(module):
    seen = {}
    try:
        imported = importlib.import_module(module)
    except ImportError:
        return "cannot be imported"
    for name, thing in public(imported, ours).items():
        if module.endswith(".h5") and "H5" not in name:
            continue  # what it imports for itself
        if inspect.isclass(thing) and thing.__module__ == "luigi.parameter":
            seen[name] = None  # how parameters are made is luigi's business
        else:
            seen[name] = parameters(thing)
    return seen


def methods_of(holder):
    # Whoever defines them: what d6tflow overrides, we may leave to luigi.
    return {name: parameters(method) for name, method in public(holder, inspect.isfunction).items()}


@observation
def functions_and_classes():
    modules = [
        "d6tflow",
        "d6tflow.tasks",
        "d6tflow.tasks.h5",
        "d6tflow.targets",
        "d6tflow.targets.h5",
        "d6tflow.utils",
    ]
    modules += ["d6tflow.functional", "d6tflow.pipes", "d6tflow.settings"]
    return {module: names_of(module) for module in modules}


@observation
def methods():
    from d6tflow.functional import Workflow as FunctionalWorkflow

    holders = {
        "TaskData": d6tflow.tasks.TaskData,
        "TaskAggregator": d6tflow.tasks.TaskAggregator,
        "Workflow": d6tflow.Workflow,
        "WorkflowMulti": d6tflow.WorkflowMulti,
        "functional.Workflow": FunctionalWorkflow,
        "FlowExport": d6tflow.FlowExport,
        "FlowImport": d6tflow.FlowImport,
        "DataTarget": d6tflow.targets.DataTarget,
        "CacheTarget": d6tflow.targets.CacheTarget,
        "PqPandasTarget": d6tflow.targets.PqPandasTarget,
    }
    return {name: methods_of(holder) for name, holder in holders.items()}


@observation
def values():
    import d6tflow.cache
    import d6tflow.settings

    return {
        "settings": {
            name: None for name in dir(d6tflow.settings) if name.islower() and name[0] != "_" and name != "luigi"
        },
        "cache": {name: None for name in ("data", "api", "pipe_default_name", "pipes") if hasattr(d6tflow.cache, name)},
        "formats": {
            name: [
                getattr(d6tflow.tasks, name).target_class.__name__,
                getattr(d6tflow.tasks, name).target_ext,
            ]
            for name in dir(d6tflow.tasks)
            if name.startswith("Task") and hasattr(getattr(d6tflow.tasks, name), "target_class")
        },
    }


if __name__ == "__main__":
    main()
