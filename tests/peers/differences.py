"""Where d6tpipe deliberately differs from d6tflow 0.2.8, and why: the one list, for tests and docs."""

from __future__ import annotations

from dataclasses import dataclass


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
    fields : tuple of str
        The observed fields that it covers, as ``script/observation.field``; a field covers all below it.
    """

    title: str
    d6tflow: str
    d6tpipe: str
    why: str
    fields: tuple[str, ...]


DIFFERENCES: tuple[Difference, ...] = ()
