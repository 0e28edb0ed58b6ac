"""Pages and parts of pages from templates, in which all text is escaped."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..images import CaptionedImages, as_rgb, load_images

FOLDER = Path(__file__).parent / "templates"
STYLES = ("style.css", "ask.css")


def render(name: str, /, **data) -> Markup:
    """A template filled with data."""
    return Markup(_environment().get_template(name).render(data))


@cache
def style() -> Markup:
    """The style of all views, as one <style> element."""
    files = [FOLDER / name for name in STYLES if (FOLDER / name).exists()]
    return Markup("<style>\n" + "\n".join(path.read_text() for path in files) + "</style>")


@cache
def _environment() -> Environment:
    """Where templates are; a name that a template lacks is an error."""
    loader = FileSystemLoader(FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


SIDE = 144  # pixels of the longer side, at most
QUALITY = 80  # of the JPEG
IN_MEMORY = "Only pictures kept in the bank are shown: it was learned from pictures in memory; give them as `images`."


@dataclass(frozen=True)
class Thumb:
    """A small picture, or why there is none."""

    id: str  # the picture's id
    uri: str | None  # an address that holds the picture
    problem: str = ""  # one sentence, with the id and where the picture should be; "" if it could be opened


def data_uri(picture: Image.Image, side: int = SIDE) -> str:
    """A small copy of a picture, as an address that holds it."""
    small = as_rgb(picture, side)
    buffer = BytesIO()
    small.save(buffer, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


class Thumbnails:
    """The samples of a bank as small pictures, each opened and encoded once."""

    def __init__(self, bank, images: CaptionedImages | None = None, side: int = SIDE):
        self.bank, self._given, self._side = bank, images, side
        self._made: dict[str, Thumb] = {}

    def of(self, row: int) -> Thumb:
        """The small picture of a sample, by its row in the bank."""
        id = self.bank.ids[row]
        if id not in self._made:
            self._made[id] = self._make(id)
        return self._made[id]

    def can_look_for(self, row: int) -> bool:
        """Whether it is known where a sample's picture should be, even if it is no longer there; see `note`."""
        return self.bank.ids[row] in self.bank.thumbnails or not self.note

    @property
    def note(self) -> str:
        """Why only the bank's own pictures can be shown, as one sentence; "" if the source of the others is known."""
        nowhere = self._given is None and not self.bank.provenance["data"]["source"]
        return IN_MEMORY if nowhere else ""

    def _make(self, id: str) -> Thumb:
        """A thumbnail, or the reason why there is none."""
        try:
            return Thumb(id, data_uri(self._open(id), self._side))
        except (OSError, ValueError) as error:
            return Thumb(id, None, f"The picture {id} cannot be shown: {error}")

    def _open(self, id: str) -> Image.Image:
        """The picture of an id; OSError or ValueError says why there is none."""
        if id in self.bank.thumbnails:
            return self.bank.thumbnails[id]
        images, problem = self._images
        if images is None:
            raise OSError(problem)
        id = self._own_ids[id]
        if id not in images.ids:
            raise OSError(f"it is not among the pictures of {images.source or 'the given images'}")
        return images.picture(images.index(id))

    @cached_property
    def _own_ids(self) -> dict[str, str]:
        """What the images call the bank's pictures; a bank of several tokens has these before them."""
        return dict(zip(self.bank.ids, self.bank.picture_ids(self.bank.ids, self._images[0].ids)))

    @cached_property
    def _images(self) -> tuple[CaptionedImages | None, str]:
        """The images that the bank was learned from, or why they cannot be loaded; loaded once."""
        if self._given is not None or self.note:
            return self._given, self.note
        data = self.bank.provenance["data"]
        try:
            return load_images(data["source"], data["split"]), ""
        except (OSError, ValueError) as error:
            return None, str(error)
