"""One pass of a model over whole inputs, and which pictures it cannot take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import signature
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedModel

from .lmm import GREY, LMM

Result = TypeVar("Result")
MIN_COSINE = 0.99  # between logits of a picture alone and in a batch; half precision rounds to above .999, Emu3 has .95


def last_logits(lmm: LMM, batch: BatchFeature, n: int) -> Tensor:
    """One pass over whole inputs: the model's own logits at the last n positions, (batch, n, vocabulary)."""
    return lmm.model(**batch, use_cache=False, **logits_to_keep(lmm.model, n)).logits[:, -n:]


def logits_to_keep(model: PreTrainedModel, n: int) -> dict[str, int]:
    """The option of a pass that makes logits of the last n positions only, if the model has it: all can be large."""
    return {"logits_to_keep": n} if "logits_to_keep" in signature(model.forward).parameters else {}


def per_picture(prompt: str | Sequence[str] | None, n: int) -> Sequence[str | None]:
    """A prompt for each of n pictures, of one for all (None: the LMM's own) or one for each."""
    return [prompt] * n if prompt is None or isinstance(prompt, str) else prompt


@torch.inference_mode()
def depends_on_batch(lmm: LMM) -> bool:
    """Whether a picture's states depend on the others of its batch, as where a processor pads all to one size (ours).

    Two pictures of two sizes are tried, together and alone. The model itself is run only where the processor makes
    something else of them together.
    """
    ramp = Image.linear_gradient("L").convert("RGB")
    pictures = [ramp.resize((64, 96)), ramp.rotate(90).resize((160, 128))]
    alone = [lmm.inputs([picture]) for picture in pictures]
    try:
        together = lmm.inputs(pictures)
        with suppress(KeyError, RuntimeError):  # another name, or sizes that do not go into one tensor
            if torch.equal(torch.cat([batch["pixel_values"] for batch in alone]), together["pixel_values"]):
                return False
        logits = last_logits(lmm, together, 1)[:, 0].float()  # (2, vocabulary)
    except Exception:  # of any kind: it cannot take them together
        return True
    single = torch.cat([last_logits(lmm, batch, 1)[:, 0] for batch in alone]).float()
    return bool((torch.cosine_similarity(logits, single) < MIN_COSINE).any())


@torch.inference_mode()
def refused_pictures(
    lmm: LMM, pictures: Sequence[Image.Image], prompt: str | Sequence[str] | None = None
) -> dict[int, str]:
    """Which pictures the processor or the model cannot take, such as very thin ones, by row, with the reason.

    Each is tried alone. An error that a grey picture meets, too, is not for the pictures, and is raised; so is a lack
    of memory.
    """
    pictures = [] if isinstance(pictures, Image.Image) else pictures
    prompts = per_picture(prompt, len(pictures))
    refused = {}
    for row, (picture, of_row) in enumerate(zip(pictures, prompts)):
        try:
            last_logits(lmm, lmm.inputs([picture], of_row), 1)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # of any kind, deep inside a processor or a vision tower
            last_logits(lmm, lmm.inputs([GREY], of_row), 1)
            refused[row] = str(error)
    return refused


def without_refused(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    prompt: str | Sequence[str] | None,
    run: Callable[[list[int]], Result],
) -> tuple[Result, dict[int, str]]:
    """What `run` gives for the rows of all pictures, or after an error for those that the model can take (ours).

    Parameters
    ----------
    lmm : LMM
    pictures : sequence of PIL.Image.Image
    prompt : str, sequence of str, or None
        With which the pictures are tried.
    run : callable
        Gets rows of `pictures`, and none if all are refused.

    Returns
    -------
    result
        Of `run`.
    refused : dict of int to str
        The reason for each picture that was left out, by row.

    Raises
    ------
    Exception
        That of `run`, if it is not about single pictures.
    """
    rows = list(range(len(pictures)))
    try:
        return run(rows), {}
    except (MemoryError, torch.OutOfMemoryError):  # which is not about single pictures
        raise
    except Exception:
        refused = refused_pictures(lmm, pictures, prompt)
        if not refused:
            raise
    return run([row for row in rows if row not in refused]), refused
