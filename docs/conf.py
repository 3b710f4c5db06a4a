"""How Sphinx builds the documentation: ``sphinx-build -W -b html docs docs/_build``. Needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout that is not installed documents itself

import d6tpipe

project = "d6tpipe"
author = "d6tpipe developers"
copyright = author
version = release = d6tpipe.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# In docstrings a name in single backticks is a Python object: a link where it is documented, else plain code.
default_role = "py:obj"

napoleon_google_docstring = False
napoleon_numpy_docstring = True
# Sections that our docstrings have beyond numpydoc's.
napoleon_custom_sections = ["Effects", "Source", ("Class attributes", "params_style")]
napoleon_use_ivar = True

autodoc_typehints = "none"  # types stand in the Parameters sections
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "alabaster"
html_theme_options = {"description": "Data pipelines as Python classes", "page_width": "1080px"}
html_static_path: list[str] = []
