"""Limits on what the bodies of a run use together: luigi's ``resources``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from d6tpipe.errors import GraphError

__all__ = ["Demand", "Limits"]

Demand = tuple[tuple[str, float], ...]
"""Name and amount of each resource that a body uses, sorted by name."""


class Limits:
    """How much of each resource is left.

    Parameters
    ----------
    limits : mapping of str to number
        What there is.
    otherwise : callable
        ``otherwise(name) -> number``: how much there is of a resource that is not in `limits`.
    """

    def __init__(self, limits: Mapping[str, float], otherwise: Callable[[str], float] = lambda name: 1) -> None:
        self._limits = dict(limits)
        self._left: dict[str, float] = dict(limits)
        self._otherwise = otherwise

    def check(self, task: object, demand: Demand) -> None:
        """Raise a GraphError if there is never enough for a task."""
        for name, amount in demand:
            if name not in self._limits:
                self._limits[name] = self._left[name] = self._otherwise(name)
            if amount > self._limits[name]:
                raise GraphError(
                    "A task needs more of a resource than there is",
                    task=task,
                    facts={"resource": name, "needed": amount, "limit": self._limits[name]},
                    hint=f"Raise the limit, run(resources={{{name!r}: {amount}}}), or let the task need less.",
                )

    def fits(self, demand: Demand) -> bool:
        """Return whether there is enough left."""
        return all([amount <= self._left[name] for name, amount in demand])

    def take(self, demand: Iterable[tuple[str, float]]) -> None:
        """Note that a body uses it."""
        for name, amount in demand:
            self._left[name] -= amount

    def give(self, demand: Iterable[tuple[str, float]]) -> None:
        """Note that it is free again."""
        for name, amount in demand:
            self._left[name] += amount
