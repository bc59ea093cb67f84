"""Functions that return a matplotlib `Figure`, in one style: titles state the finding, colours stay apart."""

from parlib.show.figures.data import aspect_ratios, contact_sheet, cooccurrence, domains, identity_leak, label_rates
from parlib.show.figures.features import attribute_scores, patch_colours
from parlib.show.figures.learning import attention_overlay, training_curves

__all__ = [
    "aspect_ratios",
    "attention_overlay",
    "attribute_scores",
    "contact_sheet",
    "cooccurrence",
    "domains",
    "identity_leak",
    "label_rates",
    "patch_colours",
    "training_curves",
]
