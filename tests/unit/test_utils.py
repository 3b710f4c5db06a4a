"""Sweeps written as dictionaries, the tree as text, the upstream of a task, Parquet in one step."""

from __future__ import annotations

import inspect

import pandas as pd
import pytest

import d6tpipe
from d6tpipe import pipes, utils
from d6tpipe.errors import ParameterError, PipeError, StorageError


class Source(d6tpipe.tasks.TaskCache):
    pass


@d6tpipe.requires(Source)
class Left(d6tpipe.tasks.TaskCache):
    side = d6tpipe.IntParameter(default=1)
    speed = d6tpipe.IntParameter(default=2)


@d6tpipe.requires(Source)
class Right(d6tpipe.tasks.TaskCache):
    pass


@d6tpipe.requires(Left, Right)
class Top(d6tpipe.tasks.TaskCache):
    pass


# ---- experiments


def test_experiments_have_the_names_and_order_of_d6tflow():
    # Printed by d6tflow 0.2.8.
    assert list(utils.generate_exps_for_multi_param({"b": [1, 2], "a": ["x", "y"], "c": [True, None]}).items()) == [
        ("a_x_b_1_c_True", {"a": "x", "b": 1, "c": True}),
        ("a_x_b_1_c_None", {"a": "x", "b": 1, "c": None}),
        ("a_x_b_2_c_True", {"a": "x", "b": 2, "c": True}),
        ("a_x_b_2_c_None", {"a": "x", "b": 2, "c": None}),
        ("a_y_b_1_c_True", {"a": "y", "b": 1, "c": True}),
        ("a_y_b_1_c_None", {"a": "y", "b": 1, "c": None}),
        ("a_y_b_2_c_True", {"a": "y", "b": 2, "c": True}),
        ("a_y_b_2_c_None", {"a": "y", "b": 2, "c": None}),
    ]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, {}),
        ({"a": []}, {}),
        ({"a": [], "b": [1, 2]}, {}),
        ({"a": [1]}, {"a_1": {"a": 1}}),
        ({"a": range(2)}, {"a_0": {"a": 0}, "a_1": {"a": 1}}),
        ({"a": [3, 3]}, {"a_3": {"a": 3}}),
    ],
)
def test_sweeps_of_any_width_work(lists, expected):
    assert utils.generate_exps_for_multi_param(lists) == expected


def test_both_names_are_one_function():
    assert utils.params_generator_multiple is utils.generate_exps_for_multi_param


@pytest.mark.parametrize("values", [[1, "1"], [1.0, "1.0"]])
def test_two_experiments_of_one_name_are_an_error_showing_both(values):
    with pytest.raises(ParameterError, match=f"both named 'a_{values[0]}'") as caught:
        utils.generate_exps_for_multi_param({"a": values})
    assert str({"a": values[0]}) in str(caught.value)
    assert str({"a": values[1]}) in str(caught.value)


@pytest.mark.parametrize("values", ["ols", b"ols", 3, None])
def test_a_value_that_is_no_list_is_an_error_naming_the_parameter(values):
    for generate in (utils.generate_exps_for_multi_param, utils.params_generator_single):
        with pytest.raises(ParameterError, match="values of 'model' are not a list"):
            generate({"model": values})


@pytest.mark.parametrize(
    ("lists", "base", "expected"),
    [
        ({"a": [1, 2]}, None, {0: {"a": 1}, 1: {"a": 2}}),
        ({"a": [1, 2]}, {"b": 0}, {0: {"a": 1, "b": 0}, 1: {"a": 2, "b": 0}}),
        ({"a": [1]}, {"a": 9}, {0: {"a": 9}}),
        ({"a": []}, {"b": 0}, {}),
        ({}, {"b": 0}, {}),
    ],
)
def test_one_parameter_is_varied_over_a_base(lists, base, expected):
    assert utils.params_generator_single(lists, base) == expected


def test_varying_two_parameters_at_once_points_to_the_product():
    with pytest.raises(ParameterError, match="params_generator_multiple"):
        utils.params_generator_single({"a": [1], "b": [2]})


# ---- trees and upstream


def test_tree_is_drawn_as_in_d6tflow():
    lines = utils.print_tree(Top()).split("\n")
    assert lines[0] == ""
    assert lines[1].startswith("└─--[Top-{'side': '1', 'speed': '2'} (PENDING")
    assert lines[2].startswith("   |--[Left-{'side': '1', 'speed': '2'} (PENDING")
    assert lines[3].startswith("   |  └─--[Source-{} (PENDING")
    assert lines[4].startswith("   └─--[Right-{} (PENDING")


def test_tree_clips_and_hides_parameters():
    assert "[Left-{'side': '1'}[more] (" in utils.print_tree(Left(), clip_params=True)
    assert "[Left- (" in utils.print_tree(Left(), show_params=False)
    assert utils.print_tree(Left(), indent="..", last=False).startswith("\n..|--[Left-")


def test_upstream_is_listed_depth_first_and_once():
    assert utils.traverse(Top()) == [Top(), Left(), Source(), Right()]


def test_tasks_already_on_the_path_are_not_visited_again():
    assert utils.traverse(Top(), [Source()]) == [Source(), Top(), Left(), Right()]


# ---- parquet


def test_parquet_is_written_with_its_folders_and_zstd(tmp_path):
    import pyarrow.parquet as pq

    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    path = tmp_path / "new" / "folder" / "frame.parquet"
    utils.to_parquet(frame, path)
    pd.testing.assert_frame_equal(frame, pd.read_parquet(path))
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert [p.name for p in path.parent.iterdir()] == ["frame.parquet"]


def test_parquet_options_reach_the_writer(tmp_path):
    import pyarrow.parquet as pq

    utils.to_parquet(pd.DataFrame({"a": [1, 2]}), tmp_path / "f.parquet", compression="gzip")
    assert pq.ParquetFile(tmp_path / "f.parquet").metadata.row_group(0).column(0).compression == "GZIP"


def test_failed_parquet_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "f.parquet"
    utils.to_parquet(pd.DataFrame({"a": [1]}), path)
    before = path.read_bytes()
    with pytest.raises(Exception):
        utils.to_parquet(pd.DataFrame({"a": [object()]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.parquet"]
    with pytest.raises(StorageError):
        utils.to_parquet(pd.DataFrame({"a": [1]}), path / "below_a_file.parquet")


# ---- pipes


@pytest.mark.parametrize("name", pipes.__all__)
def test_each_pipe_function_says_what_to_do_instead(name):
    with pytest.raises(PipeError, match=f"pipes.{name} is not built yet") as caught:
        getattr(pipes, name)("a pipe", reset=True)
    assert "set_dir" in str(caught.value)
    assert "FlowExport" in str(caught.value)


def test_pipes_has_every_name_of_d6tflow():
    assert set(pipes.__all__) == {
        "init", "init_pipe", "get_pipe", "get_dirpath", "set_default",
        "all_pull", "all_pull_preview", "all_push", "all_push_preview",
    }  # fmt: skip
    assert all(inspect.isfunction(getattr(pipes, name)) for name in pipes.__all__)
