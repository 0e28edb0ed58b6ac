"""Choose or upload a picture, and see which concepts are behind the caption that the model generates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ipywidgets as widgets
from PIL import Image

from ..concepts import ConceptBank
from ..explanation import Explanation, PatchMap, next_words, patch_map
from ..images import CaptionedImages, read_upload
from ..models import LMM
from ..picturebook import Page, page
from ..steering import LearnedSteering, Steering
from .caption_and_explain import PictureExplanation, explain_picture, explained_words, test_pictures
from .cell_view import CellView
from .controls import PageSwitches, PictureChoice, in_a_row
from .explainer_html import answer_page, notice, shown_concepts, unexplained_page
from .handles import Handles, caption_with
from .html import Thumbnails, style
from .static_page import view_to_html
from .steered_html import rewritten_html
from .steering_switch import SteeringSwitch

UPLOAD_NOTE = "Up to about 10 MB in plain JupyterLab; make lab raises the limit."
NATURAL = {"description_width": "initial"}
WAYS = (("no map", ""), ("projection", "projection"), ("gradient times input", "gradient"))
TOOLTIPS = (
    "the picture as it is",
    "where a piece of the picture, by itself, holds the concept",
    "which pieces of the picture the concept's activation depends on",
)


def ask(
    lmm: LMM,
    banks: ConceptBank | Sequence[ConceptBank],
    images: CaptionedImages | None = None,
    steering: Steering | LearnedSteering | None = None,
    alpha: float = 1.0,
) -> Explainer:
    """Choose or upload a picture, and see the concepts behind what the model writes about it (ours).

    Parameters
    ----------
    lmm : LMM
        The model that the banks were learned on.
    banks : ConceptBank or sequence of ConceptBank
        One, or several of different words, layers or methods; the one whose word is in the caption explains it.
    images : CaptionedImages, optional
        Pictures to choose from. Default: the test split of where the first bank's pictures came from, those whose
        references mention a word that the banks explain; none if they were in memory.
    steering : Direction, edit or LearnedSteering, optional
        With it there is a switch between what the model says by itself and what it says when it is steered.
    alpha : float, default 1.0
        How strongly.

    Returns
    -------
    Explainer
        A widget; a notebook shows it. The first picture is explained at once.

    Raises
    ------
    ValueError
        If there is no bank, or the model is not that of the banks or of the steering (names both).
    """
    banks = [banks] if isinstance(banks, ConceptBank) else list(banks)
    if not banks:
        raise ValueError("there is no concept bank to explain with; give at least one")
    for bank in banks:
        bank.check_model(lmm)
    if steering is not None:
        steering.check_model(lmm)
    problem = ""
    if images is None:
        images, problem = test_pictures(banks)
    return Explainer(lmm, banks, images, problem, SteeringSwitch(steering, alpha))


class Explainer(CellView):
    """The widget that `ask` makes: it wires controls to the views of explainer_html.py.

    Each change runs the model once; a patch map and the next words take further runs, only when they are asked for.
    """

    def __init__(
        self,
        lmm: LMM,
        banks: Sequence[ConceptBank],
        images: CaptionedImages | None,
        problem: str,
        steering: SteeringSwitch,
    ) -> None:
        self.lmm, self.banks, self.steering = lmm, banks, steering
        self.current: PictureExplanation | None = None
        self._before: PictureExplanation | None = None  # what was shown before a switch was moved
        self._row: int | None = None
        self._extras: dict[tuple, PatchMap | list] = {}  # maps and next words of the current picture
        self._acting = False
        self._thumbnails = [Thumbnails(bank) for bank in banks]
        self.pictures, self.switches = PictureChoice(images), PageSwitches()
        self.status, self.answer, self.rewritten = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.handles = Handles(self._handler(self._rewrite))
        self.status.add_class("cox-ask-status")
        self.upload = widgets.FileUpload(
            accept="image/*", description="Your own picture", layout=widgets.Layout(width="auto")
        )
        self.bank = widgets.Dropdown(description="Explain by", style=NATURAL, layout=widgets.Layout(width="auto"))
        self.concept = widgets.Dropdown(description="Where is concept", style=NATURAL)
        self.way = widgets.ToggleButtons(options=WAYS, tooltips=TOOLTIPS, style={"button_width": "auto"})
        self.following = widgets.Checkbox(
            description="Words that may follow", indent=False, layout=widgets.Layout(width="auto")
        )
        super().__init__(self._rows())
        self.add_class("cox-ask")
        self._listen()
        with self._doing():
            if problem:
                raise ValueError(problem)
            self._choose()

    def _rows(self) -> list[widgets.Widget]:
        """All controls, from top to bottom."""
        note = widgets.HTML(f'<span class="cox-note">{UPLOAD_NOTE}</span>')
        hidden = widgets.HTML(str(style()), layout=widgets.Layout(display="none"))
        self._extra_controls = in_a_row([self.concept, self.way, self.following])
        self._extra_controls.add_class("cox-ask-closer")
        choosing = in_a_row([self.pictures.more, self.upload, note])
        shown = [self.status, self.answer, self.handles, self.rewritten]
        return [hidden, self.pictures, choosing, self.switches, self.steering, self.bank, self._extra_controls, *shown]

    def _listen(self) -> None:
        """Connect the controls with their actions."""
        acts = {self.pictures.buttons: self._choose, self.upload: self._receive, self.bank: self._look}
        acts |= {dropdown: self._redraw for dropdown in self.switches.dropdowns.values()}
        acts |= {control: self._show for control in (self.way, self.following)}
        acts |= {self.concept: self._locate, self.steering: self._again}
        for control, act in acts.items():
            control.observe(self._handler(act), "value")
        self.pictures.more.on_click(self._handler(self.pictures.show_more))

    def _handler(self, act: Callable[[], None]) -> Callable[[object], None]:
        """An act as a callback; what the acts themselves set calls nothing back."""

        def handle(_: object) -> None:
            if not self._acting:
                with self._doing():
                    act()

        return handle

    @contextmanager
    def _doing(self) -> Iterator[None]:
        """Show that something goes on, and then what went wrong, if it is the user's to mend."""
        self._acting, problem = True, ""
        self.status.value = notice("busy", "reading the picture …")
        try:
            yield
        except (ValueError, OSError) as error:
            problem = str(error)
            self.pictures.choose(self._row)  # the controls stay true of what is shown
            self.switches.show(self.switches.page)
        finally:
            self._acting = False
            self.status.value = notice("problem", problem) if problem else self._hint()

    def _hint(self) -> str:
        """What to do where there is nothing to see yet."""
        return "" if self.current else notice("note", "upload a picture to begin")

    def _choose(self) -> None:
        """Explain the chosen picture."""
        row, images = self.pictures.buttons.value, self.pictures.images
        if row is not None:
            of_book = page(int(images.ids[row])) if images.source == "picturebook" else None
            self._explain(images.picture(row), row, of_book)

    def _receive(self) -> None:
        """Explain an uploaded picture."""
        if self.upload.value:
            file = self.upload.value[0]
            try:
                self._explain(read_upload(file["content"], file["name"]))
            except (ValueError, OSError):
                self.upload.value = ()
                raise

    def _redraw(self) -> None:
        """Explain the page as the switches now are, beside what was shown before."""
        changed = self.switches.changed()
        self._explain(changed.picture, self._row, changed, before=self.current)

    def _again(self) -> None:
        """Explain the same picture steered, or no longer steered, beside what was shown before."""
        if self.current:
            self._explain(self.current.picture, self._row, self.switches.page, before=self.current)

    def _explain(
        self,
        picture: Image.Image,
        row: int | None = None,
        of_book: Page | None = None,
        before: PictureExplanation | None = None,
    ) -> None:
        """Run the model once and show what comes of it."""
        with self.steering.applied(self.lmm, picture, self.banks[0].prompt):
            self.current, self._before = explain_picture(self.lmm, self.banks, picture), before
        self._row, self._extras = row, {}
        if row is not None:  # the button counts what it holds: a file, as long as its picture is shown
            self.upload.value = ()
        self.pictures.choose(row)
        self.switches.show(of_book)
        numbers, chosen = list(self.current.explanations), self.bank.value
        self.bank.options = [(self._label(number), number) for number in numbers]
        self.bank.value = chosen if chosen in numbers else next(iter(numbers), None)
        self._look()

    def _look(self) -> None:
        """Offer the chosen bank's concepts and show its explanation."""
        explained = self._explained(self.current)
        self.bank.layout.display = None if len(self.bank.options) > 1 else "none"
        alone = explained if not self.steering.on else None  # maps and sliders are of the model by itself
        self._extra_controls.layout.display = None if alone else "none"
        concepts = shown_concepts(explained, self._explained(self._before)) if explained else []
        chosen = self.concept.value
        self.concept.options = [(f"{k}: {explained.title(k)}", k) for k in concepts]
        self.concept.value = chosen if chosen in concepts else next(iter(concepts), None)
        self.handles.show(alone, concepts)
        self.rewritten.value = ""
        self._show()

    def _rewrite(self) -> None:
        """The caption with the concepts as their sliders are, beside the one before."""
        handles, shown = self.handles, self.switches.page
        values, factors = handles.values, shown and shown.factors
        self.rewritten.value = ""
        if values:
            caption = caption_with(self.lmm, handles.explained, values)
            thumbnails = self._thumbnails[self.bank.value]
            self.rewritten.value = rewritten_html(handles.explained, values, caption, thumbnails, factors)

    def to_html(self, path: str | Path) -> Path:
        """Write what is shown as one page that needs neither Python nor a network; see `to_html`."""
        return view_to_html(path, "Concepts behind a caption", [self.answer.value, self.rewritten.value])

    def _locate(self) -> None:
        """Show where the chosen concept is."""
        self.way.value = self.way.value or WAYS[1][1]
        self._show()

    def _show(self) -> None:
        """Show the explanation with the map and the next words, if asked for; what fails of these is switched off."""
        try:
            self.answer.value = self._page(self._map(), self._words())
        except (ValueError, OSError):
            self.way.value, self.following.value = "", False
            self.answer.value = self._page(None, None)
            raise

    def _page(self, map: PatchMap | None, words: list[tuple[str, float]] | None) -> str:
        """The answer, or what to say instead."""
        explained = self._explained(self.current)
        if explained is None:
            return unexplained_page(self.current, explained_words(self.banks))
        before, remarks = self._explained(self._before), self.current.remarks
        return answer_page(explained, self._thumbnails[self.bank.value], before, remarks, map, words)

    def _map(self) -> PatchMap | None:
        """The patch map that is asked for."""
        explained, concept, way = self._explained(self.current), self.concept.value, self.way.value
        if explained is None or concept is None or not way:
            return None
        return self._once((self.bank.value, concept, way), lambda: patch_map(self.lmm, explained, concept, way))

    def _words(self) -> list[tuple[str, float]] | None:
        """The words that may follow, if they are asked for."""
        explained = self._explained(self.current)
        if explained is None or not self.following.value:
            return None
        return self._once((self.bank.value, "words"), lambda: next_words(self.lmm, explained))

    def _once(self, key: tuple, make: Callable):
        """What was made for this picture before, or is made now."""
        if key not in self._extras:
            self._extras[key] = make()
        return self._extras[key]

    def _explained(self, shown: PictureExplanation | None) -> Explanation | None:
        """The explanation by the chosen bank, if there is one."""
        return shown.explanations.get(self.bank.value) if shown else None

    def _label(self, number: int) -> str:
        """A bank in the list of banks."""
        bank = self.banks[number]
        return f"{number + 1}: {bank.token}, {len(bank)} concepts, {bank.method}, {bank.where}"
