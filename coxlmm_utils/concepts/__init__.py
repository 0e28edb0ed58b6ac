"""TODO concepts"""

from . import figures
from .bank import THUMBNAIL_SIDE, ConceptBank
from .bank_files import LONGEST
from .grounding import Words, ground_pictures, ground_words
from .measures import active_mean, active_share, concept_stability, overlaps, token_shares, words_mentioned
from .word_filter import WordFilter

__all__ = [
    "ConceptBank",
    "LONGEST",
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
