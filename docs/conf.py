"""Settings of the documentation site; `docs/build.py` writes its sources and calls Sphinx."""
project = "vad_nb"
author = "the vad_nb maintainers"
html_title = "vad_nb"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", 200)]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
language = "en"
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
