"""Sphinx configuration: `python -m sphinx -W docs docs/_build`. The site needs no other host to be read."""

import importlib.metadata
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

HERE = Path(__file__).resolve().parent
# bench and docs are not installed. The checkout comes last, so that the installed fastbp is documented.
sys.path.append(str(HERE.parent))

from bench.report import documentation, entries  # noqa: E402

project = "fastbp"
author = "the fastbp developers"
copyright = "2026, the fastbp developers"
release = version = importlib.metadata.version("fastbp")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_generated"]
nitpicky = False
default_role = "literal"
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"fastbp {release}"
html_copy_source = False
html_show_sphinx = False
html_favicon = "favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]

autosummary_generate = ["reference/index.rst", "_generated/optimizers.rst"]
autodoc_typehints = "none"  # numpydoc's sections state the types, with shapes
autodoc_default_options = {
    "members": True,
    # what scikit-learn's own bases and NumPy document is not repeated
    "inherited-members": "BaseEstimator,BaseSearchCV,ClassifierMixin,RegressorMixin,tuple,dict,object,Exception",
    "exclude-members": "get_metadata_routing,set_fit_request,set_partial_fit_request,set_score_request",
}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py|/_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "plot_gallery": "True",
    "only_warn_on_example_error": False,
    "abort_on_example_error": False,
}

logger = logging.getLogger(__name__)


def _mathml(self, node: nodes.math | nodes.math_block, *, block: bool) -> None:
    """Write a formula as MathML: browsers draw it by themselves, no script from another host is needed."""
    try:
        mathml = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        logger.warning("formula not understood: %s: %s", node.astext(), error, location=node)
        raise nodes.SkipNode from error
    self.body.append(f'<div class="math">{mathml}</div>' if block else mathml)
    raise nodes.SkipNode


def _write(folder: Path) -> None:
    documentation.write(folder)
    entries.write(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    # Tables and pictures of the measurements in bench/results, and tables of the entries: made here, not committed.
    # autosummary reads the list of optimizers, so they come first.
    app.connect("builder-inited", lambda app: _write(HERE / "_generated"), priority=100)
    app.add_html_math_renderer(
        "mathml",
        (lambda self, node: _mathml(self, node, block=False), None),
        (lambda self, node: _mathml(self, node, block=True), None),
    )
    return {"parallel_read_safe": True}


html_math_renderer = "mathml"
