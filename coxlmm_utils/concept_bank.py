"""A concept bank: a dictionary, each concept's words and pictures, and where it all came from."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from . import __version__, figures
from .dictionary import Dictionary, as_matrix
from .files import write_whole
from .grounding import Words, ground_pictures, ground_words
from .lmm import LMM, Layer
from .pictures import open_picture
from .rivals import METHODS
from .semi_nmf import SemiNMF
from .shared import join_states
from .states import States
from .words import WordFilter

THUMBNAIL_SIDE = 224  # pixels of the longer side, at most
FORMAT = 2  # of the files of a saved bank


@dataclass(frozen=True)
class ConceptBank:
    """The concepts of one token, grounded in words and pictures.

    Attributes
    ----------
    dictionary : Dictionary
        Its `components_` are the concepts: (concepts, width).
    activations : numpy.ndarray
        (samples, concepts): how active each concept is on each sample that it was learned from.
    words : list of Words
        Of each concept.
    ids : list of str
        The samples' picture ids.
    captions : list of str
        The samples' captions, as the LMM wrote them.
    top : numpy.ndarray
        (concepts, pictures): the samples that activate each concept most.
    thumbnails : dict of str to PIL.Image.Image
        Those samples' pictures, by id, reduced; kept in the bank so that it can be shown anywhere.
    provenance : dict
        Model, layer, position, prompt, token, the dictionary's method and parameters, data, counts and versions.
    """

    dictionary: SemiNMF
    activations: np.ndarray
    words: list[Words]
    ids: list[str]
    captions: list[str]
    top: np.ndarray
    thumbnails: dict[str, Image.Image]
    provenance: dict

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
        """Fit a dictionary to states and ground its concepts (paper sections 3.3 and 3.4, arXiv 2406.08074).

        Parameters
        ----------
        lmm : LMM
            The model that the states are of.
        states : States or sequence of States
            Of one layer; `states.at(layer)` chooses. Those of several tokens become one Z, and the bank is shared
            (ours; see `join_states` and `token_shares`).
        dictionary : Dictionary
            Any method, with its settings; a copy of it is fitted, so that one may serve several banks.
        n_decoded, n_kept : int
            How many tokens are decoded for each concept, and how many words kept at most; see `ground_words`.
            `n_kept` defaults to the LMM's `words_kept`: all that pass the filter, as in the paper, and 5 for the
            picture book, whose whole vocabulary is 149 tokens.
        n_pictures : int
            Pictures for each concept: the paper's N_MAS.
        word_filter : WordFilter, optional
        norm : bool, optional
            Final norm before the unembedding or not; default: where the layer needs it.

        Returns
        -------
        ConceptBank

        Raises
        ------
        ValueError
            If the states are of another model, of several layers, fewer than the concepts, or not finite.
        """
        states = states if isinstance(states, States) else join_states(states)
        _same_model(states.provenance["model"], lmm)
        layer = states.layer
        dictionary = copy.copy(dictionary).fit(states.Z)
        n_kept, word_filter = n_kept or lmm.words_kept, word_filter or WordFilter()
        words = ground_words(lmm, dictionary.components_, layer, n_decoded, n_kept, word_filter, norm)
        top = ground_pictures(dictionary.activations_, n_pictures)
        thumbnails = {states.images.ids[row]: _thumbnail(states.images.picture(row)) for row in np.unique(top)}
        grounding = {"n_decoded": n_decoded, "n_kept": n_kept, "norm": norm, "filter": word_filter.settings()}
        method = {"method": type(dictionary).__name__, **dictionary.get_params()}
        found = {"layer": layer, "dictionary": method, "grounding": grounding}
        return cls(
            dictionary,
            dictionary.activations_,
            words,
            list(states.images.ids),
            states.captions,
            top,
            thumbnails,
            {**states.provenance, **found},
        )

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        kind = "concepts" if self.method == SemiNMF.label else f"{self.method} concepts"
        return f"ConceptBank({len(self)} {kind} of {self.token!r}, {self.where}, {len(self.ids):,} samples)"

    @property
    def token(self) -> str:
        """The target word, by its first spelling; of a shared bank all target words."""
        return ", ".join(self.provenance.get("tokens", self.provenance["token"][:1]))

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
        position = {"predicts": "position that predicts it (the paper's)", "own": "its own position (ours)"}
        return f"{layer}, {position[self.provenance['position']]}"

    @property
    def concepts(self) -> np.ndarray:
        """The concepts: (concepts, width), of Semi-NMF each in the unit ball; the paper's U is the transpose."""
        return self.dictionary.components_

    def project(self, Z) -> np.ndarray:
        """Activations of new states: (samples, width) to (samples, concepts) (paper section 3.5)."""
        return self.dictionary.transform(Z)

    def pictures(self, concept: int) -> list[Image.Image]:
        """The pictures that activate a concept most, of either sign, most active first; none that does not at all."""
        return [self.thumbnails[self.ids[row]] for row in self.top[concept] if self.activations[row, concept]]

    def check_model(self, lmm: LMM) -> None:
        """Refuse a model that the bank was not learned on.

        Raises
        ------
        ValueError
            Names both models.
        """
        _same_model(self.provenance["model"], lmm)

    def gallery(self, concepts: Sequence[int] | None = None, n_words: int = 5) -> Figure:
        """All concepts with their pictures and words, as the paper's Figs 4 and 7; see `figures.gallery`."""
        return figures.gallery(self, concepts, n_words)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save as safetensors, json and PNG, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Made, or replaced.

        Raises
        ------
        ValueError
            If the dictionary is of a method that could not be loaded again.
        """
        name = type(self.dictionary).__name__
        if METHODS.get(name) is not type(self.dictionary):
            raise ValueError(f"a bank of {name} cannot be saved: only {', '.join(METHODS)} can be loaded again")
        write_whole(folder, self._write)

    def _write(self, folder: Path) -> None:
        (folder / "pictures").mkdir(parents=True)
        names = {id: f"{number:05d}.png" for number, id in enumerate(self.thumbnails)}
        for id, picture in self.thumbnails.items():
            picture.save(folder / "pictures" / names[id])
        tensors = {"activations": self.activations, "top": self.top, **_learned(self.dictionary)}
        tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}
        save_file(tensors, folder / "bank.safetensors")
        record = {
            "format": FORMAT,
            "coxlmm_utils": __version__,
            "words": [asdict(words) for words in self.words],
            "ids": self.ids,
            "captions": self.captions,
            "pictures": names,
            "provenance": self.provenance,
        }
        (folder / "bank.json").write_text(json.dumps(record, indent=1))

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
        folder = Path(folder)
        if not (folder / "bank.json").exists():
            raise FileNotFoundError(f"{folder} holds no concept bank: bank.json is missing")
        try:
            return cls._read(folder)
        except (KeyError, TypeError, ValueError, AttributeError, OSError, SafetensorError) as error:
            raise ValueError(f"the concept bank in {folder} is damaged ({error}); save it again") from error

    @classmethod
    def _read(cls, folder: Path) -> ConceptBank:
        record = json.loads((folder / "bank.json").read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']}, not {FORMAT}")
        tensors = load_file(folder / "bank.safetensors")
        provenance = record["provenance"]
        return cls(
            _rebuilt(provenance["dictionary"], tensors),
            tensors["activations"],
            [Words(tuple(words["kept"]), tuple(map(tuple, words["dropped"]))) for words in record["words"]],
            record["ids"],
            record["captions"],
            tensors["top"],
            {id: open_picture(folder / "pictures" / name) for id, name in record["pictures"].items()},
            provenance,
        )


def _same_model(learned_on: dict, lmm: LMM) -> None:
    """Refuse a model other than the one that states or a bank were taken from."""
    if learned_on["fingerprint"] != lmm.fingerprint:
        raise ValueError(
            f"these concepts were learned on {learned_on['name']!r} (weights {learned_on['fingerprint']}), but the "
            f"model given is {lmm.name!r} (weights {lmm.fingerprint}); load the first, or extract again with the second"
        )


def _learned(dictionary: Dictionary) -> dict[str, np.ndarray]:
    """What a dictionary learned, by name; a number as a float64 array without dimensions."""
    learned = {name: getattr(dictionary, name) for name in dictionary.learned}
    return {name: value if isinstance(value, np.ndarray) else np.float64(value) for name, value in learned.items()}


def _rebuilt(settings: dict, tensors: dict[str, np.ndarray]) -> Dictionary:
    """The dictionary of a saved bank, from its method's name, its parameters and what it learned."""
    parameters = {name: value for name, value in settings.items() if name != "method"}
    if settings["method"] not in METHODS:
        raise ValueError(f"its method {settings['method']!r} is none of {', '.join(METHODS)}")
    dictionary = METHODS[settings["method"]](**parameters)
    for name in dictionary.learned:
        setattr(dictionary, name, tensors[name] if tensors[name].ndim else float(tensors[name]))
    as_matrix(dictionary.components_, "concept")  # which refuses what is not finite
    return dictionary


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return small
