"""The two judges of an evaluation: a CLIP for pictures, a language model for captions."""

from __future__ import annotations

from pathlib import Path

import torch

from .bertscore import BASELINE_FILE, BertJudge, load_bert_judge
from .clipscore import ClipJudge, load_clip_judge


def load_judges(
    source: str = "picturebook",
    clip: str | Path | None = None,
    bert: str | Path | None = None,
    bert_layers: int | None = None,
    device: str | torch.device | None = None,
) -> tuple[ClipJudge, BertJudge]:
    """The judges for pictures of some source: the bundled ones for the picture book, the paper's for all others.

    Parameters
    ----------
    source : str
        As `load_images` takes it, such as `images.source`.
    clip : str or Path, optional
        Another CLIP judge: a model of open_clip with the weights "openai", or a folder; see `load_clip_judge`.
        Default: OpenAI's ViT-B/32, the paper's (section 4, arXiv 2406.08074).
    bert : str or Path, optional
        Another BERTScore judge, see `load_bert_judge`; a folder is rescaled if it brings a `baseline.tsv`. Default:
        roberta-large, rescaled, the library's for English; the paper's own was not released.
    bert_layers : int, optional
        After so many layers vectors are compared; a folder needs it.
    device : str or torch.device, optional
        By default cuda if there is one, else the CPU.

    Returns
    -------
    clip : ClipJudge
    bert : BertJudge

    Raises
    ------
    OSError
        If a judge cannot be downloaded; the message names it, and says how to give a folder instead.
    """
    default = ("picturebook", "picturebook") if source == "picturebook" else ("ViT-B-32", "roberta-large")
    clip, bert = clip or default[0], bert or default[1]
    folder = Path(bert).expanduser()
    baseline = folder / BASELINE_FILE if bert != "picturebook" and (folder / BASELINE_FILE).is_file() else None
    rescale = baseline is not None or bert == "picturebook" or not folder.is_dir()
    return load_clip_judge(clip, device=device), load_bert_judge(bert, bert_layers, rescale, baseline, device)
