"""Blocks: the states of some pictures as they are kept on disk, each written whole as soon as it is made.

    FOLDER / CAPTIONING / READING / 000012-NAME.json          captions, tokens found, pictures that could not be read
                                    000012-NAME.safetensors   "TOKEN/POSITION/LAYER": (pictures with the token, width)

CAPTIONING names what decides the captions (model, prompt, data ...), READING what is extracted besides (tokens,
layers, positions), and NAME the block's pictures with their versions. So nothing old is taken for something new, and
any number of processes can fill one folder without a word to each other. The json is written last: it makes a block
whole.
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
from ..models import Layer

BLOCK = 128  # pictures


@dataclass
class Block:
    """What was extracted of some pictures."""

    # Of each picture that could be read: id, version, ids (its caption's tokens), caption, and steps: at which of them
    # each target token first occurs, if it does.
    pictures: list[dict] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # ids of the others, with the reason
    states: dict[str, Tensor] = field(default_factory=dict)  # `key_name` to (pictures with the token, width)

    def having(self, token: str) -> list[dict]:
        """The pictures with a token."""
        return [picture for picture in self.pictures if token in picture["steps"]]


@dataclass(frozen=True)
class BlockFolder:
    """The blocks of one extraction."""

    root: Path
    caption_settings: dict  # this and the next name the two folders, and are written into them for people to read
    readout_settings: dict
    names: list[str]  # of all its blocks, in order, whether they are there yet or not

    @property
    def captions_folder(self) -> Path:
        return self.root / digest(self.caption_settings)

    @property
    def folder(self) -> Path:
        """Where the blocks are."""
        return self.captions_folder / digest(self.readout_settings)

    def missing(self) -> list[int]:
        """The numbers of the blocks that are still to be made."""
        present = {path.stem for path in self.folder.glob("*.json")}
        return [number for number, name in enumerate(self.names) if name not in present]

    def write(self, number: int, block: Block) -> None:
        """Keep a block, whole or not at all."""
        self._describe()
        path, record = self._path(number), {"pictures": block.pictures, "unreadable": block.unreadable}
        for left_behind in self.folder.glob(f".{self.names[number]}.*"):  # by a process that was killed
            shutil.rmtree(left_behind, ignore_errors=True)
        states = {name: state.contiguous() for name, state in block.states.items()}
        atomic_write(f"{path}.safetensors", lambda scratch: save_file(states, scratch))
        atomic_write(f"{path}.json", lambda scratch: scratch.write_text(json.dumps(record)))

    def read(self, numbers: Sequence[int] | None = None, states: bool = True) -> Iterator[Block]:
        """The blocks in order; without states only what json holds of them. A damaged block is a ValueError."""
        for number in range(len(self.names)) if numbers is None else numbers:
            path = self._path(number)
            try:
                record = json.loads(Path(f"{path}.json").read_text())
                tensors = load_file(f"{path}.safetensors") if states else {}
                yield Block(record["pictures"], record["unreadable"], tensors)
            except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
                raise ValueError(f"the block {path}.* is damaged ({error}); delete it and extract again") from error

    def known_captions(self) -> dict[tuple[str, str], list[int]]:
        """Token ids of captions that any extraction of the same captioning has, by (id, version) of the picture."""
        known = {}
        # Hidden folders are scratch of processes that write right now: they may vanish while one looks into them.
        for path in sorted(self.captions_folder.glob("[!.]*/*-*.json")):
            try:
                pictures = json.loads(path.read_text())["pictures"]
                known |= {(picture["id"], picture["version"]): picture["ids"] for picture in pictures}
            except (KeyError, TypeError, ValueError, OSError):
                continue  # damaged: `read` says so when the block itself is needed
        return known

    def _path(self, number: int) -> Path:
        return self.folder / self.names[number]

    def _describe(self) -> None:
        """Write the settings of the folders into them."""
        for folder, settings in ((self.captions_folder, self.caption_settings), (self.folder, self.readout_settings)):
            if not (folder / "settings.json").exists():
                text = json.dumps(settings, indent=1)
                atomic_write(folder / "settings.json", lambda path: path.write_text(text))


def block_name(number: int, content: Sequence) -> str:
    """The name of a block from its number and what it depends on: anything that json holds."""
    return f"{number:06d}-{digest(list(content))}"


def key_name(token: str, position: str, layer: Layer) -> str:
    """The name of a block's tensor."""
    return f"{token}/{position}/{layer}"


def stacked(blocks: Sequence[Block], token: str, position: str, layers: Sequence) -> dict:
    """The states of one token and position over all blocks: (samples, width) float32 for each layer."""
    parts = {layer: [block.states[key_name(token, position, layer)] for block in blocks] for layer in layers}
    return {layer: torch.cat(tensors).float() for layer, tensors in parts.items()}
