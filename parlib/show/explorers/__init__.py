"""Explorers: see what the model sees. Widgets in a notebook, or tabs of one page that voila serves (`make explore`)."""

from parlib.show.explorers.attribute import AttributeExplorer
from parlib.show.explorers.dataset import DatasetExplorer
from parlib.show.explorers.error import ErrorExplorer
from parlib.show.explorers.label import LabelExplorer
from parlib.show.explorers.link import link
from parlib.show.explorers.map import MapExplorer
from parlib.show.explorers.page import tabs
from parlib.show.explorers.prompt import PromptExplorer
from parlib.show.explorers.teach import TeachExplorer
from parlib.show.explorers.threshold import ThresholdExplorer

__all__ = [
    "AttributeExplorer",
    "DatasetExplorer",
    "ErrorExplorer",
    "LabelExplorer",
    "MapExplorer",
    "PromptExplorer",
    "TeachExplorer",
    "ThresholdExplorer",
    "link",
    "tabs",
]
