"""TODO extraction"""

from . import blocks
from .__main__ import main
from .extract import extract, extract_many, reread
from .inspection import Inspection, inspect
from .provenance import HasProvenance, require_same
from .states import States, join_states
from .suggest_tokens import suggest_tokens

__all__ = [
    "HasProvenance",
    "Inspection",
    "States",
    "blocks",
    "extract",
    "extract_many",
    "inspect",
    "join_states",
    "main",
    "require_same",
    "reread",
    "suggest_tokens",
]
