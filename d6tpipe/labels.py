"""What tasks are called beside their identity: ids that sweeps give them, tags, marks of single tasks.

None of it is part of the identity: the same task may have several ids, and goes by the one it got last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from d6tpipe.errors import ParameterError

__all__ = [
    "Tag", "add_called", "add_id", "called", "check_id", "check_marks", "ids_of", "marks_of", "own_tags", "set_marks",
    "set_tags", "tag", "tagged",
]  # fmt: skip

_LONGEST = 200


def check_id(name: Any) -> str:
    """Return an id.

    Raises
    ------
    ParameterError
        It is no text, or has brackets or a line break.
    """
    if isinstance(name, str) and name and len(name) <= _LONGEST and name.isprintable() and not set(name) & set("[]"):
        return name
    raise ParameterError(
        "An id must be printable text without brackets",
        facts={"id": f"{name!r:.300}", "type": type(name).__name__},
        hint=f"Ids are shown as Class[id]; give a text of 1 to {_LONGEST} characters.",
    )


def add_id(task: Any, name: str) -> None:
    """Give a task an id; the last one is shown."""
    known = task.__dict__.get("_ids")
    if known is None or known == (name,):
        task.__dict__["_ids"] = (name,)
    else:
        task.__dict__["_ids"] = (*[other for other in known if other != name], name)


def ids_of(task: Any) -> tuple[str, ...]:
    """Return the ids of a task, the one that is shown last."""
    found: tuple[str, ...] = task.__dict__.get("_ids", ())
    return found


def set_tags(task: Any, tags: Mapping[str, Any]) -> None:
    """Add tags to a task."""
    known = task.__dict__.get("_tags")
    task.__dict__["_tags"] = tags if known is None else {**known, **tags}


def own_tags(task: Any) -> Mapping[str, Any]:
    """Return the tags that were given to a task itself."""
    found: Mapping[str, Any] = task.__dict__.get("_tags") or {}
    return found


class Tag:
    """A value that is also a tag; made by `tag`."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"tag({self.value!r})"


tagging = False
"""Whether `tag` was called in this process: until then nobody looks for tags."""


def tag(value: Any) -> Any:
    """Return a value for a parameter that is also a tag of the task, under the name of the parameter.

    Tags are no part of the identity. A sweep tags its tasks with what varies.

    Examples
    --------
    >>> import d6tpipe
    >>> class Train(d6tpipe.tasks.TaskPickle):
    ...     layers = d6tpipe.IntParameter()
    >>> d6tpipe.tags(Train(layers=d6tpipe.tag(3)))
    {'layers': 3}
    """
    global tagging
    tagging = True
    return value if isinstance(value, Tag) else Tag(value)


def tagged(made: Any, values: Mapping[str, Any]) -> Any:
    """Return a task or config that was made with these values, with tags for those that `tag` has returned."""
    tags = {name: getattr(made, name) for name, value in values.items() if value.__class__ is Tag}
    if tags:
        set_tags(made, tags)
    return made


def check_marks(marks: Any) -> None:
    """Raise ParameterError for what ``marks=`` of a sweep cannot be: it is words, or words by id."""
    for words in marks.values() if isinstance(marks, Mapping) else [marks]:
        several = [words] if isinstance(words, str) else words
        if words is None or (isinstance(several, Iterable) and all(isinstance(word, str) for word in several)):
            continue
        raise ParameterError(
            "marks= is words, or words by id", facts={"got": repr(words)}, hint='Write marks={"data_0": "slow"}.'
        )


def add_called(task: Any, name: str, key: str) -> None:
    """Note what a sweep calls the value of a parameter of a task."""
    known = task.__dict__.setdefault("_called", {})
    if key not in known.get(name, ()):
        known[name] = (*known.get(name, ()), key)


def called(task: Any, name: str) -> tuple[str, ...]:
    """Return what sweeps call the value of a parameter of a task."""
    found: tuple[str, ...] = task.__dict__.get("_called", {}).get(name, ())
    return found


def set_marks(task: Any, marks: Iterable[str] | str) -> None:
    """Mark one task with words, besides those of its class."""
    words = {marks} if isinstance(marks, str) else set(marks)
    task.__dict__["_marks"] = frozenset(words | set(task.__dict__.get("_marks", ())))


def marks_of(task: Any) -> frozenset[str]:
    """Return the words that a single task was marked with."""
    found: frozenset[str] = task.__dict__.get("_marks", frozenset())
    return found
