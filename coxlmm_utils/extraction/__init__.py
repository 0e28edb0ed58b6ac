"""TODO extraction"""

from . import blocks
from .__main__ import main
from .extract import extract, extract_many, read_again
from .inspection import Inspection, inspect
from .states import States, join_states
from .suggest_tokens import suggest_tokens

__all__ = [
    "Inspection",
    "States",
    "blocks",
    "extract",
    "extract_many",
    "inspect",
    "join_states",
    "main",
    "read_again",
    "suggest_tokens",
]
