"""What a run will take."""

import pytest

from coxlmm_utils.extraction.estimate import Estimate, estimate
from coxlmm_utils.extraction.extraction_plan import Settings, make_plan
from coxlmm_utils.extraction.loop import make_blocks
from tests.conftest import MAX_NEW_TOKENS, in_memory


@pytest.fixture
def plan(llava, pictures, token):
    settings = Settings([1, 2, "norm"], max_new_tokens=MAX_NEW_TOKENS)
    return make_plan(llava, in_memory(pictures, (token,)), [token], settings)


def test_is_of_all_pictures_at_the_speed_of_the_first_batch(llava, plan, tmp_path):
    estimated = estimate(llava, plan, plan.folder(tmp_path), batch_size=6)
    assert estimated.n_pictures == 24 and 0 < estimated.seconds < 60 and estimated.memory > 10**7
    assert estimated.disk == 24 * 3 * 2 * llava.width * 4  # samples, layers, positions, width, bytes


def test_several_processes_share_the_time(llava, plan, tmp_path, monkeypatch):
    monkeypatch.setattr("coxlmm_utils.extraction.estimate._seconds_of", lambda *_: 3.0)
    assert estimate(llava, plan, plan.folder(tmp_path), 6).seconds == 12
    assert estimate(llava, plan, plan.folder(tmp_path), 6, n_shards=4).seconds == 3


def test_nothing_missing_is_no_estimate(llava, plan, tmp_path):
    make_blocks(llava, plan, plan.folder(tmp_path), 24)
    assert estimate(llava, plan, plan.folder(tmp_path), 24) is None


def test_is_said_in_words():
    text = str(Estimate(113_287, 3 * 3600 + 300, 15 * 2**30, 60 * 2**20))
    assert text == (
        "113,287 pictures to read at 10.2 a second: about 3 h 5 min; memory 15.0 GB; at most 60 MB of states on disk"
    )
    assert "about 2.0 min" in str(Estimate(1000, 120, 0, 0))
