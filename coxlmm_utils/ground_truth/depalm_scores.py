"""The picture book's DePALM in numbers, for `make scores`: its captions, all of its layers, what "dog" recovers (ours)."""

from __future__ import annotations

import pandas as pd

from ..dictionaries import SemiNMF
from ..evaluation import load_judges
from ..extraction import extract
from ..models import LMM, load_lmm
from .controls import comparison, recover_factors
from .layers import layer_scores
from .model_scores import as_text, caption_scores, captions_of_test_pages
from .truth_scores import CHECKED, N_CONCEPTS, recovery_scores, subject_images

DEPALM = "picturebook-depalm"
SYSTEMS = ("probe", "semi_nmf", "kmeans", "pca", "rotated", "random", "shuffled")


def loaded_depalm() -> LMM | None:
    """The model; without its language model nothing, and why is said."""
    try:
        return load_lmm(DEPALM)
    except FileNotFoundError as error:
        print(f"The scores of the DePALM are left out: {error}")
    return None


def depalm_scores(lmm: LMM) -> dict:
    """How true captions are; a row for each layer; the values of "dog" that are recovered at the last layer but one."""
    at, (clip, _) = lmm.n_layers - 1, load_judges("picturebook")
    layers = list(range(1, lmm.n_layers + 1))
    states, held_out = (extract(lmm, images, CHECKED, layers) for images in subject_images(CHECKED))
    table = layer_scores(lmm, states, clip, at, SemiNMF(N_CONCEPTS), held_out)
    systems = recover_factors(lmm, states.at(at), held_out.at(at), N_CONCEPTS, systems=SYSTEMS)
    recovered = recovery_scores(comparison(systems)) | {"n_samples": [len(states), len(held_out)]}
    share = float(table.set_index("layer").loc[at, "mean_share"])
    scores = caption_scores(*captions_of_test_pages(lmm)) | {"at": at, "mean_share": share}
    return scores | {"layers": table.drop(columns="token").to_dict("records"), CHECKED: recovered}


def depalm_table(scores: dict) -> str:
    """The scores as text: layers, then captions."""
    layers = pd.DataFrame(scores["layers"]).set_index("layer")
    shares = pd.Series({name: value for name, value in scores.items() if isinstance(value, float)}, name="share")
    return "\n\n".join((as_text(layers), as_text(shares.to_frame())))
