"""What every flow script uses to tell what it saw.

A flow script is written once, against ``import d6tflow``, and run twice: with the real d6tflow and with ours.
Each function marked ``@observation`` runs in a folder of its own and returns plain facts; ``main`` prints all of
them as one JSON document. Nothing in it may depend on the machine, the clock, the hash seed or absolute paths.
"""

from __future__ import annotations

import builtins
import contextlib
import enum
import io
import json
import os
import re
import sys
import traceback
from pathlib import Path, PurePath

OBSERVATIONS = {}
RAN = []  # what the bodies did, in order


def observation(function):
    """Mark a function without arguments as one observation."""
    OBSERVATIONS[function.__name__] = function
    return function


def main():
    """Run every observation (or those named after the folder) in ``<folder>/<name>`` and print the facts."""
    folder, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    facts, to_pytest = {"which": sys.modules["d6tflow"].__name__}, sys.stdout
    for name, function in OBSERVATIONS.items():
        if wanted and name not in wanted:
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.chdir(folder / name)
        RAN.clear()
        _start_from_defaults()
        noise = io.StringIO()
        try:
            with contextlib.redirect_stdout(noise):
                facts[name] = plain(function())
        except Exception as error:  # noqa: BLE001 - reported as what was observed
            # An observation that cannot finish is an observation as well; the other ones go on.
            facts[name] = {"crashed": families(error), "message": str(error).splitlines()[:1]}
            traceback.print_exc()
    json.dump(facts, to_pytest)
    to_pytest.write("\n")


def _start_from_defaults():
    d6tflow = sys.modules["d6tflow"]
    d6tflow.settings.dir, d6tflow.settings.dirpath = "data", Path("data")
    d6tflow.settings.check_dependencies = True
    d6tflow.settings.save_with_param = True
    d6tflow.settings.cached = False
    d6tflow.settings.execution_summary = True


# -- what ran ------------------------------------------------------------------------------------------------


def ran(task):
    """To be called by a body: it did its work."""
    RAN.append(task)


def named(task):
    """Return family and significant parameters of a task as text, put together here and the same for both."""
    values = task.to_str_params(only_significant=True)
    return f"{task.task_family}({', '.join(f'{name}={text}' for name, text in values.items())})"


def taken():
    """Return the tasks whose bodies ran since the last call, as text, in order."""
    names = [named(task) for task in RAN]
    RAN.clear()
    return names


def taken_any_order():
    """Return what ran, sorted, and whether every task came after the tasks it requires.

    luigi starts siblings in the order of a set of strings, which changes with the hash seed: nobody relies on it.
    """
    position = {named(task): n for n, task in enumerate(RAN)}
    ordered = all(
        position.get(named(needed), -1) < position[named(task)] for task in RAN for needed in flat(task.requires())
    )
    return {"bodies": sorted(taken()), "requirements first": ordered}


def flat(structure):
    if isinstance(structure, dict):
        structure = structure.values()
    elif not isinstance(structure, list | tuple):
        return [structure]
    return [leaf for item in structure for leaf in flat(item)]


# -- facts as plain values -----------------------------------------------------------------------------------


def plain(value):
    """Return a JSON view of a value that is equal for equal values and shows their types."""
    if value is None or (isinstance(value, bool | int) and type(value) in (bool, int)) or type(value) is str:
        return value
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, Raised):
        return {"raises": value.families}
    if isinstance(value, dict):
        return {key if type(key) is str else repr(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if isinstance(value, set | frozenset):
        return {"set": sorted((plain(item) for item in value), key=repr)}
    if isinstance(value, PurePath):
        return {"path": relative(value)}
    if isinstance(value, enum.Enum):
        return {"enum": str(value)}
    kind = type(value).__name__
    if kind == "DataFrame":
        return {
            "columns": [str(name) for name in value.columns],
            "dtypes": [str(dtype) for dtype in value.dtypes],
            "index": [str(label) for label in value.index],
            "rows": [[plain(cell) for cell in row] for row in value.values.tolist()],
        }
    if hasattr(value, "to_str_params"):
        return {"task": named(value)}
    known = type(value).__module__.partition(".")[0] in ("datetime", "decimal", "numpy", "pandas")
    if known or isinstance(value, int | str | bytes):
        return {kind: str(value)}
    return {"object": kind}


class Raised:
    """The outcome of a call that raised; only the families of the exception are compared."""

    def __init__(self, error):
        self.families = families(error)


def families(error):
    return [base.__name__ for base in type(error).__mro__ if base not in (object, BaseException)]


def attempt(function, *args, **kwargs):
    """Return what the call returns, or which exception it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - which exception it is, is the observation
        return Raised(error)


def relative(path):
    """Return a path with the observation's own folder taken off, the way it looks on every machine."""
    text = PurePath(path).as_posix()
    return text.replace(Path.cwd().as_posix() + "/", "")


def files(*folders):
    """Return the files below the folders (default: data), without what d6tpipe keeps for itself."""
    found = []
    for folder in folders or ("data",):
        found += [path for path in Path(folder).rglob("*") if path.is_file()]
    return sorted(relative(path) for path in found if ".d6tpipe" not in path.parts)


def folders():
    """Return every folder below the observation's own."""
    found = [path for path in Path().rglob("*") if path.is_dir() and ".d6tpipe" not in path.parts]
    return sorted(path.as_posix() for path in found)


# -- what is printed and asked -------------------------------------------------------------------------------


def printed(function, *args, **kwargs):
    """Return what the call prints, without colours."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(*args, **kwargs)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


_LINE = re.compile(
    r"^(?P<branch>[ |]*(?:└─--|\|--))\[(?P<name>[\w.]+)-(?P<params>\{.*?\}(?:\[more\])?|)"
    r" \((?P<state>COMPLETE|PENDING)\b"
)


def tree(function, *args, **kwargs):
    """Return the lines of the trees that the call prints as [branch, class, parameters, state]."""
    found = [_LINE.match(line) for line in printed(function, *args, **kwargs).splitlines()]
    return [[line["branch"], line["name"], line["params"], line["state"]] for line in found if line]


def states(function, *args, **kwargs):
    """Return only class and state of each line of the printed trees."""
    return [[name, state] for _, name, _, state in tree(function, *args, **kwargs)]


@contextlib.contextmanager
def answering(answer):
    """Answer every question that the code asks on the terminal; yields the list of questions."""
    questions, ask = [], builtins.input

    def reply(prompt=""):
        questions.append(prompt)
        return answer

    builtins.input = reply
    try:
        yield questions
    finally:
        builtins.input = ask
