"""Concepts: learned from states, grounded in words and pictures, saved, measured and drawn; the bank holds them."""

from . import figures
from .bank import THUMBNAIL_SIDE, ConceptBank
from .bank_files import MAX_NAME
from .grounding import MIN_PER_CONCEPT, Words, ground_pictures, ground_words
from .measures import active_mean, active_share, concept_stability, overlaps, token_shares, words_mentioned
from .word_filter import WordFilter

__all__ = [
    "ConceptBank",
    "MAX_NAME",
    "MIN_PER_CONCEPT",
    "THUMBNAIL_SIDE",
    "WordFilter",
    "Words",
    "active_mean",
    "active_share",
    "concept_stability",
    "figures",
    "ground_pictures",
    "ground_words",
    "overlaps",
    "token_shares",
    "words_mentioned",
]
