"""CoX-LMM in notebooks: concept-based explanations of large multimodal models (arXiv 2406.08074).

    lmm    = load_lmm("picturebook")
    images = load_images("picturebook", split="train")
    states = extract(lmm, images, token="dog", layer=4)
    bank   = ConceptBank.learn(lmm, states, SemiNMF(n_concepts=16))
    bank.gallery(); browse(bank)
    explain(lmm, bank, picture).figure(); ask(lmm, bank)

Matrices are samples x features in code; the paper's Z, U and V are their transposes. `layer=L` is the residual stream
after L blocks (0: embeddings; the last block's output is before the final norm), `layer="norm"` the final norm's
output.
"""

from ._version import __version__ as __version__
from .concepts import ConceptBank, WordFilter, figures, ground_pictures, ground_words, token_shares
from .dictionaries import PCA, Dictionary, KMeans, RandomDictionary, SemiNMF, Simple
from .evaluation import (
    Evaluation,
    choose_lam,
    choose_layer,
    choose_n_concepts,
    evaluate,
    grounding_quality,
    load_judges,
    sweep,
)
from .explanation import Explanation, explain, explain_many
from .extraction import Inspection, States, extract, extract_many, inspect, join_states, plan, suggest_tokens
from .faithfulness import add_concepts, remove_concepts
from .ground_truth import score_against_factors
from .images import CaptionedImages, load_images
from .models import LMM, load_lmm
from .steering import Direction, concept_difference, mean_difference, reach, set_concepts, steer, steered
from .widgets import ask, browse

__all__ = [
    "CaptionedImages",
    "ConceptBank",
    "Dictionary",
    "Direction",
    "Evaluation",
    "Explanation",
    "Inspection",
    "KMeans",
    "LMM",
    "PCA",
    "RandomDictionary",
    "SemiNMF",
    "Simple",
    "States",
    "WordFilter",
    "add_concepts",
    "ask",
    "browse",
    "choose_lam",
    "choose_layer",
    "choose_n_concepts",
    "concept_difference",
    "evaluate",
    "explain",
    "explain_many",
    "extract",
    "extract_many",
    "ground_pictures",
    "ground_words",
    "grounding_quality",
    "inspect",
    "join_states",
    "load_images",
    "load_judges",
    "load_lmm",
    "mean_difference",
    "plan",
    "reach",
    "remove_concepts",
    "score_against_factors",
    "set_concepts",
    "steer",
    "steered",
    "suggest_tokens",
    "sweep",
    "token_shares",
]
