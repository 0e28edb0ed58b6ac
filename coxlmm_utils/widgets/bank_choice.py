"""Which banks there are to browse, and how to choose among them by word, model, layer, method and so on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from ..concepts import ConceptBank

FACETS = (
    "Word",
    "Model",
    "Read at",
    "Method",
    "Concepts",
    "Seed",
    "Bank",
)  # what banks may differ in, in order of choice


class BankCollection:
    """The banks that there are to browse, loaded, with a name for each."""

    def __init__(self, banks: ConceptBank | str | Path | Sequence[ConceptBank | str | Path]):
        given = [banks] if isinstance(banks, (ConceptBank, str, Path)) else list(banks)
        sources = [bank for item in given for bank in ([item] if isinstance(item, ConceptBank) else saved_banks(item))]
        if not sources:
            raise ValueError("there is no bank to browse: give a concept bank, or folders of saved ones")
        bar = tqdm(sources, desc="loading concept banks", leave=False, delay=1)
        self.banks = [bank if isinstance(bank, ConceptBank) else ConceptBank.from_pretrained(bank) for bank in bar]
        self._facets = [_facets(bank, number) for number, bank in enumerate(self.banks, start=1)]

    def __len__(self) -> int:
        return len(self.banks)

    def choose(self, wanted: dict[str, str]) -> tuple[int, dict[str, list[str]]]:
        """The bank with the wanted value of each facet, as far as there is one, and the values that can be chosen."""
        left, choices = list(range(len(self))), {}
        for facet in FACETS:
            choices[facet] = list(dict.fromkeys(self._facets[number][facet] for number in left))
            value = wanted.get(facet) if wanted.get(facet) in choices[facet] else choices[facet][0]
            left = [number for number in left if self._facets[number][facet] == value]
        return left[0], choices

    def facets(self, number: int) -> dict[str, str]:
        """The values of a bank."""
        return self._facets[number]

    def labels(self) -> list[str]:
        """A different name for each bank, made of the facets in which the banks differ."""
        differing = [name for name in FACETS[:-1] if len({facets[name] for facets in self._facets}) > 1] or list(
            FACETS[:1]
        )
        short = [" · ".join(_labelled(name, facets[name]) for name in differing) for facets in self._facets]
        return [
            text if short.count(text) == 1 else f"{text} · {facets['Bank']}"
            for text, facets in zip(short, self._facets)
        ]


def saved_banks(folder: str | Path) -> list[Path]:
    """The folder if it is a saved bank, else those of its folders that are, by name."""
    folder = Path(folder).expanduser()
    if (folder / "bank.json").exists():
        return [folder]
    banks = sorted(path.parent for path in folder.glob("*/bank.json"))
    if not banks:
        raise FileNotFoundError(f"there is no saved concept bank in {folder}, nor in its folders")
    return banks


def _facets(bank: ConceptBank, number: int) -> dict[str, str]:
    """The value of every facet of a bank, in words."""
    seed = bank.provenance["dictionary"].get("random_state")
    source = f"bank {number}" if bank.folder is None else f"bank {number}, {bank.folder.name}"
    values = (
        bank.token,
        bank.model_name,
        bank.where,
        bank.method,
        str(len(bank)),
        "none" if seed is None else str(seed),
        source,
    )
    return dict(zip(FACETS, values))


def _labelled(name: str, value: str) -> str:
    """A facet's value, with the facet's name where the value alone would not show it."""
    return {"Concepts": f"{value} concepts", "Seed": f"seed {value}"}.get(name, value)
