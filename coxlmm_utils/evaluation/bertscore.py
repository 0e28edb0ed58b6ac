"""BERTScore: how close a text comes to reference captions, by a language model."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from bert_score import BERTScorer
from bert_score.utils import get_bert_embedding, model2layers
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging

from ..files import bundled_folder

SPACED = ("roberta", "gpt2", "bart", "longformer")  # models whose words carry the space before them
OFFSET = ("roberta", "xlm-roberta", "camembert", "longformer")  # models whose first two positions are not used
PICTUREBOOK_LAYERS = 1
BASELINE_FILE = "baseline.tsv"  # of the picture book's judge
DEFAULT_LENGTH = 512  # of a text in tokens, for models that name none


@dataclass(frozen=True)
class BertJudge:
    """A language model that judges texts by references; see `load_bert_judge`."""

    name: str  # the model or folder
    num_layers: int  # after so many layers its vectors are compared
    rescaled: bool  # whether scores are rescaled by a baseline
    scorer: BERTScorer

    def f1(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """F1 of each candidate against its own references; of several references, the best (the library's rule)."""
        _check_pairs(candidates, references)
        captions = [tuple(text for text in texts if text.strip()) for texts in references]
        rows = [row for row, text in enumerate(candidates) if text.strip() and captions[row]]
        scores = np.full(len(candidates), np.nan)
        scores[rows] = self.match([candidates[row] for row in rows], [captions[row] for row in rows])[2]
        if self.rescaled:
            baseline = self.scorer.baseline_vals[2].item()
            scores = (scores - baseline) / (1 - baseline)
        return scores

    def match(self, candidates: Sequence[str], references: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Precision, recall and F1 as they are: (3, candidates), each of the best reference.

        The vectors are the library's, the matching is our own, of all candidates with the same references at once. The
        library pads texts to the longest of their batch, and takes padding for words with a cosine of 0: where a word
        is unlike all others, its score depends on the texts that it happens to be scored with.
        """
        rows_by_references = {}
        for row, texts in enumerate(references):
            rows_by_references.setdefault(texts, []).append(row)
        encoded = self._encoded({*candidates, *(text for texts in rows_by_references for text in texts)})
        scores = np.empty((3, len(candidates)))
        for texts, rows in rows_by_references.items():
            matched = _match([encoded[candidates[row]] for row in rows], [encoded[text] for text in texts])
            scores[:, rows] = matched.max(axis=2)
        return scores

    def _encoded(self, texts: Iterable[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Unit vectors, (tokens, width), and weights, (tokens,), of texts; special tokens match but do not count."""
        scorer, encoded = self.scorer, {}
        weights = defaultdict(lambda: 1.0, {scorer._tokenizer.sep_token_id: 0, scorer._tokenizer.cls_token_id: 0})
        texts = sorted(texts, key=lambda text: (len(text.split()), text))  # alike in length: little padding
        for start in range(0, len(texts), scorer.batch_size):
            batch = texts[start : start + scorer.batch_size]
            vectors, mask, counts = get_bert_embedding(
                batch, scorer._model, scorer._tokenizer, weights, device=scorer.device
            )
            vectors = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
            for text, row, n, count in zip(batch, vectors, mask.sum(dim=1).tolist(), counts.cpu().numpy()):
                encoded[text] = row[:n], count[:n] / max(count[:n].sum(), 1)
        return encoded


def _match(candidates: list[tuple], references: list[tuple]) -> np.ndarray:
    """Greedy matching, each token with the most similar one: (3, candidates, references), precision, recall and F1."""
    (C, c_weights, c_starts), (R, r_weights, r_starts) = map(_joined, (candidates, references))
    similar = C @ R.T  # (all candidates' tokens, all references' tokens)
    of_candidates = np.maximum.reduceat(similar, r_starts, axis=1) * c_weights[:, None]
    of_references = np.maximum.reduceat(similar, c_starts, axis=0) * r_weights
    precision = np.add.reduceat(of_candidates, c_starts, axis=0)  # (candidates, references)
    recall = np.add.reduceat(of_references, r_starts, axis=1)
    total = precision + recall
    return np.stack([precision, recall, 2 * precision * recall / np.where(total == 0, 1, total)])


def _joined(texts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors and weights of several texts one below the other, and the row at which each begins."""
    vectors, weights = map(np.concatenate, zip(*texts))
    return vectors, weights, np.cumsum([0, *(len(rows) for rows, _ in texts[:-1])])


def load_bert_judge(
    model: str | Path = "roberta-large",
    num_layers: int | None = None,
    rescale: bool = True,
    baseline_path: str | Path | None = None,
    device: str | torch.device | None = None,
) -> BertJudge:
    """Load a language model as a judge, through the library bert_score, with its faults mended (ours).

    The default is the library's for English, roberta-large at layer 17 with rescaling, about 1.4 GB, fetched at the
    first use. The paper's own judge was not released; its numbers are of the size that this one gives. With today's
    transformers the library drops the space before the first word for models such as RoBERTa, which changes scores
    without an error, fails where a tokenizer names no greatest length, and takes
    padding for words; here none of it happens.

    Parameters
    ----------
    model : str or Path
        A model that bert_score knows, a hub id, a folder written by `save_pretrained`, or "picturebook": the bundled
        judge of its captions, which brings its layer and baseline.
    num_layers : int, optional
        After so many layers vectors are compared. By default the library's choice; a model that it does not know,
        such as any folder, has none.
    rescale : bool
        Rescale scores so that unrelated texts have about 0.
    baseline_path : str or Path, optional
        What they have before that: a table with the columns LAYER, P, R and F, and a row for each layer from 0 on.
        By default the library's for English, which it has for the models it knows best.
    device : str or torch.device, optional
        By default cuda if there is one, else the CPU.

    Returns
    -------
    BertJudge

    Raises
    ------
    OSError
        If the model cannot be downloaded, or the folder holds none.
    ValueError
        If `num_layers` is missing or more than the model has, the baseline is missing, or the folder's path would
        mislead the library.
    """
    folder = Path(model).expanduser()
    if model == "picturebook":
        folder = bundled_folder("bert")
        num_layers, baseline_path = num_layers or PICTUREBOOK_LAYERS, baseline_path or folder / BASELINE_FILE
    source = str(folder.resolve()) if folder.is_dir() else str(model)
    if num_layers is None and source not in model2layers:
        raise ValueError(f'bert_score has no choice of layer for "{model}": give num_layers.')
    config = _load_config(source)
    scorer = _load_scorer(source, num_layers, rescale, baseline_path, device)
    _mend_tokenizer(scorer, source, config)
    if torch.device(scorer.device).type == "cpu":
        scorer._model.float()  # weights stored in half precision are slow there, and round
    if rescale:
        _check_baseline(scorer)
    return BertJudge(str(model), scorer.num_layers, rescale, scorer)


def _load_config(source: str) -> PreTrainedConfig:
    """The model's configuration, or one sentence on why it cannot be had; refuses a path that misleads the library."""
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise OSError(_cannot_be_had(source, error)) from error
    if "t5" in source and "t5" not in config.model_type:  # which the library would load as a T5, at random
        raise ValueError(f'bert_score takes any path with "t5" in it for a T5 model: move or rename {source}.')
    return config


def _load_scorer(
    source: str, num_layers: int | None, rescale: bool, baseline: str | Path | None, device: str | torch.device | None
) -> BERTScorer:
    """The library's scorer, as it is."""
    device = str(device) if device else None
    baseline = str(Path(baseline).expanduser()) if baseline else None
    options = dict(lang="en", rescale_with_baseline=rescale, baseline_path=baseline, device=device, nthreads=0)
    try:
        with _quiet():
            return BERTScorer(source, num_layers, **options)
    except OSError as error:
        raise OSError(_cannot_be_had(source, error)) from error
    except AssertionError as error:
        raise ValueError(f"num_layers={num_layers} is not a layer of the judge: {error}.") from error


@contextmanager
def _quiet():
    """No report of which weights a judge does not need, such as the head that predicts words."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _mend_tokenizer(scorer: BERTScorer, source: str, config: PreTrainedConfig) -> None:
    """Give the first word its space where all others have one, and the texts a greatest length."""
    if config.model_type in SPACED:
        scorer._tokenizer = AutoTokenizer.from_pretrained(source, add_prefix_space=True)
    n_positions = getattr(config, "max_position_embeddings", None) or DEFAULT_LENGTH
    longest = n_positions - (2 if config.model_type in OFFSET else 0)
    scorer._tokenizer.model_max_length = min(scorer._tokenizer.model_max_length, longest)


def _check_baseline(scorer: BERTScorer) -> None:
    """Refuse to rescale by a baseline that is not there, or has no row for the layer."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")  # the library only reads it
            scorer.baseline_vals  # read here, and kept by the scorer
    except (ValueError, IndexError) as error:
        raise ValueError(
            f'There is no baseline for layer {scorer.num_layers} of "{scorer.model_type}" at {scorer.baseline_path}: '
            f"give baseline_path, or rescale=False."
        ) from error


def _check_pairs(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse candidates that have not each their list of references."""
    if len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates have {len(references)} lists of references: give each its own.")
    if any(isinstance(texts, str) for texts in references):
        raise ValueError("The references of a sample are a string: give a list of strings for each sample.")


def _cannot_be_had(source: str, error: Exception) -> str:
    """One sentence on why there is no judge, and how to give one from a folder."""
    reason = shorten(str(error), 200).rstrip(" .")
    return (
        f'The BERTScore judge "{source}" cannot be loaded ({reason}): check its name and the network, '
        f"or give a folder written by save_pretrained as `bert`, with `bert_layers`."
    )
