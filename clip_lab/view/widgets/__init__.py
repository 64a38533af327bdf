"""Widgets for notebooks and the book: one plain JavaScript file each, no request to anywhere.

    from clip_lab.view.widgets import MatrixWidget

Importing this loads anywidget (extra `notebooks`); nothing else in the lab imports it.
"""

from clip_lab.view.widgets.base import LabWidget, static_html
from clip_lab.view.widgets.matrix import MatrixWidget

__all__ = ["LabWidget", "MatrixWidget", "static_html"]
