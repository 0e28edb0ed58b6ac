"""Can a bank be trusted, whatever the model: is it visual, is it causal, do word and picture agree; the trust card."""

from . import ablation_figures, agreement_figures, error_figures, visual_dependence_figures
from .ablation import add_concepts, curves, remove_concepts
from .ablation_summary import ablation_over, ablation_summary, areas
from .agreement import agreement, agreement_over
from .answers import Answers, bank_key, by_concept
from .errors import ErrorDetection, auroc, error_detection, linear_probe
from .trust_card import MIN_AUC, TrustCard, trust_card
from .visual_dependence import (
    ORIGINAL,
    VisualDependence,
    knockout_name,
    means_by_condition,
    visual_dependence,
    words_before,
    words_without_picture,
)
from .word_scorers import ClipWords, ReferenceWords, candidate_words

__all__ = [
    "Answers",
    "ClipWords",
    "ErrorDetection",
    "MIN_AUC",
    "ORIGINAL",
    "ReferenceWords",
    "TrustCard",
    "VisualDependence",
    "ablation_figures",
    "ablation_over",
    "ablation_summary",
    "add_concepts",
    "agreement",
    "agreement_figures",
    "agreement_over",
    "areas",
    "auroc",
    "bank_key",
    "by_concept",
    "candidate_words",
    "curves",
    "error_detection",
    "error_figures",
    "knockout_name",
    "linear_probe",
    "means_by_condition",
    "remove_concepts",
    "trust_card",
    "visual_dependence",
    "visual_dependence_figures",
    "words_before",
    "words_without_picture",
]
