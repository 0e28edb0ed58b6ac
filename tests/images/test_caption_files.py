"""The captions of a folder, in each layout that people have; and what a caption may look like."""

from __future__ import annotations

import json
import unicodedata

import pytest
from PIL import Image

from coxlmm_utils.images.caption_files import references_of
from coxlmm_utils.images.sources import load_images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pets").mkdir()
    for name in ("b.png", "a.JPG", "pets/dog.webp"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "given, references",
    [
        ("a dog ", ("a dog",)),
        (["a dog", " ", "my dog\n"], ("a dog", "my dog")),
        (("a dog",), ("a dog",)),
        ([], ()),
        ("", ()),
        (None, ()),
    ],
)
def test_captions_become_references(given, references):
    assert references_of(given) == references


@pytest.mark.parametrize("given", [0, {}, {"raw": "a dog"}, ["a dog", None], [{"raw": "a dog"}], float("nan")])
def test_what_is_no_caption_is_shown(given):
    with pytest.raises(TypeError, match="a text or a list of texts, not "):
        references_of(given)


def test_a_long_wrong_caption_is_shown_in_part():
    with pytest.raises(TypeError) as caught:
        references_of([{"raw": "a dog " * 1000}])
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "captions",
    [
        {"a.JPG": "a cat", "pets/dog.webp": ["a dog", " my dog ", ""]},
        {"./a.JPG": ["a cat"], "pets\\dog.webp": ["a dog", "my dog"]},
        [
            {"file": "pets/dog.webp", "captions": ["a dog"]},
            {"file": "pets/dog.webp", "captions": "my dog"},
            {"file": "a.JPG", "captions": "a cat"},
        ],
    ],
)
def test_captions_in_json(folder, captions):
    (folder / "captions.json").write_text(json.dumps(captions))
    images = load_images(f"folder:{folder}")
    assert images.references == (("a cat",), (), ("a dog", "my dog"))


def test_captions_in_a_table(folder):
    table = 'file,caption\na.JPG,"a cat, asleep"\npets/dog.webp,a dog\npets/dog.webp,my dog\n'
    (folder / "captions.csv").write_text("\ufeff" + table, encoding="utf-8")
    assert load_images(f"folder:{folder}").references == (("a cat, asleep",), (), ("a dog", "my dog"))


@pytest.mark.parametrize(
    "name, table",
    [
        ("metadata.csv", 'file_name,text\na.JPG,"a cat, asleep"\n'),
        ("metadata.csv", 'split,text,file_name\ntrain,"a cat, asleep",a.JPG\n\n'),
        ("captions.csv", 'Image;Caption\na.JPG;"a cat, asleep"\n'),
        ("captions.csv", "filename\tcaption\r\na.JPG\ta cat, asleep\r\n"),
        ("captions.csv", 'file,text,caption\na.JPG,other,"a cat, asleep"'),
        ("captions.csv", 'file,caption\na.JPG,"a cat,\nasleep"'),
    ],
)
def test_tables_of_other_columns_where_they_are_clear(folder, name, table):
    (folder / name).write_text(table, newline="")
    ((caption,), *others) = load_images(f"folder:{folder}").references
    assert caption.replace("\n", " ") == "a cat, asleep" and others == [(), ()]


@pytest.mark.parametrize(
    "table, says",
    [
        ("file,caption\na.JPG,a cat\nb.png,a dog, asleep\n", "line 3: 3 fields for 2 columns; .* needs quotes"),
        ("file,caption\n\na.JPG\n", "line 3: 1 fields for 2 columns"),
        ("a.JPG,a cat\nb.png,a dog\n", "line 1: the first line names .*; here it is 'a.jpg', 'a cat'"),
        ("id,comment\n1,a cat\n", "line 1: the first line names the columns, file and caption"),
        ("file,caption,caption\na.JPG,a,b\n", "line 1: .* each once"),
        ("", "line 1: .* here it is empty"),
        ('file,caption\na.JPG,"a cat\nb.png,a dog\npets/dog.webp,"my dog"\n', "line 2: "),
        ('file,caption\na.JPG,"a cat\nb.png,a dog"\n', "line 2: a quotation mark that is opened here is not closed"),
        ('file,caption\na.JPG,a cat\nb.png,"a dog\n', "line 3: unexpected end of data"),
    ],
)
def test_rows_that_would_be_lost_are_refused_with_their_line(folder, table, says):
    (folder / "captions.csv").write_text(table)
    with pytest.raises(ValueError, match=f"captions.csv, {says}"):
        load_images(f"folder:{folder}")


def test_an_object_in_each_line(folder):
    lines = [
        '{"file_name": "a.JPG", "text": "a cat"}',
        "",
        '{"Text": ["a dog", "my dog"], "file_name": "pets/dog.webp"}',
    ]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    assert load_images(f"folder:{folder}").references == (("a cat",), (), ("a dog", "my dog"))


@pytest.mark.parametrize("line", ["{", "5", '{"file_name": "b.png"}', '{"text": "a dog"}', '["b.png", "a dog"]'])
def test_a_line_that_is_no_such_object_is_named(folder, line):
    (folder / "metadata.jsonl").write_text('{"file_name": "a.JPG", "text": "a cat"}\n' + line)
    with pytest.raises(ValueError, match='metadata.jsonl, line 2, is not laid out as {"file_name": "a.jpg"'):
        load_images(f"folder:{folder}")


def test_captions_go_before_metadata_and_two_of_a_kind_are_refused(folder):
    (folder / "metadata.csv").write_text("file_name,text\na.JPG,a cat\n")
    (folder / "captions.csv").write_text("file,caption\na.JPG,a dog\n")
    assert load_images(f"folder:{folder}").references[0] == ("a dog",)
    (folder / "metadata.jsonl").touch()
    (folder / "captions.csv").unlink()
    with pytest.raises(ValueError, match="has both metadata.csv and metadata.jsonl; keep one of them"):
        load_images(f"folder:{folder}")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_in_another_encoding_is_refused(folder, encoding):
    (folder / "captions.csv").write_text("file,caption\na.JPG,a d\xf6g\n", encoding=encoding)
    with pytest.raises(ValueError, match="captions.csv is not text in UTF-8: save it as that"):
        load_images(f"folder:{folder}")


def test_umlauts_are_the_same_letters_however_a_disk_writes_them(folder):
    for name, other in (("Süß.png", "NFD"), ("für.png", "NFC")):
        (folder / unicodedata.normalize(other, name)).write_bytes((folder / "a.JPG").read_bytes())
    (folder / "captions.csv").write_text("file,caption\nSüß.png,a dog\nfür.png,a cat\n", encoding="utf-8")
    images = load_images(f"folder:{folder}")
    assert {texts for texts in images.references if texts} == {("a dog",), ("a cat",)}


def test_captions_in_subfolders_count_where_the_folder_has_none(folder):
    (folder / "pets" / "metadata.jsonl").write_text('{"file_name": "dog.webp", "text": "a dog"}\n')
    assert load_images(f"folder:{folder}").references == ((), (), ("a dog",))
    (folder / "captions.json").write_text('{"a.JPG": "a cat"}')
    assert load_images(f"folder:{folder}").references == (("a cat",), (), ())


@pytest.mark.parametrize(
    "name, text", [("captions.csv", "file,caption\n"), ("captions.json", "{}"), ("captions.json", '{"a.JPG": " "}')]
)
def test_a_file_without_captions_is_told(folder, name, text):
    (folder / name).write_text(text)
    with pytest.warns(UserWarning, match=f"{name} has no captions") as caught:
        assert not any(load_images(f"folder:{folder}").references)
    assert caught[0].filename == __file__


def test_a_picture_named_twice_in_json_is_refused(folder):
    (folder / "captions.json").write_text('{"a.JPG": "a cat", "b.png": "", "a.JPG": "a dog"}')
    with pytest.raises(ValueError, match="captions.json is not laid out .* 'a.JPG' is given twice"):
        load_images(f"folder:{folder}")


@pytest.mark.parametrize("name", ["captions.txt", "Captions.CSV", "metadata.parquet", "pets/captions.tsv", "a.txt"])
def test_a_file_of_captions_that_is_not_read_is_named(folder, name):
    (folder / name).write_text("a.JPG,a cat")
    with pytest.warns(
        UserWarning, match=f"{name.split('/')[-1]} in .* is not read: captions are in captions.json or"
    ) as caught:
        load_images(f"folder:{folder}")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("named", ["a", "A.jpg", "elsewhere/a.JPG"])
def test_captions_of_no_picture_are_refused_with_an_example(folder, named):
    (folder / "captions.csv").write_text(f"file,caption\n{named},a cat\n")
    with pytest.raises(ValueError, match=f"for none of the 3 pictures: it names '{named}', a picture here is 'a.JPG'"):
        load_images(f"folder:{folder}")


def test_captions_of_absent_pictures_are_counted(folder):
    (folder / "captions.json").write_text(json.dumps({"gone.png": "?", "a.JPG": "a cat", "lost.png": "?"}))
    with pytest.warns(UserWarning, match=r"2 pictures that are not there \(the first: gone.png\)") as caught:
        images = load_images(f"folder:{folder}")
    assert images.references[0] == ("a cat",) and len(images) == 3
    assert caught[0].filename == __file__  # the warning points at the caller


@pytest.mark.parametrize(
    "name, content",
    [
        ("captions.json", "{"),
        ("captions.json", "5"),
        ("captions.json", '["a.JPG"]'),
        ("captions.json", '[{"file": "a.JPG"}]'),
        ("captions.json", '[{"file": 1, "captions": "a cat"}]'),
        ("captions.json", '{"a.JPG": {"text": "a cat"}}'),
        ("captions.json", '{"a.JPG": [3]}'),
        ("captions.json", '{"a.JPG": 0}'),
        ("captions.csv", "name;text\na.JPG;a cat\n"),
        ("captions.csv", "file,caption\na.JPG\n"),
    ],
)
def test_captions_of_another_layout_are_an_error(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=name):
        load_images(f"folder:{folder}")


def test_two_captions_files_are_an_error(folder):
    (folder / "captions.json").write_text("{}")
    (folder / "captions.csv").write_text("file,caption\n")
    with pytest.raises(ValueError, match="keep one"):
        load_images(f"folder:{folder}")
