"""H2O datatable targets; datatable is imported on first use (``pip install datatable``)."""

from __future__ import annotations

from d6tpipe.targets import FormatTarget

__all__ = ["DatatableTarget"]


class DatatableTarget(FormatTarget):
    """A datatable frame in datatable's binary format."""

    format_name = "datatable"
