"""What the LMM wrote about one picture, and what each of several banks says of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..concepts import ConceptBank
from ..explanation import Explanation, explanation_of
from ..models import LMM, Layer, generate_captions


@dataclass(frozen=True)
class PictureExplanation:
    """One picture as the LMM and some banks have it (ours).

    Attributes
    ----------
    picture : PIL.Image.Image
    captions : tuple of str
        What the LMM wrote: one caption, or several different ones if the banks have different prompts.
    explanations : dict of int to Explanation
        By the bank's place among the banks; only those whose token is in their caption.
    remarks : tuple of str
        What there is to warn of, such as a picture that the bundled model knows nothing of.
    """

    picture: Image.Image
    captions: tuple[str, ...]
    explanations: dict[int, Explanation]
    remarks: tuple[str, ...] = ()


def explain_picture(lmm: LMM, banks: Sequence[ConceptBank], picture: Image.Image) -> PictureExplanation:
    """Caption a picture once and explain it by every bank whose token the caption has (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the banks were learned on.
    banks : sequence of ConceptBank
        Those of one prompt and caption length share one run of the model.
    picture : PIL.Image.Image
        RGB.

    Returns
    -------
    Reading
        Its explanations are those of `explain`; its remarks are the warnings that `explain` gives.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lmm.warn_if_out_of_domain([picture])
    written = {run: generate_captions(lmm, [picture], layers, *run)[0] for run, layers in _runs(banks).items()}
    explanations = [explanation_of(lmm, bank, picture, written[_run(bank)]) for bank in banks]
    said = {number: explained for number, explained in enumerate(explanations) if explained is not None}
    captions = dict.fromkeys(one.caption for one in written.values())
    return PictureExplanation(picture, tuple(captions), said, tuple(str(warning.message) for warning in caught))


def covered(banks: Sequence[ConceptBank]) -> list[str]:
    """The words that banks explain, each once, by its first spelling."""
    words = [word for bank in banks for word in bank.tokens]
    return list(dict.fromkeys(words))


def _run(bank: ConceptBank) -> tuple[str, int]:
    """What a bank's captions are written with: prompt, most new tokens."""
    return bank.prompt, bank.provenance["max_new_tokens"]


def _runs(banks: Sequence[ConceptBank]) -> dict[tuple[str, int], list[Layer]]:
    """The runs of the model that the banks need, each with the layers to keep."""
    runs: dict[tuple[str, int], list[Layer]] = {}
    for bank in banks:
        runs.setdefault(_run(bank), []).append(bank.layer)
    return runs
