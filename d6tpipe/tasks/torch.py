"""Tasks with PyTorch outputs."""

from __future__ import annotations

from d6tpipe.targets.torch import PyTorchModel
from d6tpipe.tasks import TaskData

__all__ = ["PyTorch"]


class PyTorch(TaskData):
    """Task whose output is a PyTorch model (needs ``d6tpipe[torch]``); files end in ``..pt``, as d6tflow names them."""

    target_class = PyTorchModel
    target_ext = ".pt"
