import numpy as np
import pytest
from PIL import Image

from stepdown.data.dataset import Dataset, choose, read_list, read_sample, scan_folder, select_files
from stepdown.data.preprocess import Preprocess
from stepdown.errors import InputError
from stepdown.files.npz import write_npz

PHOTO = {"input": Preprocess((1, 3, 4, 4))}


@pytest.fixture
def folder(tmp_path):
    """A folder tree with ten photos and things that are not samples."""
    for i in range(10):
        place = tmp_path / "set" / f"class{i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 0, 0)).save(place / f"{9 - i}.PNG")
    (tmp_path / "set" / "notes.txt").write_text("not a sample")
    (tmp_path / "set" / ".hidden.png").write_text("")
    (tmp_path / "set" / ".cache").mkdir()
    (tmp_path / "set" / ".cache" / "a.png").write_text("")
    return tmp_path / "set"


def relative(files, folder):
    return [file.relative_to(folder).as_posix() for file in files]


def test_a_folder_is_searched_in_a_fixed_order(folder):
    names = relative(scan_folder(folder), folder)
    assert len(names) == 10
    assert names == sorted(names)


def test_the_choice_depends_on_nothing_but_names_and_seed(folder):
    chosen = relative(choose(scan_folder(folder), 4, seed=1), folder)
    assert chosen == ["class0/0.PNG", "class0/3.PNG", "class0/6.PNG", "class1/2.PNG"]
    assert chosen == sorted(chosen)
    assert relative(choose(scan_folder(folder), 4, seed=2), folder) != chosen
    assert len(choose(scan_folder(folder), 99)) == len(choose(scan_folder(folder), 0)) == 10


def test_select_files_needs_one_source(folder):
    assert len(select_files(dataset=folder, input_num=3)) == 3
    for sources in ({}, {"dataset": folder, "data_list": folder}):
        with pytest.raises(InputError, match="either --data_list or --dataset"):
            select_files(**sources)


def test_folders_without_samples(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        scan_folder(tmp_path / "none")
    with pytest.raises(InputError, match="is not a folder"):
        scan_folder(folder / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no sample files"):
        scan_folder(tmp_path / "empty")


def test_a_list_counts_from_here_then_from_its_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    list_file = folder / "list.txt"
    list_file.write_text(f"# chosen\n\nset/class0/0.PNG\n  class1/2.PNG  \n{folder}/class2/1.PNG\r\n")
    want = [folder / "class0/0.PNG", folder / "class1/2.PNG", folder / "class2/1.PNG"]
    assert [file.resolve() for file in read_list(list_file)] == want
    assert [file.resolve() for file in select_files(data_list=list_file, input_num=2)] == want[:2]


def test_all_missing_files_are_named(tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(InputError, match=r"2 of 2 files do not exist: a\.jpg, b\.jpg"):
        read_list(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("".join(f"{i}.jpg\n" for i in range(30)))
    with pytest.raises(InputError, match=r"19\.jpg and 10 more"):
        read_list(tmp_path / "list.txt")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe"])
def test_useless_lists_are_named(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt: "):
        read_list(tmp_path / "list.txt")


def test_samples_are_read_when_asked_for(folder):
    files = scan_folder(folder)
    dataset = Dataset((*files, folder / "gone.png"), PHOTO)
    assert len(dataset) == 11
    assert dataset[0]["input"].shape == (1, 3, 4, 4)
    assert [sample["input"][0, 0, 0, 0] for sample in dataset[:10]] == [9 - int(f.stem) for f in files]
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        dataset[10]


def test_a_broken_photo_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"bad\.jpg: "):
        read_sample(tmp_path / "bad.jpg", PHOTO)


def test_npz_samples_pass_through_under_their_names(tmp_path):
    ids, mask = np.arange(4), np.ones(4, np.int8)
    write_npz(tmp_path / "a.npz", {"ids": ids, "mask": mask, "other": mask})
    inputs = {name: Preprocess((4,), channel_format="none") for name in ("mask", "ids")}
    sample = read_sample(tmp_path / "a.npz", inputs)
    assert list(sample) == ["mask", "ids"]
    assert sample["ids"].dtype == ids.dtype
    with pytest.raises(InputError, match="no tensor for the input 'idx'; did you mean 'ids'"):
        read_sample(tmp_path / "a.npz", {"idx": inputs["ids"]})
    np.save(tmp_path / "b.npy", ids)
    assert (read_sample(tmp_path / "b.npy", {"ids": inputs["ids"]})["ids"] == ids).all()
    with pytest.raises(InputError, match="one array cannot feed"):
        read_sample(tmp_path / "b.npy", inputs)


def test_what_cannot_feed_the_inputs_is_refused(folder):
    two = {"a": PHOTO["input"], "b": PHOTO["input"]}
    with pytest.raises(InputError, match="a photo cannot feed the 2 inputs a, b"):
        read_sample(scan_folder(folder)[0], two)
    with pytest.raises(InputError, match="not a sample file"):
        read_sample(folder / "notes.txt", PHOTO)
