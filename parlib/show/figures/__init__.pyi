# The functions of this folder that draw a figure, each with its module.
from .features import attribute_scores as attribute_scores
from .features import contact_sheet as contact_sheet
from .features import languages as languages
from .features import neighbourhoods as neighbourhoods
from .features import similarity_maps as similarity_maps
from .measure import calibration as calibration
from .measure import claims as claims
from .measure import domain_losses as domain_losses
from .measure import few_shot_curves as few_shot_curves
from .measure import label_rates as label_rates
from .measure import strengths as strengths
