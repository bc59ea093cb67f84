# The functions of this folder that draw a figure.
from .learning import attention_overlay as attention_overlay
from .learning import few_shot_curves as few_shot_curves
from .learning import patch_colours as patch_colours
from .learning import training_curves as training_curves
from .results import attribute_scores as attribute_scores
from .results import calibration as calibration
from .results import claims as claims
from .results import contact_sheet as contact_sheet
from .results import domain_losses as domain_losses
from .results import label_rates as label_rates
from .results import languages as languages
from .results import neighbourhoods as neighbourhoods
from .results import similarity_maps as similarity_maps
from .results import strengths as strengths
