"""States and reasons in a few words, the same wherever they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import luigi

from d6tpipe.definitions import definition
from d6tpipe.engine.graph import Node
from d6tpipe.errors import shown
from d6tpipe.interfaces import Reason, ReasonKind, Standing
from d6tpipe.task_values import Composite
from d6tpipe.tasks.external import is_external

__all__ = [
    "Words",
    "clipped",
    "columns_of",
    "in_order",
    "is_function",
    "named",
    "texts_of",
    "transition",
    "without_class",
]

_SHOWN = 2
_LONGEST = 60
_DIGEST = frozenset("0123456789abcdef")


class Words:
    """Puts reasons into a few words; one for all tasks of a text, since it remembers what it found out of classes."""

    def __init__(self) -> None:
        self._sources: dict[type, Mapping[str, str]] = {}
        self._said: dict[tuple[type, tuple[Reason, ...], int], str] = {}

    def of(self, node: Node, most: int = _SHOWN) -> str:
        """Return why a judged node has to be built or is not to be trusted; empty if there is nothing to say.

        Parameters
        ----------
        node : Node
        most : int
            Of more reasons than this, only the number of the others is told.
        """
        standing, words = node.standing, []
        if node.spared and not node.present:
            stale = self.reasons(node.task, node.reasons, most) if standing is Standing.STALE else ""
            return ", ".join(filter(None, [stale, "transient", "removed" if node.digest else "not built"]))
        if node.complete and standing is Standing.MISSING:  # its own complete() knows better
            return ""
        if node.reasons and not (standing is Standing.UNTRACKED and is_external(node.task)):
            words.append(self.reasons(node.task, node.reasons, most))
        if not node.complete:
            if standing is None and not node.present:
                words.append(str(ReasonKind.MISSING))
            elif standing is not Standing.MISSING and any([need.complete is False for need in node.needs]):
                words.append(str(ReasonKind.UPSTREAM))
        return ", ".join(words)

    def reasons(self, task: Any, reasons: Iterable[Reason], most: int = _SHOWN) -> str:
        """Return the reasons of a task in a few words, most telling first."""
        key = (type(task), tuple(reasons), most)
        found = self._said.get(key)
        if found is None:
            words = list(dict.fromkeys([self.reason(task, reason) for reason in in_order(key[1])]))
            more = f" and {len(words) - most} more" if len(words) > most else ""
            found = self._said[key] = ", ".join(words[:most]) + more
        return found

    def reason(self, task: Any, reason: Reason) -> str:
        """Return one reason of a task in a few words."""
        kind, subject = reason.kind, clipped(reason.subject)
        if kind is ReasonKind.CODE:
            return self._code(task, reason)
        if kind is ReasonKind.FAILED:
            return f"failed: {clipped(reason.after)}" if reason.after else "failed"
        if kind is ReasonKind.OTHER_CLASS:
            return f"built by another class {subject}".rstrip()
        if kind is ReasonKind.VERSION:
            return f"version {transition(reason)}"
        if kind is ReasonKind.DEFAULT_PARAMETER:
            return f"default of {subject} {transition(reason)}"
        if kind is ReasonKind.INPUT_SET:
            return "other requirements"
        if kind is ReasonKind.INPUT_DATA:
            source = reason.because_of
            return f"other data from {source.task_family if source is not None else subject}"
        if kind is ReasonKind.OUTPUT_MODIFIED:
            return "other outputs declared" if subject == "persist" else f"output {subject} was modified"
        if kind is ReasonKind.PACKAGE:
            return f"package {subject} {transition(reason)}".rstrip()
        if kind is ReasonKind.FILE:  # of a path the end says most
            path = reason.subject
            return f"file {path if len(path) <= _LONGEST else '...' + path[3 - _LONGEST :]}"
        if kind is ReasonKind.ENV:
            return f"env {subject}"
        return str(kind)

    def _code(self, task: Any, reason: Reason) -> str:
        name = reason.subject
        if not name:
            return "code"
        if not reason.after:
            return f"{name} is gone"
        source = self._sources_of(type(task)).get(name, "")
        if is_function(source):
            return f"code of {name}()" if reason.before else f"{name}() is new"
        if not reason.before:
            return f"{name} is new"
        return f"{'class' if source.startswith('class') else 'value of' if source else 'code of'} {name}"

    def _sources_of(self, cls: type) -> Mapping[str, str]:
        found = self._sources.get(cls)
        if found is None:
            found = self._sources[cls] = definition(cls).sources()
        return found


def is_function(source: str) -> bool:
    """Return whether the text of a member is that of a function; else it is of a class or of a value."""
    return source.startswith(("def ", "async def ", "@", "lambda"))


def in_order(reasons: Iterable[Reason]) -> list[Reason]:
    """Return reasons in the order of explaining: by kind; of code first what has changed, then what is new or gone."""
    order = {kind: number for number, kind in enumerate(ReasonKind)}
    return sorted(reasons, key=lambda reason: (order[reason.kind], not (reason.before and reason.after)))


def transition(reason: Reason) -> str:
    """Return "before -> after" of a reason; empty if these are hashes."""
    if _is_hash(reason.before) or _is_hash(reason.after):
        return ""
    return f"{clipped(reason.before) or 'none'} -> {clipped(reason.after) or 'none'}"


def _is_hash(text: str) -> bool:
    return len(text) >= 12 and _DIGEST.issuperset(text)


def clipped(text: str, longest: int = _LONGEST) -> str:
    """Return the first line of a text, shortened where it is long."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= longest else first[: longest - 3] + "..."


def columns_of(task: Any, taken: Iterable[str]) -> Mapping[str, str]:
    """Return the significant parameters of a task, as text, for a table that has the columns `taken` already.

    A parameter that is called like one of these becomes ``parameter_<name>``.
    """
    texts = texts_of(task)
    if texts.keys().isdisjoint(taken):
        return texts
    return {f"parameter_{name}" if name in taken else name: text for name, text in texts.items()}


def texts_of(task: Any) -> Mapping[str, str]:
    """Return the significant parameters of a task as text; tasks and configs among them as they are shown."""
    texts: Mapping[str, str] = task.to_str_params(only_significant=True)
    values = {name: getattr(task, name, None) for name in texts}
    objects = {name: shown(value) for name, value in values.items() if isinstance(value, (luigi.Task, Composite))}
    return {**texts, **objects} if objects else texts


def without_class(task: Any) -> str:
    """Return a task as it is shown, without its class: ``[id]``, or its parameters in parentheses."""
    whole = shown(task)
    return (
        whole[whole.index("[") :] if "_ids" in task.__dict__ and "[" in whole else whole.removeprefix(task.task_family)
    )


def named(task: Any, longest: int = 100) -> str:
    """Return a task as it is shown, shortened where it is long."""
    return clipped(shown(task), longest)
