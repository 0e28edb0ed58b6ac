"""Shared fixtures: tiny models that generate plain words, pictures for them, and one small bank.

Cache: a test never touches the user's own cache; it gets a folder that goes with the session. Two exceptions
share what is already drawn: whoever runs the tests may set COXLMM_CACHE, and tests marked `notebooks`, which need
many pages, use the normal cache.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.grounding import ground_pictures
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.states import States
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.models.lmm import LMM
from coxlmm_utils.models.loading import load_lmm
from tests.tiny_lmms import WORDS, tiny_llava, tiny_qwen

MAX_NEW_TOKENS = 6
OWN_CACHE = "COXLMM_CACHE" in os.environ


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "notebooks: executes notebooks; uses the normal cache of drawn pages")


def pytest_itemcollected(item: pytest.Item) -> None:
    """For several workers (`-n 2`): a file's tests share fixtures and stay together; all browser tests share a server."""
    slow = item.get_closest_marker("notebooks") is not None
    group = "browser" if item.path.parent.name == "browser" else item.nodeid if slow else str(item.path)
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no worker is left with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("notebooks") is None and item.path.parent.name != "browser")


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory) -> Path:
    """One for all workers: each has a folder of its own below that of the session."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(autouse=True)
def _cache(request, session_cache, monkeypatch) -> None:
    if not OWN_CACHE and request.node.get_closest_marker("notebooks") is None:
        monkeypatch.setenv("COXLMM_CACHE", str(session_cache))


@pytest.fixture(scope="session")
def llava(tmp_path_factory) -> LMM:
    return in_plain_words(load_lmm(tiny_llava(tmp_path_factory.mktemp("llava")), device="cpu"))


@pytest.fixture(scope="session")
def qwen(tmp_path_factory) -> LMM:
    return in_plain_words(load_lmm(tiny_qwen(tmp_path_factory.mktemp("qwen")), device="cpu"))


def in_plain_words(lmm: LMM) -> LMM:
    """Let a model generate the words from "an" to "day" only: no special tokens, no end."""
    plain = set(lmm.tokenizer.convert_tokens_to_ids(WORDS[WORDS.index("an") :]))
    lmm.model.generation_config.suppress_tokens = [i for i in range(len(lmm.tokenizer)) if i not in plain]
    return lmm


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """24 coloured noises of different sizes; the tiny models caption them differently."""
    return [noise(seed) for seed in range(24)]


def noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 90, 2)
    pixels = rng.normal(rng.integers(0, 255, 3), rng.integers(5, 90), (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def in_memory(pictures: list[Image.Image], references: tuple[str, ...] | list[tuple[str, ...]]) -> CaptionedImages:
    """Captioned images p0, p1, ... with the same references for all, or with each its own."""
    ids = tuple(f"p{number}" for number in range(len(pictures)))
    captions = references if isinstance(references, list) else [references] * len(pictures)
    return CaptionedImages("", "all", ids, captions, dict(zip(ids, pictures)).__getitem__)


@pytest.fixture(scope="session")
def token() -> str:
    """A word that the tiny LLaVA generates for some of the pictures."""
    return "grey"


@pytest.fixture(scope="session")
def states(llava, pictures, token) -> States:
    return extract(llava, in_memory(pictures, ("all grey",)), token, 2, max_new_tokens=MAX_NEW_TOKENS, cache=False)


@pytest.fixture(scope="session")
def bank(llava, states) -> ConceptBank:
    return ConceptBank.learn(llava, states, SemiNMF(3, random_state=5), word_filter=WordFilter(min_length=2))


def turned(bank: ConceptBank) -> ConceptBank:
    """The same bank of PCA with every axis pointing the other way, so that its sides change places."""
    pca, n_pictures = PCA(len(bank)), bank.top.shape[1]
    pca.components_, pca.mean_ = -bank.concepts, bank.dictionary.mean_
    top = ground_pictures((-bank.activations).clip(min=0), n_pictures)
    sides = {"words": bank.negative_words, "negative_words": bank.words}
    return replace(bank, dictionary=pca, activations=-bank.activations, top=top, **sides)
