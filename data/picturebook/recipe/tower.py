"""What the picture book's DePALM sees with: a CLIP of transformers' own classes, which learned by contrast alone (ours)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

from coxlmm_utils.picturebook import PICTURE_SIDE, Factors, sentence

from .architecture import PATCH_SIDE
from .judge_texts import LONGEST, make_judge_tokenizer
from .training_loop import augmented

VISION = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4)
TEXT = dict(hidden_size=96, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4)


class TowerLearner(nn.Module):
    """A CLIP while it learns to tell which caption belongs to which picture; its vision tower is what is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = make_judge_tokenizer()
        ids = {f"{name}_token_id": getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        text = TEXT | ids | dict(vocab_size=len(self.tokenizer), max_position_embeddings=LONGEST)
        vision = VISION | dict(image_size=PICTURE_SIDE, patch_size=PATCH_SIDE)
        self.clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))

    def loss(self, pictures: np.ndarray, pages: Sequence[Factors], rng: random.Random) -> Tensor:
        """CLIP's loss on a batch: pictures (batch, side, side, 3) in uint8, each with a caption of its page."""
        captions = [sentence(page, rng) for page in pages]
        return self.clip(**self._tokens(captions), pixel_values=augmented(pictures, rng), return_loss=True).loss

    def tower(self) -> CLIPVisionModel:
        """The vision tower as it is by now, frozen, rounded to float16 as it is bundled."""
        tower = CLIPVisionModel(self.clip.config.vision_config)
        tower.load_state_dict(self.clip.vision_model.state_dict())
        return tower.half().float().eval().requires_grad_(False)

    def _tokens(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Ids and mask of captions, (captions, tokens) each."""
        batch = self.tokenizer(list(captions), padding=True, padding_side="right", return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}


def rows_by_word(captions: Sequence[str], size: int) -> list[list[int]]:
    """For each word that `size` captions or more have, but not most of them: the rows of these captions."""
    rows: dict[str, list[int]] = {}
    for row, caption in enumerate(captions):
        for word in sorted(set(caption.split())):
            rows.setdefault(word, []).append(row)
    return [some for _, some in sorted(rows.items()) if size <= len(some) <= len(captions) / 2]
