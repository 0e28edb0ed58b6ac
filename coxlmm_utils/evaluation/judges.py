"""The judges, and scores of texts for pictures: each picture and each distinct text is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from ..images import CaptionedImages
from .bertscore import BASELINE_FILE, BertJudge, load_bert_judge
from .clipscore import ClipJudge, clip_score, load_clip_judge, words_as_text

BATCH_SIZE = 64
FORM_PAGES = 400  # first validation pages of the picture book: its BERT's form was chosen on them, so test on others
WORDLESS = 0.0  # BERTScore of no words: what the library gives, and after rescaling that of an unrelated text


class PictureScorer:
    """Pictures as the judges see them, and the captions that they ought to have."""

    def __init__(self, images: CaptionedImages, clip: ClipJudge, bert: BertJudge | None):
        self.clip, self.bert = clip, bert
        self.references = [tuple(text for text in texts if text.strip()) for texts in images.references]
        self.vectors = encode_images(images, clip)  # (pictures, width)

    def __len__(self) -> int:
        return len(self.references)

    def clip_scores(self, rows: Sequence[int], words: Sequence[tuple[str, ...]], n_concepts: int = 1) -> np.ndarray:
        """CLIPScore of the words of one concept, or of several as one list, with a picture (paper, Table 1)."""
        return self._clip(rows, [words_as_text(concept, n_concepts) for concept in words])

    def bert_scores(self, rows: Sequence[int], words: Sequence[tuple[str, ...]]) -> np.ndarray:
        """BERTScore of words, as a comma list (ours: the paper's text is not known), against a picture's references.

        The paper is recalled to have made sentences of the words by a language model first; no code of it was released.
        """
        scores = self._bert(rows, [", ".join(concept) for concept in words], [self.references[row] for row in rows])
        wordless = [not concept and bool(self.references[row]) for row, concept in zip(rows, words)]
        scores[np.array(wordless, bool)] = WORDLESS
        return scores

    def clip_of_references(self) -> np.ndarray:
        """GT-captions: mean CLIPScore of a picture's own references; (pictures,), NaN where there is none."""
        rows, _, texts = self._all_references()
        return self._mean(rows, self._clip(rows, texts))

    def bert_of_references(self) -> np.ndarray:
        """GT-captions: mean BERTScore of each reference against the picture's others (ours; how is not known)."""
        rows, indices, texts = self._all_references()
        others = [self.references[row][:i] + self.references[row][i + 1 :] for row, i in zip(rows, indices)]
        return self._mean(rows, self._bert(rows, texts, others))

    def _all_references(self) -> tuple[list[int], list[int], list[str]]:
        """All references one after the other: picture, index among the picture's references, text."""
        references = [(row, i, text) for row, texts in enumerate(self.references) for i, text in enumerate(texts)]
        return tuple(map(list, zip(*references))) if references else ([], [], [])

    def _mean(self, rows: list[int], scores: np.ndarray) -> np.ndarray:
        """The mean of each picture's scores: (pictures,)."""
        return pd.Series(scores).groupby(rows).mean().reindex(range(len(self))).to_numpy()

    def _clip(self, rows: Sequence[int], texts: list[str]) -> np.ndarray:
        """CLIPScore of each text with its picture: (rows,)."""
        if not texts:
            return np.zeros(0)
        return clip_score(self.vectors[list(rows)], self.clip.encode_texts(texts)).double().numpy()

    def _bert(self, rows: Sequence[int], texts: list[str], references: list[tuple[str, ...]]) -> np.ndarray:
        """BERTScore of each text; a text that comes twice for a picture is scored once."""
        pairs = list(zip(rows, texts, references))
        index = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        scores = self.bert.f1([text for _, text, _ in index], [captions for _, _, captions in index])
        return scores[[index[pair] for pair in pairs]] if pairs else np.zeros(0)


def encode_images(images: CaptionedImages, clip: ClipJudge) -> torch.Tensor:
    """Pictures as vectors of a CLIP judge, opened a batch at a time: (pictures, width)."""
    starts = range(0, len(images), BATCH_SIZE)
    bar = tqdm(starts, desc="encoding pictures", unit="batches")
    batches = (range(start, min(start + BATCH_SIZE, len(images))) for start in bar)
    return torch.cat([clip.encode_pictures([images.picture(row) for row in batch]) for batch in batches])


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
        Default: OpenAI's ViT-B/32, the released code's (arXiv 2406.08074).
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
