"""Plots of sweeps: which form for which parameters, and what the artists show."""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import d6tpipe
from d6tpipe import product, sweep
from d6tpipe.errors import ParameterError, PluginError
from d6tpipe.tables import MetricError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


class Fit(d6tpipe.tasks.TaskPickle):
    model = d6tpipe.Parameter(default="ols")
    lr = d6tpipe.FloatParameter(default=0.5)
    depth = d6tpipe.OptionalIntParameter(default=1)
    seed = d6tpipe.IntParameter(default=0)
    day = d6tpipe.DateParameter(default=datetime.date(2024, 1, 1))
    wait = d6tpipe.TimeDeltaParameter(default=datetime.timedelta(hours=1))

    def run(self) -> None:
        if self.model != "silent":
            endless = math.inf if self.model == "diverges" else score(self)
            self.saveMeta({"score": score(self), "note": "x", "loss": endless})
        self.save(1)


def score(task: Any) -> float:
    return float(round(task.lr * 8 + len(task.model) * 100 + (task.depth or 9) * 10 + task.seed, 6))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    d6tpipe.settings.execution_summary = False
    yield
    plt.close("all")


def built(**axes: Any) -> Any:
    found = sweep(Fit, **axes)
    d6tpipe.run(found)
    return found


def labels(ax: Any) -> tuple[str, str]:
    return ax.get_xlabel(), ax.get_ylabel()


def legend(ax: Any) -> list[str]:
    return [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]


def ticks(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels()]


def test_one_number_is_a_line_with_markers_from_the_smallest_value_on() -> None:
    fits = built(lr=[0.5, 0.25, 0.75])
    ax = fits.plot("score")
    (line,) = ax.get_lines()
    assert [0.25, 0.5, 0.75] == list(line.get_xdata()) and [312.0, 314.0, 316.0] == list(line.get_ydata())
    assert "o" == line.get_marker() and ("lr", "score") == labels(ax) and [] == legend(ax)
    assert "linear" == ax.get_xscale()


def test_numbers_far_apart_get_a_logarithmic_axis() -> None:
    assert "log" == built(lr=[0.001, 0.01, 0.1]).plot("score").get_xscale()
    assert "linear" == built(lr=[0.0, 0.01, 100.0]).plot("score").get_xscale()


def test_one_parameter_that_is_no_number_is_bars_in_the_order_of_the_sweep() -> None:
    ax = built(model=["tree", "ols"]).plot("score")
    assert [414.0, 314.0] == [bar.get_height() for bar in ax.patches] and ["tree", "ols"] == ticks(ax.xaxis)
    assert ("model", "score") == labels(ax)


def test_no_value_among_numbers_is_a_bar_of_its_own() -> None:
    ax = built(depth=[1, None]).plot("score")
    assert ["1", "None"] == ticks(ax.xaxis) and [314.0, 394.0] == [bar.get_height() for bar in ax.patches]


def test_dates_are_a_line_over_time() -> None:
    days = [datetime.date(2024, month, 1) for month in (1, 2, 6)]
    ax = built(day=days).plot("score")
    (line,) = ax.get_lines()
    assert days == [day.astype("M8[D]").item() for day in line.get_xdata()]
    assert "ConciseDateFormatter" == type(ax.xaxis.get_major_formatter()).__name__


def test_durations_are_in_seconds() -> None:
    waits = [datetime.timedelta(minutes=minutes) for minutes in (1, 2, 4)]
    ax = built(wait=waits).plot("score")
    assert [60.0, 120.0, 240.0] == list(ax.get_lines()[0].get_xdata()) and "wait (seconds)" == ax.get_xlabel()
    fits = sweep(Fit, [{"wait": wait, "seed": number} for number, wait in enumerate(waits)])
    d6tpipe.run(fits)
    ax = fits.plot("score", "wait", "seed")
    assert [60.0, 120.0, 240.0] == ax.collections[0].get_offsets()[:, 0].tolist()
    assert ("wait (seconds)", "seed") == labels(ax)


def test_of_many_values_some_are_written_each_where_it_belongs() -> None:
    for ax in (built(model=[f"m{n}" for n in range(70)]).plot("score"),
               built(seed=range(100, 170), model=["a", "b"]).plot("score", x="seed", y="model")):  # fmt: skip
        written = dict(zip(ax.xaxis.get_ticklocs().tolist(), ticks(ax.xaxis), strict=True))
        first = "m" if "m0" in written.values() else "1"
        assert written == {place: f"{first}{place:02d}" if first == "1" else f"m{place}" for place in range(0, 70, 3)}


def test_dollars_are_no_formulas() -> None:
    fits = built(model=[r"^\d+$|\w$", "$x$"], lr=[0.5, 0.25], depth=[1, 2])
    for x, y in ((None, None), ("lr", None), ("model", None), ("lr", "model")):
        fits.plot("score", x, y).figure.canvas.draw()
    assert [r"^\d+\$|\w\$", r"\$x\$"] == ticks(fits.plot("score", "model").xaxis)  # as matplotlib writes dollars


def test_two_parameters_are_a_heat_map_with_its_numbers_written_into_it() -> None:
    ax = built(model=["tree", "ols"], lr=[0.5, 0.25]).plot("score")
    (image,) = ax.images
    assert [[412.0, 312.0], [414.0, 314.0]] == image.get_array().tolist()  # numbers from the smallest on
    assert ("model", "lr") == labels(ax) and ["tree", "ols"] == ticks(ax.xaxis) and ["0.25", "0.5"] == ticks(ax.yaxis)
    assert ["412", "312", "414", "314"] == [text.get_text() for text in ax.texts]
    assert "score" == ax.figure.axes[1].get_ylabel()


def test_the_order_of_x_and_y_is_that_of_the_arguments() -> None:
    fits = built(model=["tree", "ols"], lr=[0.5, 0.25])
    assert ("lr", "model") == labels(fits.plot("score", x="lr", y="model")) == labels(fits.plot("score", y="model"))


def test_a_heat_map_leaves_out_what_was_not_tried_and_averages_what_was_tried_twice() -> None:
    fits = sweep(Fit, [{"model": "a", "lr": 0.5}, {"model": "b", "lr": 0.25}, {"model": "a", "lr": 0.5, "seed": 2}])
    d6tpipe.run(fits)
    ax = fits.plot("score", x="model", y="lr")
    cells = ax.images[0].get_array().tolist()
    assert [[None, 112.0], [115.0, None]] == [[None if math.isnan(v or math.nan) else v for v in row] for row in cells]
    assert "mean score" == ax.figure.axes[1].get_ylabel() and 2 == len(ax.texts)


def test_two_numbers_tried_here_and_there_are_points() -> None:
    fits = sweep(Fit, [{"lr": 0.1 * n + 0.05, "seed": n * n} for n in range(8)])
    d6tpipe.run(fits)
    ax = fits.plot("score")
    (points,) = ax.collections
    assert [n * n for n in range(8)] == points.get_offsets()[:, 1].tolist() and not ax.images
    assert [score(task) for task in fits.tasks] == points.get_array().tolist()


def test_x_alone_draws_a_line_for_each_combination_of_the_rest() -> None:
    ax = built(model=["tree", "ols"], lr=[0.5, 0.25], depth=[1, None]).plot("score", x="lr")
    names = [f"model={model}, depth={depth}" for model in ("tree", "ols") for depth in ("1", "None")]
    assert names == [line.get_label() for line in ax.get_lines()] == legend(ax)
    assert [[412.0, 414.0], [492.0, 494.0], [312.0, 314.0], [392.0, 394.0]] == [
        list(line.get_ydata()) for line in ax.get_lines()
    ]


def test_x_alone_draws_bars_side_by_side() -> None:
    ax = built(model=["tree", "ols"], lr=[0.5, 0.25]).plot("score", x="model")
    assert ["lr=0.5", "lr=0.25"] == legend(ax)
    bars = [(round(bar.get_x() + bar.get_width() / 2, 6), bar.get_height()) for bar in ax.patches]
    assert [(-0.2, 414.0), (0.8, 314.0), (0.2, 412.0), (1.2, 312.0)] == bars


def test_of_many_combinations_the_mean_is_drawn_and_how_far_they_spread() -> None:
    fits = built(lr=[0.5, 0.25], seed=range(20))
    ax = fits.plot("score", x="lr")
    (line,) = ax.get_lines()
    assert [321.5, 323.5] == list(line.get_ydata()) and ["mean over seed", "smallest to largest"] == legend(ax)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (312.0, 333.0) == (band.min(), band.max()) and "mean score" == ax.get_ylabel()
    bars = built(model=["tree", "ols"], seed=range(20)).plot("score", x="model")
    assert [423.5, 323.5] == [bar.get_height() for bar in bars.patches] and "mean score" == bars.get_ylabel()


def test_more_than_two_parameters_are_parallel_coordinates_with_a_line_per_task() -> None:
    fits = built(model=["tree", "ols"], lr=[0.5, 0.25], depth=[1, None])
    ax = fits.plot("score")
    (lines,) = ax.collections
    assert ["model", "lr", "depth", "score"] == ticks(ax.xaxis)
    assert [score(task) for task in fits.tasks] == lines.get_array().tolist()
    paths = np.array(lines.get_segments())
    assert (8, 4) == paths.shape[:2] and (0.0, 1.0) == (paths[:, :, 1].min(), paths[:, :, 1].max())
    first = dict(zip(["model", "lr", "depth", "score"], paths[0, :, 1].tolist(), strict=True))  # tree, 0.5, 1
    assert {"model": 0.0, "lr": 1.0, "depth": 0.0} == {name: first[name] for name in ("model", "lr", "depth")}
    assert {"tree", "ols", "0.25", "0.5", "1", "None"} < {text.get_text() for text in ax.texts}


def test_a_sweep_in_which_nothing_varies_is_a_bar_per_task() -> None:
    fits = sweep(Fit, {"only": {"model": "ols"}})
    d6tpipe.run(fits)
    ax = fits.plot("score")
    assert ["only"] == ticks(ax.xaxis) and [314.0] == [bar.get_height() for bar in ax.patches]


def test_tasks_without_the_metric_are_left_out() -> None:
    ax = built(model=["tree", "silent", "ols"]).plot("score")
    assert ["tree", "ols"] == ticks(ax.xaxis)


@pytest.mark.filterwarnings("error")
def test_infinite_numbers_are_left_out() -> None:
    fits = built(model=["tree", "diverges", "ols"], lr=[0.5, 0.25], seed=[0, 1])
    (lines,) = fits.plot("loss").collections
    assert 8 == len(lines.get_segments()) and np.isfinite(np.array(lines.get_segments())).all()
    assert ["tree", "ols"] == ticks(fits.plot("loss", x="model", y="lr").xaxis)
    with pytest.raises(MetricError, match=r"No task has a finite number.*\n.*1 infinite, 1 without"):
        built(model=["diverges", "silent"]).plot("loss")
    ax = built(model=["a", "b"], lr=[0.5, math.inf], seed=[0, 1]).plot("seconds")
    assert "inf" in {text.get_text() for text in ax.texts}


def test_what_is_drawn_goes_where_it_is_told_to() -> None:
    _, (left, right) = plt.subplots(1, 2)
    assert built(lr=[0.5, 0.25]).plot("score", ax=right) is right
    assert not left.get_lines() and 1 == len(right.get_lines())


def test_durations_can_be_drawn() -> None:
    assert 2 == len(built(lr=[0.5, 0.25]).plot("seconds").get_lines()[0].get_ydata())


def test_a_task_as_a_value_is_shown_by_its_id() -> None:
    class Uses(d6tpipe.tasks.TaskPickle):
        data = d6tpipe.TaskInstanceParameter(Fit)

        def run(self) -> None:
            self.saveMeta({"score": self.data.lr})
            self.save(1)

    data = sweep(Fit, {"north": {"lr": 0.5}, "south": {"lr": 0.25}})
    used = sweep(Uses, product(data=data))
    d6tpipe.run(used)
    assert ["north", "south"] == ticks(used.plot("score").xaxis)


def test_wrong_names_are_errors_and_leave_no_figure() -> None:
    fits = built(lr=[0.5, 0.25])
    with pytest.raises(MetricError, match="Did you mean 'score'"):
        fits.plot("scor")
    with pytest.raises(MetricError, match="No task has a number"):
        fits.plot("note")
    with pytest.raises(ParameterError, match="no parameter or tag 'learning'"):
        fits.plot("score", x="learning")
    with pytest.raises(ParameterError, match="x and y are both 'lr'"):
        fits.plot("score", x="lr", y="lr")
    assert [] == plt.get_fignums()


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = built(lr=[0.5, 0.25])
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PluginError, match=r"needs the package matplotlib.*\n.*pip install d6tpipe\[plots\]"):
        fits.plot("score")
