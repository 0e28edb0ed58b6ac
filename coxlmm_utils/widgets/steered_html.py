"""What a model writes when it is steered, beside what it writes unsteered, as HTML; all text in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from ..concepts import ConceptBank
from ..explanation import Explanation
from ..picturebook import Factors, facts_in
from ..text import changed_phrases
from .cards import Shown
from .controls import in_words
from .html import Thumbnails, data_uri, render

N_ALIKE = 4  # pictures
SIDE = 320  # pixels of the longer side of a steered picture
Phrases = list[tuple[str, bool]]  # each with whether the other caption lacks it


@dataclass(frozen=True)
class SteeredCaption:
    """Two captions of one picture, phrase by phrase, and what the steered one says that the picture does not show."""

    unsteered: Phrases
    steered: Phrases
    false: tuple[tuple[str, str, str], ...]  # (factor, value said, value shown), of a page of the picture book

    @classmethod
    def of(cls, unsteered: str, steered: str, factors: Factors | None = None) -> SteeredCaption:
        """Two captions beside each other; the factors are those of the page, if it is one."""
        return cls(*changed_phrases(unsteered, steered), false_facts(steered, factors) if factors else ())


def false_facts(caption: str, factors: Factors) -> tuple[tuple[str, str, str], ...]:
    """What a caption says of a page that is not so: factor, value said and value shown in words, each once, in order."""
    shown, kind = asdict(factors), factors.kind
    false = [(name, said) for name, said in dict.fromkeys(facts_in(caption)) if shown[name] != said]
    return tuple((name, in_words(said, kind), in_words(shown[name], kind)) for name, said in false)


def rewritten_html(
    explained: Explanation,
    values: Mapping[int, float],
    caption: str,
    thumbnails: Thumbnails,
    factors: Factors | None = None,
) -> str:
    """The caption with some concepts set, beside the one before, and the pictures that are most like it as they are."""
    activations, scale = explained.activations.copy(), scale_of(explained)
    activations[list(values)] = list(values.values())
    bank, rows = explained.bank, most_alike(explained.bank, activations, N_ALIKE)
    alike = [Shown(thumbnails.of(row), bank.captions[row], 0.0) for row in rows]
    settings = [(explained.title(k), explained.activations[k] / scale, value / scale) for k, value in values.items()]
    pair = SteeredCaption.of(explained.caption, caption, factors)
    return render("ask_rewritten.html", settings=settings, pair=pair, alike=alike, token=bank.token)


def steered_pictures(
    pictures: Sequence[Image.Image], pairs: Sequence[SteeredCaption], direction: str, alpha: float, positions: str
) -> str:
    """Several pictures, each with its two captions."""
    shown = [(data_uri(picture, SIDE), pair) for picture, pair in zip(pictures, pairs)]
    n_changed = sum(any(changed for _, changed in pair.unsteered + pair.steered) for pair in pairs)
    return render(
        "steered.html", shown=shown, direction=direction, alpha=alpha, positions=positions, n_changed=n_changed
    )


def scale_of(explained: Explanation) -> float:
    """The activation that is shown as 1: the picture's largest (paper's Fig 5), or the bank's where none is active."""
    return float(np.abs(explained.activations).max(initial=0) or np.abs(explained.bank.activations).max() or 1.0)


def most_alike(bank: ConceptBank, activations: np.ndarray, n: int) -> list[int]:
    """The samples of a bank, by row, whose activations have the largest cosine with some, (concepts,)."""
    norms = np.linalg.norm(bank.activations, axis=1) * np.linalg.norm(activations)
    cosines = np.divide(bank.activations @ activations, norms, out=np.zeros(len(norms)), where=norms > 0)
    return [int(row) for row in np.argsort(-cosines, kind="stable")[:n] if cosines[row] > 0]
