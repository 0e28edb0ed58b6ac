"""Any image-text model of transformers: load it, find its parts, let it generate, read and change its residual stream.

`LMM` (lmm, processors, structure) is the model; loading, sources, devices, quantization and adapters make one; weights tells it from others;
captioning, passes, shared_prefix and hooks run it and keep its states; generation_settings says what greedy is; caption_tokens finds words among tokens;
image_tokens and attention know which inputs are the picture; without_weights and dry_run tell what memory a model takes before it is loaded;
out_of_domain warns of pictures that the bundled model does not know; depalm is an architecture that transformers lacks.
"""

from .attention import attention_knockout, eager_attention
from .caption_tokens import (
    decode,
    encode,
    encode_captions,
    end_of_token,
    find_token,
    first_pieces,
    token_text,
    vocabulary,
    word_at,
)
from .captioning import (
    POSITIONS,
    GeneratedBatch,
    GeneratedCaption,
    generate_batch,
    generate_captions,
    state_of,
    teacher_forced_batch,
    teacher_forced_states,
)
from .depalm import DePALMConfig, DePALMForConditionalGeneration, DePALMProcessor
from .devices import chosen_device, free_memory
from .dry_run import BatchMemory, memory_of_batch
from .generation_settings import caption_settings, digest_of_files
from .hooks import add, capture, has_hooks, hook
from .image_tokens import Box, count_image_tokens, image_grid, image_tokens, seen_box
from .lmm import LMM, Layer, collapse_repeats
from .loading import load_lmm, randomly_initialised
from .out_of_domain import OODDetector, OutOfDomainWarning, tower_features
from .passes import last_logits, without_refused
from .quantization import quantization_of
from .shared_prefix import SharedPrefix
from .without_weights import linear_layers, load_without_weights, weights_of, without_weights

__all__ = [
    "BatchMemory",
    "Box",
    "DePALMConfig",
    "DePALMForConditionalGeneration",
    "DePALMProcessor",
    "GeneratedBatch",
    "GeneratedCaption",
    "LMM",
    "Layer",
    "OODDetector",
    "OutOfDomainWarning",
    "POSITIONS",
    "SharedPrefix",
    "add",
    "attention_knockout",
    "caption_settings",
    "capture",
    "chosen_device",
    "collapse_repeats",
    "count_image_tokens",
    "decode",
    "digest_of_files",
    "eager_attention",
    "encode",
    "encode_captions",
    "end_of_token",
    "find_token",
    "first_pieces",
    "free_memory",
    "generate_batch",
    "generate_captions",
    "has_hooks",
    "hook",
    "image_grid",
    "image_tokens",
    "last_logits",
    "linear_layers",
    "load_lmm",
    "load_without_weights",
    "memory_of_batch",
    "quantization_of",
    "randomly_initialised",
    "seen_box",
    "state_of",
    "teacher_forced_batch",
    "teacher_forced_states",
    "token_text",
    "tower_features",
    "vocabulary",
    "weights_of",
    "without_refused",
    "without_weights",
    "word_at",
]
