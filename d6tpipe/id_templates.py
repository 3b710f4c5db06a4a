"""Ids of the tasks of a sweep, made from the values of a point by a template such as ``"{data}_{model}"``."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from d6tpipe.errors import ParameterError, told
from d6tpipe.identity import nearest
from d6tpipe.points import Point, value_text

__all__ = ["IdWriter"]


class IdWriter:
    """Makes the id of a point; can be pickled.

    Parameters
    ----------
    name : str
        Id of a point of nothing: the name of the class.
    template : str, optional
        By default ``name=value`` of what varies, joined by commas.
    varying : sequence of str
    known : sequence of str
        The names that a template may have.
    fixed : mapping
        Values that all points have besides their own.

    Attributes
    ----------
    needs_values : bool
        Whether the texts of a point are not enough, as for ``{lr:.2f}``.

    Raises
    ------
    ParameterError
        The template is wrong, or names what is not known.
    """

    def __init__(
        self, name: str, template: str | None, varying: Sequence[str], known: Sequence[str], fixed: Mapping[str, Any]
    ) -> None:
        self._name, self._template, self._varying, self._fixed = name, template, list(varying), fixed
        self._parts: list[tuple[str, str | None]] = []
        self.needs_values = False
        if template is not None:
            self._read(template, known)

    def _read(self, template: str, known: Sequence[str]) -> None:
        try:
            pieces = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ParameterError(
                "The template of the ids is wrong",
                facts={"id": repr(template), "because": error},
                hint='Write id="{data}_{model}".',
            ) from None
        for literal, field, form, conversion in pieces:
            self._parts.append((literal, field))
            if field is None:
                continue
            head = field if field in known else field.partition(".")[0].partition("[")[0]
            if head not in known:
                near = nearest(head, known)
                raise ParameterError(
                    f"The template of the ids names '{head}', which is not one of the values",
                    facts={"id": repr(template), "values": ", ".join(known) or "none"},
                    hint=f"Did you mean {{{near}}}?" if near else "Name what varies.",
                )
            self.needs_values = self.needs_values or bool(form or conversion) or field not in known

    def __call__(self, point: Point) -> str:
        """Return the id of a point.

        Raises
        ------
        ParameterError
            A format does not fit a value.
        """
        texts = point.texts
        if self._template is None:
            return ",".join([f"{name}={self._text(texts, name)}" for name in self._varying]) or self._name
        if self.needs_values:
            return self._formatted(point, self._template)
        return "".join(
            [literal + ("" if field is None else self._text(texts, field)) for literal, field in self._parts]
        )

    def _text(self, texts: Mapping[str, str], name: str) -> str:
        found = texts.get(name)
        return value_text(self._fixed.get(name, "")) if found is None else found

    def _formatted(self, point: Point, template: str) -> str:
        words: dict[str, Any] = {}
        for name, value in {**self._fixed, **point.values}.items():
            words[name] = _Value(point.texts[name] if name in point.texts else value_text(value), value)
        try:
            return template.format_map(words)
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            raise ParameterError(
                "The id of a point cannot be made from the template",
                facts={"id": repr(template), "point": point, "because": told(error)},
                hint="A format must fit the value, as in {lr:.2f}.",
            ) from error


class _Value:
    """A value in a template: its text; with a format, a name or a key (``{lr:.2f}``, ``{data.subset}``) the value's."""

    def __init__(self, text: str, value: Any) -> None:
        self.__dict__.update(text=text, value=value)

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            return object.__getattribute__(self, name)
        found = getattr(self.__dict__["value"], name)
        if callable(found) and not isinstance(found, type):  # it would be told with an address
            raise AttributeError(f"'{name}' is a method")
        return found

    def __getitem__(self, key: Any) -> Any:
        return self.__dict__["value"][key]

    def __str__(self) -> str:
        return str(self.__dict__["text"])

    def __repr__(self) -> str:
        return repr(self.__dict__["value"])

    def __format__(self, form: str) -> str:
        return format(self.__dict__["value"], form) if form else str(self)
