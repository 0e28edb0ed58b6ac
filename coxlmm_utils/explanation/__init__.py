"""Explanations of one picture: its top concepts, the next words, and maps of where a concept or a word is seen."""

from .concept_maps import PatchMap, patch_map
from .explain import Explanation, explain, explain_many, explanation_of, generated_for, next_words
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
    "generated_for",
    "maps_figure",
    "mask_scores",
    "next_words",
    "patch_map",
    "token_maps",
]
