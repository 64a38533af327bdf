"""How the book is built: `make book`, or

    sphinx-build -W -b html book book/_build/html

No page of it loads anything from outside: formulas are MathML, widgets are inline, and the theme's
own files lie beside the pages. Chapters are made here from `notebooks/solved/` and executed.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from myst_nb.sphinx_ import NbMetadataCollector  # noqa: E402

import clip_lab  # noqa: E402
from clip_lab.course.build import book_notebook, chapter_table, write_all  # noqa: E402
from clip_lab.experiments.report import draw_all, results  # noqa: E402

write_all(book_notebook, HERE / "chapters")
(HERE / "chapter_table.txt").write_text(chapter_table(), encoding="utf-8")
draw_all(results(), HERE / "evidence")  # the page's figures; the page itself is committed

project = "CLIP Lab"
author = "the CLIP Lab contributors"
copyright = "the CLIP Lab contributors, MIT licence"
version = release = clip_lab.__version__
language = "en"
exclude_patterns = ["_build", "_ext", "jupyter_execute"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "mathml", "docstrings"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
html_math_renderer = "mathml"

autodoc_inherit_docstrings = False  # a layer's forward has torch's words, which say nothing of it
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False

nb_execution_mode = "force"  # what the book shows is what the code of today does
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True  # lines printed one after the other stand in one box
nb_ipywidgets_js = {}  # would be fetched from outside; our widgets bring their own JavaScript
nb_mime_priority_overrides = [("html", "text/html", 0)]  # a widget's page form, not its live one

html_theme = "sphinx_book_theme"
html_title = "CLIP Lab"
html_static_path = ["_static"]
html_css_files = ["lab.css"]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_copy_source = False
html_show_search_summary = False  # a page opened from a folder may not fetch others
html_show_sphinx = False
html_theme_options = {
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
}


def without_widget_state(app, doctree):
    """Widgets stand in the page as HTML. What a live front end would make them from stays out."""
    NbMetadataCollector.get_js_files(app.env, app.env.docname).pop("ipywidgets_state", None)


def setup(app):
    """Chapters are always run anew: their text may be old while the code that they run is new."""
    app.connect("doctree-read", without_widget_state)
    app.connect(
        "env-get-outdated",
        lambda app, env, *changes: [
            name for name in env.found_docs if name.startswith("chapters/")
        ],
    )
