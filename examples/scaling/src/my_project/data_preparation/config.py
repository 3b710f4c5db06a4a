"""The data sets: an id, and what tells the set from the others."""

from __future__ import annotations

DATA = {
    "data_0": {"subset": "subset_1"},
    "data_1": {"subset": "subset_2"},
    "data_2": {"subset": "subset_3"},
    "data_3": {"subset": "subset_4"},
}
