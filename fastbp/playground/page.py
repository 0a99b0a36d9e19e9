"""The page: its frame, and the tabs in it."""

from __future__ import annotations

from bokeh.document import Document
from bokeh.models import Column, Div, Tabs

from fastbp.playground import backpropagation, descent, learning, starting

__all__ = ["TABS", "build"]

TABS = {"descent": descent, "backpropagation": backpropagation, "learning": learning, "starting": starting}
"""The tabs in their order, under the names that links have for them."""

TEMPLATE = """
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { font: 14px/1.4 system-ui, sans-serif; color: #222; }
</style>
{% endblock %}
"""

_HEADERS = """
.bk-headers-wrapper { flex-wrap: wrap; }
.bk-tab { font-size: 15px; padding: 6px 10px; }
.bk-tab.bk-active { font-weight: 600; color: #14375e; }
"""


def build(document: Document) -> None:
    """Fill the document of a new page.

    Its query string says which tab is open, and where the fields of that tab start.
    """
    document.title = "fastbp playground"
    document.template = TEMPLATE
    context = document.session_context
    request = getattr(context, "request", None)
    wanted = request.arguments.get("tab", [b""])[-1].decode("utf-8", "replace") if request else ""
    names = list(TABS)
    heading = Div(
        text="<b>fastbp playground</b>: what moves here is computed by the kernels that train networks.",
        sizing_mode="stretch_width",
        disable_math=True,
        margin=(6, 8, 2, 8),
    )
    tabs = Tabs(
        tabs=[module.tab(document) for module in TABS.values()],
        active=names.index(wanted) if wanted in names else 0,
        sizing_mode="stretch_width",
        stylesheets=[_HEADERS],
        name="tabs",
    )
    document.add_root(Column(children=[heading, tabs], sizing_mode="stretch_width"))
