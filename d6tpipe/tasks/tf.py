"""Tasks with Keras outputs."""

from __future__ import annotations

from d6tpipe.targets.tf import H5KerasTarget
from d6tpipe.tasks import TaskData

__all__ = ["TaskH5Keras"]


class TaskH5Keras(TaskData):
    """Task whose output is a Keras model in an HDF5 file (needs tensorflow)."""

    target_class = H5KerasTarget
    target_ext = "hdf5"
