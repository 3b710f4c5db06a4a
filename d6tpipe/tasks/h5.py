"""Tasks with HDF5 outputs."""

from __future__ import annotations

from d6tpipe.targets.h5 import H5PandasTarget
from d6tpipe.tasks import TaskData

__all__ = ["TaskH5Pandas"]


class TaskH5Pandas(TaskData):
    """Task whose output is a DataFrame in an HDF5 file (needs ``d6tpipe[hdf]``)."""

    target_class = H5PandasTarget
    target_ext = "hdf5"
