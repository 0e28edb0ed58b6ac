"""The caption that the LMM generates for one picture, and its explanation by each of several banks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..concepts import ConceptBank
from ..explanation import Explanation, explanation_of
from ..images import CaptionedImages, load_images
from ..models import LMM, Layer, generate_captions
from ..text import whole_word


@dataclass(frozen=True)
class PictureExplanation:
    """One picture, captioned by the LMM and explained by some banks (ours)."""

    picture: Image.Image
    # as generated: one, or several different ones if the banks have different prompts
    captions: tuple[str, ...]
    # by the bank's index; only of banks whose token is in their caption
    explanations: dict[int, Explanation]
    remarks: tuple[str, ...] = ()  # what there is to warn of, such as a picture that the bundled model knows nothing of


def explain_picture(lmm: LMM, banks: Sequence[ConceptBank], picture: Image.Image) -> PictureExplanation:
    """Caption a picture once and explain it by every bank whose token the caption has (ours)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lmm.warn_if_out_of_domain([picture])
    generated = {run: generate_captions(lmm, [picture], layers, *run)[0] for run, layers in _runs(banks).items()}
    explanations = [explanation_of(lmm, bank, picture, generated[_run(bank)]) for bank in banks]
    by_bank = {number: explained for number, explained in enumerate(explanations) if explained is not None}
    captions = dict.fromkeys(result.caption for result in generated.values())
    return PictureExplanation(picture, tuple(captions), by_bank, tuple(str(warning.message) for warning in caught))


def explained_words(banks: Sequence[ConceptBank]) -> list[str]:
    """The words that the banks explain, without repeats, by their first spellings."""
    words = [word for bank in banks for word in bank.tokens]
    return list(dict.fromkeys(words))


def _run(bank: ConceptBank) -> tuple[str, int]:
    """How a bank's captions are generated: prompt and largest number of new tokens."""
    return bank.prompt, bank.provenance["max_new_tokens"]


def _runs(banks: Sequence[ConceptBank]) -> dict[tuple[str, int], list[Layer]]:
    """The captioning runs that the banks need, with the layers to capture in each."""
    runs: dict[tuple[str, int], list[Layer]] = {}
    for bank in banks:
        runs.setdefault(_run(bank), []).append(bank.layer)
    return runs


def test_pictures(banks: Sequence[ConceptBank]) -> tuple[CaptionedImages | None, str]:
    """Test pictures from where the first bank's came from, or why there are none."""
    source = banks[0].provenance["data"]["source"]
    if not source:
        return None, ""
    try:
        images = load_images(source, split="test")
    except (ValueError, OSError) as error:
        return None, f"the test pictures cannot be shown: {error}"
    if not any(images.references):
        return images, ""
    mentioned = images.rows_with(whole_word(*(spelling for bank in banks for spelling in bank.spellings)))
    return (images[mentioned] if mentioned else images), ""
