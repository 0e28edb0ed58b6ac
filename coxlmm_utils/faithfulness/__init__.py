"""TODO faithfulness"""

from . import ablation_figures, agreement_figures, visual_dependence_figures
from .ablation import add_concepts, curves, remove_concepts
from .ablation_summary import areas, removal_summary
from .agreement import agreement, agreement_over
from .trust_card import TrustCard, trust_card
from .visual_dependence import (
    ORIGINAL,
    VisualDependence,
    means_by_condition,
    visual_dependence,
    words_before,
    words_without_picture,
)
from .word_scorers import ClipWords, ReferenceWords, candidate_words

__all__ = [
    "ClipWords",
    "ORIGINAL",
    "ReferenceWords",
    "TrustCard",
    "VisualDependence",
    "ablation_figures",
    "add_concepts",
    "agreement",
    "agreement_figures",
    "agreement_over",
    "areas",
    "candidate_words",
    "curves",
    "means_by_condition",
    "removal_summary",
    "remove_concepts",
    "trust_card",
    "visual_dependence",
    "visual_dependence_figures",
    "words_before",
    "words_without_picture",
]
