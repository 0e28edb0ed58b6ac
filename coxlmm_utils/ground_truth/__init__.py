"""The same questions where the answer is known: factor recovery, counterfactual edits, localization; `make scores`.

Only the picture book can answer them: its factors are known for every page, and a page can be drawn with one changed.
"""

from . import (
    counterfactual_figures,
    faults,
    learned_steering_figures,
    planted_shifts,
    recovery_figures,
    steering_figures,
)
from .controls import comparison, recover_factors, recover_factors_over
from .counterfactuals import Counterfactuals, Selectivity, counterfactual_edits, selectivity
from .error_inputs import AnsweredInputs, answered_questions, captioned_pages
from .error_scores import caption_error_scores, error_scores, error_table
from .factor_matching import best_aucs, heatmap, matched_values, mean_best_auc, shuffled_auc
from .factor_recovery import FactorRecovery, score_against_factors
from .fine_tuned import FineTuned, fine_tuned, n_about
from .interchange import interchange_effects
from .layers import layer_scores, mean_and_peak
from .learned_steering_scores import learned_steering_scores
from .localization import map_means, map_scores_figure, score_maps
from .model_scores import caption_scores, captions_of_test_pages, model_scores, model_table
from .shift_scores import shift_scores
from .steering_and_ablation import rank_correlations, steered_beside_ablated
from .steering_effects import (
    STEERED_FACTORS,
    best_setting,
    effect_means,
    effects_table,
    facts_of,
    random_directions,
    steering_effects,
    value_directions,
)
from .steering_methods import METHODS as STEERING_METHODS
from .steering_methods import OF_MEANS, effects_over
from .steering_scores import steering_scores
from .truth_scores import GALLERY_LAYER, PAGES_PER_SUBJECT
from .without_picture import best_values, recovery_falls, recovery_without_picture

__all__ = [
    "AnsweredInputs",
    "Counterfactuals",
    "FactorRecovery",
    "FineTuned",
    "GALLERY_LAYER",
    "OF_MEANS",
    "PAGES_PER_SUBJECT",
    "STEERED_FACTORS",
    "STEERING_METHODS",
    "Selectivity",
    "answered_questions",
    "best_aucs",
    "best_setting",
    "best_values",
    "caption_error_scores",
    "caption_scores",
    "captioned_pages",
    "captions_of_test_pages",
    "comparison",
    "counterfactual_edits",
    "counterfactual_figures",
    "effect_means",
    "effects_over",
    "effects_table",
    "error_scores",
    "error_table",
    "facts_of",
    "faults",
    "fine_tuned",
    "heatmap",
    "interchange_effects",
    "layer_scores",
    "learned_steering_figures",
    "learned_steering_scores",
    "map_means",
    "map_scores_figure",
    "matched_values",
    "mean_and_peak",
    "mean_best_auc",
    "model_scores",
    "model_table",
    "n_about",
    "planted_shifts",
    "random_directions",
    "rank_correlations",
    "recover_factors",
    "recover_factors_over",
    "recovery_falls",
    "recovery_figures",
    "recovery_without_picture",
    "score_against_factors",
    "score_maps",
    "selectivity",
    "shift_scores",
    "shuffled_auc",
    "steered_beside_ablated",
    "steering_effects",
    "steering_figures",
    "steering_scores",
    "value_directions",
]
