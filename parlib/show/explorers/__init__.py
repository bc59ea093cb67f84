"""Explorers: see what the model sees. Widgets in a notebook, or tabs of one page that voila serves (`make explore`)."""

from parlib.show.explorers.asking import LabelExplorer as LabelExplorer
from parlib.show.explorers.asking import TeachExplorer as TeachExplorer
from parlib.show.explorers.attribute import AttributeExplorer as AttributeExplorer
from parlib.show.explorers.browse import DatasetExplorer as DatasetExplorer
from parlib.show.explorers.browse import ErrorExplorer as ErrorExplorer
from parlib.show.explorers.map import MapExplorer as MapExplorer
from parlib.show.explorers.panel import link as link
from parlib.show.explorers.scores import PromptExplorer as PromptExplorer
from parlib.show.explorers.scores import ThresholdExplorer as ThresholdExplorer
