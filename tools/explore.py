"""The page of `make explore`: voila runs this file and shows what its last line is."""

import parlib
from parlib.show.explorers import tabs

tabs(parlib.profile())
