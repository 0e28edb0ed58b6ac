"""Concepts before and after fine-tuning (arXiv 2501.03012): compare two banks, move concepts along shift vectors."""

from . import figures
from .compare import CHANGES, DIMINISHED, EMERGED, REFINED, UNCHANGED, ConceptShift, Cuts, compare, t_overlaps
from .recovery import KINDS, PERMUTED, RANDOM, SHIFTED, UNSHIFTED, correlation, gains, recovery
from .vectors import ShiftVectors, shift_vectors, sized_concepts

__all__ = [
    "CHANGES",
    "ConceptShift",
    "Cuts",
    "DIMINISHED",
    "EMERGED",
    "KINDS",
    "PERMUTED",
    "RANDOM",
    "REFINED",
    "SHIFTED",
    "ShiftVectors",
    "UNCHANGED",
    "UNSHIFTED",
    "compare",
    "correlation",
    "figures",
    "gains",
    "recovery",
    "shift_vectors",
    "sized_concepts",
    "t_overlaps",
]
