"""A concept bank: a dictionary, each concept's words and pictures, and the provenance of all of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..dictionaries import Dictionary, SemiNMF
from ..extraction import HasProvenance, States, join_states, warn_of_other_settings
from ..images import CaptionedImages
from ..models import LMM, Layer
from ..text import check_counts
from . import figures
from .bank_files import change_name, check_name, load_bank, named, save_bank
from .grounding import Words, ground_pictures, ground_words, thumbnails_of, warn_if_few
from .word_filter import WordFilter

N_WORDS = 3  # that stand for a concept without a name
THUMBNAIL_SIDE = 224  # pixels of the longer side, at most


@dataclass(frozen=True)
class ConceptBank(HasProvenance):
    """The concepts of one token, grounded in words and pictures.

    Attributes
    ----------
    dictionary : Dictionary
        Its `components_` are the concepts: (concepts, width).
    activations : numpy.ndarray
        (samples, concepts): how active each concept is on each sample that it was learned from.
    words : list of Words
        Of each concept.
    negative_words : list of Words
        Of each -u_k where activations have both signs, as PCA's; else none. See `words_of`.
    ids : list of str
        The samples' picture ids.
    captions : list of str
        The samples' captions, as generated.
    top : numpy.ndarray
        (concepts, pictures): the samples that activate each concept most, above zero; see `top_of`.
    thumbnails : dict of str to PIL.Image.Image
        Those samples' pictures, by id, reduced, so that the bank can be shown anywhere.
    provenance : dict
        Model, layer, position, prompt, token, the dictionary's method and parameters, data, counts, versions.
    names : dict of int to str
        What the user calls some of the concepts; `rename` gives a name.
    measures : dict of str to numpy.ndarray
        (concepts,) each, such as "clipscore"; `measured` measures them. NaN where there was nothing to measure.
    folder : Path or None
        Where the bank was saved to or loaded from.
    """

    dictionary: SemiNMF
    activations: np.ndarray
    words: list[Words]
    ids: list[str]
    captions: list[str]
    top: np.ndarray
    thumbnails: dict[str, Image.Image]
    provenance: dict
    names: dict[int, str] = field(default_factory=dict)
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    folder: Path | None = None
    negative_words: list[Words] = field(default_factory=list)

    @classmethod
    def learn(
        cls,
        lmm: LMM,
        states: States | Sequence[States],
        dictionary: Dictionary,
        n_decoded: int = 15,
        n_kept: int | None = None,
        n_pictures: int = 5,
        word_filter: WordFilter | None = None,
        norm: bool | None = None,
    ) -> ConceptBank:
        """Fit a dictionary to states and ground its concepts (paper, arXiv 2406.08074).

        Concepts with signed activations are grounded on both sides (ours; the released code grounds u_k only).

        Parameters
        ----------
        lmm : LMM
            The model that the states are of.
        states : States or sequence of States
            Of one layer; `states.at(layer)` chooses. Those of several tokens become one Z, and the bank is shared
            (ours; see `join_states` and `token_shares`).
        dictionary : Dictionary
            Any method, with its settings; a copy of it is fitted.
        n_decoded, n_kept : int
            How many tokens are decoded for each concept, and how many words kept at most; see `ground_words`.
            `n_kept` defaults to the LMM's `words_kept`: all that pass the filter, and 5 for the picture book, whose
            whole vocabulary is 149 tokens.
        n_pictures : int
            Pictures for each concept: the paper's N_MAS.
        word_filter : WordFilter, optional
        norm : bool, optional
            Final norm before the unembedding or not; default: where the layer needs it.

        Raises
        ------
        ValueError
            If the states are of another model, of several layers, fewer than the concepts, or not finite.

        Warns
        -----
        UserWarning: of fewer than 3 samples for each concept.
        """
        check_counts(n_decoded=n_decoded, n_kept=n_kept, n_pictures=n_pictures)
        states = states if isinstance(states, States) else join_states(states)
        _same_model(states.provenance["model"], lmm)
        layer = states.layer
        dictionary = dictionary.clone().fit(states.Z)
        warn_if_few(len(states), len(dictionary.components_))
        n_kept, word_filter = n_kept or lmm.words_kept, word_filter or WordFilter()
        words = ground_words(lmm, dictionary.side_directions(), layer, n_decoded, n_kept, word_filter, norm)
        top = ground_pictures(dictionary.side_activations(dictionary.activations_), n_pictures)  # (sides, n_pictures)
        thumbnails = thumbnails_of(states.images, np.unique(top), THUMBNAIL_SIDE)
        grounding = {"n_decoded": n_decoded, "n_kept": n_kept, "norm": norm, "filter": word_filter.settings()}
        method = {"method": type(dictionary).__name__, **dictionary.get_params()}
        provenance = {**states.provenance, "layer": layer, "dictionary": method, "grounding": grounding}
        V, n = dictionary.activations_, len(dictionary.components_)
        bank = cls(dictionary, V, words[:n], list(states.images.ids), states.captions, top[:n], thumbnails, provenance)
        return replace(bank, negative_words=words[n:])

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        kind = "concepts" if self.method == SemiNMF.label else f"{self.method} concepts"
        samples = f"samples, {self.samples}" if "samples" in self.provenance else "samples"
        return f"ConceptBank({len(self)} {kind} of {self.token!r}, {self.where}, {len(self.ids):,} {samples})"

    @property
    def token(self) -> str:
        """The target word, by its first spelling; of a shared bank all target words."""
        return ", ".join(self.tokens) or "answers"  # of states of prompts

    @property
    def layer(self) -> Layer:
        return self.provenance["layer"]

    @property
    def method(self) -> str:
        """The dictionary's method, as figures show it."""
        return self.dictionary.label

    @property
    def where(self) -> str:
        """Layer and position in words, as figures show them."""
        layer = "final norm" if self.layer == "norm" else f"layer {self.layer}"
        return f"{layer}, {self.position_in_words}"

    @property
    def concepts(self) -> np.ndarray:
        """(concepts, width), of Semi-NMF each in the unit ball; the paper's U is the transpose."""
        return self.dictionary.components_

    def project(self, Z) -> np.ndarray:
        """Activations of new states: (samples, width) to (samples, concepts) (paper)."""
        return self.dictionary.transform(Z)

    @property
    def sides(self) -> tuple[int, ...]:
        """The signs that activations have, each with words and pictures of its own: (1,), of PCA (1, -1) (ours)."""
        return (1, -1) if self.dictionary.signed else (1,)

    def words_of(self, concept: int, activation: float = 1.0) -> Words:
        """The words of a concept where its activation has this sign: those of u_k, or below zero of -u_k (ours)."""
        return self.negative_words[concept] if activation < 0 else self.words[concept]

    def top_of(self, concept: int, activation: float = 1.0) -> list[int]:
        """The samples that activate a concept most with this sign, most active first; none that does not (ours)."""
        values, rows = self.activations[:, concept], self.top[concept]  # (samples,), (pictures,)
        if activation < 0:
            values = -values
            [rows] = ground_pictures(values[:, None].clip(min=0), len(rows))
        return [int(row) for row in rows if values[row] > 0]

    def pictures(self, concept: int, activation: float = 1.0) -> list[Image.Image]:
        """The pictures of `top_of`, as far as the bank keeps them: of banks of older versions not all of side -u_k."""
        ids = [self.ids[row] for row in self.top_of(concept, activation)]
        return [self.thumbnails[id] for id in ids if id in self.thumbnails]

    def check_model(self, lmm: LMM) -> None:
        """Refuse a model that the bank was not learned on; warn of other settings of it, see `warn_of_other_settings`."""
        _same_model(self.provenance["model"], lmm)
        warn_of_other_settings(lmm, self.provenance)

    def gallery(self, concepts: Sequence[int] | None = None, n_words: int = 5) -> Figure:
        """All concepts with their pictures and words, as the paper's Figs 4 and 7; see `figures.gallery`."""
        return figures.gallery(self, concepts, n_words)

    def title(self, concept: int, activation: float = 1.0) -> str:
        """What a concept is called where it has this sign: its user's name, else its first words, else "concept k"."""
        opposite = "opposite of " if activation < 0 else ""
        if concept in self.names:
            return opposite + self.names[concept]
        return ", ".join(self.words_of(concept, activation).kept[:N_WORDS]) or f"{opposite}concept {concept}"

    def label(self, concept: int, n_words: int = N_WORDS) -> str:
        """Its name, else its first words, with its number behind: the label of a figure's row (ours)."""
        words = self.words[concept].kept[:n_words]
        return f"{self.names.get(concept) or ', '.join(words) or '(no words)'}   {concept}"

    def rename(self, concept: int, name: str) -> None:
        """Name a concept; figures and views use the name from now on (ours).

        Parameters
        ----------
        concept : int
        name : str
            At most 60 characters; spaces around it are dropped, and "" takes the name away. Of a bank that was saved
            or loaded, the names are written to its folder at once.

        Raises
        ------
        ValueError
            If there is no such concept, or the name is too long or has control characters.
        OSError
            If the name cannot be written; the concept then keeps its old one.
        """
        concept, name = operator.index(concept), check_name(name)
        if not 0 <= concept < len(self):
            raise ValueError(f"there is no concept {concept}: they are numbered from 0 to {len(self) - 1}")
        change = partial(named, self.names) if self.folder is None else partial(change_name, self.folder, len(self))
        names = change(concept, name)
        self.names.clear()
        self.names.update(names)

    # Rooms that come after this one make what people look for here: only the next three methods import upwards.

    def measured(
        self, images: CaptionedImages | None = None, clip=None, bert=None, others: Sequence[ConceptBank] = ()
    ) -> ConceptBank:
        """The same bank with CLIPScore and BERTScore (give images and both judges) or stability (give others)."""
        from ..evaluation import measure

        return replace(self, measures=self.measures | measure(self, images, clip, bert, others))

    def trust_card(self, recovery=None, visual=None, ablation=None, selectivity=None, agreement=None):
        """What was measured of the bank on one page, and what was not (ours); see `faithfulness.trust_card`."""
        from ..faithfulness import trust_card

        return trust_card(self, recovery, visual, ablation, selectivity, agreement)

    def to_html(self, path: str | Path, images: CaptionedImages | None = None, card=None) -> Path:
        """Write the concepts as one page that opens anywhere, and say where it is; see `widgets.to_html`."""
        from ..widgets import to_html

        return to_html(self, path, images, card)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save as safetensors, json and PNG, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Made, or replaced if it is empty or a saved bank's. Names given later are written there, too. Names that the
            same concepts have there stay, unless this bank has its own; those of another bank are not carried over.

        Raises
        ------
        ValueError, FileExistsError
            If the dictionary is of a method that could not be loaded again; if the folder holds anything else.
        """
        folder = save_bank(self, folder).absolute()
        object.__setattr__(self, "folder", folder)  # of what a bank has, this alone may change

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ConceptBank:
        """Load what `save_pretrained` wrote.

        Raises
        ------
        FileNotFoundError
            If the folder holds no bank.
        ValueError
            If the bank is damaged, half-written or of another format.
        """
        return cls(**load_bank(folder))


def _same_model(learned_on: dict, lmm: LMM) -> None:
    """Refuse a model other than the one that states or a bank were taken from."""
    if learned_on["fingerprint"] != lmm.fingerprint:
        raise ValueError(
            f"these concepts were learned on {learned_on['name']!r} (weights {learned_on['fingerprint']}), but the "
            f"model given is {lmm.name!r} (weights {lmm.fingerprint}); load the first, or extract again with the second"
        )
