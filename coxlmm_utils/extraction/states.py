"""States of one token, with the pictures and captions that they come from: in memory, on disk, and joined."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..files import is_trouble, recover, sha256, write_folder
from ..images import CaptionedImages, load_images, renamed_images
from ..models import LMM, Layer, decode, encode
from .provenance import ALIKE, SAID_AND_THERE, HasProvenance, check_record, require_same

FILES = ("states.json", "states.safetensors")  # of saved states


@dataclass(frozen=True)
class States(HasProvenance):
    """States of one token and what they were taken from.

    Attributes
    ----------
    vectors : dict of layer to torch.Tensor
        (samples, width) each, float32. The paper's Z is the transpose of one of them.
    images : CaptionedImages
        The samples: those pictures whose captions, generated and reference, have the token, or as `samples` says.
    captions : list of str
        As generated for each sample (or as given).
    provenance : dict
        Model, prompt, token spellings and pieces, position, reference rule, data, counts and versions. Of a token that
        is unsaid, "said_instead" counts the words in its place.
    token_ids : list of list of int, optional
        The captions' tokens, which the tokenizer might cut otherwise from the text; None in files of version 0.1.0.
    """

    vectors: dict[Layer, torch.Tensor]
    images: CaptionedImages
    captions: list[str]
    provenance: dict
    token_ids: list[list[int]] | None = None

    def __len__(self) -> int:
        return len(self.captions)

    def __repr__(self) -> str:
        counts = self.provenance["counts"]
        if not self.spellings:
            return f"States at layer {', '.join(map(str, self.vectors))}, position {self.position!r}: {len(self):,} samples"
        samples = "" if self.samples == SAID_AND_THERE else f", {self.samples}"
        bare = f", {counts['without_references']:,} have none" if counts["without_references"] else ""
        return (
            f"States of {self.spellings[0]!r} at layer {', '.join(map(str, self.vectors))}, position "
            f"{self.position!r}{samples}: {counts['kept']:,} of {counts['pictures']:,} pictures kept "
            f"({counts['mentioned']:,} mention it in a reference{bare})"
        )

    @property
    def layer(self) -> Layer:
        """The one layer of these states.

        Raises
        ------
        ValueError
            If there are several; `at` chooses one.
        """
        if len(self.vectors) != 1:
            raise ValueError(f"these states are of layers {list(self.vectors)}; choose one with states.at(layer)")
        return next(iter(self.vectors))

    @property
    def Z(self) -> torch.Tensor:
        """The matrix of states at the one layer: (samples, width)."""
        return self.vectors[self.layer]

    def at(self, layer: Layer) -> States:
        """The same samples at one of the layers.

        Raises
        ------
        ValueError
            If that layer was not extracted.
        """
        if layer not in self.vectors:
            raise ValueError(f"no states at layer {layer!r}; there are {list(self.vectors)}")
        return replace(self, vectors={layer: self.vectors[layer]})

    def subset(self, ids: Sequence[str]) -> States:
        """The samples of these picture ids, in this order; ValueError for an id that is not there."""
        rows = [self.images.index(id) for id in ids]
        return replace(
            self,
            vectors={layer: Z[rows] for layer, Z in self.vectors.items()},
            images=self.images[rows],
            captions=[self.captions[row] for row in rows],
            token_ids=self.token_ids and [self.token_ids[row] for row in rows],
        )

    def caption_ids(self, lmm: LMM, row: int) -> list[int]:
        """The tokens of a sample's caption to `lmm`: as generated, where its tokenizer reads them as the same text."""
        caption = self.captions[row]
        if self.token_ids and decode(lmm, self.token_ids[row]) == caption:
            return self.token_ids[row]
        return encode(lmm, caption)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save as safetensors and json, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Made, or replaced if it is empty or of saved states.

        Raises
        ------
        FileExistsError
            If the folder holds anything else.
        """

        def write(scratch: Path) -> None:
            scratch.mkdir()
            tensors = save({str(layer): Z.contiguous() for layer, Z in self.vectors.items()})
            (scratch / FILES[1]).write_bytes(tensors)
            record = {"provenance": self.provenance, "ids": list(self.images.ids), "captions": self.captions}
            record |= {"token_ids": self.token_ids, "tensors": sha256(tensors)}
            record |= {"versions": _versions(self.images)} if self.images.version else {}
            (scratch / FILES[0]).write_text(json.dumps(record, indent=1))

        write_folder(folder, write, "states were", FILES, "")

    @classmethod
    def from_pretrained(cls, folder: str | Path, images: CaptionedImages | None = None) -> States:
        """Load what `save_pretrained` wrote.

        Parameters
        ----------
        folder : str or Path
        images : CaptionedImages, optional
            The pictures that the states are of; default: loaded again from where they came from.

        Raises
        ------
        FileNotFoundError
            If the folder holds no states.
        ValueError
            If the files are damaged, or the states are of pictures in memory and `images` is missing.
        """
        folder = Path(folder).expanduser()
        recover(folder)
        if not (folder / "states.json").exists():
            raise FileNotFoundError(f"{folder} holds no states: states.json is missing; run extract again")
        try:
            record = json.loads((folder / FILES[0]).read_text())
            tensors = (folder / FILES[1]).read_bytes()
            vectors = _vectors(load(tensors), len(record["ids"]))
            ids, captions, provenance, token_ids = _checked(record)
            if record.get("tensors", sha256(tensors)) != sha256(tensors):  # none in version 0.1.0
                raise ValueError(f"{FILES[1]} is not the one that {FILES[0]} was written with")
        except (KeyError, TypeError, ValueError, OSError, AttributeError, SafetensorError) as error:
            if is_trouble(error):
                raise
            raise ValueError(f"the states in {folder} are damaged ({error}); delete it and extract again") from error
        data = provenance["data"]
        if images is None and not data["source"]:
            raise ValueError(f"the states in {folder} are of pictures in memory; give them as `images`")
        versions = record.get("versions") if images is None else None
        images = load_images(data["source"], split=data["split"]) if images is None else images
        states = cls(vectors, images, captions, provenance, token_ids)
        own = states.picture_ids(ids, images.ids)
        if versions and images.version:
            _warn_of_changed(images.with_ids(own), versions)
        images = images.with_ids(ids) if own == ids else _renamed({id: (images, at) for id, at in zip(ids, own)})
        return replace(states, images=images)


def _versions(images: CaptionedImages) -> list[str | None]:
    """What tells of each picture whether it is still the same; None of one that is missing."""

    def version(id: str) -> str | None:
        with suppress(OSError):
            return str(images.version(id))

    return [version(id) for id in images.ids]


def _warn_of_changed(images: CaptionedImages, versions: list[str | None]) -> None:
    """Warn of pictures that are not those which the states were saved with, such as of a relative path elsewhere."""
    changed = [id for id, before, now in zip(images.ids, versions, _versions(images)) if before != now]
    if changed:
        warnings.warn(
            f"{len(changed):,} of the {len(images):,} pictures in {images.source} are no longer as they were when the "
            f"states were saved, or others under the same names (the first: {changed[0]}); give the right ones as `images`",
            stacklevel=3,
        )


def _vectors(tensors: dict[str, torch.Tensor], n: int) -> dict[Layer, torch.Tensor]:
    """The states of a file, if they are of n samples and finite."""
    for layer, Z in sorted(tensors.items()):
        if Z.ndim != 2 or len(Z) != n:
            raise ValueError(f"its {n} samples do not fit the states at layer {layer}, {tuple(Z.shape)}")
        if not Z.isfinite().all():
            raise ValueError(f"its states at layer {layer} have a NaN or infinite value")
    if not tensors:
        raise ValueError("it has no layer")
    return {int(layer) if layer.isdigit() else layer: Z for layer, Z in sorted(tensors.items())}


def _checked(record: dict) -> tuple[list[str], list[str], dict, list[list[int]] | None]:
    """Ids, captions, provenance and token ids of a file, if their counts fit each other."""
    ids, captions, token_ids = record["ids"], record["captions"], record.get("token_ids")
    for name, items in (("captions", captions), ("token_ids", token_ids)):
        if items is not None and len(items) != len(ids):
            raise ValueError(f"it has {len(ids)} samples and {len(items)} {name}")
    check_record(record["provenance"], captions)
    return ids, captions, record["provenance"], token_ids


def join_states(several: Sequence[States]) -> States:
    """The states of several tokens as one Z, one token's samples after the other's.

    Parameters
    ----------
    several : sequence of States
        Of one model, prompt, position and reference rule; layers that they have in common are kept. Give about as
        many samples of each: a token with more weighs more in the fit.

    Returns
    -------
    States
        A sample's id is "token/id": one picture may be a sample of two tokens.

    Raises
    ------
    ValueError
        If there are none, they differ in what they must share, have no layer in common, or a token comes twice.
    """
    several = [several] if isinstance(several, States) else several
    if isinstance(several, Mapping) or not all(isinstance(states, States) for states in several):
        raise ValueError(
            "only a list of States can be joined: of what extract_many gives, choose those of one position, as in "
            '[states for (token, position), states in several.items() if position == "predicts"]'
        )
    if not several:
        raise ValueError("there are no states to join: give those of at least one token")
    first = several[0]
    for states in several[1:]:
        require_same(first, states, *ALIKE, names=("the first states", "others"))
    layers = [layer for layer in first.vectors if all(layer in states.vectors for states in several)]
    if not layers:
        raise ValueError(f"the states have no layer in common: {[list(states.vectors) for states in several]}")
    vectors = {layer: torch.cat([states.vectors[layer] for states in several]) for layer in layers}
    captions = [caption for states in several for caption in states.captions]
    known = all(states.token_ids for states in several)
    token_ids = [ids for states in several for ids in states.token_ids] if known else None
    return States(vectors, _joined_images(several), captions, _joined_provenance(several), token_ids)


def _joined_images(several: Sequence[States]) -> CaptionedImages:
    """The samples' pictures under the names "token/id"."""
    opened = {}
    for states in several:
        token = states.spellings[0]
        opened |= {f"{token}/{id}": (states.images, id) for id in states.images.ids}
    if len(opened) < sum(map(len, several)):
        raise ValueError(f"a token comes twice: {[states.spellings[0] for states in several]}")
    return _renamed(opened)


def _renamed(originals: dict[str, tuple[CaptionedImages, str]]) -> CaptionedImages:
    """`renamed_images` of no source of their own: nothing that is made of them is cached."""
    return replace(renamed_images(originals), source="", version=None)


def _joined_provenance(several: Sequence[States]) -> dict:
    """The first one's, with the tokens, their numbers of samples, and the counts of all together."""
    first = several[0].provenance
    same = all(states.provenance["data"] == first["data"] for states in several)
    counts = {name: sum(states.provenance["counts"][name] for states in several) for name in first["counts"]}
    return {
        **first,
        "token": [spelling for states in several for spelling in states.spellings],
        "tokens": {states.spellings[0]: len(states) for states in several},
        "data": first["data"] if same else {**first["data"], "source": ""},
        "counts": counts,
    }
