"""Blocks: the states of some pictures as they are kept on disk, each written whole as soon as it is made.

    FOLDER / CAPTIONING / READING / 000012-NAME.json          captions, tokens found, pictures that could not be read
                                    000012-NAME.safetensors   "TOKEN/POSITION/LAYER": (pictures with the token, width)
                                    lock                      empty: who writes a block is alone with it

CAPTIONING names what decides the captions (model, prompt, data ...), READING what is extracted besides (tokens,
layers, positions), and NAME the block's pictures with their versions. So nothing old is taken for something new, and
any number of processes can fill one folder without a word to each other. The json is written last: it makes a block
whole, and holds the digest of the tensors that it was written with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..files import atomic_write, digest, is_trouble, locked, recover, sha256
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

    def check(self) -> None:
        """Refuse counts that do not fit each other, and states that are not finite."""
        for picture in self.pictures:
            if any(not 0 <= step <= len(picture["ids"]) for step in picture["steps"].values()):
                raise ValueError(f"the caption of {picture['id']} has {len(picture['ids'])} tokens, and one after them")
        for name, state in self.states.items():
            pictures = self.having(name.rsplit("/", 2)[0])
            if state.ndim != 2 or len(state) != len(pictures):
                raise ValueError(f"{len(pictures)} pictures do not fit its states of {name}, {tuple(state.shape)}")
            finite = state.isfinite().all(dim=1)
            if not finite.all():
                id = pictures[int(finite.int().argmin())]["id"]
                raise ValueError(f"the state of {id} at {name} has a NaN or infinite value, which float32 may not have")


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
        path, name = self._path(number), self.names[number]
        tensors = save({name: state.contiguous() for name, state in block.states.items()})
        record = {"pictures": block.pictures, "unreadable": block.unreadable, "name": name, "tensors": sha256(tensors)}
        with locked(self.folder / "lock"):  # both files are of one writer
            for suffix in ("safetensors", "json"):
                recover(Path(f"{path}.{suffix}"))
            atomic_write(f"{path}.safetensors", lambda scratch: scratch.write_bytes(tensors))
            atomic_write(f"{path}.json", lambda scratch: scratch.write_text(json.dumps(record)))

    def read(self, numbers: Sequence[int] | None = None, states: bool = True) -> Iterator[Block]:
        """The blocks in order; without states only what json holds of them. A damaged block is a ValueError."""
        for number in range(len(self.names)) if numbers is None else numbers:
            path = self._path(number)
            try:
                yield self._read(number, states)
            except (KeyError, TypeError, ValueError, OSError, AttributeError, SafetensorError) as error:
                if is_trouble(error):
                    raise
                raise ValueError(f"the block {path}.* is damaged ({error}); delete it and extract again") from error

    def _read(self, number: int, states: bool) -> Block:
        """One block, if its parts belong together."""
        path = self._path(number)
        with locked(self.folder / "lock", shared=True):
            record = json.loads(Path(f"{path}.json").read_text())
            tensors = Path(f"{path}.safetensors").read_bytes() if states else b""
        # Blocks of version 0.1.0 have neither name nor digest.
        if record.get("name", self.names[number]) != self.names[number]:
            raise ValueError(f"it is the block {record['name']}")
        if states and record.get("tensors", sha256(tensors)) != sha256(tensors):
            raise ValueError("its states are not those that its json was written with")
        block = Block(record["pictures"], record["unreadable"], load(tensors) if states else {})
        block.check()
        return block

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


def block_rows(n: int) -> list[range]:
    """The rows of n pictures that are in each block."""
    return [range(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


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
