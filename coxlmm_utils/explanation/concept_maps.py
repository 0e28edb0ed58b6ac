"""Where in a picture a concept is seen: one value for each image token, and the map of them (all ours)."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from ..concepts import ConceptBank
from ..models import LMM, Box, capture, hook, image_grid, image_tokens, last_logits, seen_box, state_of
from .explain import Explanation

WAYS = ("projection", "gradient")
RESAMPLING = Image.Resampling.BICUBIC
GREYNESS = 0.75  # of the picture under the map, whose own colours would be taken for the map's
STRENGTH = 0.85  # of the colour at the largest value; the picture shows through


@dataclass(frozen=True, eq=False, repr=False)
class PatchMap:
    """A concept's value at each image token.

    Attributes
    ----------
    concept : int
    way : {"projection", "gradient"}
    values : numpy.ndarray
        float32 (rows, columns). Of a projection activations, >= 0 but for PCA's; of a gradient what making an image
        token longer would add to the activation behind the caption's token, of either sign, to first order. Of a
        concept whose activation is below zero in the explanation, both are negated: they speak for side -u_k.
    picture : PIL.Image.Image
        The picture that was explained.
    box : tuple of float
        Left, top, right and bottom of what the model sees of it, in its pixels; beyond its edges where the processor
        adds a margin.
    """

    concept: int
    way: str
    values: np.ndarray
    picture: Image.Image
    box: Box

    def __repr__(self) -> str:
        rows, columns = self.values.shape
        return f"PatchMap(concept {self.concept} by {self.way}, {rows} x {columns} image tokens)"

    def overlay(self, side: int = 448) -> Image.Image:
        """The map laid over the picture, smoothly: what is not coloured has no share.

        Orange to yellow where the concept is seen, blue where values are negative, each as strong as its magnitude
        beside the largest; faded where the model sees nothing of the picture. `side`: pixels of the longer side.
        """
        return overlay(self.values, self.picture, self.box, side)


def overlay(values: np.ndarray, picture: Image.Image, box: Box, side: int = 448) -> Image.Image:
    """A map laid over a picture, see `PatchMap.overlay` (ours)."""
    scale = side / max(picture.size)
    shown = picture.resize([max(1, round(scale * length)) for length in picture.size], RESAMPLING)
    left, top, right, bottom = (round(scale * edge) for edge in box)
    smooth = Image.fromarray(values.astype(np.float32)).resize((right - left, bottom - top), RESAMPLING)
    layer = Image.new("F", shown.size, float("nan"))  # nan: not seen
    layer.paste(smooth, (left, top))
    return Image.fromarray(_coloured(np.asarray(shown), np.asarray(layer) / (np.abs(values).max() or 1)))


@torch.inference_mode(mode=False)  # gradients are to be had wherever it is called
def patch_map(lmm: LMM, explanation: Explanation, concept: int, way: str = "projection") -> PatchMap:
    """Where in the explained picture a concept is seen (ours; how the saliency maps of the paper's appendix are made, we do not know).

    The picture, the prompt and the caption as it was written, up to the explained token, go through the model once,
    so that the state behind the token is the explanation's.

    "projection": the states of the image tokens at the bank's layer, each projected as a new sample is. It tells which
    image tokens hold the concept by themselves; that the caption's token takes it from there, it does not tell.

    "gradient": gradient times input. The scalar is the concept's activation z -> v_k, where z is the state behind the
    token, with the other active concepts free to answer: of Semi-NMF, v_k = (row k of (U_S U_S^T)^-1 U_S) . z + const,
    with S the active concepts and k. This is the activation itself as long as the same concepts are active: they are
    a linear function of z there; a concept that is not active, whose slope would be 0, is taken as if on the verge. Its
    gradient with respect to the states of the image tokens that enter the first block, times these, is summed over the
    width. It tells what of the picture the activation depends on, to first order: a feature that is seen so surely that
    a little less of it changes nothing leaves no mark.

    Parameters
    ----------
    lmm : LMM
        The model that the explanation is of.
    explanation : Explanation
    concept : int
        Its number in the bank.
    way : {"projection", "gradient"}
        "gradient" needs memory for a backward pass.

    Returns
    -------
    PatchMap

    Raises
    ------
    ValueError
        If the model is not the bank's, there is no such concept or way, or the image tokens are not one grid over one
        picture, as where it is cut into tiles.
    """
    bank = explanation.bank
    bank.check_model(lmm)
    _check(bank, concept, way)
    ids = explanation.ids[: explanation.step + 1]
    batch = lmm.inputs([explanation.picture], bank.prompt, continuations=[ids])
    grid = image_grid(lmm, batch)
    of_image = image_tokens(lmm, batch)[0].nonzero()[:, 0]  # (image tokens,)
    if way == "projection":
        values = _projections(lmm, bank, batch, of_image)[:, concept]
    else:
        position = batch["input_ids"].shape[1] - len(ids) - 1 + state_of(explanation.step, bank.position)
        values = _gradients(lmm, bank, batch, position, concept)[of_image.cpu()]
    if explanation.activations[concept] < 0:
        values = -values
    box = seen_box(lmm, explanation.picture.size)
    return PatchMap(concept, way, values.reshape(grid).astype(np.float32), explanation.picture, box)


def _coloured(picture: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A picture, (height, width, 3), in greys and coloured by shares from -1 to 1, (height, width); nan is faded."""
    unseen, shares = np.isnan(shares)[..., None], np.nan_to_num(shares).clip(-1, 1)
    colours = 255 * matplotlib.colormaps["managua_r"]((1 + shares) / 2)[..., :3]
    calm = GREYNESS * picture.mean(axis=2, keepdims=True) + (1 - GREYNESS) * picture
    calm = np.where(unseen, 0.3 * calm + 0.7 * 255, calm)
    weight = STRENGTH * np.abs(shares)[..., None]
    return ((1 - weight) * calm + weight * colours).round().astype(np.uint8)


def _check(bank: ConceptBank, concept: int, way: str) -> None:
    """Refuse a concept or a way that there is not."""
    if not 0 <= concept < len(bank):
        raise ValueError(f"there is no concept {concept}: this bank has 0 to {len(bank) - 1}")
    if way not in WAYS:
        raise ValueError(f"there is no way {way!r}; choose one of {', '.join(WAYS)}")


@torch.inference_mode()
def _projections(lmm: LMM, bank: ConceptBank, batch: BatchFeature, of_image: Tensor) -> np.ndarray:
    """The activations of the image tokens' states at the bank's layer: (image tokens, concepts)."""
    with capture(lmm, [bank.layer], positions=of_image[None]) as captured:
        last_logits(lmm, batch, 1)  # which nobody reads
    return bank.project(captured[bank.layer][0][0])


def _gradients(lmm: LMM, bank: ConceptBank, batch: BatchFeature, position: int, concept: int) -> np.ndarray:
    """Gradient times input at every position, of a concept's activation in the state at one: (positions,)."""
    with torch.enable_grad():
        entering, stream = _streams(lmm, bank, batch)
        state = stream[0, position]  # (width,)
        slope = bank.dictionary.activation_gradient(state.detach(), concept)  # (width,)
        [gradient] = torch.autograd.grad(state, entering, slope.to(state))  # (1, positions, width)
    return (gradient.double() * entering.detach().double()).sum(dim=-1)[0].cpu().numpy()


def _streams(lmm: LMM, bank: ConceptBank, batch: BatchFeature) -> tuple[Tensor, Tensor]:
    """What enters the first block, as a leaf, and the stream at the bank's layer: (1, positions, width) each."""
    seen = {}

    def enter(stream: Tensor) -> Tensor:
        seen["entering"] = stream.detach().requires_grad_()
        return seen["entering"]

    def keep(stream: Tensor) -> None:
        seen["stream"] = stream

    with hook(lmm, 0, enter), hook(lmm, bank.layer, keep):  # a bank of layer 0 sees the leaf
        last_logits(lmm, batch, 1)  # which nobody reads
    return seen["entering"], seen["stream"]
