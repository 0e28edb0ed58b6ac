"""TODO models"""

from .attention import attention_knockout, eager_attention
from .captioning import (
    POSITIONS,
    GeneratedCaption,
    decode,
    find_token,
    generate_batch,
    generate_captions,
    last_logits,
    state_of,
    teacher_forced_batch,
    teacher_forced_states,
)
from .hooks import capture, changed_at, hook
from .image_tokens import Box, image_grid, image_tokens, seen_box
from .lmm import LMM, Layer, collapse_repeats
from .loading import load_lmm
from .out_of_domain import OODDetector, vision_features
from .random_init import randomly_initialised

__all__ = [
    "Box",
    "GeneratedCaption",
    "LMM",
    "Layer",
    "OODDetector",
    "POSITIONS",
    "attention_knockout",
    "capture",
    "changed_at",
    "collapse_repeats",
    "decode",
    "eager_attention",
    "find_token",
    "generate_batch",
    "generate_captions",
    "hook",
    "image_grid",
    "image_tokens",
    "last_logits",
    "load_lmm",
    "randomly_initialised",
    "seen_box",
    "state_of",
    "teacher_forced_batch",
    "teacher_forced_states",
    "vision_features",
]
