"""Functions that return a Matplotlib `Figure`, in one style: titles state the finding, colours can be told apart."""

from .data import aspect_ratios, contact_sheet, cooccurrence, domains, identity_leak, label_rates
from .features import attribute_scores, languages, neighbourhoods, patch_colours, similarity_maps
from .learning import attention_overlay, few_shot_curves, training_curves
from .measure import calibration, claims, copied_identities, domain_losses, flavours, plain_against_mA, strengths
