"""PyTorch targets; torch is imported on first use (``pip install d6tpipe[torch]``)."""

from __future__ import annotations

from d6tpipe.targets import FormatTarget

__all__ = ["PyTorchModel"]


class PyTorchModel(FormatTarget):
    """A torch model, or whatever else ``torch.save`` takes."""

    format_name = "torch"
