"""States of one token, with the pictures and captions that they come from, as they are kept and saved."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .captioned_images import CaptionedImages
from .datasets import load_images
from .files import write_whole
from .lmm import Layer


@dataclass(frozen=True)
class States:
    """States of one token and what they were taken from.

    Attributes
    ----------
    vectors : dict of layer to torch.Tensor
        (samples, width) each, float32. The paper's Z is the transpose of one of them.
    images : CaptionedImages
        The samples: those pictures whose captions, written and reference, have the token.
    captions : list of str
        What the LMM wrote for each sample.
    provenance : dict
        Model, prompt, token spellings and pieces, position, reference rule, data, counts and versions.
    """

    vectors: dict[Layer, torch.Tensor]
    images: CaptionedImages
    captions: list[str]
    provenance: dict

    def __len__(self) -> int:
        return len(self.captions)

    def __repr__(self) -> str:
        counts = self.provenance["counts"]
        bare = f", {counts['without_references']:,} have none" if counts["without_references"] else ""
        return (
            f"States of {self.provenance['token'][0]!r} at layer {', '.join(map(str, self.vectors))}, position "
            f"{self.provenance['position']!r}: {counts['kept']:,} of {counts['pictures']:,} pictures kept "
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

    def save_pretrained(self, folder: str | Path) -> None:
        """Save as safetensors and json, whole or not at all."""

        def write(scratch: Path) -> None:
            scratch.mkdir()
            save_file(
                {str(layer): Z.contiguous() for layer, Z in self.vectors.items()},
                scratch / "states.safetensors",
            )
            record = {"provenance": self.provenance, "ids": list(self.images.ids), "captions": self.captions}
            (scratch / "states.json").write_text(json.dumps(record, indent=1))

        write_whole(folder, write)

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
        folder = Path(folder)
        if not (folder / "states.json").exists():
            raise FileNotFoundError(f"{folder} holds no states: states.json is missing; run extract again")
        try:
            record = json.loads((folder / "states.json").read_text())
            tensors = load_file(folder / "states.safetensors")
            ids, captions, provenance = record["ids"], record["captions"], record["provenance"]
            data = provenance["data"]
        except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
            raise ValueError(f"the states in {folder} are damaged ({error}); delete it and extract again") from error
        if images is None and not data["source"]:
            raise ValueError(f"the states in {folder} are of pictures in memory; give them as `images`")
        images = load_images(data["source"], split=data["split"]) if images is None else images
        vectors = {int(layer) if layer.isdigit() else layer: tensors[layer] for layer in tensors}
        return cls(vectors, images.with_ids(ids), captions, provenance)
