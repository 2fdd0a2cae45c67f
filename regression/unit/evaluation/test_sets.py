"""Labelled data of every kind: found, labelled, read, and refused where it is not what it seems."""

from pathlib import Path

import numpy as np
import pytest
from checkout import REGRESSION
from evaluation.classifiers import photo

from stepdown.data.dataset import choose
from stepdown.errors import InputError
from stepdown.evaluation.class_tree import SYNSETS, folder_labels
from stepdown.evaluation.open_set import open_set
from stepdown.evaluation.samples import LabelledSet, chosen
from stepdown.files.npz import write_npz

RED = (255, 0, 0)


def test_the_synsets_are_those_of_ilsvrc() -> None:
    ids = SYNSETS.read_text().split()
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert (ids[0], ids[281], ids[999]) == ("n01440764", "n02123045", "n15075141")  # tench, tabby, toilet tissue


def tree(folder: Path, *photos: str) -> Path:
    for name in photos:
        photo(folder / name, RED)
    return folder


def test_wordnet_ids_have_imagenets_numbers(tmp_path: Path) -> None:
    found = open_set(tree(tmp_path, "n02123045/a.JPEG", "n01440764/b.jpg", "n02123045/in/c.png"), 1000)
    assert dict(zip(found.names, found.labels, strict=True)) == {
        "n01440764/b.jpg": 0, "n02123045/a.JPEG": 281, "n02123045/in/c.png": 281,
    }  # fmt: skip
    assert found.read(0).shape == (4, 4, 3)
    assert not found.accepted


def test_as_many_folders_as_classes_are_taken_in_order(tmp_path: Path) -> None:
    found = open_set(tree(tmp_path, "owl/a.png", "cat/b.png", "n02123045/c.png"), 3)
    assert (found.names, found.labels) == (("cat/b.png", "n02123045/c.png", "owl/a.png"), (0, 1, 2))
    names = open_set(tree(tmp_path / "in", "owl/a.png", "cat/b.png"), 2).class_names
    assert names == ("cat", "owl")


def test_numbered_and_named_folders() -> None:
    assert folder_labels(["10", "9", "003"], 1000, [], "") == {"10": 10, "9": 9, "003": 3}
    assert folder_labels(["tabby", "owl"], 4, ["owl", "crane", "crane", "tabby"], "") == {"tabby": 3, "owl": 0}


@pytest.mark.parametrize("folders", [["crane", "owl"], ["n02123045", "n99999999"], ["1", "n02123045"]])
def test_folders_that_are_no_classes(folders: list[str]) -> None:
    with pytest.raises(InputError, match="does not tell which it is"):
        folder_labels(folders, 1000, ["owl", "crane", "crane"], "somewhere")


def test_photos_outside_class_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 photos lie outside class folders, the first is c\.png.*valprep"):
        open_set(tree(tmp_path, "owl/a.png", "c.png"), 2)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_list_with_accepted_labels() -> None:
    found = open_set(REGRESSION / "dataset" / "imagenet_mini", 1000)
    kitten = found.names.index("kitten.jpg")
    assert (len(found), found.labels[kitten]) == (20, 281)
    assert found.accepted_of(kitten) == {281, 282, 283, 284, 285}
    assert found.read(kitten).dtype == np.uint8
    assert open_set(REGRESSION / "dataset" / "imagenet_mini" / "val.txt", 1000).labels == found.labels


def test_photos_may_lie_in_a_folder_beside_the_list(tmp_path: Path) -> None:
    tree(tmp_path / "images" / "photos", "a b.png", "c.png")
    write(tmp_path / "images" / "val.txt", "# two\na b.png 3\n\nc.png\t1\n")
    found = open_set(tmp_path / "images", 5)
    assert (found.names, found.labels) == (("a b.png", "c.png"), (3, 1))
    assert found.read(0).shape == (4, 4, 3)
    moved = write(tmp_path / "lists" / "mine.txt", "c.png 2\n")
    table = write(tmp_path / "lists" / "more.tsv", "file\taccepted_ids\nc.png\t4, 0\n")
    named = open_set(tmp_path / "images" / "photos", 5, listed=moved, accept=table)
    assert (named.labels, named.accepted) == ((2,), (frozenset({0, 2, 4}),))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a.png\n", r"val\.txt:1: is not `file class`"),
        ("a.png 1\nb.png one\n", r"val\.txt:2: is not"),
        ("a.png -1\n", r"val\.txt:1: is not"),
        ("# nothing\n", "lists no photos"),
        ("a.png 1\na.png 2\n", "lists 'a.png' more than once"),
        ("z.png 1\n", "'z.png' is neither in .* nor in a folder there"),
        ("\x00\xff", "is not `file class`"),
    ],
)
def test_wrong_lists(tmp_path: Path, text: str, complaint: str) -> None:
    tree(tmp_path, "a.png", "b.png")
    write(tmp_path / "val.txt", text)
    with pytest.raises(InputError, match=complaint):
        open_set(tmp_path, 5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,accepted_ids\na.png,1\n", "has no columns"),
        ("file\taccepted_ids\na.png\tone\n", r"accept\.tsv:2: 'one' is not like 281,282"),
        ("file\taccepted_ids\na.png\n", "is not like 281,282"),
        ("file\taccepted_ids\nb.png\t1\n", "names none of the photos"),
        ("", "has no columns"),
    ],
)
def test_wrong_tables_of_accepted_labels(tmp_path: Path, text: str, complaint: str) -> None:
    tree(tmp_path, "a.png")
    write(tmp_path / "val.txt", "a.png 1\n")
    with pytest.raises(InputError, match=complaint):
        open_set(tmp_path, 5, accept=write(tmp_path / "accept.tsv", text))


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("X", "targets")])
def test_arrays(tmp_path: Path, names: tuple[str, str]) -> None:
    x, y = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array([[2], [0], [1]], np.int64)
    write_npz(tmp_path / "set.npz", dict(zip(names, (x, y), strict=True)))
    found = open_set(tmp_path / "set.npz", 3)
    assert (found.labels, found.names[2]) == ((2, 0, 1), "set.npz[2]")
    assert found.read(1).tolist() == [[4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": np.zeros((2, 4), np.float32)}, "has none of the arrays y, "),
        ({"x": np.zeros((2, 4), np.float32), "y": np.zeros(3, np.int64)}, "do not fit each other"),
        ({"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.float32)}, "labels are float32"),
        ({"x": np.zeros((2, 4), np.float32), "y": np.zeros((2, 10), np.int64)}, "want one integer a sample"),
        ({"x": np.zeros((2, 4), np.int32), "y": np.zeros(2, np.int64)}, "samples are int32"),
        ({"x": np.zeros((0, 4), np.uint8), "y": np.zeros(0, np.int64)}, "holds no samples"),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], complaint: str) -> None:
    write_npz(tmp_path / "set.npz", arrays)
    with pytest.raises(InputError, match=complaint):
        open_set(tmp_path / "set.npz", 4)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, complaint in (
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "empty", "holds no photos; make one folder a class .* or list `file class` in its val.txt"),
        (photo(tmp_path / "a.png", RED), "is no labelled data"),
    ):
        with pytest.raises(InputError, match=complaint):
            open_set(path, 4)


def labelled(*labels: int) -> LabelledSet:
    return LabelledSet("set", tuple(map(str, labels)), labels, lambda index: np.zeros(0))


def test_labels_are_shifted_to_the_networks_classes() -> None:
    assert labelled(0, 999).shifted(1, 1001).labels == (1, 1000)
    assert labelled(1, 3).shifted(-1, 3).labels == (0, 2)
    assert labelled(0, 1000).shifted(None, 1001).labels == (0, 1000)
    assert labelled(5).shifted(0, 1001).labels == (5,)


@pytest.mark.parametrize(
    ("label", "offset", "classes", "complaint"),
    [
        (990, None, 10, "label 990 of '990' is none of the network's 10 classes; --label_offset"),
        (999, 1, 1000, "label 999 with the offset 1 of '999' is none"),
        (0, -1, 10, "label 0 with the offset -1 of '0' is none"),
        (5, None, 1001, "1001 classes, ImageNet 1000; give --label_offset 1 if class 0 is the background"),
    ],
)
def test_labels_that_do_not_fit(label: int, offset: int | None, classes: int, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        labelled(label).shifted(offset, classes)


def test_accepted_labels_that_do_not_fit() -> None:
    listed = LabelledSet("set", ("a", "b"), (1, 2), lambda index: np.zeros(0), (frozenset({1}), frozenset({2, 9})))
    assert listed.shifted(0, 10).accepted == listed.accepted
    with pytest.raises(InputError, match="accepted label 9 with the offset 1 of 'b' is none of the network's 10"):
        listed.shifted(1, 10)


def test_missing_photos_are_told_before_the_work(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "c.png")
    write(tmp_path / "val.txt", "a.png 1\nb.png 2\nc.png 2\nd.png 3\n")
    found = open_set(tmp_path, 5)
    found.check_files([0, 2])
    with pytest.raises(InputError, match=r"val\.txt: 1 of 3 photos are missing, the first is 'b\.png'; --skip_unread"):
        found.check_files([0, 1, 2])


def test_the_choice_is_that_of_the_other_tools() -> None:
    files = [Path(f"{i:02}") for i in range(30)]
    assert [files[i] for i in chosen(30, 7, 3)] == choose(files, 7, 3)
    assert chosen(3) == chosen(3, 9) == [0, 1, 2]
    assert chosen(30, 7, 3) != chosen(30, 7, 4)
