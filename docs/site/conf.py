"""Sphinx's settings for the site: `make site`.

The source is the whole repository, so pages link to each other as they do on a code host.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "LETTER, step by step"
author = "The authors of LETTER, step by step"
description = (
    "A course and a small, tested library on generative recommendation: LETTER, TIGER and LC-Rec, "
    "from an item's text to a ranked list."
)  # of pages that have no text of their own
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinxcontrib.katex", "hooks"]

# Solutions and their notes for instructors are not listed here, so they stay out of the site.
include_patterns = [
    "README.md",
    "README.ko.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "data/README.md",
    "docs/*.md",
    "docs/api/*.md",
    "docs/ko/*.md",
    "docs/site/contents.md",
    "experiments/**.md",
    "notebooks/**.ipynb",
    "notebooks/**.md",
    "tests/mutants.md",
]
# Not needed for the result: folders that Sphinx need not search.
exclude_patterns = [
    ".*",
    "runs",
    "site",
    "solutions",
    "tests/*/**",
    "mine",
    "**/checkpoints",
]
root_doc = "docs/site/contents"
default_role = "code"
highlight_language = "text"

# Lessons

nb_execution_mode = "off"  # what is stored was executed by `make lessons`
nb_ipywidgets_js = {}  # nothing is fetched from another host
nb_merge_streams = True
nb_number_source_lines = False
nb_mime_priority_overrides = [("html", "text/latex", None)]
nb_custom_formats = {".ipynb": "hooks.read_lesson"}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_allow_digits = False
myst_dmath_allow_space = False
suppress_warnings = [
    "toc.not_included",  # docs/instructors.md has a door of its own, tables are reached by links
    "myst.header",
    "misc.highlighting_failure",
    "mystnb.unknown_mime_type",
]

# API

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False

# Pages

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "static/favicon.svg"
templates_path = ["templates"]
html_additional_pages = {"index": "landing.html"}
html_sidebars = {
    "index": [],
    "**": ["navbar-logo.html", "search-button-field.html", "sbt-sidebar-nav.html"],
}
html_copy_source = False
html_show_sphinx = False
html_use_index = True
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_persistent": [],
    "logo": {"text": project, "link": "index"},
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "back_to_top_button": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Formulas: KaTeX comes with its extension, its style and fonts lie in static/.
katex_css_path = "katex/katex.min.css"
katex_options = "strict: false"
