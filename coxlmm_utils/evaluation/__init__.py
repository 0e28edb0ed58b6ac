"""The paper's evaluation: judges, baselines, tables and figures; sweeps over K, lambda and layer, and how to choose."""

from . import figures, paper, tables
from .answers import answer_counts, answer_table, cider, normalised_answer, pope_scores, vqa_accuracy
from .bertscore import BASELINE_FILE, BertJudge, load_bert_judge
from .clipscore import MAX_WORDS, PREFIX, ClipJudge, words_as_text
from .evaluate import METRICS, Evaluation, evaluate
from .grounding_quality import grounding_quality, measure, score_words_with_pictures
from .hallucination import chair, phrase_share
from .judges import FORM_PAGES, PictureScorer, encode_images, load_judges
from .random_words import random_words
from .safety import guard_classifier, selectivity, unsafe_score
from .selection import choose_lam, choose_layer, choose_n_concepts, with_score
from .sweep import sweep
from .sweep_figures import curves, grounding_by_layer, layers_beside_the_paper, shares
from .systems import System, learn_systems

__all__ = [
    "BASELINE_FILE",
    "BertJudge",
    "ClipJudge",
    "Evaluation",
    "FORM_PAGES",
    "MAX_WORDS",
    "METRICS",
    "PREFIX",
    "PictureScorer",
    "System",
    "answer_counts",
    "answer_table",
    "chair",
    "choose_lam",
    "choose_layer",
    "choose_n_concepts",
    "cider",
    "curves",
    "encode_images",
    "evaluate",
    "figures",
    "grounding_by_layer",
    "grounding_quality",
    "guard_classifier",
    "layers_beside_the_paper",
    "learn_systems",
    "load_bert_judge",
    "load_judges",
    "measure",
    "normalised_answer",
    "paper",
    "phrase_share",
    "pope_scores",
    "random_words",
    "score_words_with_pictures",
    "selectivity",
    "shares",
    "sweep",
    "tables",
    "unsafe_score",
    "vqa_accuracy",
    "with_score",
    "words_as_text",
]
