"""The page of `parlib explore`, which voila serves: every explorer in a tab."""

import html
import json
import os

from IPython.display import HTML, clear_output, display

import parlib
from parlib.show.explorers.page import run_tabs, tabs

run = json.loads(os.environ.get("PARLIB_EXPLORE", "null"))
page = run_tabs(**run) if run else tabs(parlib.profile())
clear_output()  # the progress bars of what had to be rendered, encoded and trained first
display(HTML(f"<h3>{html.escape(getattr(page, 'heading', 'Images without labels'))}</h3>"), page)
