"""parlib: what the notebooks show, computed. A name of `__init__.pyi` loads its module when it is first used."""

import lazy_loader

# Bound here: each of these modules has a function of its own name, and the function is what users call.
from parlib.profile import profile as profile
from parlib.schema import schema as schema

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
