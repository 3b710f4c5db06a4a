"""Points of a parameter space from a file: lists, ranges and nested names in YAML, JSON or TOML."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from math import isfinite
from typing import Any

from d6tpipe import plugins
from d6tpipe.errors import ParameterError, PipeError, StorageError, told
from d6tpipe.points import Axis, Joined, Points, Product, axes_of

__all__ = ["grid"]

_FORMS = {"range": "[start, stop, step]", "range_mult": "[start, how many, factor]"}
# What others call such a thing: nobody who writes one of these in a mapping of its own means a parameter.
_FOREIGN = frozenset({"arange", "choice", "choices", "geomspace", "linspace", "loguniform", "logspace", "uniform"})
_MOST = 1_000_000
_YAML_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")


def grid(source: Any) -> Points:
    """Return the points that a file or a mapping describes.

    Parameters
    ----------
    source : path or mapping, or list of mappings
        A file that ends in ``.yaml``, ``.yml``, ``.json`` or ``.toml``, or what such a file holds: values by name.

        ==========================================  ===============================================================
        ``[1, 2, 3]``                               these values
        ``{"range": [start, stop, step]}``          from `start`, without `stop`
        ``{"range_mult": [start, n, factor]}``      `n` values, each `factor` times the one before
        ``{"subset": [...], "rows": ...}``          ``data.subset`` and ``data.rows``, if the name is ``data``
        anything else                               this one value
        ==========================================  ===============================================================

        Names may be dotted. Of a list of mappings, or of several documents in a YAML file: the points of one after
        those of the other.

    Returns
    -------
    Points
        All combinations, the last name varies fastest; `sweep` takes them.

    Raises
    ------
    ParameterError
        It cannot be understood; the message has the path of keys.
    StorageError
        The file cannot be read.
    PluginError
        A YAML file, and the extra ``yaml`` is not installed.

    Examples
    --------
    >>> [point.values["lr"] for point in grid({"lr": {"range": [0, 0.4, 0.1]}})]
    [0.0, 0.1, 0.2, 0.3]
    >>> grid({"data": {"subset": ["north", "south"]}, "depth": {"range_mult": [1, 3, 2]}})
    <Product of 6 points over data.subset, depth>
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        try:
            return _points(_read(path))
        except ParameterError as error:
            error.facts = {"file": path, **error.facts}
            raise
    return _points(source)


def _points(source: Any) -> Points:
    if isinstance(source, Mapping):
        return _grid(source, "")
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)) and source:
        for number, part in enumerate(source):
            if not isinstance(part, Mapping):
                raise _no_grid(part, f"[{number}]")
        return Joined([_grid(part, f"[{number}]") for number, part in enumerate(source)])
    raise _no_grid(source, "")


def _grid(source: Mapping[Any, Any], path: str) -> Points:
    return Product(list(_axes(source, "", path)))


def _axes(source: Mapping[Any, Any], prefix: str, path: str) -> Iterable[Axis]:
    for key, value in source.items():
        here = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str) or not key or not all(key.split(".")):
            raise ParameterError(
                "A name in a grid must be text",
                facts={"at": here, "got": repr(key)},
                hint='Put it into quotes: "name".',
            )
        name = prefix + key
        if not isinstance(value, Mapping) or hasattr(value, "task_at"):  # a sweep is a mapping, too
            several, _ = axes_of({name: value})
            yield Axis(name, value if several else [value])
        elif form := _form(value, here):
            yield Axis(name, _VALUES[form](value[form], f"{here}.{form}"))
        else:
            yield from _axes(value, f"{name}.", here)


def _form(value: Mapping[Any, Any], path: str) -> str | None:
    """Return the form that a mapping has; None: it holds names."""
    forms = [key for key in value if key in _FORMS]
    if forms and len(value) > 1:
        raise ParameterError(
            f"'{forms[0]}' stands alone",
            facts={"at": path, "keys": ", ".join(str(key) for key in value)},
            hint=f'A parameter of that name is written "{path}.{forms[0]}": [...].',
        )
    if forms:
        return str(forms[0])
    if not value:
        raise ParameterError(
            "A mapping in a grid is empty",
            facts={"at": path, "forms": _legal()},
            hint="Give it values, or leave it out.",
        )
    only = next(iter(value))
    if len(value) == 1 and isinstance(only, str):
        near = difflib.get_close_matches(only.lower(), list(_FORMS), n=1, cutoff=0.85)
        if near or only in _FOREIGN:
            nearest = near[0] if near else "range_mult" if only in ("geomspace", "logspace", "loguniform") else "range"
            raise ParameterError(
                f"A grid has no form '{only}'",
                facts={"at": f"{path}.{only}", "forms": _legal()},
                hint=f'Did you mean "{nearest}"? A parameter of that name is written "{path}.{only}": [...].',
            )
    return None


def _legal() -> str:
    return ", ".join(f'{{"{name}": {what}}}' for name, what in _FORMS.items())


# ---- ranges


def _range(given: Any, path: str) -> Sequence[Any]:
    start, stop, step = _three(given, path, "range")
    if not step:
        raise _bad(given, path, "the step is 0", "range")
    if all(isinstance(number, int) for number in given):
        values: Sequence[Any] = range(*given)
        if values:
            return values
    count = max(0, int(((stop - start) / step).to_integral_value(ROUND_CEILING)))
    if not count:
        raise _bad(given, path, "no value lies between start and stop", "range")
    if count > _MOST:
        raise _bad(given, path, f"{count} values; {_MOST} are the most", "range")
    return [float(start + place * step) for place in range(count)]


def _range_mult(given: Any, path: str) -> Sequence[Any]:
    start, _, factor = _three(given, path, "range_mult")
    count = given[1]
    if not isinstance(count, int) or not 0 < count <= _MOST:
        raise _bad(
            given, path, f"the second is how many values there are: a whole number from 1 to {_MOST}", "range_mult"
        )
    if isinstance(given[0], int) and isinstance(given[2], int):
        return [given[0] * given[2] ** place for place in range(count)]
    values = [float(start * factor**place) for place in range(count)]
    if not all(isfinite(value) for value in values):
        raise _bad(given, path, "the values grow beyond what a number can be", "range_mult")
    return values


def _three(given: Any, path: str, form: str) -> list[Decimal]:
    """Return three numbers as what they are written as: 0.1 is a tenth."""
    if not isinstance(given, (list, tuple)) or len(given) != 3:
        raise _bad(given, path, "three numbers are needed", form)
    for number in given:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not isfinite(number):
            raise _bad(given, path, f"{number!r} is no number", form)
    return [Decimal(repr(number)) for number in given]


_VALUES = {"range": _range, "range_mult": _range_mult}


def _bad(given: Any, path: str, problem: str, form: str) -> ParameterError:
    return ParameterError(
        f"'{form}' in a grid is wrong",
        facts={"at": path, "got": repr(given), "problem": problem},
        hint=f'Write {{"{form}": {_FORMS[form]}}}.',
    )


def _no_grid(source: Any, path: str) -> ParameterError:
    return ParameterError(
        "A grid is a mapping of names to values, or a list of such mappings",
        facts={**({"at": path} if path else {}), "got": f"{source!r:.200}"},
        hint='Write {"lr": [0.1, 0.2]}, or the path of a .yaml, .yml, .json or .toml file.',
    )


# ---- files


def _read(path: str) -> Any:
    suffix = os.path.splitext(path)[1].lower()
    load = _LOADERS.get(suffix)
    if load is None:
        raise ParameterError(
            "The name of a grid file says what it is",
            facts={"suffix": suffix or "none", "known": ", ".join(_LOADERS)},
            hint="Rename the file.",
        )
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            "A grid file cannot be read",
            facts={"file": path, "working folder": os.getcwd(), "because": told(error)},
            hint="A relative path starts at the working folder.",
        ) from error
    try:
        return load(text)
    except PipeError:
        raise
    except Exception as error:  # of YAML, of JSON; some constructors raise what they like
        raise ParameterError(
            "A grid file cannot be understood", facts={"because": told(error)}, hint="Correct what it names."
        ) from error


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _yaml(text: str) -> Any:
    yaml = plugins.need("yaml", "A grid in YAML")

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined]
        """As YAML 1.2 has it: 1e-3 is a number, and only true and false are truth values; no name twice."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL or first in "tTfF"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _unique([(self.construct_object(key, deep=True), None) for key, _ in node.value if key.tag != _MERGE])
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _YAML_FLOAT, list("-+0123456789."))
    documents = [one for one in yaml.load_all(text, Loader=Loader) if one is not None]  # "---" at the end begins one
    if len(documents) < 2:
        return documents[0] if documents else None
    return [part for one in documents for part in (one if isinstance(one, list) else [one])]


_LOADERS = {".yaml": _yaml, ".yml": _yaml, ".json": _json, ".toml": _toml}
_BOOL, _MERGE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge"


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ParameterError(
                f"A grid file has the name {key!r} twice in one mapping",
                hint="Put all values into one list, or write a list of grids.",
            )
        found[key] = value
    return found
