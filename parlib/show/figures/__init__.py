"""Functions that return a matplotlib `Figure`, in one style: titles state the finding, colours stay apart."""

from parlib.show.figures.data import aspect_ratios, contact_sheet, cooccurrence, domains, identity_leak, label_rates
from parlib.show.figures.features import (
    attribute_scores,
    languages,
    neighbourhoods,
    patch_colours,
    similarity_maps,
)
from parlib.show.figures.learning import attention_overlay, few_shot_curves, training_curves
from parlib.show.figures.measure import (
    calibration,
    copied_identities,
    domain_losses,
    flavours,
    plain_against_mA,
    strengths,
)

__all__ = [
    "aspect_ratios",
    "attention_overlay",
    "attribute_scores",
    "calibration",
    "contact_sheet",
    "cooccurrence",
    "copied_identities",
    "domain_losses",
    "domains",
    "few_shot_curves",
    "flavours",
    "identity_leak",
    "label_rates",
    "languages",
    "neighbourhoods",
    "patch_colours",
    "plain_against_mA",
    "similarity_maps",
    "strengths",
    "training_curves",
]
