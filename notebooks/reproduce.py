"""The figures and tables of arXiv 2406.08074 for any model and pictures: extract, learn, evaluate, write.

python notebooks/reproduce.py                                      the picture book, as a demonstration
python notebooks/reproduce.py --model llava-hf/llava-1.5-7b-hf --data coco:/data/coco --tokens dog bus train cat
torchrun --nproc_per_node 8 notebooks/reproduce.py --model ...     eight processes share the extraction

Call it again after it was stopped: it goes on where it was, and makes only what is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader

sys.path.insert(0, str(Path(__file__).parents[1]))  # of a script only its own folder is there

from coxlmm_utils import LMM, CaptionedImages, States, extract, load_images, load_judges, load_lmm
from coxlmm_utils.evaluation import FORM_PAGES
from coxlmm_utils.evaluation.paper import FIG6_LAYERS
from coxlmm_utils.evaluation.tables import NOTHING, save_table
from coxlmm_utils.extraction import BlockFolder, Settings, make_share, own_device, process_share
from coxlmm_utils.files import atomic_write, digest, folder_name
from coxlmm_utils.plots import DPI, described, save_figure
from coxlmm_utils.statistics import SEEDS
from coxlmm_utils.text import check_counts
from notebooks.paper_figures import ITEMS, Item, Study

BUILD = Path(__file__).parents[1] / "build" / "reproduce"
TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
TOKENS = ("dog", "bus", "train", "cat")  # of the paper's tables
KS = (10, 20, 30, 50)
BOOK_PICTURES = 1200  # of a token, to learn from
MIN_TESTED = 2  # samples of a token
PATIENCE = 1800  # seconds without a block of another process, after which its blocks are made here


def main(arguments: Sequence[str] | None = None) -> None:
    """Write Tables 1 and 2 and Figs 2 to 7 and 11 of arXiv 2406.08074 as a page, PDF, PNG, CSV and LaTeX."""
    options = _options(arguments)
    try:
        study = _study(options)
        if study is not None:
            _write(study, options.out or BUILD / folder_name(options.model, options.data))
    except (ValueError, OSError) as error:
        sys.exit(str(error))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python notebooks/reproduce.py", description=main.__doc__)
    parser.add_argument("--model", default="picturebook", help="of Hugging Face, or a folder; default: picturebook")
    parser.add_argument("--data", default="picturebook", help='"coco:DIR", "folder:DIR"; default: picturebook')
    parser.add_argument("--tokens", nargs="+", default=TOKENS, metavar="TOKEN", help="default: dog bus train cat")
    parser.add_argument("--layer", type=_layer, help="default: the last block but one, as we read the paper's L = 31")
    parser.add_argument("--layers", type=_layer, nargs="+", help="of Fig 6; default: the paper's, or some 18")
    parser.add_argument("--n-concepts", type=int, default=20, help="default: the paper's, 20")
    parser.add_argument("--lam", type=float, default=1.0, help="λ; default: 1")
    parser.add_argument("--ks", type=int, nargs="+", default=KS, help="of Fig 11; default: 10 20 30 50")
    parser.add_argument("--n-seeds", type=int, default=len(SEEDS), choices=range(1, len(SEEDS) + 1))
    parser.add_argument(
        "--limit", type=int, help="pictures of a token to learn from; default: 1200 of the book, else all"
    )
    parser.add_argument("--clip", help="another CLIP judge, see `load_judges`")
    parser.add_argument("--bert", help="another BERTScore judge")
    parser.add_argument("--bert-layers", type=int, help="after how many layers its vectors are compared")
    parser.add_argument("--max-new-tokens", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--dtype", help='such as "bfloat16"')
    parser.add_argument("--quantization", choices=("4bit", "8bit"), help="weights in so few bits, see load_lmm")
    parser.add_argument("--out", type=Path, help="a folder; default: build/reproduce/MODEL-DATA")
    return parser.parse_args(arguments)


def _layer(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _study(options: argparse.Namespace) -> Study | None:
    """Extract with the other processes; the first one has all that there is to write then, the others nothing."""
    first, begin = process_share()[0] == 0, time.monotonic()
    _check(options)
    images = dict(zip(("train", "test"), _pictures(options.data)))
    judges = ()
    if first:  # before the hours of an extraction: they may be missing
        judges = load_judges(options.data, options.clip, options.bert, options.bert_layers)
    lmm = load_lmm(options.model, own_device(), options.dtype, quantization=options.quantization)
    layer = lmm.n_layers - 1 if options.layer is None else options.layer
    layers = list(dict.fromkeys(options.layers or _layers(lmm.n_layers)))
    for layer_read in (layer, *layers):
        lmm.check_layer(layer_read)
    extraction = Extraction(lmm, images, {"train": list(dict.fromkeys((*layers, layer))), "test": [layer]}, options)
    extraction.share()
    if not first:
        return None
    states, tested = extraction.gather()
    left_out = list(extraction.left_out.values())
    for sentence in left_out:
        print(sentence, flush=True)
    if not states:
        raise ValueError("No token is left to learn from.")
    return Study(options, lmm, judges, layer, layers, states, tested, left_out, time.monotonic() - begin)


def _check(options: argparse.Namespace) -> None:
    """Refuse counts and a λ that would fail only after the extraction."""
    names = ("n_concepts", "limit", "max_new_tokens", "batch_size", "bert_layers")
    check_counts(**{name: getattr(options, name) for name in names}, ks=min(options.ks))
    if not 0 <= options.lam < float("inf"):
        raise ValueError(f"--lam is {options.lam:g}: give 0 or a positive number.")


def _pictures(data: str) -> tuple[CaptionedImages, CaptionedImages]:
    """To learn from, and to test; of the book's validation pages those on which no judge was chosen."""
    train = load_images(data, split="train")
    if data == "picturebook":
        return train, load_images(data, split="validation+test")[FORM_PAGES:]
    return train, load_images(data, split="test")


def _layers(n_layers: int) -> list[int | str]:
    """The layers of Fig 6: the paper's and the other readings of its L = 31, or about as many of another model."""
    if n_layers == 32:
        return [*FIG6_LAYERS, 32, "norm"]
    return [*np.linspace(1, n_layers, len(FIG6_LAYERS)).round().astype(int).tolist(), "norm"]


class Extraction:
    """The states of each token, of pictures to learn from and to test, by as many processes as there are."""

    def __init__(self, lmm: LMM, images: dict[str, CaptionedImages], layers: dict[str, list], options) -> None:
        self.lmm, self.layers, self.options, self.left_out = lmm, layers, options, {}
        self.tokens = list(dict.fromkeys(options.tokens))
        self.images = {(token, split): images[split] for token in self.tokens for split in images}
        if limit := options.limit or (BOOK_PICTURES if options.data == "picturebook" else None):
            for token in self.tokens:  # of one that nothing mentions all, so that the message knows their words
                self.images[token, "train"] = images["train"].mentioning(token)[:limit] or images["train"]
        self.blocks = {}

    def share(self) -> None:
        """Make this process's share of the blocks of all tokens."""
        for (token, split), images in self.images.items():
            # No caption is shown whole: each ends when its word has come.
            settings = Settings(
                self.layers[split], ["predicts"], max_new_tokens=self.options.max_new_tokens, stop_early=True
            )
            with self._leaving_out(token):
                self.blocks[token, split] = make_share(
                    self.lmm, images, {token: [token]}, settings, self.options.batch_size
                )

    def gather(self) -> tuple[dict[str, States], dict[str, States]]:
        """The states to learn from and to test, once all processes are done, of the tokens that have enough."""
        states, tested = {}, {}
        for token in self.tokens:
            with self._leaving_out(token):
                if token not in self.left_out:
                    both = [self._gathered(token, split) for split in ("train", "test")]
                    _check_counts(*map(len, both), self.options.n_concepts)
                    states[token], tested[token] = both
        return states, tested

    def _gathered(self, token: str, split: str) -> States:
        _wait_for(self.blocks[token, split])
        options = {name: getattr(self.options, name) for name in ("max_new_tokens", "batch_size")}
        images, layers = self.images[token, split], self.layers[split]
        return extract(self.lmm, images, token, layers, stop_early=True, **options)

    @contextmanager
    def _leaving_out(self, token: str) -> Iterator[None]:
        """What is wrong with one token is kept as a sentence, and the others go on."""
        try:
            yield
        except ValueError as error:
            self.left_out.setdefault(token, f"“{token}” is left out, the others go on: {error}.")


def _wait_for(blocks: BlockFolder) -> None:
    """Wait while other processes make their blocks; if no block comes for long, `extract` makes what is missing."""
    n_missing, since = len(blocks.missing()), time.monotonic()
    while n_missing and time.monotonic() - since < PATIENCE:
        time.sleep(0.5)
        if len(blocks.missing()) < n_missing:
            n_missing, since = len(blocks.missing()), time.monotonic()


def _check_counts(n_samples: int, n_tested: int, n_concepts: int) -> None:
    if n_samples < n_concepts or n_tested < MIN_TESTED:
        raise ValueError(
            f"{n_samples:,} samples to learn from and {n_tested:,} to test are too few for {n_concepts} concepts, "
            f"which take {n_concepts} and {MIN_TESTED} at least; give more pictures, another token or a smaller "
            "--n-concepts"
        )


# What is written


def _write(study: Study, folder: Path) -> None:
    """All figures and tables, each whole or not at all, and after each the page of those that there are."""
    key, records = _key(study), {}
    for name, make in ITEMS.items():
        path = folder / f"{name}.json"
        record = json.loads(path.read_text()) if path.is_file() else {}
        begin = time.monotonic()
        if record.get("key") != key or not all((folder / file).is_file() for file in _files(record)):
            before, record = _files(record), {"key": key, **_saved(make(study), folder / name)}
            record["seconds"] = time.monotonic() - begin
            for file in set(before) - set(_files(record)):  # of other settings
                (folder / file).unlink(missing_ok=True)
            _write_text(path, json.dumps(record, indent=1))
        records[name] = record
        _write_text(folder / "index.html", _page(study, records, folder))
        print(f"{record['title']} ({time.monotonic() - begin:.0f} s)", flush=True)
    print(f"Now open {os.path.relpath(folder / 'index.html')}.")


def _key(study: Study) -> str:
    """Changes whenever what is there has to be made anew."""
    parts = [study.settings(), study.options.ks, study.options.n_seeds, study.layers]
    for states in (*study.states.values(), *study.tested.values()):
        parts += [states.images.ids, states.captions, list(states.images.references)]
        parts += [float(states.vectors[study.layer].double().square().sum())]
    return digest(parts)


def _saved(item: Item, path: Path) -> dict:
    """Save the figures and tables of an item; what its page says of them."""
    names = [path.name] if len(item.figures) == 1 else [f"{path.name}_{n + 1}" for n in range(len(item.figures))]
    figures, shown = {}, {}
    for name, figure in zip(names, item.figures):
        save_figure(figure, path.with_name(name))
        figures[name] = {"alt": described(figure), "width": round(figure.get_figwidth() * DPI)}
    for ending, table in item.tables.items():
        save_table(table, f"{path}{ending}")
        shown[f"{path.name}{ending}"] = ending in item.shown
    return {"title": item.title, "paper": item.paper, "ours": item.ours, "figures": figures, "tables": shown}


def _files(record: dict) -> list[str]:
    """The files of an item."""
    figures = [f"{name}.{ending}" for name in record.get("figures", ()) for ending in ("pdf", "png")]
    return figures + [f"{name}.{ending}" for name in record.get("tables", ()) for ending in ("csv", "tex")]


def _page(study: Study, records: dict[str, dict], folder: Path) -> str:
    """The page of all that there is."""
    samples = {token: (len(study.states[token]), len(study.tested[token])) for token in study.states}
    tables = {
        name: _cells(folder / f"{name}.csv") for r in records.values() for name, shown in r["tables"].items() if shown
    }
    rest = {"settings": study.settings(), "samples": samples, "left_out": study.left_out, "seconds": study.seconds}
    return TEMPLATES.get_template("reproduce.html").render(records=records, tables=tables, **rest)


def _cells(path: Path) -> list[list[str]]:
    """A table as it is shown: its header and its rows, numbers with at most three digits."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    numbers = [name for name in table if table[name].str.fullmatch(r"(-?\d+\.\d+(e-?\d+)?)?").all()]
    digits = max((len(cell.partition(".")[2]) for name in numbers for cell in table[name]), default=0)
    rounded = table[numbers].map(lambda cell: f"{float(cell):.{min(3, digits)}f}" if cell else NOTHING)
    return [list(table.columns), *table.assign(**rounded).to_numpy().tolist()]


def _write_text(path: Path, text: str) -> None:
    atomic_write(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
