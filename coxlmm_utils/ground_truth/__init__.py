"""TODO ground_truth"""

from . import controls, counterfactual_figures, counterfactuals, localization, recovery_figures
from .counterfactuals import Selectivity
from .factor_matching import best_aucs, heatmap, matched_values, mean_best_auc, shuffled_auc
from .factor_recovery import FactorRecovery, score_against_factors
from .scores import GALLERY_LAYER, PAGES_PER_SUBJECT, model_scores, model_table
from .without_picture import best_values, known_truth

__all__ = [
    "FactorRecovery",
    "GALLERY_LAYER",
    "PAGES_PER_SUBJECT",
    "Selectivity",
    "best_aucs",
    "best_values",
    "controls",
    "counterfactual_figures",
    "counterfactuals",
    "heatmap",
    "known_truth",
    "localization",
    "matched_values",
    "mean_best_auc",
    "model_scores",
    "model_table",
    "recovery_figures",
    "score_against_factors",
    "shuffled_auc",
]
