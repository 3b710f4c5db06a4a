"""Keras targets; tensorflow is imported on first use (``pip install tensorflow``)."""

from __future__ import annotations

from d6tpipe.targets import FormatTarget

__all__ = ["H5KerasTarget"]


class H5KerasTarget(FormatTarget):
    """A keras model in HDF5."""

    format_name = "keras"
