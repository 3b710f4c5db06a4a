"""Where records come from: whether the tasks that they speak of can still be made.

Told from the record alone: module, family, parameters as text. Whatever leaves room for doubt is `UNKNOWN`, for those
who ask want to delete.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from luigi.parameter import ParameterVisibility
from luigi.task_register import Register

from d6tpipe.errors import PipeError, told
from d6tpipe.former_names import FormerName, successors
from d6tpipe.identity import task_id_text
from d6tpipe.predecessors import succeeding
from d6tpipe.records import Record
from d6tpipe.tasks.older_places import former_ids

__all__ = ["IMPOSSIBLE", "POSSIBLE", "UNKNOWN", "Origins", "parameters_in"]

POSSIBLE, IMPOSSIBLE, UNKNOWN = "possible", "impossible", "unknown"

_KNOWN_PARAMETERS = ("luigi.parameter", "d6tpipe.parameters")
"""What a parameter of these modules refuses, it would refuse from anybody."""


class Origins:
    """Looks for the classes that records come from.

    Parameters
    ----------
    records : iterable of Record
        About which will be asked.

    Effects
    -------
    Imports the modules that the records name, except scripts and notebooks: importing one of those may run it.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._modules = {name: _module(name) for name in dict.fromkeys([record.module for record in records])}
        self._classes: dict[str, list[Any]] = {}
        for cls in Register._reg:  # after the imports
            self._classes.setdefault(cls.get_task_family(), []).append(cls)

    def of(self, record: Record) -> tuple[str, str]:
        """Return whether the task of a record can still be made, and why not or why that is not known."""
        classes = self._classes.get(record.family, [])
        answers = [(cls, *_answer(cls, record)) for cls in classes]
        if any(verdict == POSSIBLE for _, verdict, _ in answers):  # of whatever module: it may have been moved
            return POSSIBLE, ""
        for cls, former in successors(record.family, ""):
            verdict, why = _answer(cls, record) if former.convert is None else _converted(cls, former, record)
            if verdict != IMPOSSIBLE:  # of what cannot be made under the new name either, the rules below say why
                return verdict, why
        module = self._modules.get(record.module, "its module is not known")
        if isinstance(module, str):
            return UNKNOWN, module
        own = [(verdict, why) for cls, verdict, why in answers if cls.__module__ == module.__name__]
        for verdict in (UNKNOWN, IMPOSSIBLE):
            for answer in own:
                if answer[0] == verdict:
                    return answer
        name = record.family.rpartition(".")[2]
        written_as = next(iter(record.members), "")  # the class itself is the first
        if "<locals>" in written_as or written_as.rpartition(".")[2] != name:
            return UNKNOWN, f"its class {name} is made by a function, which may make it again"
        return IMPOSSIBLE, f"there is no class {name} in {module.__name__} any more"


def _module(name: str) -> ModuleType | str:
    """Return a module that is loaded to its end; or why there is none."""
    if not name or name == "__main__":
        return "its class is from a notebook, or from where is not known"
    if name.startswith("__main__/"):
        script = name.partition("/")[2]
        found = sys.modules.get(script)
        if found is None:
            return f"its class is from the script {script}.py, which is not imported here"
    else:
        try:
            found = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (reported: it is why the outputs stay)
            return f"its module {name} cannot be imported: {told(error)}"
    if getattr(found.__spec__, "_initializing", False):
        return f"its module {found.__name__} is still being imported"
    return found


def _answer(cls: Any, record: Record) -> tuple[str, str]:
    """Return whether a class can make the task of a record, and why not or why that is not known."""
    texts = parameters_in(record)
    if texts is None:
        return UNKNOWN, "its parameters are not known"
    declared = dict(cls.get_params())
    names = {name for name, parameter in declared.items() if parameter.significant}
    # Of others the record does not say enough.
    plain = not any(
        [
            parameter.visibility == ParameterVisibility.PRIVATE or getattr(parameter, "ignore_default", False)
            for parameter in declared.values()
        ]
    )
    if plain and not (names <= texts.keys() and _same(task_id_text("", {n: texts[n] for n in names}), record)):
        gone, new = sorted(texts.keys() - declared.keys()), sorted(names - texts.keys())
        changes = [f"{', '.join(gone)} gone"] * bool(gone) + [f"{', '.join(new)} new"] * bool(new)
        return IMPOSSIBLE, f"{record.family} has other parameters now: {'; '.join(changes) or 'other ones count'}"
    try:
        made = cls.from_str_params({name: text for name, text in texts.items() if name in declared})
        if _same(made.task_id, record) or any([_same(task_id, record) for _, task_id in former_ids(made)]):
            return POSSIBLE, ""
        problem = "it reads them as other values"
    except Exception as error:  # noqa: BLE001  (reported: what a parameter raises is up to its author)
        problem = told(error).partition("\n")[0]
    if plain and all([type(parameter).__module__ in _KNOWN_PARAMETERS for parameter in declared.values()]):
        return IMPOSSIBLE, f"{record.family} does not take its parameter values any more: {problem}"
    return UNKNOWN, f"its parameters cannot be read back: {problem}"


def _converted(cls: Any, former: FormerName, record: Record) -> tuple[str, str]:
    """Return whether a record has become one of a class whose parameters have changed."""
    try:
        made = succeeding(cls, former, parameters_in(record) or {})
    except PipeError as error:
        return UNKNOWN, told(error).partition("\n")[0]
    return (IMPOSSIBLE, "") if made is None else (POSSIBLE, "")


def _same(task_id: str, record: Record) -> bool:
    """Return whether an id is that of the record: by its digest, for how much of it is readable is a setting."""
    return task_id.rpartition("_")[2] == record.task_id.rpartition("_")[2]


def parameters_in(record: Record) -> Mapping[str, str] | None:
    """Return the parameters that are recorded, as text; None if they are damaged."""
    try:
        found = json.loads(record.parameters)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
