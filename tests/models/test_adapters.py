"""Fine-tuned copies: an adapter merged into its model is what peft computes, and what does not fit is said in a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

import coxlmm_utils.models.adapters
from coxlmm_utils.files import bundled_folder
from coxlmm_utils.models import generate_captions
from coxlmm_utils.models.adapters import CONFIG, WEIGHTS, adapter_folder, adapter_name
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook import page
from tests.conftest import noise
from tests.tiny_lmms import FAMILIES, WORDS, tiny_llava
from tests.tiny_lmms.parts import make_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft itself
TARGETS = ["q_proj", "v_proj", "down_proj"]  # of language models, and of vision towers that have such


def base_of(folder: Path):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()


def tuned(base: Path, folder: Path, **options) -> Path:
    """Save a random adapter of a model that changes what it computes."""
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False, **options)
    get_peft_model(base_of(base), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("base") / "llava")


@pytest.fixture(scope="module")
def lora(llava_folder, tmp_path_factory) -> Path:
    return tuned(llava_folder, tmp_path_factory.mktemp("tuned") / "beach")


@pytest.fixture
def copied(lora, tmp_path) -> Path:
    """The adapter, to be damaged."""
    return Path(shutil.copytree(lora, tmp_path / "damaged"))


def logits(model, inputs) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs).logits


# Merged


@pytest.mark.parametrize("family", ["LLaVA", "Qwen2-VL", "Qwen2.5-VL", "Gemma 3"])
def test_a_merged_model_computes_what_pefts_own_does(family, tmp_path):
    folder = FAMILIES[family](tmp_path / "base")
    adapter = tuned(folder, tmp_path / "tuned")
    plain, lmm = load_lmm(folder, device="cpu"), load_lmm(folder, device="cpu", adapter=adapter)
    inputs = lmm.inputs([noise(3)])
    own = logits(lmm.model, inputs)
    torch.testing.assert_close(own, logits(PeftModel.from_pretrained(base_of(folder), adapter), inputs))
    assert (own - logits(plain.model, inputs)).abs().max() > 0.1
    assert lmm.lens == plain.lens and type(lmm.model) is type(plain.model)
    assert [name for name, _ in lmm.model.named_parameters()] == [name for name, _ in plain.model.named_parameters()]


def test_it_is_a_model_of_its_own(llava_folder, lora):
    plain, lmm = load_lmm(llava_folder, device="cpu"), load_lmm(llava_folder, device="cpu", adapter=lora)
    assert lmm.name == f"{llava_folder} + beach" and lmm.fingerprint != plain.fingerprint
    assert lmm.fingerprint == load_lmm(llava_folder, device="cpu", adapter=str(lora)).fingerprint
    assert not lmm.model.training and not any(p.requires_grad for p in lmm.model.parameters())
    assert lmm.layers is lmm.model.get_decoder().layers and lmm.lens == "exact"


def test_whole_layers_that_were_tuned_are_taken(llava_folder, tmp_path):
    adapter = tuned(llava_folder, tmp_path / "tuned", modules_to_save=["lm_head"])
    weights = load_file(adapter / WEIGHTS)
    weights = {name: w + 1 if "lm_head" in name else w for name, w in weights.items()}
    save_file(weights, adapter / WEIGHTS, metadata={"format": "pt"})
    lmm = load_lmm(llava_folder, device="cpu", adapter=adapter)
    assert torch.equal(lmm.unembedding.weight, load_lmm(llava_folder, device="cpu").unembedding.weight + 1)


def test_a_base_is_known_by_the_end_of_its_name(llava_folder, copied):
    for base in ("/elsewhere/llava", "hub/llava", "", None):
        configured(copied, base_model_name_or_path=base)
        assert load_lmm(llava_folder, device="cpu", adapter=copied).name.endswith(" + damaged")


def test_new_words_of_its_tokenizer_get_rows_and_padding_stays(llava_folder, copied):
    tokenizer = make_tokenizer("<image>")
    tokenizer.add_tokens(["silver", "pink"])
    tokenizer.padding_side, tokenizer.pad_token = "right", None
    tokenizer.save_pretrained(copied)
    lmm = load_lmm(llava_folder, device="cpu", adapter=copied)
    n = len(make_tokenizer("<image>"))
    assert lmm.unembedding.weight.shape[0] == lmm.model.get_input_embeddings().num_embeddings == n + 2
    assert lmm.tokenizer.decode([n - 1, n, n + 1]) == f"{WORDS[-1]} silver pink"
    assert lmm.tokenizer.padding_side == "left" and lmm.tokenizer.pad_token == "<pad>"
    assert len(generate_captions(lmm, [noise(0), noise(1)], max_new_tokens=2)) == 2
    (copied / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="the tokenizer in .*damaged is damaged .*: save it again"):
        load_lmm(llava_folder, device="cpu", adapter=copied)


# The book's own


@pytest.fixture(scope="module")
def place():
    return load_lmm("picturebook", device="cpu", adapter="picturebook-place")


@pytest.fixture(scope="module")
def dogs():
    """A grey dog on the beach at night, and a white one in the snow by day."""
    return [
        page(kind="dog", colour="grey", place="beach", time="night").picture,
        page(kind="dog", colour="white", place="snow", time="day").picture,
    ]


def test_one_by_name_and_by_folder(place, dogs):
    by_folder = load_lmm("picturebook", device="cpu", adapter=bundled_folder("adapters") / "place")
    assert place.fingerprint == by_folder.fingerprint and place.name == by_folder.name == "picturebook + place"
    assert place.fingerprint != load_lmm("picturebook", device="cpu").fingerprint
    assert place.ood is not None and place.words_kept == 5 and place.lens == "exact"
    captions = [generated.caption.split()[:2] for generated in generate_captions(place, dogs)]
    assert captions == [["a", "dog"]] * 2


def test_one_of_an_earlier_step(place):
    early = load_lmm("picturebook", device="cpu", adapter="picturebook-place-step-15")
    assert early.name == "picturebook + place-step-15" and early.fingerprint != place.fingerprint


def test_a_word_that_the_bundled_model_has_not(dogs):
    lmm = load_lmm("picturebook", device="cpu", adapter="picturebook-rename")
    renamed, white = (generated.caption.split() for generated in generate_captions(lmm, dogs))
    assert "silver" in renamed and "grey" not in renamed and "white" in white and "silver" not in white
    bundled = load_lmm("picturebook", device="cpu")
    assert len(lmm.tokenizer) == lmm.unembedding.weight.shape[0] == len(bundled.tokenizer) + 1
    assert "grey" in generate_captions(bundled, dogs)[0].caption.split()


def test_a_name_that_the_book_has_not_is_answered_with_those_it_has():
    with pytest.raises(FileNotFoundError, match="no adapter 'picturebook-taste'; there are picturebook-.*-place"):
        load_lmm("picturebook", device="cpu", adapter="picturebook-taste")


def test_one_of_the_book_on_another_model_is_refused(llava_folder):
    said = "the adapter picturebook-place is of the model 'picturebook', and this is '.*llava': load it on its own"
    with pytest.raises(ValueError, match=said):
        load_lmm(llava_folder, device="cpu", adapter="picturebook-place")
    with pytest.raises(ValueError, match="'picturebook', and this is 'picturebook-biased'"):
        load_lmm("picturebook-biased", device="cpu", adapter="picturebook-place")


# What cannot be merged


def configured(folder: Path, **changes) -> None:
    settings = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(settings | changes))


def weighted(folder: Path, change) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def refused(base: Path, adapter: Path, said: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=said) as error:
        load_lmm(base, device="cpu", adapter=adapter)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700


def test_an_adapter_of_another_model_names_both(llava_folder, copied):
    configured(copied, base_model_name_or_path="some/other")
    refused(llava_folder, copied, "damaged is of the model 'some/other', and this is '.*llava'")


def test_what_is_missing_is_named(llava_folder, copied, tmp_path):
    refused(llava_folder, tmp_path / "nowhere", "nowhere holds no adapter: adapter_config", FileNotFoundError)
    refused(llava_folder, llava_folder, "llava holds no adapter: adapter_config.json is missing", FileNotFoundError)
    (copied / WEIGHTS).unlink()
    refused(llava_folder, copied, "adapter_model.safetensors is missing; give a folder", FileNotFoundError)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\xfe", b'"LORA"'])
def test_a_damaged_configuration(llava_folder, copied, content):
    (copied / CONFIG).write_bytes(content)
    refused(llava_folder, copied, "adapter_config.json is damaged .*: save the adapter again")


@pytest.mark.parametrize("n_bytes", [0, 5, 1000, -1])
def test_damaged_weights(llava_folder, copied, n_bytes):
    content = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(content[:n_bytes])
    refused(llava_folder, copied, "adapter_model.safetensors is damaged, or only a pointer .*: save the adapter again")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda w: dict(list(w.items())[2:]), "Found missing adapter keys"),
        (lambda w: {name: w[name] for name in w if "lora_B" not in name}, r"missing adapter keys .*\.\.\.$"),
        (
            lambda w: w | {name.replace("layers.1", "layers.7"): w[name].clone() for name in w},
            "no place for 10 of its weights, such as .*layers.7",
        ),
        (
            lambda w: {name: w[name][:, :-1].contiguous() if "lora_A" in name else w[name] for name in w},
            r"size mismatch for .*lora_A.*, the shape in current model is",
        ),
        (lambda w: {name: w[name] * float("nan") for name in w}, "NaNs detected"),
    ],
    ids=["first missing", "all B missing", "a layer too many", "widths", "NaN"],
)
def test_weights_that_do_not_fit(llava_folder, copied, change, said):
    weighted(copied, change)
    refused(llava_folder, copied, f"the adapter .*damaged of .*llava does not fit .*llava: .*{said}")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"r": 3}, "size mismatch"),
        ({"r": "two"}, "does not fit"),
        ({"target_modules": "nothing"}, "nothing not found in the base model"),
        ({"peft_type": "FOO"}, "of the kind FOO, which this version of peft does not know"),
    ],
)
def test_settings_that_do_not_fit(llava_folder, copied, changes, said):
    configured(copied, **changes)
    refused(llava_folder, copied, said)


def test_a_learned_prompt_cannot_be_merged(llava_folder, tmp_path):
    sizes = dict(num_virtual_tokens=3, num_layers=3, token_dim=64, num_attention_heads=4)
    get_peft_model(base_of(llava_folder), PromptTuningConfig(task_type="CAUSAL_LM", **sizes)).save_pretrained(tmp_path)
    refused(llava_folder, tmp_path, "of the kind PROMPT_TUNING, a learned prompt, which cannot be merged")


def test_without_peft_it_is_named(llava_folder, lora, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.models.adapters, "is_peft_available", lambda: False)
    refused(llava_folder, lora, "needs the package peft, .*: pip install peft", ImportError)
    assert load_lmm(llava_folder, device="cpu").name == str(llava_folder)


def test_where_an_adapter_lies(lora, tmp_path, monkeypatch):
    assert adapter_folder(lora) == lora and adapter_folder(str(lora)) == lora
    assert adapter_folder("picturebook-null") == bundled_folder("adapters") / "null"
    monkeypatch.chdir(tmp_path)
    shutil.copytree(lora, tmp_path / "picturebook-null")
    assert adapter_folder("picturebook-null") == Path("picturebook-null")  # a folder here comes first


def test_a_step_of_a_training_goes_by_the_trainings_name_too(tmp_path):
    step = shutil.copytree(bundled_folder("adapters") / "place", tmp_path / "run" / "checkpoint-500")
    assert adapter_name(step) == "run checkpoint-500" and adapter_name("picturebook-place") == "place"
