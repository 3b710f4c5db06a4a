"""HDF5 targets for pandas; PyTables is imported on first use (``pip install d6tpipe[hdf]``)."""

from __future__ import annotations

from d6tpipe.targets import FormatTarget

__all__ = ["H5PandasTarget"]


class H5PandasTarget(FormatTarget):
    """A DataFrame or Series in HDF5, under the key ``data`` unless ``key=`` is given."""

    format_name = "hdf"
