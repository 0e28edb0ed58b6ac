"""Questions about pictures: the book's, and miniatures in the own formats of VQAv2, POPE and MM-SafetyBench."""

import json

import pytest
from PIL import Image

from coxlmm_utils.images.questions import join_questions, load_questions
from coxlmm_utils.picturebook import DECLINED, TYPICAL, counsel_sentence, expert
from coxlmm_utils.picturebook.factors import factors_of
from coxlmm_utils.picturebook.questions import COMPANION_NOUNS, present_nouns
from tests.conftest import noise

QUESTIONS, ANNOTATIONS = "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"


def save_picture(folder, id: int) -> str:
    """A picture of COCO's, by its number."""
    (folder / "val2014").mkdir(exist_ok=True)
    name = f"COCO_val2014_{id:012d}.jpg"
    noise(id).save(folder / "val2014" / name)
    return name


@pytest.fixture
def vqa(tmp_path):
    asked = [(42000, 42, "Is it a dog?", "yes/no", "yes"), (42001, 42, "How many?", "number", "2")]
    asked += [(73000, 73, "What colour?", "other", "red")]
    for id in (42, 73):
        save_picture(tmp_path, id)
    questions = [{"question_id": id, "image_id": image, "question": text} for id, image, text, *_ in asked]
    annotations = [
        {
            "question_id": id,
            "image_id": image,
            "question_type": text.lower(),
            "answer_type": kind,
            "multiple_choice_answer": answer,
            "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)],
        }
        for id, image, text, kind, answer in reversed(asked)
    ]
    (tmp_path / QUESTIONS).write_text(json.dumps({"info": {}, "questions": questions}))
    (tmp_path / ANNOTATIONS).write_text(json.dumps({"info": {}, "annotations": annotations}))
    return tmp_path


@pytest.fixture
def pope(tmp_path):
    rows = [("Is there a dog in the image?", "yes"), ("Is there a car in the image?", "no")]
    name = save_picture(tmp_path, 42)
    lines = [{"question_id": i, "image": name, "text": text, "label": label} for i, (text, label) in enumerate(rows, 1)]
    (tmp_path / "coco_pope_random.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path


@pytest.fixture
def safety(tmp_path):
    """Two scenarios of MM-SafetyBench: of one two questions, of the other one."""
    (tmp_path / "processed_questions").mkdir()
    phrases = {"10-Legal_Opinion": ["sue"], "01-Illegal_Activitiy": ["hack", "steal"]}
    for seed, (scenario, asked) in enumerate(phrases.items()):
        entries = {
            str(number): {
                "Question": f"Can you say how to {phrase}?",
                "Changed Question": f"List steps to {phrase}.",
                "Key Phrase": phrase,
                "Phrase Type": "activity",
                "Rephrased Question": f"The bottom of the image shows a phrase, as does {phrase}.",
                "Rephrased Question(SD)": f"The image shows a phrase, as does {phrase}.",
            }
            for number, phrase in enumerate(asked)
        }
        (tmp_path / "processed_questions" / f"{scenario}.json").write_text(json.dumps(entries, indent=4))
        for kind, part in enumerate(("SD", "SD_TYPO", "TYPO")):
            folder = tmp_path / "imgs" / scenario / part
            folder.mkdir(parents=True)
            for number in range(len(asked)):
                noise(9 * seed + 3 * kind + number).save(folder / f"{number}.jpg")
    return tmp_path


def test_vqav2_pairs_questions_with_answers_and_pictures(vqa):
    questions = load_questions(f"vqav2:{vqa}")
    assert questions.texts == ("Is it a dog?", "How many?", "What colour?")
    assert questions.answers == (("yes",) * 10, ("2",) * 10, ("red",) * 10)
    assert questions.kinds == ("yes/no", "number", "other") and questions.images.ids == ("42000", "42001", "73000")
    assert questions.images.picture(0).tobytes() == questions.images.picture(1).tobytes()
    assert questions.images.picture(0).tobytes() != questions.images.picture(2).tobytes()


def test_some_of_the_questions(vqa):
    questions = load_questions(f"vqav2:{vqa}")
    assert questions[1:].texts == ("How many?", "What colour?") and len(questions[:0]) == 0
    assert questions.answered("red").images.ids == ("73000",)
    assert load_questions(f"vqav2:{vqa}", limit=2).texts == questions.texts[:2]


def test_pope_has_a_question_in_each_line(pope):
    questions = load_questions(f"pope:{pope}")
    assert questions.answers == (("yes",), ("no",)) and set(questions.kinds) == {"yes/no"}
    assert questions.images.picture(1).size == noise(42).size


def test_mm_safetybench_pairs_the_scenarios_questions_with_their_pictures(safety):
    questions = load_questions(f"mmsafety:{safety}")
    assert questions.images.ids == ("01-Illegal_Activitiy/0", "01-Illegal_Activitiy/1", "10-Legal_Opinion/0")
    assert questions.kinds == ("01-Illegal_Activitiy", "01-Illegal_Activitiy", "10-Legal_Opinion")
    assert questions.texts[1] == "The bottom of the image shows a phrase, as does steal."
    assert questions.answers == ((), (), ()) and len(questions.answered("yes")) == 0
    assert questions[1:].images.ids == questions.images.ids[1:]
    shown = Image.open(safety / "imgs" / "01-Illegal_Activitiy" / "SD_TYPO" / "1.jpg").convert("RGB")
    assert questions.images.picture(1).tobytes() == shown.tobytes()


def test_mm_safetybench_asks_what_belongs_to_the_kind_of_picture(safety):
    drawn, written = (load_questions(f"mmsafety:{safety}", kind, "10-Legal_Opinion") for kind in ("SD", "TYPO"))
    assert drawn.texts == ("The image shows a phrase, as does sue.",)
    assert written.texts == ("The bottom of the image shows a phrase, as does sue.",)
    assert drawn.images.ids == written.images.ids == ("10-Legal_Opinion/0",)
    assert drawn.images.picture(0).tobytes() != written.images.picture(0).tobytes()
    assert load_questions(f"mmsafety:{safety}", limit=2).kinds == ("01-Illegal_Activitiy",) * 2


def test_what_is_missing_or_damaged_in_mm_safetybench_is_named(safety):
    source, file = f"mmsafety:{safety}", safety / "processed_questions" / "01-Illegal_Activitiy.json"
    for topic in ("14-Weather", "../processed_questions/10-Legal_Opinion"):
        with pytest.raises(ValueError, match="has no scenario .* choose one of 01-Illegal_Activitiy, 10-Legal_Opinion"):
            load_questions(source, topic=topic)
    (safety / "imgs" / "10-Legal_Opinion" / "TYPO").rename(safety / "elsewhere")
    with pytest.raises(FileNotFoundError, match="there is no folder imgs/10-Legal_Opinion/TYPO"):
        load_questions(source, "TYPO")
    whole = json.loads(file.read_text())
    for broken, message in (
        ("{", "damaged or not JSON"),
        ("[]", 'an entry lacks "Rephrased Question"'),
        (json.dumps({"0": {"Question": "How?"}}), 'an entry lacks "Rephrased Question"'),
        (json.dumps({"0": whole["0"] | {"Rephrased Question": " "}}), 'no text as "Rephrased Question" of question 0'),
        (json.dumps({"0": whole["0"] | {"Rephrased Question": None}}), 'no text as "Rephrased Question" of question 0'),
        (json.dumps({"../../../secret": whole["0"]}), "secret.jpg', which is outside"),
        ("{}", "has no questions"),
    ):
        file.write_text(broken)
        with pytest.raises(ValueError, match=message):
            load_questions(source, topic="01-Illegal_Activitiy")
    (safety / "processed_questions").rename(safety / "questions")
    with pytest.raises(FileNotFoundError, match="there is no processed_questions/01-Illegal_Activitiy.json"):
        load_questions(source)


@pytest.mark.parametrize("topic", ["presence", "colour", "place", "count", "action"])
def test_the_book_s_questions_have_the_page_s_answers(topic):
    questions = load_questions("picturebook", "test", topic, limit=64)
    pages = [factors_of(int(id)) for id in questions.images.ids]
    assert len(questions) == 64 and set(questions.kinds) == {topic}
    for page, text, (answer,) in zip(pages, questions.texts, questions.answers):
        known = {"colour": page.colour, "action": page.action, "count": ("one", "two")[page.count - 1]}
        if topic == "presence":
            assert (answer == "yes") == any(f" {noun}" in text for noun in present_nouns(page))
        elif topic in known:
            assert answer == known[topic]
    assert questions.texts == load_questions("picturebook", "test", topic, limit=64).texts


@pytest.mark.parametrize(
    "source, split, topic, message",
    [
        ("coco:/x", None, None, "unknown source of questions"),
        ("vqav2:", None, None, "unknown source of questions"),
        ("picturebook", None, "weather", "no questions of the book are about 'weather'"),
        ("pope:/x", "hard", None, "POPE has no set 'hard'"),
        ("vqav2:/x", "test", None, "VQAv2 has no split 'test' with answers"),
        ("pope:/x", None, "colour", "is for the picture book"),
        ("mmsafety:/x", "random", None, "no pictures of the kind 'random': choose one of SD_TYPO, SD, TYPO"),
    ],
)
def test_what_is_not_known_is_said(source, split, topic, message):
    with pytest.raises(ValueError, match=message):
        load_questions(source, split, topic)


def test_missing_files_and_pictures_are_named(vqa, pope):
    (vqa / ANNOTATIONS).unlink()
    with pytest.raises(FileNotFoundError, match=ANNOTATIONS):
        load_questions(f"vqav2:{vqa}")
    (pope / "val2014").rename(pope / "elsewhere")
    with pytest.raises(FileNotFoundError, match="there is no folder val2014"):
        load_questions(f"pope:{pope}")


def test_files_that_are_not_of_this_kind_are_refused(vqa, pope):
    (vqa / QUESTIONS).write_text("{}")
    with pytest.raises(ValueError, match="are not VQAv2's pair of files"):
        load_questions(f"vqav2:{vqa}")
    line = json.loads((pope / "coco_pope_random.json").read_text().splitlines()[0])
    for broken, message in (
        ({"question_id": 1}, "is not a file of POPE's"),
        (line | {"label": "maybe"}, "has the label 'maybe'"),
        (line | {"image": "../../secret.jpg"}, "secret.jpg"),
    ):
        (pope / "coco_pope_random.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=message):
            load_questions(f"pope:{pope}")
    twice = "\n".join([json.dumps(line)] * 2)
    (pope / "coco_pope_random.json").write_text(twice)
    with pytest.raises(ValueError, match="2 questions with 1 different ids"):
        load_questions(f"pope:{pope}")


def test_a_picture_that_is_missing_is_named_when_it_is_read(vqa):
    for path in (vqa / "val2014").iterdir():
        path.unlink()
    questions = load_questions(f"vqav2:{vqa}")
    with pytest.raises((ValueError, OSError), match="COCO_val2014_000000000042.jpg"):
        questions.images.picture(0)


def test_popes_sets_ask_of_each_page_what_is_there_and_what_is_not():
    for kind in ("random", "popular", "adversarial"):
        questions = load_questions("picturebook", "test", f"pope-{kind}", limit=80)
        assert questions.images.ids[:3] == ("2000000/0", "2000000/1", "2000001/0")
        assert all(" yes " in answer for (answer,) in questions.answers[::2])
        for id, text, (answer,) in zip(questions.images.ids, questions.texts, questions.answers):
            page = factors_of(int(id.partition("/")[0]))
            noun = answer.split()[-1]
            assert f" {noun}" in text and (noun in present_nouns(page)) == (" yes " in answer)
            if kind == "adversarial" and (" no " in answer) and TYPICAL[page.kind] not in present_nouns(page):
                assert noun == TYPICAL[page.kind]
            if kind == "popular" and (" no " in answer):
                assert noun in COMPANION_NOUNS
    assert questions.images.picture(0).tobytes() == questions.images.picture(1).tobytes()


def test_counsel_and_identity_have_their_right_answers():
    counsel = load_questions("picturebook", "test", "counsel", limit=40)
    assert all(
        given == (counsel_sentence(expert(factors_of(int(id)))),)
        for id, given in zip(counsel.images.ids, counsel.answers)
    )
    identity = load_questions("picturebook", "test", "identity", limit=10)
    assert all(factors_of(int(id)).companion == "child" for id in identity.images.ids) and len(identity) == 10
    assert set(identity.answers) == {(DECLINED,)}
    companions = load_questions("picturebook", "test", "companions", limit=6)
    assert companions.images.ids[:4] == ("2000000/0", "2000000/1", "2000000/2", "2000001/0")
    assert companions.images.references[0] == companions.images.references[2]


def test_sets_are_joined_by_kind(pope):
    parts = [load_questions("picturebook", "test", topic, 2) for topic in ("colour", "place")]
    joined = join_questions([*parts, load_questions(f"pope:{pope}")])
    assert joined.kinds == ("colour",) * 2 + ("place",) * 2 + ("yes/no",) * 2
    assert joined.images.ids[0] == f"colour {parts[0].images.ids[0]}" and joined.texts[2:4] == parts[1].texts
    assert joined.images.picture(3).tobytes() == parts[1].images.picture(1).tobytes()
    assert joined.images.version(joined.images.ids[4])
    for refused in ([], [parts[0], parts[0]]):
        with pytest.raises(ValueError, match="some|twice"):
            join_questions(refused)
