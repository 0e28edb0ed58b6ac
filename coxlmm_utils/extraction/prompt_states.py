"""States of prompts instead of a token: at the last input token, or averaged over a completion.

Steering reads them (arXiv 2508.12815). P2S, "prompt to steer": the difference of the states of two completions of one
prompt is the steering vector of that input. L2S, "learn to steer": a network predicts it from the state of the last
input token.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .._version import __version__
from ..images import CaptionedImages, warn_of_unreadable
from ..models import LMM, Layer, capture, decode, encode_captions, last_logits, teacher_forced_batch, without_refused
from .batches import BatchSize
from .states import States


def prompt_states(
    lmm: LMM,
    images: CaptionedImages,
    prompts: str | Sequence[str],
    layers: Sequence[Layer],
    completions: Sequence[str] | None = None,
    average: bool = False,
    batch_size: int | str = 32,
) -> States:
    """The state of each (picture, prompt) at its last input token, or of its completion, in one pass each.

    Parameters
    ----------
    images : CaptionedImages
    prompts : str or sequence of str
        One for all pictures, or one for each.
    layers : sequence of layer
        0 (embeddings) to `lmm.n_layers`, or "norm".
    completions : sequence of str, optional
        An answer to each prompt, teacher-forced after it. Then the last input token is the completion's last, as in the
        paper's P2S (arXiv 2508.12815).
    average : bool, default False
        The mean over all tokens of the completion in place of its last one, as the released code of P2S has it for
        hallucination; there, up to 100 sampled tokens that follow are in the mean, too.
    batch_size : int or "auto", default 32
        As in `extract`.

    Returns
    -------
    States
        Pictures that could not be read are left out, named and counted. Its captions are the completions, its
        provenance has no token; its position is "last_input" or "completion_mean".

    Raises
    ------
    ValueError
        If prompts or completions are not one for each picture, a completion has no tokens, no picture can be read, or
        `batch_size` is below 1.
    """
    size, n = BatchSize.of(batch_size, 1 if lmm.one_by_one else None), len(images)
    prompts = [prompts] * n if isinstance(prompts, str) else list(prompts)
    completions = None if completions is None else list(completions)
    _check(lmm, n, prompts, completions, average, layers)
    token_ids = None if completions is None else encode_captions(lmm, completions, prompts)
    if token_ids and not all(token_ids):
        raise ValueError(f"the completion {completions[token_ids.index([])]!r} has no tokens: give some text")
    kept, parts, unreadable = [], [], {}

    def take(batch: Sequence[int]) -> None:
        rows, pictures, problems = images.opened(batch)

        def run(chosen: list[int]) -> list[dict[Layer, Tensor]]:
            some = [rows[i] for i in chosen]
            ids, asked = token_ids and [token_ids[row] for row in some], [prompts[row] for row in some]
            chosen = [pictures[i] for i in chosen]
            return [_batch_states(lmm, chosen, asked, ids, list(layers), average)] if some else []

        states, refused = without_refused(lmm, pictures, [prompts[row] for row in rows], run)
        parts.extend(states)
        kept.extend(row for i, row in enumerate(rows) if i not in refused)
        unreadable.update(problems | {images.ids[rows[i]]: reason for i, reason in refused.items()})
        bar.update(len(batch))

    with tqdm(total=n, desc="states of prompts", unit="pictures") as bar:
        size.run(range(n), take)
    warn_of_unreadable(list(unreadable))
    if not kept:
        raise ValueError(
            f"none of the {n:,} pictures could be read: {next(iter(unreadable.values()), 'there are none')}"
        )
    return States(
        {layer: torch.cat([part[layer] for part in parts]) for layer in layers},
        images[kept],
        ["" if completions is None else _as_written(lmm, completions[row], token_ids[row]) for row in kept],
        _provenance(lmm, images, [prompts[row] for row in kept], average, list(unreadable), len(kept)),
        token_ids and [token_ids[row] for row in kept],
    )


def _as_written(lmm: LMM, completion: str, ids: list[int]) -> str:
    """A completion with the space that the model writes before it, if it does."""
    return f" {completion}" if decode(lmm, ids) == f" {completion}" else completion


def _check(lmm: LMM, n: int, prompts: list, completions: list | None, average: bool, layers: Sequence[Layer]) -> None:
    """Refuse what does not fit together."""
    for layer in layers:
        lmm.check_layer(layer)
    if not layers:
        raise ValueError("there is no layer to read: give at least one")
    for name, texts in (("prompts", prompts), ("completions", completions)):
        if texts is not None and len(texts) != n:
            raise ValueError(f"there are {len(texts)} {name} for {n} pictures: give one for each")
    if average and completions is None:
        raise ValueError("there is no completion to average over: give completions, or leave average out")


@torch.inference_mode()
def _batch_states(
    lmm: LMM, pictures: list, prompts: list[str], ids: list[list[int]] | None, layers: list[Layer], average: bool
) -> dict[Layer, Tensor]:
    """(batch, width) float32 on the CPU, for each layer."""
    if ids is None:
        with capture(lmm, layers) as captured:
            last_logits(lmm, lmm.inputs(pictures, prompts), 1)  # not used: the pass is for its states
        return {layer: runs[0].float().cpu() for layer, runs in captured.items()}
    # State 0 is that of the last prompt token, state i that of completion token i - 1; short ones repeat their last.
    longest = max(map(len, ids))
    steps = torch.tensor([[min(i, len(row)) for i in range(1, longest + 1)] for row in ids])  # (batch, longest)
    states = teacher_forced_batch(lmm, pictures, ids, steps, layers, prompts)  # (batch, longest, width) each
    lengths = torch.tensor([len(row) for row in ids])[:, None]
    used = torch.arange(longest) < lengths if average else torch.arange(longest) == lengths - 1  # (batch, longest)
    weights = used / used.sum(1, keepdim=True)
    return {layer: (weights[..., None] * stream.float()).sum(1) for layer, stream in states.items()}


def _provenance(
    lmm: LMM, images: CaptionedImages, prompts: list[str], average: bool, unreadable: list[str], n_kept: int
) -> dict:
    """As that of a token's states, without a token."""
    return {
        "prompt": prompts[0] if len(set(prompts)) == 1 else None,
        "prompts": prompts,
        "model": {"name": lmm.name, "fingerprint": lmm.fingerprint, "dtype": str(lmm.model.dtype)},
        "versions": {"coxlmm_utils": __version__} | {name: version(name) for name in ("torch", "transformers")},
        "token": [],
        "position": "completion_mean" if average else "last_input",
        "data": {"source": images.source, "split": images.split},
        "counts": {"pictures": len(images), "unreadable": len(unreadable), "kept": n_kept},
        "unreadable": unreadable,
    }
