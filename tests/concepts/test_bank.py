"""A concept bank: learning, what it records, saving and loading."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import ImageChops
from safetensors.numpy import load_file, save_file

from coxlmm_utils._version import __version__
from coxlmm_utils.concepts.bank import THUMBNAIL_SIDE, ConceptBank
from coxlmm_utils.concepts.grounding import Words, ground_pictures, ground_words
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.baselines import METHODS, PCA, KMeans, RandomDictionary, Simple
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import MAX_NEW_TOKENS, in_memory, noise
from tests.tiny_lmms import tiny_llava


@pytest.fixture
def saved(bank, tmp_path):
    bank.save_pretrained(tmp_path / "bank")
    return tmp_path / "bank"


def test_a_bank_is_saved_at_home(bank, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    replace(bank).save_pretrained("~/bank")
    assert ConceptBank.from_pretrained("~/bank").folder == tmp_path / "bank"


# Learning


def test_a_bank_is_its_parts(llava, states, bank):
    dictionary = SemiNMF(3, random_state=5).fit(states.Z)
    assert np.array_equal(bank.concepts, dictionary.components_)
    assert np.array_equal(bank.activations, dictionary.activations_)
    assert np.array_equal(bank.project(states.Z[:2]), dictionary.activations_[:2])
    assert bank.words == ground_words(llava, bank.concepts, 2, word_filter=WordFilter(min_length=2))
    assert np.array_equal(bank.top, ground_pictures(bank.activations))
    assert (bank.ids, bank.captions) == (list(states.images.ids), states.captions)
    assert len(bank) == 3 and isinstance(bank.gallery(), Figure)
    assert repr(bank) == (
        f"ConceptBank(3 concepts of 'grey', layer 2, position that predicts it (the paper's), {len(states)} samples)"
    )


def test_where_a_bank_comes_from(llava, states, bank):
    record = bank.provenance
    assert record["model"]["name"] == llava.name and record["model"]["fingerprint"] == llava.fingerprint
    assert (record["layer"], record["position"], record["token"]) == (2, "predicts", ["grey"])
    assert (record["prompt"], record["max_new_tokens"]) == (llava.prompt, MAX_NEW_TOKENS)
    assert record["dictionary"] == {"method": "SemiNMF", **SemiNMF(3, random_state=5).get_params()}
    assert record["grounding"]["filter"] == WordFilter(min_length=2).settings() != WordFilter().settings()
    assert record["versions"] == {
        "coxlmm_utils": __version__,
        "torch": version("torch"),
        "transformers": version("transformers"),
    }
    assert record["data"] == {"source": "", "split": "all"} and record["counts"]["kept"] == len(states)


def test_words_and_pictures_can_be_limited(llava, states):
    few = ConceptBank.learn(llava, states, SemiNMF(2), n_decoded=20, n_kept=2, n_pictures=2, norm=False)
    assert [words.kept for words in few.words] == [
        words.kept[:2] for words in ground_words(llava, few.concepts, 2, n_decoded=20, norm=False)
    ]
    assert few.top.shape == (2, 2)
    assert few.provenance["grounding"] == {
        "n_decoded": 20,
        "n_kept": 2,
        "norm": False,
        "filter": WordFilter().settings(),
    }


def test_a_model_may_keep_fewer_words(llava, states, monkeypatch):
    monkeypatch.setattr(llava, "words_kept", 1)
    assert all(len(words.kept) <= 1 for words in ConceptBank.learn(llava, states, SemiNMF(2)).words)


def test_pictures_are_those_of_the_most_active_samples_only(states, bank):
    best = states.images.picture(int(bank.activations[:, 1].argmax()))
    assert ImageChops.difference(bank.pictures(1)[0], best).getbbox() is None
    idle = replace(bank, activations=np.where([True, False, True], bank.activations, 0))
    assert idle.pictures(1) == []


def test_large_pictures_are_kept_small(llava, pictures, token):
    large = [noise(row).resize((400, 300)) for row in range(24)]
    states = extract(llava, in_memory(large, (token,)), token, 1, max_new_tokens=6, cache=False)
    bank = ConceptBank.learn(llava, states, SemiNMF(1), n_pictures=1)
    assert bank.pictures(0)[0].size == (THUMBNAIL_SIDE, 168)
    assert large[0].size == (400, 300)


@pytest.mark.parametrize("method", [Simple, PCA, KMeans, RandomDictionary])
def test_any_method_makes_a_bank(llava, states, bank, method):
    other, dictionary = ConceptBank.learn(llava, states, method(2)), method(2).fit(states.Z)
    assert np.array_equal(other.concepts, dictionary.components_)
    assert np.array_equal(other.activations, dictionary.activations_)
    assert other.provenance["dictionary"] == {"method": method.__name__, **method(2).get_params()}
    assert (bank.method, other.method) == ("Semi-NMF", method.label)
    assert repr(other) == repr(bank).replace("3 concepts", f"2 {method.label} concepts")


def test_a_signed_bank_is_grounded_on_both_sides(llava, states, bank):
    signed = ConceptBank.learn(llava, states, PCA(3))
    U, V = signed.concepts, signed.activations
    assert signed.sides == (1, -1) and bank.sides == (1,) and bank.negative_words == []
    assert signed.words == ground_words(llava, U, 2) and signed.negative_words == ground_words(llava, -U, 2)
    assert signed.words_of(1, 0.5) == signed.words[1] != signed.words_of(1, -0.5) == signed.negative_words[1]
    for k in range(3):
        assert signed.top_of(k) == [row for row in np.argsort(-V[:, k])[:5] if V[row, k] > 0]
        assert signed.top_of(k, -2.0) == [row for row in np.argsort(V[:, k])[:5] if V[row, k] < 0]
        assert len(signed.pictures(k, -1)) == len(signed.top_of(k, -1)) > 0  # they are kept, too
    assert bank.pictures(0, -1) == []


def test_a_side_has_its_own_pictures_and_name(bank):
    activations = np.zeros_like(bank.activations)
    activations[:4, 1] = [1, -3, 2, -1]
    thumbnails, top = dict(zip(bank.ids, "abcd")), ground_pictures(activations.clip(min=0), 4)
    sides = [
        [Words(words, ()) for words in own] for own in ([("snow",), ("day", "sun"), ()], [("beach",), ("night",), ()])
    ]
    signed = replace(bank, activations=activations, top=top, thumbnails=thumbnails, words=sides[0], names={0: "cold"})
    signed = replace(signed, negative_words=sides[1])
    assert (signed.pictures(1), signed.pictures(1, -0.1), signed.pictures(0, -1)) == (["c", "a"], ["b", "d"], [])
    assert [signed.title(k) for k in range(3)] == ["cold", "day, sun", "concept 2"]
    assert [signed.title(k, -1) for k in range(3)] == ["opposite of cold", "night", "opposite of concept 2"]


def test_one_setting_serves_two_banks(llava, states):
    setting = SemiNMF(2)
    first = ConceptBank.learn(llava, states, setting)
    concepts = first.concepts.copy()
    ConceptBank.learn(llava, replace(states, vectors={2: states.Z.flip(1)}), setting)
    assert np.array_equal(first.concepts, concepts)
    assert not hasattr(setting, "components_")


def test_what_cannot_be_learned_from_is_refused(llava, states, other):
    with pytest.raises(ValueError, match=f"n_concepts=99 .* {len(states)} samples"):
        ConceptBank.learn(llava, states, SemiNMF(99))
    broken = states.Z.clone()
    broken[2, 5] = torch.nan
    with pytest.raises(ValueError, match="Sample 2 has a NaN"):
        ConceptBank.learn(llava, replace(states, vectors={2: broken}), SemiNMF(2))
    with pytest.raises(ValueError, match="choose one with states.at"):
        ConceptBank.learn(llava, replace(states, vectors={1: states.Z, 2: states.Z}), SemiNMF(2))
    with pytest.raises(ValueError, match=names_both(llava, other)):
        ConceptBank.learn(other, states, SemiNMF(2))


@pytest.mark.parametrize("given", [{"n_kept": 0}, {"n_decoded": 0}, {"n_pictures": 0}, {"n_kept": 2.5}])
def test_counts_are_whole_numbers(llava, states, given):
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=f"{name} must be (at least 1|a whole number), not {value}"):
        ConceptBank.learn(llava, states, SemiNMF(2), **given)


def test_few_samples_for_each_concept_are_warned_of(llava, states):
    few = len(states) // 3
    with pytest.warns(
        UserWarning, match=f"{few + 1} concepts of {len(states)} samples, fewer than 3 .* at most {few}, or"
    ) as caught:
        ConceptBank.learn(llava, states, SemiNMF(few + 1))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ConceptBank.learn(llava, states, SemiNMF(few))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return load_lmm(tiny_llava(tmp_path_factory.mktemp("other"), seed=1), device="cpu")


def names_both(*models) -> str:
    return ".*".join(f"'{lmm.name}' .*{lmm.fingerprint}" for lmm in models)


def test_another_model_is_refused(bank, llava, other):
    bank.check_model(llava)
    with pytest.raises(ValueError, match=names_both(llava, other)):
        bank.check_model(other)


# Saving


def test_a_loaded_bank_equals_the_saved_one(bank, saved, states):
    loaded = ConceptBank.from_pretrained(saved)
    for name in ("words", "ids", "captions", "provenance"):
        assert getattr(loaded, name) == getattr(bank, name)
    for name in ("concepts", "activations", "top"):
        ours, second = getattr(bank, name), getattr(loaded, name)
        assert np.array_equal(ours, second) and ours.dtype == second.dtype
    assert loaded.thumbnails.keys() == bank.thumbnails.keys()
    assert all(loaded.thumbnails[id].tobytes() == bank.thumbnails[id].tobytes() for id in bank.thumbnails)
    assert np.array_equal(loaded.project(states.Z), bank.activations)
    assert repr(loaded) == repr(bank) and isinstance(loaded.gallery(), Figure)


def test_a_bank_of_the_final_norm_survives_too(llava, pictures, token, tmp_path):
    states = extract(llava, in_memory(pictures, (token,)), token, "norm", max_new_tokens=6, cache=False)
    ConceptBank.learn(llava, states, SemiNMF(2, lam=0.5)).save_pretrained(tmp_path / "bank")
    loaded = ConceptBank.from_pretrained(tmp_path / "bank")
    assert loaded.layer == "norm" and loaded.dictionary.lam == 0.5
    assert loaded.where == "final norm, position that predicts it (the paper's)"


@pytest.mark.parametrize(
    "settings",
    [
        SemiNMF(2, lam=0.5, tol=1e-5),
        SemiNMF(2, relative_lam=0.1),
        SemiNMF(2, centre=True),
        Simple(2),
        PCA(2, random_state=3),
        KMeans(2, random_state=3),
        RandomDictionary(2, lam=0.25, random_state=3),
    ],
    ids=repr,
)
def test_a_loaded_dictionary_is_the_saved_one(llava, states, tmp_path, settings):
    bank = ConceptBank.learn(llava, states, settings)
    bank.save_pretrained(tmp_path / "bank")
    loaded = ConceptBank.from_pretrained(tmp_path / "bank")
    assert type(loaded.dictionary) is type(settings) and repr(loaded.dictionary) == repr(settings)
    assert loaded.dictionary.get_params() == settings.get_params()
    for name in settings.learned:
        ours, second = getattr(bank.dictionary, name), getattr(loaded.dictionary, name)
        assert type(ours) is type(second) and np.array_equal(ours, second)
    assert np.array_equal(loaded.project(states.Z), bank.activations)
    assert repr(loaded) == repr(bank)


def test_a_bank_is_saved_as_its_dictionarys_attributes(llava, states, saved, tmp_path):
    tensors = load_file(saved / "bank.safetensors")
    assert tensors.keys() == {"activations", "top", "components_", "lam_"}
    assert (tensors["lam_"].shape, tensors["lam_"].dtype, tensors["lam_"]) == ((), np.float64, 1.0)
    ConceptBank.learn(llava, states, PCA(2)).save_pretrained(tmp_path / "pca")
    assert load_file(tmp_path / "pca" / "bank.safetensors").keys() == {"activations", "top", "components_", "mean_"}


def test_both_sides_are_saved_and_a_signed_bank_without_them_still_loads(llava, states, saved, tmp_path):
    assert "negative_words" not in json.loads((saved / "bank.json").read_text())
    signed, folder = ConceptBank.learn(llava, states, PCA(2)), tmp_path / "pca"
    signed.save_pretrained(folder)
    loaded = ConceptBank.from_pretrained(folder)
    assert loaded.words == signed.words and loaded.negative_words == signed.negative_words
    # as banks were written before: pictures of largest magnitude, words of u_k only
    record, tensors = json.loads((folder / "bank.json").read_text()), load_file(folder / "bank.safetensors")
    del record["negative_words"], record["tensors"]
    (folder / "bank.json").write_text(json.dumps(record))
    save_file(tensors | {"top": np.ascontiguousarray(ground_pictures(signed.activations))}, folder / "bank.safetensors")
    with pytest.warns(UserWarning, match="no words of the sides below zero.*: learn it again"):
        old = ConceptBank.from_pretrained(folder)
    assert old.words == signed.words and old.words_of(0, -1) == Words((), ())
    assert old.title(0, -1) == "opposite of concept 0" and isinstance(old.gallery(), Figure)
    for k, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        assert all(sign * old.activations[row, k] > 0 for row in old.top_of(k, sign))


def test_a_bank_that_could_not_be_loaded_is_not_saved(llava, states, tmp_path):
    class Own(Simple):
        pass

    with pytest.raises(ValueError, match="a bank of Own cannot be saved: only SemiNMF, Simple, .* can be loaded again"):
        ConceptBank.learn(llava, states, Own(2)).save_pretrained(tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_saving_again_replaces(llava, states, saved):
    few = ConceptBank.learn(llava, states, SemiNMF(1), n_pictures=1)
    few.save_pretrained(saved)
    assert len(ConceptBank.from_pretrained(saved)) == 1
    assert len(list((saved / "pictures").iterdir())) == 1
    assert [path.name for path in saved.parent.iterdir()] == ["bank"]


@pytest.mark.parametrize(
    "stranger", ["paper.tex", "pictures/holiday.jpg", "pictures/00000.png/a", "figures/a.png", ".git/config"]
)
@pytest.mark.parametrize("of_bank", [True, False])
def test_a_folder_with_anything_else_in_it_is_left_alone(bank, tmp_path, stranger, of_bank):
    folder = tmp_path / "my work"
    if of_bank and "00000" not in stranger:
        bank.save_pretrained(folder)
    (folder / stranger).parent.mkdir(parents=True, exist_ok=True)
    (folder / stranger).write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(FileExistsError, match="no bank was saved to .*my work, which has .* give a new or an empty"):
        bank.save_pretrained(folder)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_file_is_not_replaced_by_a_bank_and_an_empty_folder_is(bank, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="no bank was saved to .*file"):
        bank.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    bank.save_pretrained(tmp_path / "empty")
    assert len(ConceptBank.from_pretrained(tmp_path / "empty")) == 3


def test_a_failed_saving_keeps_the_old_bank(bank, saved, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr("coxlmm_utils.concepts.bank_files.save", fail)
    with pytest.raises(OSError, match="no space left"):
        bank.save_pretrained(saved)
    assert len(ConceptBank.from_pretrained(saved)) == 3


def test_other_settings_of_the_same_model_are_told(llava, bank, monkeypatch, recwarn):
    bank.check_model(llava)
    older = {name: value for name, value in bank.provenance.items() if name != "processor"}
    with monkeypatch.context() as patch:
        patch.setattr(llava.model.generation_config, "repetition_penalty", 1.8)
        replace(bank, provenance=older).check_model(llava)
        assert not recwarn
        with pytest.warns(UserWarning, match="the model's generation settings are not those that the concepts were"):
            bank.check_model(llava)
    monkeypatch.setattr(llava.processor.image_processor, "image_mean", [0, 0, 0])
    with pytest.warns(UserWarning, match="the model's chat template or picture processor are not those"):
        bank.check_model(llava)


def test_no_pickle_is_written(saved):
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} == {".png", ".json", ".safetensors"}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(*keys):
    def change(path):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in record.items() if key not in keys}))

    return change


def swapped(old, new):
    def change(path):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def without_tensor(name):
    def change(path):
        save_file({key: tensor for key, tensor in load_file(path).items() if key != name}, path)

    return change


@pytest.mark.parametrize(
    "name, damage",
    [
        ("bank.safetensors", cut),
        ("bank.safetensors", lambda path: path.unlink()),
        ("bank.safetensors", lambda path: path.write_bytes(b"")),
        ("bank.json", cut),
        ("bank.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
        ("bank.json", lambda path: path.write_text("[]")),
        ("bank.json", without("words")),
        ("bank.json", without("provenance")),
        ("bank.json", swapped('"format": 2', '"format": 1')),
        ("bank.json", swapped('"method": "SemiNMF"', '"method": "Dictionary"')),
        ("bank.json", swapped('"method": "SemiNMF"', '"method": ["SemiNMF"]')),
        ("bank.json", swapped('"tol"', '"tolerance"')),
        ("bank.safetensors", without_tensor("components_")),
        ("bank.safetensors", without_tensor("lam_")),
        ("pictures/00000.png", cut),
        ("pictures/00000.png", lambda path: path.unlink()),
    ],
)
def test_a_damaged_bank_is_named(saved, name, damage):
    damage(saved / name)
    with pytest.raises(ValueError, match="the concept bank in .*bank is damaged .*save it again"):
        ConceptBank.from_pretrained(saved)


def _with_tensor(name, change):
    def damage(path):
        tensors = load_file(path)
        save_file({**tensors, name: np.ascontiguousarray(change(tensors[name]))}, path)

    return damage


def _with(key, change):
    def damage(path):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, key: change(record[key])}))

    return damage


def _first_named(name):
    return _with("pictures", lambda files: {id: name if file == "00000.png" else file for id, file in files.items()})


@pytest.mark.parametrize(
    "name, damage, says",
    [
        ("bank.json", _with("words", lambda words: words[1:]), "its words do not fit its activations"),
        ("bank.json", _with("ids", lambda ids: ids[1:]), "its ids do not fit its activations, which are of .* 3 conc"),
        ("bank.json", _with("ids", lambda ids: ids[:1] * len(ids)), "its ids do not fit"),
        ("bank.json", _with("captions", lambda captions: []), "its captions do not fit"),
        ("bank.json", _with("pictures", lambda files: {"other": "00000.png"}), "its pictures do not fit"),
        ("bank.safetensors", _with_tensor("top", lambda top: top + 99), "its top samples do not fit"),
        ("bank.safetensors", _with_tensor("top", lambda top: top[1:]), "its top samples do not fit"),
        ("bank.safetensors", _with_tensor("components_", lambda U: U[1:]), "its concepts do not fit"),
        ("bank.safetensors", _with_tensor("components_", lambda U: U * np.nan), "Concept 0 has a NaN"),
        ("bank.safetensors", _with_tensor("activations", lambda V: V * np.inf), "its activations have a NaN"),
        ("bank.safetensors", _with_tensor("lam_", lambda lam: lam * np.nan), "its lam_ is not finite"),
        ("bank.safetensors", _with_tensor("components_", lambda U: U[::-1]), "not the one that bank.json was written"),
        ("bank.json", _with("captions", lambda captions: [None] * len(captions)), "its captions cannot be understood"),
        ("bank.json", _with("provenance", lambda known: {**known, "layer": -1}), "its layer -1 is none"),
        ("bank.json", _with("provenance", lambda known: {**known, "token": "dog"}), "its token cannot be understood"),
        ("bank.json", _first_named("../../holiday.png"), "its picture '../../holiday.png' is a link or path out of"),
        ("bank.json", _first_named("/etc/holiday.png"), "is a link or path out of its folder, which is not followed"),
        ("bank.json", _first_named("../bank.json"), "is a link or path out of its folder"),
    ],
)
def test_what_does_not_fit_or_leads_out_of_the_folder_is_refused(saved, name, damage, says):
    noise(0).save(saved.parent / "holiday.png")
    damage(saved / name)
    with pytest.raises(ValueError, match=f"the concept bank in .*bank is damaged .*{says}.*save it again"):
        ConceptBank.from_pretrained(saved)


def test_a_picture_that_is_a_link_out_of_the_folder_is_not_opened(saved):
    noise(0).save(saved.parent / "holiday.png")
    (saved / "pictures" / "00000.png").unlink()
    (saved / "pictures" / "00000.png").symlink_to(saved.parent / "holiday.png")
    with pytest.raises(ValueError, match="its picture '00000.png' is a link or path out of its folder"):
        ConceptBank.from_pretrained(saved)


def test_an_unknown_method_is_named(saved):
    swapped('"SemiNMF"', '"os.system"')(saved / "bank.json")
    with pytest.raises(ValueError, match=f"damaged .its method 'os.system' is none of {', '.join(METHODS)}"):
        ConceptBank.from_pretrained(saved)


def test_a_missing_bank_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="holds no concept bank"):
            ConceptBank.from_pretrained(folder)
