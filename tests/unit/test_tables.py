"""The table of many tasks: columns, types, states, metrics; the best of them; pivots; questions that change nothing."""

from __future__ import annotations

import datetime
import enum
import math
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pandas as pd
import pytest

import d6tpipe
from d6tpipe import product, sweep
from d6tpipe.errors import ParameterError, StorageError
from d6tpipe.examiner import Examiner, store_of
from d6tpipe.tables import MetricError, cell_text, table


class Prepare(d6tpipe.tasks.TaskPickle):
    subset = d6tpipe.Parameter()
    rows = d6tpipe.IntParameter(default=4)

    def run(self) -> None:
        self.save(self.rows)


class Fit(d6tpipe.tasks.TaskPickle):
    model = d6tpipe.Parameter(default="ols")
    lr = d6tpipe.FloatParameter(default=0.1)
    depth = d6tpipe.OptionalIntParameter(default=1)
    threads = d6tpipe.IntParameter(default=1, significant=False)

    def run(self) -> None:
        self.saveMeta(SAVED.get(self.model, {"score": self.lr * 10, "loss": {"train": 1, "test": 2.5}}))
        if self.model == "broken":
            raise ValueError("no")
        self.save(self.model)


SAVED: dict[str, Any] = {}


class Colour(enum.Enum):
    RED = 1


@pytest.fixture(autouse=True)
def quiet() -> None:
    d6tpipe.settings.execution_summary = False
    SAVED.clear()


def built(tasks: Any) -> Any:
    d6tpipe.run(tasks, abort=False)
    return tasks


def with_metadata(**saved: Any) -> pd.DataFrame:
    """Return the table of built tasks that have saved these metadata, one of each name."""
    SAVED.update(saved)
    return built(sweep(Fit, model=list(saved))).table()


# ---- columns


def test_rows_are_the_ids_in_order_and_columns_parameters_metrics_state_and_duration() -> None:
    fits = built(sweep(Fit, product(model=["ols", "gbm"], lr=[0.5, 0.25]), id="{model}_{lr}"))
    found = fits.table()
    assert list(found.index) == ["ols_0.5", "ols_0.25", "gbm_0.5", "gbm_0.25"] and found.index.name == "id"
    columns = ["model", "lr", "depth", "score", "loss.train", "loss.test", "state", "seconds"]
    assert columns == list(found.columns)
    assert [5.0, 2.5, 5.0, 2.5] == found["score"].tolist() and {"fresh"} == set(found["state"])
    assert (found["seconds"] > 0).all()


def test_what_is_not_built_has_a_row_without_metrics() -> None:
    found = sweep(Fit, lr=[0.5, 0.25]).table()
    assert ["model", "lr", "depth", "state", "seconds"] == list(found.columns)
    assert ["missing", "missing"] == found["state"].tolist() and found["seconds"].isna().all()


def test_a_sweep_without_tasks_is_an_empty_table() -> None:
    found = sweep(Fit, {}).table()
    assert (0, ["state", "seconds"]) == (len(found), list(found.columns))


def test_values_have_their_own_types() -> None:
    class Typed(d6tpipe.tasks.TaskPickle):
        number = d6tpipe.IntParameter(default=3)
        share = d6tpipe.FloatParameter(default=0.5)
        flag = d6tpipe.BoolParameter()
        day = d6tpipe.DateParameter(default=datetime.date(2024, 2, 29))
        month = d6tpipe.MonthParameter(default=datetime.date(2024, 2, 1))
        hour = d6tpipe.DateHourParameter(default=datetime.datetime(2024, 2, 29, 5))
        wait = d6tpipe.TimeDeltaParameter(default=datetime.timedelta(hours=1))
        colour = d6tpipe.EnumParameter(enum=Colour, default=Colour.RED)
        sizes = d6tpipe.ListParameter(default=[1, 2])
        options = d6tpipe.DictParameter(default={"a": 1})
        place = d6tpipe.PathParameter(default="x/y")

    row = sweep(Typed, number=[3]).table()
    kinds = {name: row[name].dtype.kind for name in row.columns}
    assert {"number": "i", "share": "f", "flag": "b", "day": "M", "month": "M", "hour": "M", "wait": "m"} == {
        name: kind
        for name, kind in kinds.items()
        if name in {"number", "share", "flag", "day", "month", "hour", "wait"}
    }
    assert pd.Timestamp(2024, 2, 29, 5) == row["hour"].iloc[0] and pd.Timestamp(2024, 2, 29) == row["day"].iloc[0]
    assert ["RED", "[1, 2]", '{"a": 1}', "x/y"] == row[["colour", "sizes", "options", "place"]].iloc[0].tolist()


def test_a_date_that_pandas_cannot_hold_stays_what_it_is() -> None:
    class Old(d6tpipe.tasks.TaskPickle):
        day = d6tpipe.DateParameter()

    days = [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]
    assert [str(day) for day in days] == [str(day)[:10] for day in sweep(Old, day=days).table()["day"]]


def test_a_missing_number_among_whole_ones_leaves_them_whole() -> None:
    found = sweep(Fit, depth=[1, None, 3]).table()
    assert "Int64" == found["depth"].dtype and [1, pd.NA, 3] == found["depth"].tolist()


def test_numbers_beyond_what_pandas_holds_do_not_hurt() -> None:
    assert [2**80, 1] == sweep(Fit, depth=[2**80, 1]).table()["depth"].tolist()


def test_insignificant_and_private_parameters_are_left_out() -> None:
    class Secret(d6tpipe.tasks.TaskPickle):
        key = d6tpipe.Parameter(default="x", visibility=d6tpipe.ParameterVisibility.PRIVATE)
        name = d6tpipe.Parameter(default="y")
        threads = d6tpipe.IntParameter(default=1, significant=False)

    assert ["name", "state", "seconds"] == list(table({"a": Secret()}).columns)


def test_a_task_as_a_value_is_told_by_its_id_or_else_written_out() -> None:
    class Uses(d6tpipe.tasks.TaskPickle):
        data = d6tpipe.TaskInstanceParameter(Prepare)

    prepared = sweep(Prepare, {"north": {"subset": "n"}, "south": {"subset": "s"}})
    tasks = {**sweep(Uses, data=prepared), "other": Uses(data=Prepare(subset="w"))}
    assert ["north", "south", "Prepare(subset='w', rows=4)"] == table(tasks)["data"].tolist()


def test_two_tasks_with_one_id_are_told_apart() -> None:
    class Uses(d6tpipe.tasks.TaskPickle):
        data = d6tpipe.TaskInstanceParameter(Prepare)

    one, other = sweep(Prepare, {"a": {"subset": "n"}}), sweep(Prepare, {"a": {"subset": "s"}})
    assert 2 == table({"x": Uses(data=one["a"]), "y": Uses(data=other["a"])})["data"].nunique()


def test_tasks_of_several_classes_have_the_parameters_of_all() -> None:
    found = (sweep(Prepare, {"p": {"subset": "n"}}) + sweep(Fit, {"f": {"model": "m"}})).table()
    assert ["subset", "rows", "model", "lr", "depth", "state", "seconds"] == list(found.columns)
    assert [4, pd.NA] == found["rows"].tolist() and math.isnan(found.loc["p", "lr"])
    assert "m" == found.loc["f", "model"] and pd.isna(found.loc["f", "subset"])


def test_plain_luigi_tasks_have_rows_too() -> None:
    class Plain(luigi.Task):
        n = luigi.IntParameter()

        def output(self) -> Any:
            return luigi.LocalTarget(f"plain{self.n}")

    Path("plain1").write_text("x")
    found = table({"a": Plain(n=1), "b": Plain(n=2)})
    assert [1, 2] == found["n"].tolist() and "missing" == found.loc["b", "state"] != found.loc["a", "state"]


def test_tags_that_are_no_parameter_are_columns() -> None:
    class Tagged(d6tpipe.tasks.TaskPickle):
        lr = d6tpipe.FloatParameter()
        threads = d6tpipe.IntParameter(default=1, significant=False)

    varied = sweep(Tagged, [{"lr": 0.5, "threads": 2}, {"lr": 0.25}])
    found = varied.table()
    assert ["lr", "threads", "state", "seconds"] == list(found.columns)
    assert [2, pd.NA] == found["threads"].tolist()


def test_dotted_names_of_a_sweep_are_columns() -> None:
    class Uses(d6tpipe.tasks.TaskPickle):
        data = d6tpipe.TaskInstanceParameter(Prepare)

    points = product(**{"data.rows": [10, 20]})
    found = sweep(Uses, points, common={"data": Prepare(subset="n")}).table()
    assert [10, 20] == found["data.rows"].tolist() and "i" == found["data.rows"].dtype.kind


def test_names_that_collide_say_what_they_are() -> None:
    class Odd(d6tpipe.tasks.TaskPickle):
        state = d6tpipe.Parameter()
        id = d6tpipe.Parameter(default="i")
        parameter_state = d6tpipe.Parameter(default="p")

        def run(self) -> None:
            self.saveMeta({"state": 1, "seconds": 2, "parameter_state": 3})
            self.save(1)

    found = built(sweep(Odd, state=["on"])).table()
    assert [
        "parameter_parameter_state", "parameter_id", "parameter_state", "metric_state", "metric_seconds",
        "metric_parameter_state", "state", "seconds",
    ] == list(found.columns)  # fmt: skip
    assert ["on", "i", "p", 1, 2, 3, "fresh"] == found.iloc[0].tolist()[:-1]


# ---- metrics


def test_numbers_texts_and_truth_values_are_metrics_and_the_rest_is_not() -> None:
    found = with_metadata(
        a={
            "whole": np.int64(3), "real": np.float32(0.5), "part": Fraction(1, 4), "flag": np.bool_(True), "note": "x",
            "day": datetime.date(2024, 1, 1), "zero": np.array(7), "list": [1, 2], "frame": pd.DataFrame({"x": [1]}),
            "array": np.array([1, 2]), "none": None, "object": object, 5: 6,
        }
    )  # fmt: skip
    metrics = list(found.columns)[3:-2]
    assert ["whole", "real", "part", "flag", "note", "day", "zero", "5"] == metrics
    assert [3, 0.5, 0.25, True, "x", pd.Timestamp(2024, 1, 1), 7, 6] == found.iloc[0].tolist()[3:-2]
    assert "ifbi" == "".join(found[name].dtype.kind for name in ("whole", "real", "flag", "5"))


def test_metadata_of_other_shapes_give_what_they_hold() -> None:
    found = with_metadata(
        bare=0.5, listed=[1, 2], nothing={}, nested={"a": {"b": {"c": 1}}, "x": 1}, mixed={"a": 2, "x": "text"}
    )
    assert ["metadata", "a", "a.b.c", "x"] == list(found.columns)[3:-2]
    assert (0.5, 1, 1, 2) == tuple(
        found.at[f"model={name}", column]
        for name, column in (("bare", "metadata"), ("nested", "a.b.c"), ("nested", "x"), ("mixed", "a"))
    )
    assert found.loc["model=listed"].iloc[3:-2].isna().all() and found.loc["model=nothing"].iloc[3:-2].isna().all()


def test_names_of_metadata_with_equal_text_are_two_columns() -> None:
    found = with_metadata(a={5: 1, "5": 2}, b={"5": 3, 5: 4}, c={"x": {"y": 5}, "x.y": 6})
    assert ["5", "metric_5", "x.y", "metric_x.y"] == list(found.columns)[3:-2]
    assert [[1, 2], [3, 4]] == found[["5", "metric_5"]].values.tolist()[:2]
    assert [5, 6] == found[["x.y", "metric_x.y"]].values.tolist()[2]


def test_metadata_that_hold_themselves_end() -> None:
    endless: dict[str, Any] = {"n": 1}
    endless["self"] = endless
    assert 1 == with_metadata(a=endless)["self.self.n"].iloc[0]


def test_a_metric_that_some_lack_is_nan_there() -> None:
    found = with_metadata(a={"n": 1, "flag": True}, b={})
    assert "float64" == found["n"].dtype and [1.0, True] == [found["n"].iloc[0], found["flag"].iloc[0]]
    assert found[["n", "flag"]].iloc[1].isna().all()


def test_more_metrics_than_a_table_can_hold_are_left_out_with_a_warning() -> None:
    SAVED["a"] = {f"m{number}": number for number in range(1005)}
    with pytest.warns(UserWarning, match="more than 1000 names; 5 are left out"):
        found = built(sweep(Fit, model=["a"])).table()
    assert 1000 + 5 == len(found.columns)


def test_metadata_that_cannot_be_read_cost_a_warning_and_not_the_table() -> None:
    fits = built(sweep(Fit, lr=[0.5, 0.25, 0.125]))
    for task in fits.tasks[:2]:
        Path(task._meta_path()).write_bytes(b"no pickle")
    with pytest.warns(UserWarning, match=r"Metadata of .*lr=0.5\] cannot be read, and those of 1 more tasks"):
        scores = fits.table()["score"].tolist()
    assert [True, True, False] == [math.isnan(score) for score in scores]


def test_metadata_without_outputs_are_not_shown() -> None:
    """A body saves them first, so that they may be of an attempt that has not come to its end."""
    SAVED["broken"] = {"score": 99.0}
    fits = built(sweep(Fit, model=["broken", "fine", "gone"]))
    fits["model=gone"].reset(confirm=False)
    found = fits.table()
    assert ["failed", "fresh", "missing"] == found["state"].tolist()
    assert [True, False, True] == found["score"].isna().tolist()


def test_metadata_of_a_failed_attempt_do_not_pass_for_those_of_the_outputs_before() -> None:
    fits = built(sweep(Fit, model=["broken_later"]))
    (task,) = fits.tasks
    path = Path(task._meta_path())
    record = store_of(task).records.get(task.task_id)
    assert record is not None and path.exists()
    record.stage = "failed"
    store_of(task).records.write([record])
    assert "score" not in fits.table().columns


@pytest.mark.parametrize("count", [1, 20])
def test_metadata_that_no_record_speaks_of_are_found(count: int) -> None:
    class Quiet(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter()

        def run(self) -> None:
            self.save(self.n)

    tasks = built(sweep(Quiet, n=range(count)))
    tasks.tasks[0].saveMeta({"score": 1.0})
    assert 1.0 == tasks.table()["score"].iloc[0] and count - 1 == tasks.table()["score"].isna().sum()
    d6tpipe.forget(list(tasks.tasks))
    assert 1.0 == tasks.table()["score"].iloc[0]


def test_metadata_are_found_wherever_a_class_keeps_them() -> None:
    class Long(d6tpipe.tasks.TaskPickle):
        text = d6tpipe.Parameter()
        more = d6tpipe.Parameter(default="y" * 60)
        still = d6tpipe.Parameter(default="z" * 60)
        target_dir = "elsewhere"

        def run(self) -> None:
            self.saveMeta({"size": len(self.text)})
            self.save(1)

    class Bare(Long):
        save_attrib = False

    class Spaced(Long):
        task_namespace = "some.where"

    class Cached(d6tpipe.tasks.TaskCache):
        text = d6tpipe.Parameter()

        def run(self) -> None:
            self.saveMeta({"size": len(self.text)})
            self.save(1)

    texts = ["a", "b" * 64, "ü" * 64, "c" * 300]
    for cls in (Long, Spaced, Cached):
        assert [1, 64, 64, 300] == built(sweep(cls, text=texts)).table()["size"].tolist(), cls
    assert [5] == built(sweep(Bare, text=["12345"])).table()["size"].tolist()


def test_large_metadata_are_read_whole() -> None:
    assert 1 == with_metadata(a={"list": list(range(200_000)), "n": 1})["n"].iloc[0]


# ---- states and durations


def test_states_are_those_of_the_records() -> None:
    fits = built(sweep(Fit, model=["a", "b", "broken", "d"]))
    Path(fits["model=b"].outputPath()).write_bytes(b"edited")
    fits["model=d"].reset(confirm=False)
    assert ["fresh", "stale", "failed", "missing"] == fits.table()["state"].tolist()


def test_what_was_accepted_has_no_duration() -> None:
    fits = built(sweep(Fit, model=["a", "b"]))
    d6tpipe.forget(fits["model=a"])
    d6tpipe.accept(fits["model=a"])
    seconds = fits.table()["seconds"]
    assert math.isnan(seconds.iloc[0]) and seconds.iloc[1] > 0


def test_a_table_writes_nothing() -> None:
    fits = sweep(Fit, model=["a", "b"])
    fits.table()
    assert not os.path.exists(d6tpipe.settings.dirpath)
    built(fits)
    look: Callable[[], Any] = lambda: {  # noqa: E731
        path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(d6tpipe.settings.dirpath).rglob("*")
    }
    before = look()
    fits.table(), fits.best("score"), fits.pivot("score")
    assert before == look()


# ---- the best


def test_the_best_has_the_largest_or_the_smallest_value_and_of_equal_ones_is_the_first() -> None:
    fits = built(sweep(Fit, {name: {"lr": lr} for name, lr in zip("abcd", (0.25, 0.5, 0.125, 0.375), strict=True)}))
    assert fits.best("score") is fits["b"] and fits.best("score", largest=False) is fits["c"]
    assert fits.best("loss.test") is fits["a"]


def test_nan_and_missing_do_not_count_for_the_best() -> None:
    SAVED.update(a={"score": math.nan}, b={"score": -1.0}, c={}, d={"score": None}, e={"score": "high"})
    fits = built(sweep(Fit, model=list("abcde")))
    fits.tasks.append(Fit(model="f"))
    assert fits.best("score") is fits["model=b"] is fits.best("score", largest=False)


def test_the_quickest_is_the_best_of_seconds() -> None:
    fits = built(sweep(Fit, model=["a", "b"]))
    seconds = fits.table()["seconds"]
    assert fits.best("seconds", largest=False) is fits[seconds.idxmin()]


def test_a_metric_called_like_a_parameter_is_meant_before_it() -> None:
    SAVED.update(a={"lr": 1.0}, b={"lr": 2.0})
    fits = built(sweep(Fit, model=["a", "b"]))
    assert fits.best("lr") is fits["model=b"] is fits.best("metric_lr")


def test_an_unknown_metric_is_an_error_that_names_the_known_ones() -> None:
    fits = built(sweep(Fit, lr=[0.5, 0.25]))
    with pytest.raises(MetricError) as caught:
        fits.best("scrore")
    assert str(caught.value) == (
        "No task has a metric 'scrore'\n"
        "  metrics  score, loss.train, loss.test\n"
        "  tasks    2 fresh\n"
        "Did you mean 'score'?"
    )


def test_a_metric_that_nobody_has_is_an_error_that_says_how_to_get_one() -> None:
    with pytest.raises(MetricError) as caught:
        sweep(Fit, lr=[0.5, 0.25]).best("score")
    assert "2 missing" in str(caught.value) and "run the tasks first" in str(caught.value)


def test_a_metric_without_numbers_is_an_error_that_shows_what_it_holds() -> None:
    SAVED.update(a={"note": "x", "nan": math.nan}, b={"note": "y", "nan": math.nan})
    fits = built(sweep(Fit, model=["a", "b"]))
    with pytest.raises(MetricError, match=r"No task has a number for the metric 'note'\n.*'x', 'y'"):
        fits.best("note")
    with pytest.raises(MetricError, match="No task has a number for the metric 'nan'\n"):
        fits.best("nan")


# ---- pivots


def test_two_parameters_that_vary_are_rows_and_columns_in_the_order_of_the_sweep() -> None:
    found = built(sweep(Fit, model=["ols", "gbm"], lr=[0.5, 0.25])).pivot("score")
    assert ["ols", "gbm"] == list(found.index) and [0.5, 0.25] == list(found.columns)
    assert ("model", "lr") == (found.index.name, found.columns.name)
    assert [[5.0, 2.5], [5.0, 2.5]] == found.values.tolist()


def test_one_parameter_is_rows_and_more_than_two_are_rows_of_all_but_the_last() -> None:
    one = built(sweep(Fit, lr=[0.5, 0.25])).pivot("score")
    assert (["score"], [5.0, 2.5]) == (list(one.columns), one["score"].tolist())
    three = built(sweep(Fit, model=["a", "b"], lr=[0.5, 0.25], depth=[1, 2])).pivot("score")
    assert ["model", "lr"] == three.index.names and "depth" == three.columns.name and (4, 2) == three.shape


def test_rows_and_columns_may_be_said_and_several_tasks_of_a_cell_are_averaged() -> None:
    fits = built(sweep(Fit, model=["a", "b"], lr=[0.5, 0.25], depth=[1, None]))
    assert [3.75, 3.75] == fits.pivot("score", rows="model")["score"].tolist()
    assert [5.0, 5.0] == fits.pivot("score", rows="model", aggregate="max")["score"].tolist()
    found = fits.pivot("score", columns="lr")
    assert ["model", "depth"] == found.index.names and [0.5, 0.25] == list(found.columns)
    assert (2, 4) == fits.pivot("score", rows="lr", columns=["model", "depth"]).shape


def test_no_value_is_a_value_of_a_pivot() -> None:
    found = built(sweep(Fit, depth=[1, None])).pivot("score")
    assert 2 == len(found) and found["score"].notna().all()


def test_combinations_that_were_not_tried_and_tasks_without_the_metric_are_nan() -> None:
    SAVED["none"] = {}
    fits = built(sweep(Fit, [{"model": "a", "lr": 0.5}, {"model": "b", "lr": 0.25}, {"model": "none", "lr": 0.5}]))
    assert [[5.0, math.nan], [math.nan, 2.5], [math.nan, math.nan]] == [
        [pytest.approx(value, nan_ok=True) for value in row] for row in fits.pivot("score", "model", "lr").values
    ]


def test_a_task_and_a_parameter_of_it_count_as_one_thing_that_varies() -> None:
    class Uses(d6tpipe.tasks.TaskPickle):
        data = d6tpipe.TaskInstanceParameter(Prepare)
        model = d6tpipe.Parameter()

        def run(self) -> None:
            self.saveMeta({"score": self.data.rows})
            self.save(1)

    points = product(**{"data.rows": [10, 20], "model": ["a", "b"]})
    found = built(sweep(Uses, points, common={"data": Prepare(subset="n")})).pivot("score")
    assert {"model", "data.rows"} == {found.index.name, found.columns.name} and 10 == found.values.min()


def test_wrong_names_of_a_pivot_are_errors() -> None:
    fits = built(sweep(Fit, model=["a", "b"], lr=[0.5, 0.25]))
    with pytest.raises(ParameterError, match=r"no parameter or tag 'modl'\n.*model, lr, depth\nDid you mean 'model'"):
        fits.pivot("score", rows="modl")
    with pytest.raises(ParameterError, match="'lr' cannot be both rows and columns"):
        fits.pivot("score", rows="lr", columns=["model", "lr"])


# ---- elsewhere


def test_flows_are_rows_of_the_same_table() -> None:
    flows = d6tpipe.WorkflowMulti(Fit, {"small": {"lr": 0.5}, "large": {"lr": 0.25}})
    flows.run()
    found = flows.table()
    assert "flow" == found.index.name and ["small", "large"] == list(found.index)
    assert list(sweep(Fit, lr=[0.5, 0.25]).table().columns) == list(found.columns)
    assert [5.0, 2.5] == found["score"].tolist()
    assert ["n", "n"] == d6tpipe.WorkflowMulti(Fit, [{"subset": "n"}] * 2).table(Prepare)["subset"].tolist()


def test_cells_as_text() -> None:
    values = [
        None,
        pd.NA,
        math.nan,
        pd.NaT,
        1,
        0.123456,
        True,
        "x",
        pd.Timestamp(2024, 1, 2),
        pd.Timestamp(2024, 1, 2, 3),
    ]
    assert ["", "", "", "", "1", "0.1235", "True", "x", "2024-01-02", "2024-01-02 03:00:00"] == list(
        map(cell_text, values)
    )


@pytest.mark.slow
def test_a_table_of_many_tasks_takes_no_longer_than_judging_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not changed since it was built is judged by its seal; no record is read by itself."""
    count = 4_000
    fits = built(sweep(Fit, product(lr=[number / 1000 for number in range(200)], depth=range(count // 200))))
    fits.table()
    looks = []
    close_look = Examiner.examine
    monkeypatch.setattr(Examiner, "examine", lambda *given: looks.append(given) or close_look(*given))
    start = time.process_time()
    found = fits.table()
    # 0.1 s on a quiet machine; a look at each record by itself takes ten times that.
    assert time.process_time() - start < 1
    assert [] == looks
    assert count == found["score"].notna().sum() and (found["seconds"] > 0).all() and {"fresh"} == set(found["state"])


def test_errors_of_the_metadata_are_not_hidden_where_one_task_is_asked() -> None:
    (task,) = built(sweep(Fit, lr=[0.5])).tasks
    Path(task._meta_path()).write_bytes(b"no pickle")
    with pytest.raises(StorageError):
        task.outputLoadMeta()


@pytest.mark.parametrize("wrong", [{"rows": 3}, {"aggregate": "nonsense"}, {"columns": "nowhere"}])
def test_a_pivot_that_cannot_be_is_told(wrong: dict[str, Any]) -> None:
    class Scored(d6tpipe.tasks.TaskPickle):
        m = d6tpipe.IntParameter()

        def run(self) -> None:
            self.saveMeta({"score": self.m})
            self.save(1)

    found = d6tpipe.sweep(Scored, m=[1, 2])
    d6tpipe.run(found, execution_summary=False)
    assert found.pivot("score", rows=["m", "m"]).shape == (2, 1)
    with pytest.raises(d6tpipe.errors.ParameterError):
        found.pivot("score", **wrong)
