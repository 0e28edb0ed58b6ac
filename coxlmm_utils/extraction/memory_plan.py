"""What a batch of an extraction takes in memory, part by part, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ..text import in_bytes

DURING = {
    "pictures": "while the vision tower sees the pictures",
    "prompts": "while the blocks read the prompts",
    "captions": "at the last token of the captions",
}


@dataclass(frozen=True)
class MemoryPlan:
    """What a batch of an extraction takes on the device when it takes most, and what to change if it is too much (ours).

    Attributes
    ----------
    model : str
        Its name, and how its weights are held.
    weights, cache, states, activations : int
        Bytes of the weights, of the keys and values of the tokens so far, of the captured states, and of all that the pass
        holds which is running then, inputs included.
    during : {"pictures", "prompts", "captions"}
        Which pass that is: of the vision tower, of the language model over the prompts, or over a caption's last token.
    batch_size, max_new_tokens : int
    prompt_length : int
        Tokens of the longest prompt, with those of the picture.
    image_tokens : tuple of int
        The fewest and the most of a picture; empty where the model's configuration does not name them.
    disk : int
        Bytes of the states, if every picture that may be a sample is one.
    memory : int, optional
        What there is, in bytes; None if nobody knows.
    advice : tuple of str
        If that is too little: what takes less.
    """

    model: str
    weights: int
    cache: int
    states: int
    activations: int
    during: str
    batch_size: int
    max_new_tokens: int
    prompt_length: int
    image_tokens: tuple[int, ...]
    disk: int
    memory: int | None
    advice: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Bytes of all parts together."""
        return self.weights + self.cache + self.states + self.activations

    @property
    def fits(self) -> bool | None:
        """Whether there is enough memory; None if nobody knows."""
        return None if self.memory is None else self.total <= self.memory

    def _title(self) -> str:
        pictures = "1 picture" if self.batch_size == 1 else f"{self.batch_size} pictures at once"
        return f"{self.model}: {pictures}, captions of up to {self.max_new_tokens} tokens"

    def _rows(self) -> list[tuple[str, str, str]]:
        """Each part, its size, and a word on it."""
        verdict = {True: "fits", False: "does not fit", None: ""}[self.fits]
        return [
            ("weights", in_bytes(self.weights), ""),
            ("key-value cache", in_bytes(self.cache), ""),
            ("captured states", in_bytes(self.states), ""),
            ("inputs, activations", in_bytes(self.activations), f"most {DURING[self.during]}"),
            ("together", in_bytes(self.total), f"{verdict}: {in_bytes(self.memory)} are free" if verdict else ""),
            ("states on disk", in_bytes(self.disk), "at most"),
        ]

    def _notes(self) -> list[str]:
        """The prompt, and what to change."""
        tokens = " to ".join(f"{count:,}" for count in dict.fromkeys(self.image_tokens))
        of_picture = f", of which a picture's are {tokens}" if tokens else ""
        return [f"A prompt has up to {self.prompt_length:,} tokens{of_picture}.", *self.advice]

    def __str__(self) -> str:
        rows = [f"  {name:<20} {size:>9}  {remark}".rstrip() for name, size, remark in self._rows()]
        return "\n".join([self._title(), *rows, *self._notes()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left;font-weight:400'>{escape(name)}</th>"
            f"<td style='text-align:right'>{escape(size)}</td><td style='text-align:left'>{escape(remark)}</td></tr>"
            for name, size, remark in self._rows()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        return f"<table><caption>{escape(self._title())}</caption>{rows}</table>{notes}"
