"""States of a token, or of a prompt, over many pictures, kept on disk block by block; and the inspector of positions.

extract         extraction_plan -> loop -> blocks -> samples: the paper's Z
prompt_states   states of prompts and completions, for steering
state_pair      the same samples in two models, for concept shift
memory          what all this takes, before the model is loaded
"""

from . import blocks
from .__main__ import main, make_share, own_device, process_share
from .blocks import BlockFolder
from .extract import extract, extract_many, reread
from .extraction_plan import Settings, warn_of_other_settings
from .inspection import Inspection, inspect
from .memory import plan
from .memory_plan import MemoryPlan
from .prompt_states import completion_states, prompt_states
from .provenance import ALIKE, HasProvenance, check_record, require_same
from .state_pair import StatePair
from .states import States, join_states
from .suggest_tokens import suggest_tokens

__all__ = [
    "ALIKE",
    "BlockFolder",
    "HasProvenance",
    "Inspection",
    "MemoryPlan",
    "Settings",
    "StatePair",
    "States",
    "blocks",
    "completion_states",
    "check_record",
    "extract",
    "extract_many",
    "inspect",
    "join_states",
    "main",
    "make_share",
    "own_device",
    "plan",
    "process_share",
    "prompt_states",
    "require_same",
    "reread",
    "suggest_tokens",
    "warn_of_other_settings",
]
