"""CoX-LMM in notebooks: concept-based explanations of large multimodal models (arXiv 2406.08074).

    lmm    = load_lmm("picturebook")
    images = load_images("picturebook", split="train")
    states = extract(lmm, images, token="dog", layer=4)
    bank   = ConceptBank.learn(lmm, states, SemiNMF(n_concepts=16))
    bank.gallery(); browse(bank)
    explain(lmm, bank, picture).figure(); ask(lmm, bank)

Matrices are samples x features in code; the paper's Z, U and V are their transposes. `layer=L` is the residual stream
after L blocks (0: embeddings; the last block's output is before the final norm), `layer="norm"` the final norm's output.
"""

__version__ = "0.1.0"

from .browser.asking import ask
from .browser.widget import browse
from .captioned_images import CaptionedImages
from .choosing import choose_lam, choose_layer, choose_n_concepts
from .concept_bank import ConceptBank
from .concept_quality import grounding_quality
from .datasets import load_images
from .dictionary import Dictionary
from .evaluation import Evaluation, evaluate
from .explanation import Explanation, explain, explain_many
from .extraction import extract, extract_many
from .grounding import ground_pictures, ground_words
from .inspecting import Inspection, inspect
from .interventions import add_concepts, remove_concepts
from .judges import load_judges
from .lmm import LMM
from .loading import load_lmm
from .picturebook.known_answers import score_against_factors
from .rivals import PCA, KMeans, RandomDictionary, Simple
from .semi_nmf import SemiNMF
from .shared import join_states, token_shares
from .states import States
from .suggesting import suggest_tokens
from .sweeps import sweep
from .words import WordFilter

__all__ = [
    "CaptionedImages",
    "ConceptBank",
    "Dictionary",
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
    "remove_concepts",
    "score_against_factors",
    "suggest_tokens",
    "sweep",
    "token_shares",
]
