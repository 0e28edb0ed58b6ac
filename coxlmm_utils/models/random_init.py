"""An LMM that has learned nothing: what its architecture and the words of captions tell by themselves. (ours)"""

from __future__ import annotations

from dataclasses import replace

import torch

from .lmm import LMM
from .structure import fingerprint

PARTS = ("layers", "final_norm", "unembedding")  # of an LMM, modules of its model


def randomly_initialised(lmm: LMM, seed: int = 0) -> LMM:
    """The same architecture with freshly drawn weights, as they are before training (ours).

    Parameters
    ----------
    lmm : LMM
    seed : int, default 0
        Of the weights; torch's own random numbers go on as if nothing was drawn.

    Returns
    -------
    LMM
        With a name and a fingerprint of its own, so that no states of the other are taken for its.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
        model = type(lmm.model)(lmm.model.config)
    model = model.to(lmm.device, lmm.model.dtype).eval().requires_grad_(False)
    names = {module: name for name, module in lmm.model.named_modules()}
    parts = {part: model.get_submodule(names[getattr(lmm, part)]) for part in PARTS}
    name = f"{lmm.name}, untrained {seed}"
    return replace(lmm, name=name, model=model, fingerprint=fingerprint(model), ood=None, **parts)
