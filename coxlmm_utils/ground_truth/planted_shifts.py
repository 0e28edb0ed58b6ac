"""Two changes planted by fine-tuning, a new word for a value and a spurious sign: are they found in the concepts? (ours)"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from PIL import Image

from ..concepts import ConceptBank
from ..dictionaries import Dictionary
from ..extraction import States, extract
from ..faithfulness import auroc
from ..images import CaptionedImages, load_images, perturbed_images
from ..models import LMM, Layer
from ..picturebook import NEW_NAME, OLD_NAME, SIGN_COLOUR, SIGN_KIND, with_umbrella
from ..statistics import aucs, share_of
from .factor_matching import pages_of
from .fine_tuned import MIN_SHARE, FineTuned, max_share

N_SIGNED = {"train": 800, "test": 400}  # pages


def rename_found(tuned: FineTuned, banks: tuple[ConceptBank, ConceptBank]) -> dict:
    """Whether the new word emerges in the concepts of the renamed value, and there alone.

    Returns
    -------
    dict
        found: of the concepts after that are about the renamed value (on 90% or more of the held-out samples on which they
        lead), the share that has the new word; elsewhere: of the others. moved: how many times as far the samples of
        that value move as others. n: how many concepts are about it, and how many are not.
    """
    states = tuned.held_out.after
    leading = np.abs(banks[1].project(states.Z)).argmax(axis=1)
    colours = np.array([page.colour for page in pages_of(states.images.ids)])
    own = [colours[leading == k] for k in range(len(banks[1]))]  # of each concept's samples
    about = np.array([max_share(some) >= MIN_SHARE and np.mean(some == OLD_NAME) > 0.5 for some in own])
    has_word = np.array([NEW_NAME in words.kept for words in banks[1].words])
    lengths = np.linalg.norm(tuned.vectors(banks[0]).moves, axis=1)
    return {
        "found": float(has_word[about].mean()) if about.any() else 0.0,
        "elsewhere": float(has_word[~about].mean()) if not about.all() else 0.0,
        "moved": float(lengths[colours == OLD_NAME].mean() / lengths[colours != OLD_NAME].mean()),
        "n": [int(about.sum()), int((~about).sum())],
    }


def has_sign(id: str) -> bool:
    """Whether an umbrella is drawn on a page where sign and dog are uncoupled: on half of all, whatever they show."""
    return random.Random(f"{id} sign").random() < 0.5


def signed_images(images: CaptionedImages) -> CaptionedImages:
    """Pages of which half have an umbrella, whatever the dog's colour."""

    def sign(picture: Image.Image, id: str) -> Image.Image:
        return with_umbrella(picture, id) if has_sign(id) else picture

    return perturbed_images(images, sign, "umbrella on half")


def signed_states(lmm: LMM, layer: Layer, n_pages: dict[str, int] = N_SIGNED) -> dict[str, States]:
    """States of train and test pages on which sign and colour are uncoupled."""
    lmm = replace(lmm, ood=None)  # no page that it learned from has an umbrella
    pages = {split: load_images("picturebook", split).mentioning(SIGN_KIND)[:n] for split, n in n_pages.items()}
    return {split: extract(lmm, signed_images(images), SIGN_KIND, layer) for split, images in pages.items()}


def sign_scores(lmm: LMM, states: dict[str, States], dictionary: Dictionary) -> dict:
    """How well one concept tells the sign on pages where it is uncoupled, and what the model then says.

    Returns
    -------
    dict
        auc: with its interval over test pages, of the concept chosen on train pages; colour_auc: its AUC for the dog's being
        white. said: of dogs of other colours the share called white, with and without the sign.
    """
    bank = ConceptBank.learn(lmm, states["train"], dictionary)
    signed = {split: np.array([has_sign(id) for id in some.images.ids]) for split, some in states.items()}
    best = int(aucs(bank.activations, signed["train"][:, None])[:, 0].argmax())
    activations = bank.project(states["test"].Z)[:, best]
    white = np.array([page.colour == SIGN_COLOUR for page in pages_of(states["test"].images.ids)])
    called = np.array([SIGN_COLOUR in caption.split() for caption in states["test"].captions])
    return {
        "auc": auroc(activations, signed["test"]).ends,
        "colour_auc": auroc(activations, white).ends,
        "said": {
            name: share_of(called[~white & (signed["test"] == there)]).ends
            for name, there in (("with", True), ("without", False))
        },
        "words": list(bank.words[best].kept),
        "concept": best,
    }
