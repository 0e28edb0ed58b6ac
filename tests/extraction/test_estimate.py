"""What a run will take."""

import pytest

from coxlmm_utils.extraction.estimate import Estimate, estimate
from coxlmm_utils.extraction.loop import make_blocks
from coxlmm_utils.extraction.plan import make_plan
from tests.conftest import MAX_NEW_TOKENS, in_memory


@pytest.fixture
def reading(llava, pictures, token):
    settings = ("predicts", "own"), "word", None, MAX_NEW_TOKENS, None, False
    return make_plan(llava, in_memory(pictures, (token,)), [token], [1, 2, "norm"], *settings)


def test_is_of_all_pictures_at_the_speed_of_the_first_batch(llava, reading, tmp_path):
    found = estimate(llava, reading, reading.folder(tmp_path), batch_size=6)
    assert found.n_pictures == 24 and 0 < found.seconds < 60 and found.memory > 10**7
    assert found.disk == 24 * 3 * 2 * llava.width * 4  # samples, layers, positions, width, bytes


def test_several_processes_share_the_time(llava, reading, tmp_path, monkeypatch):
    monkeypatch.setattr("coxlmm_utils.extraction.estimate._seconds_of", lambda *_: 3.0)
    assert estimate(llava, reading, reading.folder(tmp_path), 6).seconds == 12
    assert estimate(llava, reading, reading.folder(tmp_path), 6, n_shards=4).seconds == 3


def test_nothing_missing_is_no_estimate(llava, reading, tmp_path):
    make_blocks(llava, reading, reading.folder(tmp_path), 24)
    assert estimate(llava, reading, reading.folder(tmp_path), 24) is None


def test_is_said_in_words():
    said = str(Estimate(113_287, 3 * 3600 + 300, 15 * 2**30, 60 * 2**20))
    assert said == (
        "113,287 pictures to read at 10.2 a second: about 3 h 5 min; memory 15,360 MB; at most 60 MB of states on disk"
    )
    assert "about 2.0 min" in str(Estimate(1000, 120, 0, 0))
