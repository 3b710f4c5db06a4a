"""A metric of many tasks drawn over the parameters that vary: lines, bars, heat maps, parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from d6tpipe import plugins
from d6tpipe.errors import ParameterError
from d6tpipe.tables import MetricError, Results, cell_text, crossed, gathered

__all__ = ["plot"]

_MOST_LINES = 12  # of more the mean is drawn, and how far they spread
_MOST_CELLS = 100  # up to so many have their number written into them
_MOST_TICKS = 30  # values on an axis that are written out
_WIDE = 100.0  # largest over smallest from which on a logarithmic axis shows more


def plot(tasks: Mapping[Any, Any], metric: str, x: str | None = None, y: str | None = None, ax: Any = None) -> Any:
    """Draw a metric of tasks over parameters; return matplotlib's Axes.

    Parameters
    ----------
    tasks : mapping of id to task, a sweep for one
    metric : str
        A number among the metadata, or ``seconds``. Tasks that have none, or an infinite one, are left out.
    x, y : str, optional
        Parameters or tags. Only `x`: a line where it is a number or a date, else bars; one for each combination of what
        else varies if these are few, else their mean. Both: a heat map, or coloured points where most of the
        combinations were not tried. Neither: what varies decides. One parameter: as if it were `x`. Two: as if they
        were `x` and `y`. More: parallel coordinates, a line per task. None: a bar per task.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    MetricError
        No task has a number for the metric, or only infinite ones.
    ParameterError
        There is no such parameter.
    PluginError
        matplotlib is not installed.
    """
    plt = plugins.need("matplotlib.pyplot", "A plot of a sweep")
    found = gathered(tasks)
    numbers = found.numbers(metric)
    known = numbers.map(isfinite).to_numpy(dtype=bool)
    if not known.any():
        raise MetricError(
            f"No task has a finite number for the metric {metric!r}",
            facts={"tasks": f"{int(numbers.notna().sum())} infinite, {int(numbers.isna().sum())} without one"},
            hint="Draw another metric, or save a finite number.",
        )
    found = Results(found.frame[known], found.parameters, found.metrics)
    numbers = numbers[known].reset_index(drop=True)
    varying = found.varying()
    chosen = [found.columns(name)[0] for name in (x, y) if name is not None]
    if len(chosen) > len(set(chosen)):
        raise ParameterError(f"x and y are both '{x}'", facts={"varying": ", ".join(varying) or "none"}, hint="Drop y.")
    if not chosen and len(varying) <= 2:
        chosen = varying
    elif x is None and y is not None:
        chosen = [*[name for name in varying if name not in chosen][:1], *chosen]
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    if len(chosen) == 2:
        _draw_map(ax, found, numbers, metric, *chosen)
    elif chosen:
        _draw_over(ax, found, numbers, metric, chosen[0], [name for name in varying if name != chosen[0]])
    elif varying:
        _draw_parallel(ax, found, numbers, metric, varying)
    else:
        _bars(ax, [str(name) for name in found.frame.index], {"": list(numbers)})
        ax.set_ylabel(metric)
    return ax


# ---- over one parameter


def _draw_over(ax: Any, found: Results, numbers: Any, metric: str, x: str, others: Sequence[str]) -> None:
    """Draw lines, or bars, over one parameter: one for each combination of the values of others, or their mean."""
    ordered = found.is_numeric(x)
    several = crossed(found.frame, numbers, [x], others, metric)
    if ordered:
        several = several.sort_index()
    one_each = not found.frame.duplicated([x, *others]).any()
    if len(several.columns) <= _MOST_LINES:
        label = metric if one_each else f"mean {metric}"
        drawn = {_named(others, column): list(several[column]) for column in several.columns}
        spread = None
    else:
        label = f"mean {metric}"
        grouped = numbers.groupby(found.frame[x].to_numpy(), sort=False, dropna=False)
        whole = grouped.agg(["mean", "min", "max"])
        whole = whole.sort_index() if ordered else whole
        drawn = {f"mean over {', '.join(others)}": list(whole["mean"])}
        spread = (whole["min"].to_numpy(), whole["max"].to_numpy())
    if ordered:
        kind = several.index.dtype.kind
        places = several.index.total_seconds().to_numpy() if kind == "m" else several.index.to_numpy()
        for name, values in drawn.items():
            there = [number for number, value in enumerate(values) if value == value]
            ax.plot(places[there], [values[number] for number in there], marker="o", label=name)
        if spread is not None:
            ax.fill_between(places, *spread, alpha=0.2, label="smallest to largest")
        if kind == "M":
            dates = plugins.need("matplotlib.dates", "A plot of a sweep")
            locator = dates.AutoDateLocator()
            ax.xaxis.set_major_locator(locator)
            ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
        elif _is_wide(places):
            ax.set_xscale("log")
    else:
        error = None if spread is None else _error_bars(drawn, spread)
        _bars(ax, _texts(several.index), drawn, error)
    ax.set_xlabel(_axis_name(found, x) if ordered else x)
    ax.set_ylabel(label)
    if len(drawn) > 1 or spread is not None:
        ax.legend()


def _named(names: Sequence[str], values: Any) -> str:
    if not names:
        return ""
    values = values if isinstance(values, tuple) else (values,)
    return ", ".join([f"{name}={text}" for name, text in zip(names, _texts(values), strict=True)])


def _axis_name(found: Results, column: str) -> str:
    """Return what is written at an axis on which numbers have their places; durations are in seconds there."""
    return f"{column} (seconds)" if found.frame[column].dtype.kind == "m" else column


def _error_bars(drawn: Mapping[str, list[float]], spread: tuple[Any, Any]) -> Any:
    (means,) = drawn.values()
    return [[mean - low for mean, low in zip(means, spread[0], strict=True)],
            [high - mean for mean, high in zip(means, spread[1], strict=True)]]  # fmt: skip


def _bars(ax: Any, names: Sequence[str], groups: Mapping[str, list[float]], error: Any = None) -> None:
    """Draw groups of bars, side by side for each name."""
    width = 0.8 / len(groups)
    for number, (label, heights) in enumerate(groups.items()):
        places = [place + (number - (len(groups) - 1) / 2) * width for place in range(len(names))]
        ax.bar(places, heights, width, label=label, yerr=error)
    _write_ticks(ax.xaxis, names)


# ---- over two


def _draw_map(ax: Any, found: Results, numbers: Any, metric: str, x: str, y: str) -> None:
    """Draw a heat map; or points, where both parameters are numbers and most combinations were not tried."""
    one_each = not found.frame.duplicated([x, y]).any()
    label = metric if one_each else f"mean {metric}"
    cells = crossed(found.frame, numbers, [y], [x], metric)
    if found.is_numeric(x) and found.is_numeric(y) and cells.notna().to_numpy().mean() < 0.5:
        places = []
        for column, scale in ((x, ax.set_xscale), (y, ax.set_yscale)):
            values = found.frame[column]
            values = values.dt.total_seconds() if values.dtype.kind == "m" else values
            if values.dtype.kind != "M" and _is_wide(values):
                scale("log")
            places.append(values.to_numpy())
        drawn = ax.scatter(*places, c=numbers.to_numpy())
        label = metric
        x, y = _axis_name(found, x), _axis_name(found, y)
    else:
        cells = cells.sort_index() if found.is_numeric(y) else cells
        cells = cells.sort_index(axis="columns") if found.is_numeric(x) else cells
        values = cells.to_numpy()
        drawn = ax.imshow(values, aspect="auto", origin="lower" if found.is_numeric(y) else "upper")
        _write_ticks(ax.xaxis, _texts(cells.columns))
        _write_ticks(ax.yaxis, _texts(cells.index), level=True)
        if values.size <= _MOST_CELLS:
            _write_numbers(ax, drawn, values)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.figure.colorbar(drawn, ax=ax, label=label)


def _write_numbers(ax: Any, image: Any, values: Any) -> None:
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if isfinite(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                ax.text(column, row, f"{value:.3g}", ha="center", va="center", color="white" if dark else "black")


# ---- over many


def _draw_parallel(ax: Any, found: Results, numbers: Any, metric: str, varying: Sequence[str]) -> None:
    """Draw a line per task through its values, one axis for each parameter and the last for the metric."""
    import numpy as np

    collections = plugins.need("matplotlib.collections", "A plot of a sweep")
    heights = []
    for place, column in enumerate([*varying, None]):
        values = numbers if column is None else found.frame[column]
        if column is None or (found.is_numeric(column) and _is_finite(values)):
            height, ticks = _scaled(values)
        else:
            height, ticks = _spaced(values)
        heights.append(height)
        ax.axvline(place, color="0.6", linewidth=0.8, zorder=0)
        for at, text in ticks:
            ax.annotate(text, (place, at), (4, 0), textcoords="offset points", va="center", fontsize="small")
    points = np.stack([np.tile(np.arange(len(heights)), (len(numbers), 1)), np.array(heights).T], axis=2)
    lines = collections.LineCollection(points, array=numbers.to_numpy(), alpha=0.8)
    ax.add_collection(lines)
    ax.set_xlim(-0.2, len(varying) + 0.4)
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([])
    ax.set_xticks(range(len(heights)), [*varying, metric])
    ax.figure.colorbar(lines, ax=ax, label=metric)


def _is_finite(values: Any) -> bool:
    return values.dtype.kind in "mM" or all(map(isfinite, values))


def _scaled(values: Any) -> tuple[Any, list[tuple[float, str]]]:
    """Return numbers or dates between 0 and 1, and what is written where."""
    import numpy as np

    numbers = np.asarray(values)
    if numbers.dtype.kind in "mM":
        numbers = numbers.astype("int64")
    numbers = numbers.astype("float64")
    if _is_wide(numbers):
        numbers = np.log(numbers)
    low, high = numbers.min(), numbers.max()
    heights = (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)
    told = {round(float(height), 6): text for height, text in zip(heights, _texts(values), strict=True)}
    if len(told) > 8:
        told = {at: text for at, text in told.items() if at in (0.0, 1.0)}
    return heights, sorted(told.items())


def _spaced(values: Any) -> tuple[Any, list[tuple[float, str]]]:
    """Return what is no number between 0 and 1, in the order in which it comes up, and what is written where."""
    texts = _texts(values)
    places = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    last = max(len(places) - 1, 1)
    ticks = [(number / last, text) for text, number in places.items()] if len(places) <= _MOST_TICKS else []
    return [places[text] / last for text in texts], ticks


# ---- axes


def _is_wide(values: Any) -> bool:
    """Return whether numbers are so far apart that a logarithmic axis shows more."""
    several = set(map(float, values))
    return len(several) > 2 and min(several) > 0 and max(several) / min(several) >= _WIDE


def _texts(values: Any) -> list[str]:
    """Return values as they are written; a dollar is one, and does not begin a formula."""
    return [cell_text(value, "None").replace("$", r"\$") for value in values]


def _write_ticks(axis: Any, names: Sequence[str], level: bool = False) -> None:
    """Write names at 0, 1, 2 ...; of many, some at equal distances."""
    step = -(-len(names) // _MOST_TICKS)  # rounded up
    some = names[::step] if step else names
    slanted = not level and sum(map(len, some)) > 50
    axis.set_ticks(range(0, len(names), step or 1), some, **({"rotation": 30, "ha": "right"} if slanted else {}))
