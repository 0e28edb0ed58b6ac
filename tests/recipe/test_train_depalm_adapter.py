"""The fine-tuning of the picture book's DePALM: only the adapter learns, stopped and resumed, what is saved."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from coxlmm_utils.files import bundled_folder
from coxlmm_utils.models import generate_captions, load_lmm
from coxlmm_utils.models.depalm.picturebook import join
from coxlmm_utils.picturebook import factors_of, facts_in, page
from data.picturebook.recipe import train_depalm_adapter as recipes
from data.picturebook.recipe import training_loop
from data.picturebook.recipe.train_adapters import CONFIG, WEIGHTS
from data.picturebook.recipe.train_depalm_adapter import BASE, RANK, PlaceLearner, train
from data.picturebook.recipe.training_loop import StageRecipe
from tests.recipe.interrupted import stop_after
from tests.tiny_lmms.parts import make_tokenizer, save, text_sizes

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft itself
SMALL = StageRecipe("adapter", steps=4, batch=2, rate=1e-2, seed=7)
N_PAGES = 16
MAX_BYTES = 400_000  # of the bundled folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The bundled tower and connector, joined with a tiny language model."""
    folder, tokenizer = tmp_path_factory.mktemp("base"), make_tokenizer()
    torch.manual_seed(0)
    sizes = text_sizes(tokenizer, "llama") | {"hidden_size": 576}  # as wide as the connector was trained for
    save(folder / "language_model", LlamaForCausalLM(LlamaConfig(**sizes)), tokenizer)
    join(bundled_folder("depalm"), folder / "language_model", folder / BASE)
    return folder / BASE


@pytest.fixture(scope="module", autouse=True)
def small(base, tmp_path_factory):
    """This model in the bundled one's place, and a checkpoint every other step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COXLMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(training_loop, "SAVE_EVERY", 2)
        patch.setattr(recipes, "load_lmm", lambda name: load_lmm({BASE: base}[name], device="cpu"))
        yield


@pytest.fixture
def learner(base) -> PlaceLearner:
    lmm = load_lmm(base, device="cpu")
    torch.manual_seed(0)
    return PlaceLearner(lmm.model, lmm.tokenizer)


def trained(folder: Path) -> Path:
    train(folder / "out", folder / "checkpoints", SMALL, N_PAGES)
    return folder / "out"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("place"))


# What learns


def test_only_the_adapter_of_the_language_model_learns(learner):
    model = learner.frozen[0]
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning and all("language_model" in name and "lora_" in name for name in learning)
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in learning} == {"q_proj", "v_proj"}
    assert {weight.shape[0] for name, weight in learning.items() if "lora_A" in name} == {RANK}
    own = [id(weight) for weight in learner.parameters() if weight.requires_grad]
    assert sorted(own) == sorted(map(id, learning.values())), "all of it is in the checkpoints, and nothing else learns"


def test_all_else_stays_as_it_is(learner):
    model = learner.frozen[0]

    def of(adapter: bool) -> dict[str, torch.Tensor]:
        return {name: w.clone() for name, w in model.state_dict().items() if ("lora_" in name) == adapter}

    begun, adapter = of(adapter=False), of(adapter=True)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=0.0, weight_decay=0.05)
    for _ in range(2):  # in the first one only B learns, since it is zero
        loss = learner.loss(torch.randn(2, 65, 128), [[5, 6, 7, 2], [8, 2]])
        training_loop.optimiser_step(learner, optimiser, loss, 1e-2)
    assert all(torch.equal(weight, begun[name]) for name, weight in of(adapter=False).items())
    assert not any(torch.equal(weight, adapter[name]) for name, weight in of(adapter=True).items())


def test_captions_are_about_places_alone(learner):
    for number in range(20):
        of = factors_of(number)
        assert set(facts_in(learner.caption(of, random.Random(3)))) == {("kind", of.kind), ("place", of.place)}


# Stopped and resumed, and what is saved


@pytest.mark.parametrize("n_steps", [1, 3])
def test_a_stopped_training_goes_on_exactly(place, tmp_path, n_steps):
    stop_after(n_steps, lambda: trained(tmp_path))
    assert not (tmp_path / "out").exists()
    torch.rand(3)  # whatever else was drawn in between
    resumed, whole = (load_file(folder / WEIGHTS) for folder in (trained(tmp_path), place))
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_half_precision_the_base_by_name_and_readable_files(place):
    assert {path.name for path in place.iterdir()} == {CONFIG, WEIGHTS}
    assert {weight.dtype for weight in load_file(place / WEIGHTS).values()} == {torch.float16}
    assert json.loads((place / CONFIG).read_text())["base_model_name_or_path"] == BASE
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in place.iterdir())


def test_what_is_saved_loads_on_its_model_alone(place, base):
    lmm = load_lmm(base, device="cpu", adapter=place)
    assert lmm.fingerprint != load_lmm(base, device="cpu").fingerprint
    assert generate_captions(lmm, [page(2_000_000).picture], max_new_tokens=3)[0].caption
    with pytest.raises(ValueError, match=f"is of the model '{BASE}', and this is 'picturebook'"):
        load_lmm("picturebook", device="cpu", adapter=place)


# The bundled one


def test_the_bundled_adapter_is_small_and_names_its_base():
    folder = bundled_folder("adapters") / "depalm-place"
    assert sum(path.stat().st_size for path in folder.iterdir()) < MAX_BYTES
    config, weights = json.loads((folder / CONFIG).read_text()), load_file(folder / WEIGHTS)
    assert config["base_model_name_or_path"] == BASE and config["r"] == RANK and config["peft_type"] == "LORA"
    assert config["target_modules"] == recipes.TARGETS
    assert all(weight.dtype == torch.float16 and weight.isfinite().all() for weight in weights.values())
    assert len({name.split(".layers.")[1].split(".")[0] for name in weights}) == 30  # of SmolLM2-135M
