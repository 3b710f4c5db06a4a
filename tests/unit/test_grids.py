"""Grids: what a file or a mapping describes, and what is said about those that describe nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import d6tpipe
from d6tpipe import grid, sweep
from d6tpipe.errors import ParameterError, PluginError, StorageError
from d6tpipe.points import Joined


class Prepare(d6tpipe.tasks.TaskPickle):
    subset = d6tpipe.Parameter(default="all")
    rows = d6tpipe.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.subset)


class Fit(d6tpipe.tasks.TaskPickle):
    data = d6tpipe.TaskInstanceParameter(Prepare, default=Prepare())
    model = d6tpipe.Parameter(default="ols")
    lr = d6tpipe.FloatParameter(default=0.1)

    def run(self) -> None:
        self.save(self.model)


def values(source: Any, name: str = "lr") -> list[Any]:
    return [point.values[name] for point in grid(source)]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_lists_make_all_combinations_and_the_last_name_varies_fastest() -> None:
    found = grid({"model": ["a", "b"], "lr": [1, 2]})
    assert [list(point.values.values()) for point in found] == [["a", 1], ["a", 2], ["b", 1], ["b", 2]]
    assert list(sweep(Fit, found).ids) == ["model=a,lr=1", "model=a,lr=2", "model=b,lr=1", "model=b,lr=2"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ([0, 5, 2], [0, 2, 4]),
        ([0, 4, 2], [0, 2]),
        ([5, 0, -2], [5, 3, 1]),
        ([0, 0.5, 0.1], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ([0.1, 0.4, 0.1], [0.1, 0.2, 0.3]),
        ([1, 0.65, -0.1], [1.0, 0.9, 0.8, 0.7]),
        ([0, 0.05, 0.1], [0.0]),
        ([1e-9, 3.5e-9, 1e-9], [1e-9, 2e-9, 3e-9]),
    ],
)
def test_a_range_leaves_out_its_stop_and_has_no_dirt_from_rounding(form: Any, expected: Any) -> None:
    found = values({"lr": {"range": form}})
    assert found == expected and [type(one) for one in found] == [type(one) for one in expected]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ([1, 4, 2], [1, 2, 4, 8]),
        ([0.001, 4, 10], [0.001, 0.01, 0.1, 1.0]),
        ([1, 3, 0.1], [1.0, 0.1, 0.01]),
        ([7, 1, 3], [7]),
    ],
)
def test_a_geometric_range_has_so_many_values(form: Any, expected: Any) -> None:
    found = values({"lr": {"range_mult": form}})
    assert found == expected and [type(one) for one in found] == [type(one) for one in expected]


def test_what_is_no_list_is_one_value() -> None:
    for value in ("text", 3, 0.5, None, True, Prepare()):
        assert values({"lr": value}) == [value]


def test_nested_and_dotted_names_are_the_same() -> None:
    nested = grid({"data": {"subset": ["n", "s"], "rows": {"range": [1, 3, 1]}}, "model": "a"})
    dotted = grid({"data.subset": ["n", "s"], "data.rows": {"range": [1, 3, 1]}, "model": "a"})
    assert nested.names == dotted.names == ("data.subset", "data.rows", "model")
    assert list(sweep(Fit, nested).ids) == list(sweep(Fit, dotted).ids)
    assert sweep(Fit, nested).tasks[3] is Fit(data=Prepare(subset="s", rows=2), model="a")
    assert grid({"a": {"b": {"c": [1]}}}).names == ("a.b.c",)


def test_a_list_of_grids_is_one_after_the_other() -> None:
    found = grid([{"model": ["a", "b"]}, {"model": "c", "lr": [0.1, 0.2]}])
    assert isinstance(found, Joined) and len(found) == 4 and found.names == ("model", "lr")
    assert [point.values for point in found] == [
        {"model": "a"}, {"model": "b"}, {"model": "c", "lr": 0.1}, {"model": "c", "lr": 0.2},
    ]  # fmt: skip
    assert found[-1].values == {"model": "c", "lr": 0.2} and len(found[1:3]) == 2
    with pytest.raises(IndexError):
        found[4]
    tasks = sweep(Fit, found).tasks
    assert [(task.model, task.lr) for task in tasks] == [("a", 0.1), ("b", 0.1), ("c", 0.1), ("c", 0.2)]


def test_a_mapping_may_hold_what_a_file_cannot() -> None:
    data = sweep(Prepare, {"one": {"subset": "n"}, "two": {"subset": "s"}})
    assert list(sweep(Fit, grid({"data": data, "lr": range(2)})).ids)[-1] == "data=two,lr=1"


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    source = {"data": {"subset": ["n", "s"]}, "lr": {"range": [0, 0.3, 0.1]}, "model": "a"}
    text = "data:\n  subset: [n, s]\nlr: {range: [0, 0.3, 0.1]}\nmodel: a\n"
    for path in (written(tmp_path, "a.json", json.dumps(source)), written(tmp_path, "a.yaml", text)):
        assert [point.values for point in grid(path)] == [point.values for point in grid(source)]
    assert len(grid(str(written(tmp_path, "a.YML", "- lr: [1]\n- lr: [2, 3]\n")))) == 3


def test_yaml_is_read_as_people_mean_it(tmp_path: Path) -> None:
    text = "lr: [1e-3, 1E5, 2.5e-1, -1e-2, 0.5, 3, no, on, true, False, '1e-3', null, 1e, e5]"
    found = values(written(tmp_path, "a.yaml", text))
    assert found == [1e-3, 1e5, 0.25, -0.01, 0.5, 3, "no", "on", True, False, "1e-3", None, "1e", "e5"]


def test_several_documents_are_as_many_grids(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("---\nlr: [1, 2]\n---\n- lr: 3\n- {lr: 4, depth: 1}\n---\n")
    points = grid(path)
    assert [point.values for point in points] == [{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4, "depth": 1}]
    path.write_text("---\nlr: [1, 2]\n---\nlr: {rang: [1, 2, 1]}\n")
    with pytest.raises(ParameterError, match=r"\[1\]\.lr\.rang"):
        grid(path)


def test_toml_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('lr = {range_mult = [1e-3, 2, 10]}\nmodel = "ols"\n[data]\nrows = [1, 2]\n')
    expected = grid({"lr": [0.001, 0.01], "model": "ols", "data.rows": [1, 2]})
    assert [point.values for point in grid(path)] == [point.values for point in expected]
    path.write_text("lr = [1\n")
    with pytest.raises(ParameterError, match=r"understood[\s\S]*grid\.toml[\s\S]*Unclosed array"):
        grid(path)


def test_yaml_anchors_are_followed(tmp_path: Path) -> None:
    text = "- &base {model: [a, b], lr: 1}\n- {<<: *base, lr: 2}\n"
    assert values(written(tmp_path, "a.yaml", text)) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("source", "where", "words"),
    [
        ({"lr": {"rnge": [0, 1, 1]}}, "lr.rnge", ['"range"', "range_mult", "no form 'rnge'"]),
        ({"data": {"rows": {"range_mul": [1, 2, 3]}}}, "data.rows.range_mul", ['Did you mean "range_mult"']),
        ([{"lr": 1}, {"lr": {"linspace": [0, 1, 5]}}], "[1].lr.linspace", ["no form 'linspace'", '"range"']),
        ({"lr": {"range": [0, 1, 1], "rows": 3}}, "lr", ["stands alone"]),
        ({"lr": {"range": [0, 1]}}, "lr.range", ["three numbers"]),
        ({"lr": {"range": 5}}, "lr.range", ["three numbers"]),
        ({"lr": {"range": [0, "1", 1]}}, "lr.range", ["'1' is no number"]),
        ({"lr": {"range": [0, True, 1]}}, "lr.range", ["True is no number"]),
        ({"lr": {"range": [0, float("inf"), 1]}}, "lr.range", ["inf is no number"]),
        ({"lr": {"range": [0, 1, 0]}}, "lr.range", ["the step is 0"]),
        ({"lr": {"range": [1, 0, 1]}}, "lr.range", ["no value lies"]),
        ({"lr": {"range": [0, 1, 1e-12]}}, "lr.range", ["are the most"]),
        ({"lr": {"range_mult": [1, 2.0, 2]}}, "lr.range_mult", ["how many"]),
        ({"lr": {"range_mult": [1, 0, 2]}}, "lr.range_mult", ["how many"]),
        ({"lr": {"range_mult": [1.5, 400, 1e3]}}, "lr.range_mult", ["grow beyond"]),
        ({"lr": {}}, "lr", ["empty"]),
        ({"data": {3: [1]}}, "data.3", ["must be text"]),
        ({"a..b": [1]}, "a..b", ["must be text"]),
        ([{"lr": 1}, 5], "[1]", ["mapping of names"]),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_path(source: Any, where: str, words: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        grid(source)
    assert caught.value.facts["at"] == where
    for word in words:
        assert word in str(caught.value)


def test_parameters_whose_names_are_like_forms_can_be_said() -> None:
    assert grid({"data.range": [1], "data": {"rate": [1], "angle": [2]}}).names == (
        "data.range",
        "data.rate",
        "data.angle",
    )


@pytest.mark.parametrize("source", [None, 5, [], {1, 2}])
def test_what_is_no_grid_is_an_error(source: Any) -> None:
    with pytest.raises(ParameterError, match="mapping of names"):
        grid(source)


def test_no_name_at_all_is_the_one_point_of_nothing() -> None:
    assert len(grid({})) == 1


def test_a_name_given_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="comes up twice"):
        grid({"a.b": [1], "a": {"b": [2]}})
    for name, text in (("a.json", '{"lr": [1], "lr": [2]}'), ("a.yaml", "lr: [1]\nlr: [2]\n")):
        with pytest.raises(ParameterError, match="'lr' twice"):
            grid(written(tmp_path, name, text))


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "{"), ("a.yaml", "a: [1"), ("b.yaml", "!!python/object:os.x {}"), ("c.yaml", "a\n")]
)
def test_a_file_that_holds_no_grid_is_named(tmp_path: Path, name: str, text: str) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(ParameterError) as caught:
        grid(path)
    assert caught.value.facts["file"] == str(path)


def test_a_file_that_is_not_there_and_one_of_another_kind_are_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing\.json"):
        grid(tmp_path / "missing.json")
    with pytest.raises(ParameterError, match=r"\.ini[\s\S]*\.yaml, \.yml, \.json, \.toml"):
        grid("a.ini")


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(PluginError, match=r"d6tpipe\[yaml\]"):
        grid(written(tmp_path, "a.yaml", "lr: 1"))
