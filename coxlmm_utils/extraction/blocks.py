"""Blocks: the states of some pictures as they are kept on disk, each written whole as soon as it is made.

    FOLDER / CAPTIONING / READING / 000012-NAME.json          captions, tokens found, pictures that could not be read
                                    000012-NAME.safetensors   "TOKEN/POSITION/LAYER": (pictures with the token, width)

CAPTIONING names what decides the captions (model, prompt, data ...), READING what is read of them besides (tokens,
layers, positions), and NAME the block's pictures with their versions. So nothing old is taken for something new, and any
number of processes can fill one folder without a word to each other. The json is written last: it makes a block whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import atomic_write, digest

BLOCK = 128  # pictures


@dataclass
class Block:
    """What was read of some pictures.

    Attributes
    ----------
    pictures : list of dict
        Of each picture that could be read: id, version, ids (its caption's tokens), caption, and steps: at which of
        them each target token first is, if it is.
    unreadable : dict of str to str
        Ids of the others, with the reason.
    states : dict of str to torch.Tensor
        "token/position/layer" to (pictures with the token, width), in the order of the pictures.
    """

    pictures: list[dict] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    states: dict[str, Tensor] = field(default_factory=dict)

    def having(self, token: str) -> list[dict]:
        """The pictures with a token."""
        return [picture for picture in self.pictures if token in picture["steps"]]


@dataclass(frozen=True)
class BlockFolder:
    """The blocks of one extraction.

    Parameters
    ----------
    root : Path
    captioning, reading : dict
        The settings that name the two folders; written beside the blocks for people to read.
    names : list of str
        Of all its blocks, in order, whether they are there yet or not.
    """

    root: Path
    captioning: dict
    reading: dict
    names: list[str]

    @property
    def captions_folder(self) -> Path:
        return self.root / digest(self.captioning)

    @property
    def folder(self) -> Path:
        """Where the blocks are."""
        return self.captions_folder / digest(self.reading)

    def missing(self) -> list[int]:
        """The numbers of the blocks that are still to be made."""
        there = {path.stem for path in self.folder.glob("*.json")}
        return [number for number, name in enumerate(self.names) if name not in there]

    def write(self, number: int, block: Block) -> None:
        """Keep a block, whole or not at all."""
        self._describe()
        place, record = self._place(number), {"pictures": block.pictures, "unreadable": block.unreadable}
        for left_behind in self.folder.glob(f".{self.names[number]}.*"):  # by a process that was killed
            shutil.rmtree(left_behind, ignore_errors=True)
        states = {name: state.contiguous() for name, state in block.states.items()}
        atomic_write(f"{place}.safetensors", lambda path: save_file(states, path))
        atomic_write(f"{place}.json", lambda path: path.write_text(json.dumps(record)))

    def read(self, numbers: Sequence[int] | None = None, states: bool = True) -> Iterator[Block]:
        """The blocks in order; without states only what json holds of them.

        Raises
        ------
        ValueError
            If the files of a block are damaged; names them.
        """
        for number in range(len(self.names)) if numbers is None else numbers:
            place = self._place(number)
            try:
                record = json.loads(Path(f"{place}.json").read_text())
                tensors = load_file(f"{place}.safetensors") if states else {}
                yield Block(record["pictures"], record["unreadable"], tensors)
            except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
                raise ValueError(f"the block {place}.* is damaged ({error}); delete it and extract again") from error

    def known_captions(self) -> dict[tuple[str, str], list[int]]:
        """Token ids of captions that any reading of the same captioning has, by (id, version) of the picture."""
        known = {}
        for path in sorted(self.captions_folder.glob("*/*-*.json")):
            try:
                pictures = json.loads(path.read_text())["pictures"]
                known |= {(picture["id"], picture["version"]): picture["ids"] for picture in pictures}
            except (KeyError, TypeError, ValueError, OSError):
                continue  # damaged: whoever needs that block is told; here it is only not known
        return known

    def _place(self, number: int) -> Path:
        return self.folder / self.names[number]

    def _describe(self) -> None:
        """Say in plain json what the folders are of."""
        for folder, settings in ((self.captions_folder, self.captioning), (self.folder, self.reading)):
            if not (folder / "settings.json").exists():
                text = json.dumps(settings, indent=1)
                atomic_write(folder / "settings.json", lambda path: path.write_text(text))


def block_name(number: int, content: Sequence) -> str:
    """The name of a block by its place and what it is of: anything that json holds."""
    return f"{number:06d}-{digest(list(content))}"


def stacked(blocks: Sequence[Block], token: str, position: str, layers: Sequence) -> dict:
    """The states of one token and position over all blocks: (samples, width) float32 for each layer."""
    parts = {layer: [block.states[f"{token}/{position}/{layer}"] for block in blocks] for layer in layers}
    return {layer: torch.cat(tensors).float() for layer, tensors in parts.items()}
