"""parlib: what the notebooks show, computed. Names load their module when first used, so the import is cheap."""

from importlib import import_module

from parlib.errors import BadInput

# Bound here, not lazily: a module and its main function share these two names, and the function is what users call.
from parlib.profile import profile
from parlib.schema import schema

_HOMES = {
    "load_benchmark": "parlib.data",
    "check": "parlib.data",
    "load_encoder": "parlib.encode.encoder",
    "available_encoders": "parlib.encode.hub",
    "load_prompts": "parlib.encode.prompts",
    "extract": "parlib.encode.extract",
    "FeatureStore": "parlib.encode.extract",
    "VLMPARHead": "parlib.learn.head",
    "fit": "parlib.learn.train",
    "predict": "parlib.learn.train",
    "load": "parlib.use.model",
    "evaluate": "parlib.measure.metrics",
    "PROTOCOLS": "parlib.measure.metrics",
    "bootstrap": "parlib.measure.bootstrap",
    "audit": "parlib.measure.audit",
    "benchmark_table": "parlib.measure.tables",
    "AttributeExplorer": "parlib.show.explorers",
    "DatasetExplorer": "parlib.show.explorers",
    "PromptExplorer": "parlib.show.explorers",
    "ThresholdExplorer": "parlib.show.explorers",
    "ErrorExplorer": "parlib.show.explorers",
}
__all__ = ["BadInput", "profile", "schema", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"parlib has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__():
    return __all__
