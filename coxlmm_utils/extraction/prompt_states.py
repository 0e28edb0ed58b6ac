"""States of prompts instead of a token: at the last input token, or averaged over a completion.

Steering reads them (arXiv 2508.12815). P2S, "prompt to steer": the difference of the states of two completions of one
prompt is the steering vector of that input. L2S, "learn to steer": a network predicts it from the state of the last
input token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from .._version import __version__
from ..images import CaptionedImages, warn_of_unreadable
from ..models import LMM, Layer, SharedPrefix, decode, encode_captions, without_refused
from .batches import BatchSize
from .blocks import block_rows
from .prefetch import prefetched
from .states import States

Asked = tuple[int, int]  # of which picture, and of which set of completions


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
    completions = None if completions is None else list(completions)
    return completion_states(lmm, images, prompts, layers, [completions], average, batch_size)[0]


def completion_states(
    lmm: LMM,
    images: CaptionedImages,
    prompts: str | Sequence[str],
    layers: Sequence[Layer],
    completions: Sequence[Sequence[str] | None],
    average: bool = False,
    batch_size: int | str = 32,
) -> list[States]:
    """`prompt_states` for each of several sets of completions of the same prompts; each picture is run once for all (ours).

    Parameters
    ----------
    completions : sequence of sequence of str
        Such as the wanted and the unwanted ones, each of one completion for each picture.
    images, prompts, layers, average, batch_size
        As in `prompt_states`; the pictures at once are counted once for each of their completions.

    Returns
    -------
    list of States
        One for each set. Pictures that also come several times in `images`, such as with several questions in a row, are
        run once for all, too, as far as they share a batch and the model allows it, see `SharedPrefix`.
    """
    size, n = BatchSize.of(batch_size, 1 if lmm.one_by_one else None), len(images)
    prompts = [prompts] * n if isinstance(prompts, str) else list(prompts)
    for texts in completions:
        _check(lmm, n, prompts, texts, average, layers)
    token_ids = [_token_ids(lmm, texts, prompts) for texts in completions]
    read, unreadable = _read(_Prompts(lmm, prompts, token_ids, list(layers), average), images, size)
    warn_of_unreadable(list(unreadable))
    kept = [row for row in range(n) if images.ids[row] not in unreadable]
    if not kept:
        raise ValueError(
            f"none of the {n:,} pictures could be read: {next(iter(unreadable.values()), 'there are none')}"
        )
    provenance = _provenance(lmm, images, [prompts[row] for row in kept], average, list(unreadable), len(kept))
    return [
        States(
            {layer: torch.stack([read[row, number][layer] for row in kept]) for layer in layers},
            images[kept],
            ["" if texts is None else _as_written(lmm, texts[row], ids[row]) for row in kept],
            provenance,
            ids and [ids[row] for row in kept],
        )
        for number, (texts, ids) in enumerate(zip(completions, token_ids))
    ]


def _token_ids(lmm: LMM, completions: Sequence[str] | None, prompts: list[str]) -> list[list[int]] | None:
    """Of each completion; ValueError for one that has none."""
    if completions is None:
        return None
    token_ids = encode_captions(lmm, completions, prompts)
    if not all(token_ids):
        raise ValueError(f"the completion {completions[token_ids.index([])]!r} has no tokens: give some text")
    return token_ids


@dataclass
class _Prompts:
    """What is asked of the pictures, and how the states are read."""

    lmm: LMM
    prompts: list[str]  # one for each picture
    token_ids: list[list[list[int]] | None]  # of each set of completions
    layers: list[Layer]
    average: bool

    def __post_init__(self) -> None:
        self.prefix = SharedPrefix(self.lmm)

    def states(
        self, pictures: dict[int, Image.Image], asked: Sequence[Asked]
    ) -> tuple[dict[Asked, dict[Layer, Tensor]], dict[int, str]]:
        """Of a batch, and the reason for each picture that the model cannot take, by row."""

        def run(chosen: list[int]) -> dict[Asked, dict[Layer, Tensor]]:
            some = [asked[i] for i in chosen]
            return dict(zip(some, self._batch_states([pictures[row] for row, _ in some], some))) if some else {}

        given = [pictures[row] for row, _ in asked], [self.prompts[row] for row, _ in asked]
        states, refused = without_refused(self.lmm, *given, run)
        return states, {asked[i][0]: reason for i, reason in refused.items()}

    def _batch_states(self, pictures: list[Image.Image], asked: Sequence[Asked]) -> list[dict[Layer, Tensor]]:
        """For each picture (width,) float32 at each layer, on the CPU."""
        prompts = [self.prompts[row] for row, _ in asked]
        ids = [[] if self.token_ids[number] is None else self.token_ids[number][row] for row, number in asked]
        lengths = torch.tensor([[len(row)] for row in ids])
        longest = max(int(lengths.max()), 1)
        # State 0 is that of the last prompt token, state i that of completion token i - 1; short ones repeat their last.
        steps = torch.minimum(torch.arange(1, longest + 1), lengths)  # (batch, longest)
        states = self.prefix.states(pictures, ids, steps, self.layers, prompts)  # (batch, longest, width) each
        last = torch.arange(longest) == (lengths - 1).clamp(min=0)
        used = torch.arange(longest) < lengths if self.average else last
        weights = used / used.sum(1, keepdim=True)  # (batch, longest)
        means = {layer: (weights[..., None] * stream.float()).sum(1) for layer, stream in states.items()}
        return [{layer: stream[row] for layer, stream in means.items()} for row in range(len(ids))]


def _read(
    prompts: _Prompts, images: CaptionedImages, size: BatchSize
) -> tuple[dict[Asked, dict[Layer, Tensor]], dict[str, str]]:
    """All states, and the reason for each picture that cannot be read, by id; pictures are opened a block ahead."""
    read, unreadable, n, n_sets = {}, {}, len(images), len(prompts.token_ids)

    def take(pictures: dict[int, Image.Image], batch: Sequence[Asked]) -> None:
        states, refused = prompts.states(pictures, batch)
        read.update(states)
        unreadable.update({images.ids[row]: reason for row, reason in refused.items()})
        bar.update(len(batch))

    with tqdm(total=n * n_sets, desc="states of prompts", unit="prompts") as bar:
        for rows, pictures, problems in prefetched(block_rows(n), images.opened):
            unreadable.update(problems)
            bar.update(len(problems) * n_sets)
            asked = [(row, number) for row in rows for number in range(n_sets)]
            size.run(asked, partial(take, dict(zip(rows, pictures))))
    return read, unreadable


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
