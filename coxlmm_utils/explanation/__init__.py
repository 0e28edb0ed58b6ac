"""TODO explanation"""

from .concept_maps import PatchMap, patch_map
from .explain import Explanation, explain, explain_many, explanation_of, words_that_follow, written_for
from .localization import mask_scores
from .map_figures import MAPS, concept_maps, explanation_maps, maps_figure, token_maps

__all__ = [
    "Explanation",
    "MAPS",
    "PatchMap",
    "concept_maps",
    "explain",
    "explain_many",
    "explanation_maps",
    "explanation_of",
    "maps_figure",
    "mask_scores",
    "patch_map",
    "token_maps",
    "words_that_follow",
    "written_for",
]
