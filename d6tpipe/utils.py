"""Small helpers under d6tflow's names: sweeps written as dictionaries, the tree as text, the upstream of a task."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any

from d6tpipe import flow, plugins, trees
from d6tpipe.errors import ParameterError
from d6tpipe.graphs import build_graph

__all__ = [
    "generate_exps_for_multi_param",
    "params_generator_multiple",
    "params_generator_single",
    "print_tree",
    "to_parquet",
    "traverse",
]


def generate_exps_for_multi_param(params_dict: Mapping[str, Iterable[Any]]) -> dict[str, dict[str, Any]]:
    """Return one named experiment for every combination of parameter values.

    Parameters
    ----------
    params_dict : mapping of str to iterable
        Parameter name to the values it takes. Any number of parameters, any number of values.

    Returns
    -------
    dict of str to dict
        ``{"a_1_b_x": {"a": 1, "b": "x"}, ...}``: parameters in alphabetical order, the last one varies
        fastest. No parameters, or a parameter without values, give no experiment.

    Raises
    ------
    ParameterError
        If a parameter's values are not a list, or two different combinations get one name.

    Examples
    --------
    >>> list(generate_exps_for_multi_param({"model": ["ols", "gbm"], "do_preprocess": [True]}))
    ['do_preprocess_True_model_ols', 'do_preprocess_True_model_gbm']
    """
    names = sorted(params_dict)
    if not names:
        return {}
    experiments: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*[_values_of(name, params_dict[name]) for name in names]):
        experiment = dict(zip(names, values, strict=True))
        label = "_".join([f"{name}_{value}" for name, value in experiment.items()])
        known = experiments.setdefault(label, experiment)
        # 1 and True are equal, yet two values; the same value given twice is one experiment.
        if [(type(known[n]), known[n]) for n in names] != [(type(v), v) for v in values]:
            raise ParameterError(
                f"Two experiments are both named '{label}'",
                facts={"one": known, "other": experiment},
                hint="Name them yourself: pass {name: {parameter: value}} instead of lists.",
            )
    return experiments


params_generator_multiple = generate_exps_for_multi_param


def params_generator_single(
    dict_: Mapping[str, Iterable[Any]], params_base: Mapping[str, Any] | None = None
) -> dict[int, dict[str, Any]]:
    """Return one numbered experiment for every value of one parameter.

    Parameters
    ----------
    dict_ : mapping of str to iterable
        One parameter and the values it takes; an empty mapping gives no experiment.
    params_base : mapping, optional
        Values that all experiments share; where it names the parameter too, its value is the one used.

    Returns
    -------
    dict of int to dict
        ``{0: {"a": 1}, 1: {"a": 2}, ...}`` in the order of the values.

    Raises
    ------
    ParameterError
        If `dict_` has more than one parameter, or its values are not a list.
    """
    if len(dict_) > 1:
        raise ParameterError(
            "params_generator_single varies one parameter",
            facts={"given": ", ".join(dict_)},
            hint="Use params_generator_multiple for all combinations of several.",
        )
    return {
        number: {name: value, **(params_base or {})}
        for name, values in dict_.items()
        for number, value in enumerate(_values_of(name, values))
    }


def _values_of(name: str, values: Iterable[Any]) -> list[Any]:
    # A string is iterable too: {'model': 'ols'} must not become three models.
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ParameterError(
            f"The values of '{name}' are not a list",
            facts={"given": repr(values)},
            hint=f"Write {{'{name}': [{values!r}]}} for a single value.",
        )
    return list(values)


def print_tree(
    task: Any, indent: str = "", last: bool = True, show_params: bool = True, clip_params: bool = False
) -> str:
    """Return the tree of a task and everything upstream of it as text; ``preview`` prints it.

    Parameters
    ----------
    task : luigi.Task
    indent : str
        Written before every line.
    last : bool
        Whether the task is the last one of its level, which decides how its branch is drawn.
    show_params : bool
        Whether parameter values are shown.
    clip_params : bool
        Whether only the first parameter is shown.
    """
    _, (goal,), _ = build_graph(task)
    return trees.tree_text(goal, indent, last, show_params, clip_params)


def traverse(t: Any, path: list[Any] | None = None) -> list[Any]:
    """Return `t` and everything upstream of it, each task once, a task before what it requires.

    Parameters
    ----------
    t : luigi.Task
    path : list of luigi.Task, optional
        Tasks to put in front and not to visit again.
    """
    known = list(path or [])
    seen = set(known)
    return known + [task for task in flow.taskflow_upstream(t) if task not in seen]


def to_parquet(df: Any, path: str | os.PathLike[str], **kwargs: Any) -> None:
    """Write a DataFrame to a Parquet file in one step, making the folders above it.

    Parameters
    ----------
    df : pandas.DataFrame
    path : path-like
    **kwargs
        Options of ``DataFrame.to_parquet``; ``compression`` is zstd unless given.

    Effects
    -------
    Writes `path`; if writing fails, what was there before stays.
    """
    parquet, files = plugins.load("formats", "parquet"), plugins.load("files", "local")
    files.write(os.fspath(path), lambda temporary: parquet.save(df, temporary, **kwargs))
