"""Detect pictures that are unlike the pages of the book: for them, the bundled model's words mean nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionModel

from ..files import atomic_write
from .lmm import LMM

FILE = "out_of_domain.safetensors"
MARGIN = 1.15  # how much farther than the farthest page a picture may lie


class OutOfDomainWarning(UserWarning):
    """Pictures are unlike all that a model was trained on."""


@dataclass(frozen=True)
class OODDetector:
    """Mahalanobis distance from the pages of the book, in the vision tower's features, and its limit (ours)."""

    mean: Tensor  # (features,), of the pages
    whitener: Tensor  # (features, features), turns a difference from the mean into standard deviations
    limit: float  # the farthest that a page may lie, in standard deviations

    @classmethod
    def learn(cls, learned: Tensor, held_out: Tensor) -> OODDetector:
        """Fit to the features of some pages; the limit is the farthest of other pages, with a margin."""
        learned = learned.double()
        values, vectors = torch.linalg.eigh(torch.cov(learned.T))
        scales = values.clamp_min(values.max() * 1e-6).rsqrt()  # some features hardly vary: noise would be stretched
        fitted = cls(learned.mean(0).float(), (vectors * scales).float().contiguous(), 1.0)
        return cls(fitted.mean, fitted.whitener, MARGIN * fitted.distances(held_out).max().item())

    def distances(self, features: Tensor) -> Tensor:
        """How far pictures lie from the mean of the pages, in standard deviations: (pictures,)."""
        return ((features - self.mean) @ self.whitener).norm(dim=1)

    def warn_if_out_of_domain(self, lmm: LMM, pictures: Sequence[Image.Image]) -> None:
        """Warn if some of the pictures are unlike a page of the book."""
        n_outside = int((self.distances(vision_features(lmm, pictures)) / self.limit > 1).sum())
        if n_outside:
            which = "this picture is" if len(pictures) == 1 else f"{n_outside} of {len(pictures)} pictures are"
            warnings.warn(
                f"{which} unlike a page of the picture book, and the bundled model knows nothing else: "
                "captions and concepts mean little here; load a real model for real pictures",
                OutOfDomainWarning,
            )

    def save(self, folder: Path) -> None:
        """Write into the model's folder."""
        tensors = {"mean": self.mean, "whitener": self.whitener, "limit": torch.tensor(self.limit)}
        atomic_write(Path(folder) / FILE, lambda path: save_file(tensors, path))
        (Path(folder) / FILE).chmod(0o644)  # safetensors writes for the owner alone

    @classmethod
    def load(cls, folder: Path) -> OODDetector:
        """Read from the model's folder."""
        tensors = load_file(Path(folder) / FILE)
        return cls(tensors["mean"], tensors["whitener"], tensors["limit"].item())


@torch.inference_mode()
def vision_features(lmm: LMM, pictures: Sequence[Image.Image]) -> Tensor:
    """Of pictures as they are: (pictures, 2 x vision width), see `tower_features`."""
    pixels = lmm.processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]
    [tower] = [part for name, part in lmm.model.named_modules() if name.split(".")[-1] == "vision_tower"]
    return tower_features(tower, pixels.to(lmm.device, lmm.model.dtype))


@torch.inference_mode()
def tower_features(tower: CLIPVisionModel, pixels: Tensor) -> Tensor:
    """Mean and spread of the patch states halfway up the vision tower: (pictures, 2 x vision width).

    Halfway, since the last layer has learned to overlook what does not tell the factors apart.
    """
    states = tower(pixels, output_hidden_states=True).hidden_states
    patches = states[len(states) // 2][:, 1:].float()  # (pictures, patches, vision width), without the class token
    return torch.cat([patches.mean(1), patches.std(1)], dim=1).cpu()
