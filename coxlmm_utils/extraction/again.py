"""The states of captions that are known, read again of other pictures, by another model, or at another layer (ours)."""

from __future__ import annotations

from ..captioned_images import CaptionedImages
from ..lmm import LMM, Layer
from ..states import States
from . import extract


def read_again(lmm: LMM, states: States, layer: Layer, images: CaptionedImages | None = None, **options) -> States:
    """Read the states of the same words in the same captions, forced, with all settings as they were (ours).

    Parameters
    ----------
    lmm : LMM
        The model that wrote the captions, or another.
    states : States
        Their captions, token, position and settings are taken.
    layer : layer
    images : CaptionedImages, optional
        Other pictures under the same ids. Default: those of the states.
    **options
        `batch_size` and `cache`, as `extract` takes them.

    Returns
    -------
    States
    """
    known = states.provenance
    options |= {name: known[name] for name in ("position", "references", "prompt", "max_new_tokens")}
    captions = dict(zip(states.images.ids, states.captions))
    images = states.images if images is None else images
    return extract(lmm, images, known["token"], layer, captions=captions, **options)
