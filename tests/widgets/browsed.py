"""A small bank of pictures in a folder, with odd text wherever text may come from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.grounding import Words, ground_pictures
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.images.sources import load_images
from tests.conftest import noise

NASTY = '<img src=x onerror="alert(1)">'
N, K, WIDTH = 40, 4, 6
WORDS = [
    Words(("beach", "sand", "Sea"), (("the", "function word"),)),
    Words(("dog", "beach", NASTY), ((NASTY, NASTY),)),
    Words((), ()),
    Words(("snow",), ()),
]


def browsed_bank(bank: ConceptBank, folder: Path, seed: int = 0) -> ConceptBank:
    """A bank of four concepts, of which the last is never active, over pictures that lie in the folder.

    The second concept's strongest picture is called NASTY, and so are a caption and the concept itself.
    """
    folder.mkdir(exist_ok=True)
    for row in range(N):
        noise(row).save(folder / (f"{NASTY}.png" if row == 0 else f"p{row:02d}.png"))
    images = load_images(f"folder:{folder}")
    rng = np.random.default_rng(seed)
    activations = rng.gamma(1, 1, (N, K)).astype(np.float32)
    activations[rng.random((N, K)) < 0.3] = 0
    activations[:, 3] = 0
    activations[images.index(f"{NASTY}.png"), 1] = 99
    top = ground_pictures(activations, 5)
    dictionary = SemiNMF.from_components(rng.normal(size=(K, WIDTH)))
    dictionary.lam_ = 1.0
    changed = {"data": {"source": f"folder:{folder}", "split": "all"}, "token": ["dog"]}
    changed["dictionary"] = {"method": "SemiNMF", **dictionary.get_params(), "random_state": seed}
    return replace(
        bank,
        dictionary=dictionary,
        activations=activations,
        words=list(WORDS),
        ids=list(images.ids),
        captions=[f"{NASTY} on {id}" for id in images.ids],
        top=top,
        thumbnails={images.ids[row]: images.picture(row) for row in np.unique(top)},
        provenance={**bank.provenance, **changed},
        names={1: NASTY},
        measures={},
        folder=None,
    )


def signed_bank(bank: ConceptBank, folder: Path) -> ConceptBank:
    """The same with activations of both signs: PCA's, whose concept 0 says "night" and NASTY below zero."""
    bank = browsed_bank(bank, folder)
    pca = PCA(K)
    pca.components_, pca.mean_ = bank.concepts, np.zeros(WIDTH, np.float32)
    activations = bank.activations.copy()
    activations[::2, 0] *= -1
    below = [Words(("night", NASTY), (("of", "function word"),)), *WORDS[1:]]
    sides = pca.side_activations(activations)
    shown = {bank.ids[row] for row in np.unique(ground_pictures(sides, 5))}
    images = load_images(f"folder:{folder}")
    return replace(
        bank,
        dictionary=pca,
        activations=activations,
        negative_words=below,
        top=ground_pictures(sides[:, :K], 5),
        thumbnails={id: images.picture(images.index(id)) for id in shown},
    )


class Read(HTMLParser):
    """HTML as a browser takes it apart: its tags with their attributes, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def of_class(self, name: str) -> list[dict]:
        """The attributes of every element of a class."""
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def check_harmless(html: str) -> None:
    """Nothing in it runs or asks for anything: no handlers, and pictures only such as it holds itself."""
    for tag, attributes in Read(html).tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "img" or attributes["src"].startswith("data:image/jpeg;base64,"), attributes
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert re.fullmatch(r"(#concept-\d+)?", attributes.get("href", "")), attributes
