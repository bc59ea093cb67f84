"""Functions that return a Matplotlib `Figure`, in one style: titles state the finding, colours can be told apart."""

from parlib.show.figures.data import aspect_ratios, contact_sheet, cooccurrence, domains, identity_leak, label_rates
from parlib.show.figures.features import attribute_scores, languages, neighbourhoods, patch_colours, similarity_maps
from parlib.show.figures.learning import attention_overlay, few_shot_curves, training_curves
from parlib.show.figures.measure import (
    calibration,
    claims,
    copied_identities,
    domain_losses,
    flavours,
    plain_against_mA,
    strengths,
)

__all__ = [  # noqa: RUF022 (in the order of the modules)
    "aspect_ratios", "contact_sheet", "cooccurrence", "domains", "identity_leak", "label_rates",
    "attribute_scores", "languages", "neighbourhoods", "patch_colours", "similarity_maps",
    "attention_overlay", "few_shot_curves", "training_curves",
    "calibration", "claims", "copied_identities", "domain_losses", "flavours", "plain_against_mA", "strengths",
]  # fmt: skip
