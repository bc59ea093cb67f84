"""The page of `make explore`, which voila serves: every explorer in a tab."""

from IPython.display import clear_output, display

import parlib
from parlib.show.explorers import tabs

page = tabs(parlib.profile())
clear_output()  # the progress bars of what had to be rendered, encoded and trained first
display(page)
