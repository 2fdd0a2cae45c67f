import hashlib
import tarfile
from pathlib import Path

import pytest
from checkout import REGRESSION, ROOT, environment, run
from PIL import Image

from stepdown.data.devkit import photo_name, read_classes, sort_photos
from stepdown.data.matfile import read_table
from stepdown.errors import InputError

HERE = Path(__file__).parent
VALPREP = REGRESSION / "valprep.sh"
CLASSES = ["n02110185", "n02119789", "n02110185", "n02100735"]


def table(name):
    return read_table(name, (HERE / name).read_bytes(), "synsets")


@pytest.mark.parametrize("name", ["meta.mat", "meta_plain.mat"])
def test_tables_that_scipy_wrote(name):
    rows = table(name)
    assert [(row["ILSVRC2012_ID"], row["WNID"]) for row in rows] == [
        (1, "n02119789"), (2, "n02100735"), (3, "n02110185"), (1001, "n02083346"),
    ]  # fmt: skip
    assert rows[2]["gloss"] == "breed of sled dog; à fourrure épaisse"
    assert rows[3]["children"] is None


def test_broken_mat_files_are_named():
    content = (HERE / "meta_plain.mat").read_bytes()
    packed = (HERE / "meta.mat").read_bytes()
    for damaged in (b"", content[:500], packed[:300], content[:140] + b"\xff" * 60 + content[200:]):
        with pytest.raises(InputError, match=r"a\.mat"):
            read_table("a.mat", damaged, "synsets")
    with pytest.raises(InputError, match="holds no table 'trees'"):
        read_table("a.mat", content, "trees")


@pytest.fixture
def devkit(tmp_path):
    """A devkit of four photos and three classes, unpacked."""
    root = tmp_path / "ILSVRC2012_devkit_t12"
    (root / "data").mkdir(parents=True)
    (root / "data" / "meta.mat").write_bytes((HERE / "meta.mat").read_bytes())
    (root / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n3\n2\n")
    return root


def packed(devkit):
    path = devkit.with_name(f"{devkit.name}.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(devkit, devkit.name)
    return path


def test_classes_of_a_folder_and_of_a_tar(devkit):
    assert read_classes(devkit) == CLASSES
    assert read_classes(packed(devkit)) == CLASSES


def test_incomplete_devkits_are_named(devkit, tmp_path):
    truth = devkit / "data" / "ILSVRC2012_validation_ground_truth.txt"
    for content, says in (("3\n9\n", r"lacks: \[9\]"), ("", "is empty"), ("x\n", "malformed")):
        truth.write_text(content)
        with pytest.raises(InputError, match=says):
            read_classes(devkit)
    truth.unlink()
    with pytest.raises(InputError, match="has no data/ILSVRC2012_validation_ground_truth"):
        read_classes(devkit)
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b123")
    with pytest.raises(InputError, match="cannot read the devkit"):
        read_classes(tmp_path / "broken.tar.gz")


@pytest.fixture
def val(tmp_path):
    """A folder imagenet/val into which four photos were unpacked."""
    folder = tmp_path / "imagenet" / "val"
    folder.mkdir(parents=True)
    for i in range(1, 5):
        Image.new("RGB", (40, 30), (60 * i, 0, 0)).save(folder / photo_name(i), "JPEG")
    return folder


def test_photos_go_to_the_folders_of_their_classes(val):
    assert sort_photos(val, CLASSES) == 4
    assert sorted(p.relative_to(val).as_posix() for p in val.glob("n*/*")) == sorted(
        f"{wnid}/{photo_name(i)}" for i, wnid in enumerate(CLASSES, 1)
    )
    assert sort_photos(val, CLASSES) == 0


def test_an_interrupted_run_is_completed(val):
    (val / CLASSES[0]).mkdir()
    (val / photo_name(1)).rename(val / CLASSES[0] / photo_name(1))
    assert sort_photos(val, CLASSES) == 3


def test_nothing_moves_while_photos_are_missing(val):
    (val / photo_name(2)).unlink()
    with pytest.raises(InputError, match=f"1 of 4 photos are missing, the first is {photo_name(2)}"):
        sort_photos(val, CLASSES)
    assert not list(val.glob("n*"))


NEXT = "next: model_eval_imagenet.py --model MODEL --dataset .\n"


def valprep(folder, *arguments, **settings):
    done = run("bash", VALPREP, *arguments, cwd=folder, env=environment(PYTHONPATH=str(ROOT / "lib"), **settings))
    return done.returncode, done.stdout + done.stderr


def test_valprep_sorts_once(val, devkit):
    packed(devkit)
    assert valprep(val) == (0, "4 photos in 3 folders, 4 moved now\n" + NEXT)
    assert valprep(val) == (0, "4 photos in 3 folders, 0 moved now\n" + NEXT)


def test_valprep_names_what_is_missing(val, devkit, tmp_path):
    devkit.rename(tmp_path / "elsewhere")
    code, said = valprep(val)
    assert (code, said.count("\n")) == (2, 1)
    assert "ILSVRC2012_devkit_t12.tar.gz is neither here nor up to two folders above" in said
    assert valprep(val, "none") == (2, "valprep.sh: error: none: no such file\n")
    assert valprep(val, "../../elsewhere")[0] == 0
    code, said = valprep(tmp_path)
    assert (code, "holds no ILSVRC2012_val_*.JPEG" in said) == (2, True)


def test_valprep_checks_the_tar(val, devkit, tmp_path):
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(b"partial download")
    code, said = valprep(val)
    assert code == 2
    assert f"its MD5 is {hashlib.md5(b'partial download').hexdigest()}, not 29b22e29" in said
    assert not list(val.glob("n*"))


@pytest.fixture
def tar(val, tmp_path):
    """The four photos in a tar, and nothing in the folder any more."""
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        for photo in sorted(val.iterdir()):
            archive.add(photo, photo.name)
            photo.unlink()
    return tmp_path / "ILSVRC2012_img_val.tar"


def test_valprep_unpacks_the_tar_in_an_empty_folder(val, devkit, tar):
    md5 = hashlib.md5(tar.read_bytes()).hexdigest()
    said = ["checking the MD5 of ../../ILSVRC2012_img_val.tar", "unpacking ../../ILSVRC2012_img_val.tar"]
    code, text = valprep(val, VAL_MD5=md5)
    assert (code, sorted(text.splitlines())) == (0, sorted(["4 photos in 3 folders, 4 moved now", NEXT[:-1], *said]))
    assert sorted(photo.parent.name for photo in val.glob("n*/*.JPEG")) == sorted(CLASSES)
    assert valprep(val, VAL_MD5=md5) == (0, "4 photos in 3 folders, 0 moved now\n" + NEXT)


def test_valprep_unpacks_no_tar_that_was_changed(val, devkit, tar):
    content = bytearray(tar.read_bytes())
    md5 = hashlib.md5(content).hexdigest()
    content[700] ^= 1
    tar.write_bytes(content)
    code, text = valprep(val, VAL_MD5=md5)
    assert (code, f"not {md5}; download it again" in text) == (2, True)
    assert not list(val.iterdir())


def test_valprep_unpacks_into_no_folder_of_something_else(val, devkit, tar):
    (val / "notes.txt").write_text("mine")
    code, text = valprep(val)
    assert (code, text.count("\n"), "or in an empty one with the tar" in text) == (2, 1, True)
    assert [path.name for path in val.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("kept", [0, 1, 300])
def test_nothing_moves_while_a_photo_is_cut_off(val, kept):
    photo = val / photo_name(3)
    photo.write_bytes(photo.read_bytes()[:kept])
    with pytest.raises(InputError, match=f"1 photos are empty or cut off, the first is {photo.name}"):
        sort_photos(val, CLASSES)
    assert not list(val.glob("n*"))


def test_bytes_after_the_end_of_a_photo_do_not_matter(val):
    photo = val / photo_name(3)
    photo.write_bytes(photo.read_bytes() + bytes(5000))
    assert sort_photos(val, CLASSES) == 4


def test_valprep_tells_of_a_broken_devkit_in_one_line(val, devkit):
    (devkit / "data" / "meta.mat").write_bytes(b"")
    code, said = valprep(val)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("valprep.sh: error: ../../ILSVRC2012_devkit_t12: not a MATLAB file")
