"""Turn what a model writes along directions of its residual stream, and measure what else that changes."""

from .answers import answer_directions, answer_effects
from .contrasts import (
    CONTRAST_SOURCES,
    INPUT_METHODS,
    Contrasts,
    LearnedMethods,
    answers_by_method,
    label_contrasts,
    learn_methods,
)
from .directions import (
    Direction,
    concept_difference,
    concept_direction,
    mean_difference,
    random_direction,
    shift_direction,
)
from .discovery import concept_directions, main_answers, useful_directions
from .input_vectors import InputVectors, answer_contrasts, prompt_to_steer
from .joined import InTurn, PerPicture, Steering
from .learned import LearnedSteering, learn_to_steer
from .reach import Reach, reach
from .separation import separation, separation_figure
from .set_concepts import ConceptEdit, set_concepts
from .steer import captions_under, steer, steered

__all__ = [
    "CONTRAST_SOURCES",
    "ConceptEdit",
    "Contrasts",
    "Direction",
    "INPUT_METHODS",
    "InTurn",
    "InputVectors",
    "LearnedMethods",
    "LearnedSteering",
    "PerPicture",
    "Reach",
    "Steering",
    "answer_contrasts",
    "answer_directions",
    "answer_effects",
    "answers_by_method",
    "captions_under",
    "concept_difference",
    "concept_direction",
    "concept_directions",
    "label_contrasts",
    "learn_methods",
    "learn_to_steer",
    "main_answers",
    "mean_difference",
    "prompt_to_steer",
    "random_direction",
    "reach",
    "separation",
    "separation_figure",
    "set_concepts",
    "shift_direction",
    "steer",
    "steered",
    "useful_directions",
]
