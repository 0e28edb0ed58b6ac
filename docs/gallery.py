"""Draw the README's picture: some concepts behind the word "dog" in the bundled model, with the paper's K.

python docs/gallery.py
"""

from __future__ import annotations

from pathlib import Path

from coxlmm_utils import ConceptBank, SemiNMF, extract, load_images, load_lmm
from coxlmm_utils.files import atomic_write

PICTURE = Path(__file__).parents[1] / "data" / "gallery.jpg"
PAGES, LAYER, SHOWN = 1_200, 4, 6


def main() -> None:
    """Learn the bank of notebook 00 and draw its most used concepts."""
    lmm = load_lmm("picturebook")
    states = extract(lmm, load_images("picturebook").mentioning("dog")[:PAGES], "dog", LAYER)
    bank = ConceptBank.learn(lmm, states, SemiNMF(n_concepts=20))
    most_used = (-bank.activations.sum(axis=0)).argsort()[:SHOWN]
    figure = bank.gallery(most_used.tolist())
    atomic_write(PICTURE, lambda path: figure.savefig(path, format="jpeg", dpi=120, pil_kwargs={"quality": 88}))


if __name__ == "__main__":
    main()
