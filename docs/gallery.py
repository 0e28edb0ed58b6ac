"""Draw pictures for readers: concepts behind the word "dog" in the bundled model, an explanation, both widgets.

python docs/gallery.py               data/gallery.jpg and docs/explanation.jpg
python -m pytest -q tests/browser    before it, for docs/browser.jpg and docs/ask.jpg: leaves build/screenshots
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from coxlmm_utils import ConceptBank, SemiNMF, explain, extract, load_images, load_lmm
from coxlmm_utils.files import atomic_write

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "build" / "screenshots"
PAGES, LAYER, SHOWN = 1_200, 4, 6
# Screenshot, and which shares of its height are shown: of the browser's the controls, the cards found, and what an
# opened one begins with; of the sliders these, and what they make of the caption.
WIDGETS = {
    "browser.jpg": ("browser_opened.png", 0, 0.504),
    "ask.jpg": ("explainer_where.png", 0, 1),
    "sliders.jpg": ("handles.png", 0.565, 1),
}
JPEG = {"quality": 82, "optimize": True}


def main() -> None:
    """Learn the bank of notebook 00; draw its most used concepts, and why the first test page is a dog."""
    lmm = load_lmm("picturebook")
    states = extract(lmm, load_images("picturebook").mentioning("dog")[:PAGES], "dog", LAYER)
    bank = ConceptBank.learn(lmm, states, SemiNMF(n_concepts=20))
    most_used = (-bank.activations.sum(axis=0)).argsort()[:SHOWN]
    page = load_images("picturebook", split="test").mentioning("dog").picture(0)  # the first one, not the best
    save(bank.gallery(most_used.tolist()), ROOT / "data" / "gallery.jpg")
    save(explain(lmm, bank, page).figure(), ROOT / "docs" / "explanation.jpg")
    draw_widgets()


def draw_widgets() -> None:
    """The browser and the explainer as the browser tests saw them, if they ran."""
    for name, (screenshot, first, last) in WIDGETS.items():
        if (SCREENSHOTS / screenshot).exists():
            with Image.open(SCREENSHOTS / screenshot) as whole:
                edges = (0, round(first * whole.height), whole.width, round(last * whole.height))
                part = whole.convert("RGB").crop(edges)
            atomic_write(ROOT / "docs" / name, lambda path, part=part: part.save(path, format="jpeg", **JPEG))


def save(figure, path: Path) -> None:
    """Write a figure as a JPEG."""
    atomic_write(path, lambda part: figure.savefig(part, format="jpeg", dpi=120, pil_kwargs=JPEG))


if __name__ == "__main__":
    main()
