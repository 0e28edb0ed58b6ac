"""Steer a model while it writes: h <- h + alpha s at one layer (arXiv 2501.03012), and its captions beside unsteered ones."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import isfinite

import pandas as pd
from torch import Tensor
from tqdm.auto import tqdm

from ..images import CaptionedImages, warn_of_unreadable
from ..models import LMM, add, generate_captions
from ..text import check_counts
from .joined import OfEachInput, Steering

UNSTEERED = "unsteered"


@contextmanager
def steer(
    lmm: LMM, direction: Steering, alpha: float = 1.0, positions: Tensor | str = "generated", n_forced: int = 0
) -> Iterator[None]:
    """Add alpha times a direction to the states of its layer, whenever the model runs inside the context.

    Parameters
    ----------
    lmm : LMM
    direction : Direction or ConceptEdit
    alpha : float, default 1.0
        How strongly; negative turns it round, and 0 leaves the model as it is, to the last bit.
    positions : {"generated", "all", "last_prompt"} or LongTensor, default "generated"
        "generated": the last position of the prompt and every generated one (ours). "all": image tokens and prompt,
        too, as by default in the released code. "last_prompt": the last position of the prompt alone. See `add`.
    n_forced : int, default 0
        For passes over given captions, see `add`.

    Yields
    ------
    None
        Afterwards, also after an error, nothing is left on the model.

    Raises
    ------
    ValueError
        If the direction is of another model, or alpha is no finite number.
    """
    if not isfinite(alpha):
        raise ValueError(f"alpha is {alpha}: give a finite number, such as 1")
    direction.check_model(lmm)
    if alpha == 0:
        yield
        return

    def change(states: Tensor) -> Tensor:
        return alpha * direction.change(states)

    with add(lmm, direction.layer, change, positions, n_forced):
        yield


def steered(
    lmm: LMM,
    images: CaptionedImages,
    direction: Steering,
    alphas: float | Sequence[float] = (1.0,),
    positions: str = "generated",
    prompt: str | Sequence[str] | None = None,
    max_new_tokens: int = 40,
    batch_size: int = 32,
) -> pd.DataFrame:
    """What a model says of pictures, unsteered and steered side by side.

    Parameters
    ----------
    lmm : LMM
    images : CaptionedImages
    direction : Direction or ConceptEdit
        Or one with a part for each of the pictures: `InputVectors`, or `PerPicture`.
    alphas : float or sequence of float, default (1.0,)
        A column each.
    positions : {"generated", "all", "last_prompt"}, default "generated"
    prompt : str or sequence of str, optional
        One for all pictures, or one for each. Default: the LMM's own.
    max_new_tokens : int, default 40
    batch_size : int, default 32

    Returns
    -------
    pandas.DataFrame
        A row for each picture that can be read, by its id: the columns "unsteered", then each alpha.

    Raises
    ------
    ValueError
        As `steer`, or if there are no alphas or not one prompt for each picture.
    """
    alphas = [alphas] if isinstance(alphas, (int, float)) else list(alphas)
    if not alphas:
        raise ValueError("there is no alpha to steer by: give one, such as 1")
    edits = [(alpha, direction, alpha) for alpha in alphas]
    return captions_under(lmm, images, edits, positions, prompt, max_new_tokens, batch_size)


def captions_under(
    lmm: LMM,
    images: CaptionedImages,
    edits: Sequence[tuple[Hashable, Steering, float]],
    positions: str,
    prompt: str | Sequence[str] | None,
    max_new_tokens: int,
    batch_size: int = 32,
) -> pd.DataFrame:
    """The table of `steered` under several edits, each with the name of its column and its alpha; unsteered once."""
    check_counts(batch_size=batch_size, max_new_tokens=max_new_tokens)
    prompts = list(prompt) if prompt is not None and not isinstance(prompt, str) else [prompt] * len(images)
    if len(prompts) != len(images):
        raise ValueError(f"{len(prompts)} prompts are given for {len(images)} pictures: give one for each")
    runs = [(UNSTEERED, None, 0.0), *edits]
    for _, edit, _ in edits:
        edit.check_model(lmm)
        if isinstance(edit, OfEachInput) and len(edit) != len(images):
            raise ValueError(f"an edit is of each input, and {len(edit)} of them are given for {len(images)} pictures")
    rows, unreadable, starts = {}, {}, range(0, len(images), batch_size)
    with tqdm(total=len(starts) * len(runs), desc="steering", unit="batches") as bar:
        for start in starts:
            read, pictures, problems = images.opened(range(start, min(start + batch_size, len(images))))
            unreadable |= problems
            asked = [prompts[row] for row in read] if prompt is not None else None
            table = [{} for _ in read]
            for name, edit, alpha in runs if pictures else ():
                edit = edit.subset(read) if isinstance(edit, OfEachInput) else edit
                with steer(lmm, edit, alpha, positions) if edit is not None else nullcontext():
                    captions = generate_captions(lmm, pictures, prompt=asked, max_new_tokens=max_new_tokens)
                for row, generated in zip(table, captions):
                    row[name] = generated.caption
                bar.update()
            rows |= {images.ids[row]: texts for row, texts in zip(read, table)}
    warn_of_unreadable(list(unreadable))
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="id"))
    return frame if len(frame) else pd.DataFrame(columns=[name for name, *_ in runs], index=frame.index)
