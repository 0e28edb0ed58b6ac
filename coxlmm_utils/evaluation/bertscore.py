"""BERTScore: how close a text comes to reference captions, by a language model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bert_score import BERTScorer
from bert_score.utils import model2layers
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
        captions = [[text for text in texts if text.strip()] for texts in references]
        rows = [row for row, text in enumerate(candidates) if text.strip() and captions[row]]
        scores = np.full(len(candidates), np.nan)
        if rows:
            _, _, f1 = self.scorer.score([candidates[row] for row in rows], [captions[row] for row in rows])
            scores[rows] = f1.numpy()
        return scores


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
    without an error, and fails where a tokenizer names no greatest length; here neither happens.

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
    reason = str(error).splitlines()[0][:200].rstrip(" .")
    return (
        f'The BERTScore judge "{source}" cannot be loaded ({reason}): check its name and the network, '
        f"or give a folder written by save_pretrained as model, with num_layers."
    )
