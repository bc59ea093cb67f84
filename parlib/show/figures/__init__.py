"""Functions that return a Matplotlib `Figure`, in one style: titles state the finding, colours can be told apart."""

import lazy_loader

# seaborn is loaded by the first figure, not by the explorers, which take colours from here.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
