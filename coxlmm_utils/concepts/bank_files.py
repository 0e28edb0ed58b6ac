"""A concept bank as files: safetensors, json and PNG."""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save

from .._version import __version__
from ..dictionaries import METHODS, Dictionary, as_matrix
from ..extraction import check_record
from ..files import atomic_write, digest, is_trouble, locked, recover, sha256, write_folder
from ..images import open_picture
from .grounding import Words

FORMAT = 2  # of the files of a saved bank
OLD_PARAMETERS = {"max_rounds": "max_iter", "n_starts": "n_init"}  # of SemiNMF, in banks saved by version 0.1.0
NAMES = "names.json"  # beside them, so that naming a concept writes nothing else
PICTURES = "pictures"  # the folder of them
PICTURE = r"\d{5,}\.png"
PARTS = rf"names(-[0-9a-f]{{16}})?\.json|{PICTURES}/|{PICTURES}/{PICTURE}"  # what a bank's folder may hold besides
MEASURE = "measure/"  # before a measure's name among the tensors


def save_bank(bank, folder: str | Path) -> Path:
    """Write a bank, whole or not at all; `ConceptBank.save_pretrained` tells more."""
    name = type(bank.dictionary).__name__
    if METHODS.get(name) is not type(bank.dictionary):
        raise ValueError(f"a bank of {name} cannot be saved: only {', '.join(METHODS)} can be loaded again")
    folder = Path(folder).expanduser()

    names, before = {}, {}
    recover(folder / NAMES)

    def write(scratch: Path) -> None:
        given = _names_given(folder, bank)
        before.update(_names_before(folder, also_now=not given))
        back = before.pop(_key(bank.ids, bank.concepts, bank.activations), {})  # where this bank stood here before
        names.update((given or {int(number): name for number, name in back.items()}) | bank.names)
        _write(bank, names, scratch)
        for key, of_another in before.items():
            (scratch / f"names-{key}.json").write_text(json.dumps(of_another, indent=1))

    write_folder(folder, write, "bank was", ("bank.json", "bank.safetensors"), PARTS)
    bank.names.update(names)
    if before:
        kept = ", ".join(f"names-{key}.json" for key in before)
        warnings.warn(
            f"names given to other concepts in {folder} are kept there ({kept}) and come back with these concepts"
        )
    return folder


def load_bank(folder: str | Path) -> dict:
    """The attributes of a saved bank, by name; `ConceptBank.from_pretrained` tells more."""
    folder = Path(folder).expanduser().absolute()
    recover(folder)
    if not (folder / "bank.json").exists():
        raise FileNotFoundError(f"{folder} holds no concept bank: bank.json is missing")
    try:
        attributes = _read(folder)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, SafetensorError) as error:
        if is_trouble(error):
            raise
        raise ValueError(f"the concept bank in {folder} is damaged ({error}); save it again") from error
    return {**attributes, "names": read_names(folder, len(attributes["words"])), "folder": folder}


def change_name(folder: Path, n_concepts: int, concept: int, name: str) -> dict[int, str]:
    """Write one name, "" for none, beside those that a saved bank's concepts have by now; gives them all."""
    if not (folder / "bank.json").exists():
        raise FileNotFoundError(f"the bank is no longer in {folder}: save it again, then name its concepts")
    with locked(folder / "bank.json"):
        names = named(read_names(folder, n_concepts), concept, name)
        _write_names(folder, names)
    return names


def named(names: dict[int, str], concept: int, name: str) -> dict[int, str]:
    """Names of concepts with another for one of them, "" for none."""
    return {number: other for number, other in {**names, concept: name}.items() if other}


def _write_names(folder: Path, names: dict[int, str]) -> None:
    text = json.dumps({str(number): names[number] for number in sorted(names)}, indent=1)
    atomic_write(folder / NAMES, lambda scratch: scratch.write_text(text))


def read_names(folder: Path, n_concepts: int) -> dict[int, str]:
    """The users' names for a saved bank's concepts; none if none were given."""
    path = folder / NAMES
    try:
        written = json.loads(path.read_text()) if path.exists() else {}
        names = {int(number): check_name(name) for number, name in written.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the names of concepts in {path} cannot be read ({error}); mend or delete it") from error
    if unknown := [number for number in names if not 0 <= number < n_concepts]:
        raise ValueError(f"{path} names the concept {unknown[0]}, and there are {n_concepts}; mend or delete it")
    return names


def _names_given(folder: Path, bank) -> dict[int, str]:
    """The names in the folder of a saved bank that has the same concepts and activations; none of another bank's."""
    try:
        tensors = load_file(folder / "bank.safetensors")
        pairs = [(bank.concepts, tensors["components_"]), (bank.activations, tensors["activations"])]
    except (KeyError, OSError, SafetensorError):  # no bank, or a damaged one
        return {}
    same = all(new.shape == old.shape and np.allclose(new, old, rtol=1e-4, atol=1e-4) for new, old in pairs)
    return read_names(folder, len(bank)) if same else {}


def _names_before(folder: Path, also_now: bool) -> dict[str, dict[str, str]]:
    """Names given to the banks that were in a folder before, and to the one that is there now, by a key of each bank."""
    names = {path.stem.removeprefix("names-"): json.loads(path.read_text()) for path in folder.glob("names-*.json")}
    if also_now and (folder / NAMES).is_file() and (written := json.loads((folder / NAMES).read_text())):
        try:
            ids, tensors = json.loads((folder / "bank.json").read_text())["ids"], load_file(folder / "bank.safetensors")
            key = _key(ids, tensors["components_"], tensors["activations"])
        except (KeyError, OSError, TypeError, ValueError, SafetensorError):  # damaged: nothing will have this key
            key = digest(written)
        names[key] = written
    return names


def _key(ids: Sequence[str], concepts: np.ndarray, activations: np.ndarray) -> str:
    """Tells a bank from others, but not from the same one learned again on another machine."""
    sums = np.concatenate([concepts.sum(axis=1), activations.mean(axis=0)]).astype(float)
    return digest([list(ids), [f"{value:.2g}" for value in sums]])


def _write(bank, names: dict[int, str], folder: Path) -> None:
    """Fill the folder of a bank."""
    (folder / PICTURES).mkdir(parents=True)
    files = {id: f"{number:05d}.png" for number, id in enumerate(bank.thumbnails)}
    for id, picture in bank.thumbnails.items():
        picture.save(folder / PICTURES / files[id])
    measures = {MEASURE + name: values for name, values in bank.measures.items()}
    tensors = {"activations": bank.activations, "top": bank.top, **_learned(bank.dictionary), **measures}
    content = save({name: np.asarray(array, order="C") for name, array in tensors.items()})
    (folder / "bank.safetensors").write_bytes(content)
    record = {
        "format": FORMAT,
        "coxlmm_utils": __version__,
        "words": [asdict(words) for words in bank.words],
        **({"negative_words": [asdict(words) for words in bank.negative_words]} if bank.negative_words else {}),
        "ids": bank.ids,
        "captions": bank.captions,
        "pictures": files,
        "provenance": bank.provenance,
        "tensors": sha256(content),
    }
    (folder / "bank.json").write_text(json.dumps(record, indent=1))
    if names:
        _write_names(folder, names)


def _read(folder: Path) -> dict:
    """What `_write` wrote, but the names."""
    record = json.loads((folder / "bank.json").read_text())
    if record["format"] != FORMAT:
        raise ValueError(f"its format is {record['format']}, not {FORMAT}")
    content = (folder / "bank.safetensors").read_bytes()
    tensors = dict(sorted(load(content).items()))
    provenance = record["provenance"]
    dictionary = _rebuilt(provenance["dictionary"], tensors)
    if dictionary.signed and "negative_words" not in record:
        record["negative_words"] = [asdict(Words((), ()))] * len(record["words"])
        warnings.warn(
            f"the bank in {folder} has no words of the sides below zero, since it is of an older version: "
            "learn it again to have them"
        )
    bank = {
        "dictionary": dictionary,
        "activations": tensors["activations"],
        "words": [_words(words) for words in record["words"]],
        "negative_words": [_words(words) for words in record.get("negative_words", [])],
        "ids": record["ids"],
        "captions": record["captions"],
        "top": tensors["top"],
        "thumbnails": {id: open_picture(_within(folder, name)) for id, name in record["pictures"].items()},
        "provenance": provenance,
        "measures": {key.removeprefix(MEASURE): tensors[key] for key in tensors if key.startswith(MEASURE)},
    }
    _check(bank)
    if record.get("tensors", sha256(content)) != sha256(content):  # banks of older versions have no digest
        raise ValueError("bank.safetensors is not the one that bank.json was written with")
    return bank


def _within(folder: Path, name: str) -> Path:
    """The picture of a name in a bank's folder; ValueError for one that leads out of it."""
    path = folder / PICTURES / name
    if not re.fullmatch(PICTURE, name) or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"its picture {name!r} is a link or path out of its folder, which is not followed: copy the files"
        )
    return path


def _check(bank: dict) -> None:
    """Refuse counts that do not fit each other, values that are not finite, and samples that there are not."""
    layer = bank["provenance"]["layer"]
    if not (layer == "norm" or type(layer) is int and layer >= 0):
        raise ValueError(f"its layer {layer!r} is none")
    V, U, top, ids = bank["activations"], bank["dictionary"].components_, bank["top"], bank["ids"]
    n, K = V.shape
    fits = {
        "concepts": len(U) == K,
        "words": len(bank["words"]) == K and len(bank["negative_words"]) in (0, K),
        "ids": len(ids) == n == len(set(ids)),
        "captions": len(bank["captions"]) == n,
        "top samples": top.ndim == 2 and len(top) == K and set(top.flat) <= set(range(n)),
        "pictures": set(bank["thumbnails"]) <= set(ids),
        "measures": all(values.shape == (K,) for values in bank["measures"].values()),
    }
    if wrong := [name for name, fit in fits.items() if not fit]:
        raise ValueError(f"its {wrong[0]} do not fit its activations, which are of {n} samples and {K} concepts")
    check_record(bank["provenance"], bank["captions"])
    if not np.isfinite(V).all():
        raise ValueError("its activations have a NaN or infinite value")


def _words(record: dict) -> Words:
    """A concept's words, from json."""
    return Words(tuple(record["kept"]), tuple(map(tuple, record["dropped"])))


def _learned(dictionary: Dictionary) -> dict[str, np.ndarray]:
    """What a dictionary learned, by name; a number as a float64 array without dimensions."""
    learned = {name: getattr(dictionary, name) for name in dictionary.learned}
    return {name: value if isinstance(value, np.ndarray) else np.float64(value) for name, value in learned.items()}


def _rebuilt(settings: dict, tensors: dict[str, np.ndarray]) -> Dictionary:
    """The dictionary of a saved bank, from its method's name, its parameters and what it learned."""
    parameters = {OLD_PARAMETERS.get(name, name): value for name, value in settings.items() if name != "method"}
    if settings["method"] not in METHODS:
        raise ValueError(f"its method {settings['method']!r} is none of {', '.join(METHODS)}")
    dictionary = METHODS[settings["method"]](**parameters)
    for name in dictionary.learned:
        setattr(dictionary, name, tensors[name] if tensors[name].ndim else float(tensors[name]))
    width = as_matrix(dictionary.components_, "concept").shape[1]  # which refuses what is not finite
    for name in dictionary.learned:
        value = np.asarray(getattr(dictionary, name))
        if not np.isfinite(value).all() or (value.ndim == 1 and len(value) != width):
            raise ValueError(f"its {name} is not finite, or does not fit its concepts of width {width}")
    return dictionary


MAX_NAME = 60  # characters of a name
REFUSED = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, halves of characters, and ends of lines


def check_name(name: str) -> str:
    """A name without spaces around it."""
    name = name.strip()
    if len(name) > MAX_NAME:
        raise ValueError(f"the name has {len(name)} characters; give it at most {MAX_NAME}")
    if any(unicodedata.category(character) in REFUSED for character in name):
        raise ValueError("the name has a line end or another control character; leave it out")
    return name
