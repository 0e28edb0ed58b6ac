"""TODO dictionaries"""

from .base import Dictionary, as_matrix, concept_change, random_changes
from .baselines import METHODS, PCA, KMeans, RandomDictionary, Simple
from .matching import match, stability
from .semi_nmf import SMALL, SemiNMF, largest_useful_lam
from .solver import Alternation

__all__ = [
    "Alternation",
    "Dictionary",
    "KMeans",
    "METHODS",
    "PCA",
    "RandomDictionary",
    "SMALL",
    "SemiNMF",
    "Simple",
    "as_matrix",
    "concept_change",
    "largest_useful_lam",
    "match",
    "random_changes",
    "stability",
]
