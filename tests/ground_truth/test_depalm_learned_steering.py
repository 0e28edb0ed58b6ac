"""P2S on wrong nouns: what is wanted of a caption, and what is reported, with the LLaVA in the DePALM's place."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from coxlmm_utils.models import load_lmm

module = import_module("coxlmm_utils.ground_truth.depalm_learned_steering")


def test_the_right_noun_takes_the_place_of_every_other():
    assert module.with_right_noun("a pony with a coat next to another horse", "dog") == (
        "a dog with a coat next to another dog"
    )
    assert module.with_right_noun("two cats on the lawn", "bus") == "two buses on the lawn"


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def scores(lmm):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LAYERS": (3,), "ALPHAS": (1.0, 2.0), "N_PAGES": {"validation": 2, "test": 3}}.items():
            patch.setattr(module, name, value)
        real = module.captioned_pages

        def all_wrong(*given):  # the LLaVA is right: its captions are taken for those of other kinds
            inputs = real(*given)
            answers = tuple(module.with_right_noun(text, "boat") for text in inputs.answers)
            return replace(inputs, answers=answers, wrong=np.ones(len(inputs), dtype=bool))

        patch.setattr(module, "captioned_pages", all_wrong)
        return module.depalm_p2s_scores(lmm)


def test_each_source_is_reported_of_test_captions(scores):
    assert set(scores) == {"last", "mean", "random"}
    for row in scores.values():
        assert row["layer"] == 3 and row["alpha"] in (1.0, 2.0) and row["n"] == 9
        assert all(0 <= end <= 1 for end in row["mended"] + row["same"]) and row["same"][0] <= row["mended"][0]
    assert "mended" in module.depalm_p2s_table(scores)


def test_random_vectors_are_as_long_as_those_of_the_last_token(lmm):
    inputs, rows = module.wrong_captions(lmm, "test", 2)
    images, own = inputs.images[:3], list(inputs.answers[:3])
    wanted = [module.with_right_noun(text, "boat") for text in own]
    last, random = (module.vectors_from(lmm, images, wanted, own, source, 3).vectors for source in ("last", "random"))
    np.testing.assert_allclose(last.norm(dim=1), random.norm(dim=1), rtol=1e-5)
    assert not np.allclose(last, random)
