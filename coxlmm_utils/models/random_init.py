"""An LMM that has learned nothing: what its architecture and the words of captions tell by themselves (ours)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch

from .lmm import LMM
from .structure import fingerprint

PARTS = ("layers", "final_norm", "unembedding")  # of an LMM, modules of its model


def randomly_initialised(lmm: LMM, seed: int = 0) -> LMM:
    """Any LMM's architecture and processor, with freshly drawn weights as before training.

    It has a name and a fingerprint of its own, so that no states of the trained model are taken for its. Torch's global
    random numbers go on as if nothing was drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
        model = type(lmm.model)(deepcopy(lmm.model.config))
    model = model.to(lmm.device, lmm.model.dtype).eval().requires_grad_(False)
    model.generation_config = deepcopy(lmm.model.generation_config)  # not made of weights: where captions end
    names = {module: name for name, module in lmm.model.named_modules()}
    parts = {part: model.get_submodule(names[getattr(lmm, part)]) for part in PARTS}
    # "untrained" is in the digests of cached states: another word would be another folder.
    name = f"{lmm.name}, untrained {seed}"
    return replace(lmm, name=name, model=model, fingerprint=fingerprint(model), ood=None, **parts)
