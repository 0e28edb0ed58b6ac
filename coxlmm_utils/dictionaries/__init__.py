"""Dictionaries of concepts: Semi-NMF and its baselines, from a matrix of states alone; they know nothing of models.

semi_nmf        the paper's method: initialization -> solver -> refinement -> activations
baselines       Simple, PCA, K-Means (the paper's) and random directions (ours)
matching        concepts of two dictionaries, one to one
"""

from .base import Dictionary, as_matrix, concept_change, random_changes, squared_norms
from .baselines import METHODS, PCA, KMeans, RandomDictionary, Simple
from .initialization import initial_concepts
from .matching import cosines_between, match, unit_rows
from .semi_nmf import SemiNMF, largest_useful_lam
from .solver import BlockCoordinateDescent, best_of_restarts

__all__ = [
    "BlockCoordinateDescent",
    "Dictionary",
    "KMeans",
    "METHODS",
    "PCA",
    "RandomDictionary",
    "SemiNMF",
    "Simple",
    "as_matrix",
    "best_of_restarts",
    "concept_change",
    "cosines_between",
    "initial_concepts",
    "largest_useful_lam",
    "match",
    "random_changes",
    "squared_norms",
    "unit_rows",
]
