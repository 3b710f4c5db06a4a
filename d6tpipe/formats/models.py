"""Formats for what optional libraries make: torch and keras models, datatable frames."""

from __future__ import annotations

from typing import Any

from d6tpipe.errors import DeclarationError
from d6tpipe.plugins import need

__all__ = ["Datatable", "Keras", "Torch"]


class Torch:
    """Anything ``torch.save`` takes: a whole model, a ``state_dict``, tensors.

    ``weights_only`` is False unless given: a whole model is not only weights, and the files are our own.

    Notes
    -----
    The file has neither name nor time in it; beyond that the bytes are as reproducible as torch makes them.
    """

    name = "torch"
    suffix = "pt"
    runs_code = True

    def save(self, value: Any, path: str, **options: Any) -> None:
        torch = need("torch", "The torch format")
        # Given a path, torch writes the (temporary) file name into the file; given a file it does not.
        with open(path, "wb") as file:
            torch.save(value, file, **options)

    def load(self, path: str, **options: Any) -> Any:
        torch = need("torch", "The torch format")
        return torch.load(path, **{"weights_only": False, **options})


class Keras:
    """A keras model in HDF5. Options go to ``model.save`` and ``load_model``.

    Notes
    -----
    HDF5 writes times into the file: same model does not mean same bytes, and a model that is built again counts as
    changed.
    """

    name = "keras"
    suffix = "hdf5"
    runs_code = True

    def save(self, value: Any, path: str, **options: Any) -> None:
        _require_method(self.name, value, "save", "a keras model")
        with open(path, "wb"):
            pass  # says FileNotFoundError if the folder is missing
        value.save(path, **options)

    def load(self, path: str, **options: Any) -> Any:
        return need("tensorflow.keras.models", "The keras format").load_model(path, **options)


class Datatable:
    """An H2O datatable frame in its own binary format, whose bytes are as reproducible as datatable makes them."""

    name = "datatable"
    suffix = "nff"

    def save(self, value: Any, path: str, **options: Any) -> None:
        _require_method(self.name, value, "to_jay", "a datatable Frame")
        with open(path, "wb"):
            pass  # says FileNotFoundError if the folder is missing
        value.to_jay(path, **options)

    def load(self, path: str, **options: Any) -> Any:
        return need("datatable", "The datatable format").fread(path, **options)


def _require_method(name: str, value: Any, method: str, wanted: str) -> None:
    if not callable(getattr(value, method, None)):
        raise DeclarationError(
            f"The {name} format saves {wanted}, not {type(value).__name__}",
            facts={"format": name, "got": f"{type(value).__module__}.{type(value).__qualname__}"},
            hint="Declare a format that fits, for example pickle.",
        )
