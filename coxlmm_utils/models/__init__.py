"""TODO models"""

from .attention import eager_attention, without_image_tokens
from .captioning import (
    POSITIONS,
    Written,
    decode,
    find_token,
    forced_states,
    last_logits,
    read_batch,
    state_of,
    write_batch,
    write_captions,
)
from .hooks import capture, changed_at, hook
from .image_tokens import Box, image_grid, image_tokens, seen_box
from .lmm import LMM, Layer, folded
from .loading import load_lmm
from .out_of_domain import Familiarity, vision_features
from .random_init import untrained

__all__ = [
    "Box",
    "Familiarity",
    "LMM",
    "Layer",
    "POSITIONS",
    "Written",
    "capture",
    "changed_at",
    "decode",
    "eager_attention",
    "find_token",
    "folded",
    "forced_states",
    "hook",
    "image_grid",
    "image_tokens",
    "last_logits",
    "load_lmm",
    "read_batch",
    "seen_box",
    "state_of",
    "untrained",
    "vision_features",
    "without_image_tokens",
    "write_batch",
    "write_captions",
]
