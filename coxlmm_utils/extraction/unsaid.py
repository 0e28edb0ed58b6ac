"""Where a caption was closest to a word that it does not say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from ..models import LMM, find_token, first_pieces, last_logits
from .extraction_plan import Targets


@torch.inference_mode()
def unsaid_steps(
    lmm: LMM,
    targets: Targets,
    ids: Sequence[str],
    pictures: Sequence[Image.Image],
    captions: Sequence[Sequence[int]],
    prompt: str,
) -> list[dict[str, int]]:
    """For each picture and each of its tokens that the caption does not say: at which step it was most probable (ours).

    Greedy decoding took another token at every step. The probability is that of the word's first pieces together, by
    the model's own logits in one teacher-forced pass over the caption.
    """
    unsaid = [
        [token for token in targets.of(id) if find_token(lmm, caption, targets.spellings[token]) is None]
        for id, caption in zip(ids, captions)
    ]
    rows = [row for row, tokens in enumerate(unsaid) if tokens and captions[row]]
    if not rows:
        return [{} for _ in ids]
    pieces = {token: first_pieces(lmm, words) for token, words in targets.spellings.items()}
    batch = lmm.inputs([pictures[row] for row in rows], prompt, continuations=[captions[row] for row in rows])
    logits = last_logits(lmm, batch, max(len(captions[row]) for row in rows) + 1)  # (rows, steps + 1, vocabulary)
    steps: list[dict[str, int]] = [{} for _ in ids]
    for row, of_row in zip(rows, logits):
        probabilities = of_row[: len(captions[row])].float().softmax(dim=1)  # (steps, vocabulary)
        steps[row] = {token: int(probabilities[:, pieces[token]].sum(dim=1).argmax()) for token in unsaid[row]}
    return steps
