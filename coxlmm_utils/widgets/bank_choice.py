"""Which banks there are to browse, and how to choose among them by word, layer, method and so on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from ..concepts import ConceptBank

FACETS = ("Word", "Read at", "Method", "Concepts", "Seed", "Bank")  # what banks may differ in, in order of choice


class Shelf:
    """Banks, and what each is called.

    Parameters
    ----------
    banks : ConceptBank, path, or sequence of these
        A path is a folder of a saved bank, or one whose folders are saved banks.

    Attributes
    ----------
    banks : list of ConceptBank

    Raises
    ------
    FileNotFoundError
        If a folder holds no bank.
    ValueError
        If there is no bank at all, or a saved one is damaged.
    """

    def __init__(self, banks: ConceptBank | str | Path | Sequence[ConceptBank | str | Path]):
        given = [banks] if isinstance(banks, (ConceptBank, str, Path)) else list(banks)
        found = [place for each in given for place in ([each] if isinstance(each, ConceptBank) else saved_in(each))]
        if not found:
            raise ValueError("there is no bank to browse: give a concept bank, or folders of saved ones")
        bar = tqdm(found, desc="loading concept banks", leave=False, delay=1)
        self.banks = [each if isinstance(each, ConceptBank) else ConceptBank.from_pretrained(each) for each in bar]
        self._facets = [_facets(bank, number) for number, bank in enumerate(self.banks, start=1)]

    def __len__(self) -> int:
        return len(self.banks)

    def choose(self, wanted: dict[str, str]) -> tuple[int, dict[str, list[str]]]:
        """The bank that is wanted, as far as there is such a one.

        Parameters
        ----------
        wanted : dict of str to str
            A value of each facet; one that no bank has with the values before it gives way to the first that there is.

        Returns
        -------
        number : int
            Which bank.
        choices : dict of str to list of str
            The values of each facet that can be chosen, given those before it.
        """
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
        """A name for each bank, of what not all of them have in common; each another."""
        told = [name for name in FACETS[:-1] if len({facets[name] for facets in self._facets}) > 1] or list(FACETS[:1])
        short = [" · ".join(_told(name, facets[name]) for name in told) for facets in self._facets]
        return [
            text if short.count(text) == 1 else f"{text} · {facets['Bank']}"
            for text, facets in zip(short, self._facets)
        ]


def saved_in(folder: str | Path) -> list[Path]:
    """The folder if it is a saved bank, else those of its folders that are, by name.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    folder = Path(folder).expanduser()
    if (folder / "bank.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/bank.json"))
    if not found:
        raise FileNotFoundError(f"there is no saved concept bank in {folder}, nor in its folders")
    return found


def _facets(bank: ConceptBank, number: int) -> dict[str, str]:
    """What a bank is, each part in words."""
    seed = bank.provenance["dictionary"].get("random_state")
    place = f"bank {number}" if bank.folder is None else f"bank {number}, {bank.folder.name}"
    values = (bank.token, bank.where, bank.method, str(len(bank)), "none" if seed is None else str(seed), place)
    return dict(zip(FACETS, values))


def _told(name: str, value: str) -> str:
    """A value with what it is the value of, where that would not be seen."""
    return {"Concepts": f"{value} concepts", "Seed": f"seed {value}"}.get(name, value)
