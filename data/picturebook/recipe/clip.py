"""The picture book's CLIP judge: a small CLIP of open_clip's own classes, which has read the book's pages (ours)."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from coxlmm_utils.evaluation import PREFIX
from coxlmm_utils.files import atomic_write
from coxlmm_utils.picturebook import PICTURE_SIDE, Factors

from .architecture import PATCH_SIDE
from .judge_texts import LONGEST, true_text
from .training_loop import as_pixels, augmented

LOOKS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
BLOCK = 100  # pictures to retrieve one from


def clip_settings(tokenizer: PreTrainedTokenizerFast) -> dict:
    """The architecture, as open_clip's CLIP takes it: a ViT of 4 x 128 and a text transformer of 3 x 96."""
    vision = dict(image_size=PICTURE_SIDE, patch_size=PATCH_SIDE, width=128, head_width=32, layers=4)
    text = dict(context_length=LONGEST, vocab_size=len(tokenizer), width=96, heads=4, layers=3)
    ends = dict(pool_type="eos", eos_id=tokenizer.eos_token_id, pad_id=tokenizer.pad_token_id)
    return dict(embed_dim=64, vision_cfg=vision, text_cfg={**text, **ends})


class ClipLearner(nn.Module):
    """The CLIP while it learns to tell which text belongs to which picture.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        super().__init__()
        self.tokenizer = tokenizer
        self.clip = open_clip.CLIP(**clip_settings(tokenizer))
        self.contrast = open_clip.ClipLoss()

    def loss(self, pictures: np.ndarray, pages: Sequence[Factors], rng: random.Random) -> Tensor:
        """CLIP's loss on a batch: pictures (batch, side, side, 3) in uint8, each with a text true of its page."""
        texts = [true_text(page, rng, PREFIX) for page in pages]
        return self.contrast(*self.clip(augmented(pictures, rng), self._tokens(texts)))

    @torch.inference_mode()
    def quality(self, pictures: np.ndarray, sentences: Sequence[str]) -> dict[str, float]:
        """Shares of pictures whose own sentence is the nearest of a hundred, and of sentences likewise."""
        parts = np.array_split(pictures, range(BLOCK, len(pictures), BLOCK))
        seen = torch.cat([self.clip.encode_image(as_pixels(part), True) for part in parts])
        mentioned = self.clip.encode_text(self._tokens(sentences), True)
        right = []
        for images, texts in zip(seen.split(BLOCK), mentioned.split(BLOCK)):
            near = images @ texts.T  # (pictures, sentences)
            own = torch.arange(len(near))
            right.append([(near.argmax(dim) == own).float().mean().item() for dim in (1, 0)])
        return dict(zip(("picture_to_text_1_of_100", "text_to_picture_1_of_100"), np.mean(right, axis=0).tolist()))

    def save(self, folder: Path) -> None:
        """Save in float16, as open_clip's `local-dir:` wants it, with the tokenizer."""
        settings = clip_settings(self.tokenizer)
        settings["text_cfg"]["hf_tokenizer_name"] = "the one in this folder"  # says only that there is one
        config = {"model_cfg": settings, "preprocess_cfg": LOOKS}
        weights = {name: value.half().contiguous() for name, value in self.clip.state_dict().items()}

        def write(scratch: Path) -> None:
            self.tokenizer.save_pretrained(scratch)
            (scratch / "open_clip_config.json").write_text(json.dumps(config, indent=1))
            save_file(weights, scratch / "open_clip_model.safetensors")
            for file in scratch.iterdir():
                file.chmod(0o644)

        atomic_write(folder, write)

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """(texts, context)."""
        options = dict(padding="max_length", truncation=True, return_tensors="pt")
        return self.tokenizer(list(texts), max_length=LONGEST, **options).input_ids
