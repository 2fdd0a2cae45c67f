"""A real Dask cluster on this machine gives the bytes of one process, whoever dies; other machines are refused."""

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from checkout import REGRESSION
from local_cluster import LocalCluster, free_port, wait_for

from stepdown.calibration.calibrate import SketchJob
from stepdown.cli import tool
from stepdown.distributed import dispatch, machine
from stepdown.distributed.cluster import Cluster
from stepdown.distributed.dispatch import Dispatch
from stepdown.distributed.engine import run_shards
from stepdown.distributed.job import Arrays
from stepdown.distributed.members import Member
from stepdown.distributed.progress import Progress
from stepdown.distributed.store import ShardStore
from stepdown.errors import InputError, ResourceError

# A worker that sees none of the client's files, and notes that it was sent some.
ALONE = """
from pathlib import Path
from stepdown.distributed import remote

def nothing_there(source, target):
    raise OSError

def noted(folder, header, data, keep=remote.keep_pieces):
    keep(folder, header, data)
    Path("received").touch()

remote.copyfile, remote.keep_pieces = nothing_there, noted
"""
# A worker with another version on another CPU.
OTHER = """
import stepdown
stepdown.__version__ = "0.0.7"
"""
# A worker without our package.
BARE = """
import sys
sys.modules["stepdown.distributed.remote"] = None
"""
PHOTOS = 10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    machine.code_digest.cache_clear()
    started = LocalCluster(tmp_path_factory.mktemp("cluster"))
    assert machine.code_digest()
    yield started
    started.close()


@pytest.fixture(scope="module")
def workers(cluster: LocalCluster) -> LocalCluster:
    """Two workers, of which one sees no files of this machine, and two that must be refused."""
    cluster.start_worker("sees")
    cluster.start_worker("alone", ALONE)
    cluster.start_worker("other", OTHER, NPY_DISABLE_CPU_FEATURES="X86_V3", OPENBLAS_CORETYPE="Nehalem")
    cluster.start_worker("bare", BARE)
    wait_for(lambda: all("Registered to" in cluster.log(name) for name in cluster.workers))
    return cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with its weights, and photos, below one folder."""
    folder = tmp_path_factory.mktemp("files")
    flags = ["--model_name", "digits", "--mean", "33.3285", "--scale", "0.012728"]
    model = str(REGRESSION / "model" / "mnist_cnn.onnx")
    assert tool.run("model_transform", [*flags, "--model_def", model, "--mlir", str(folder / "digits.mlir")]) == 0
    for photo in sorted((REGRESSION / "image").iterdir())[:PHOTOS]:
        (folder / "photos").mkdir(exist_ok=True)
        shutil.copy(photo, folder / "photos")
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Relative names count from the folder with the files."""
    monkeypatch.chdir(folder)
    return folder


def job() -> SketchJob:
    return SketchJob("digits.mlir", sorted(Path("photos").iterdir()))


def as_bytes(arrays: Arrays) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def test_no_worker_is_waited_for_and_then_given_up(cluster: LocalCluster, here: Path) -> None:
    told: list[str] = []
    with pytest.raises(ResourceError, match=r"no worker was ready within 0.3 s; start one: dask worker tcp://"):
        run_shards(job(), PHOTOS, cluster=Cluster(cluster.address, 0.3, told.append))
    assert told == [f"waiting up to 0.3 s for a worker to join {cluster.address}"]


def test_calibration_gives_the_bytes_of_one_process(
    workers: LocalCluster, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["digits.mlir", "--dataset", "photos", "--tune", "--tune_num", "2"]
    assert tool.run("run_calibration", [*common, "-o", "table_1", "--workers", "1"]) == 0
    capsys.readouterr()
    assert tool.run("run_calibration", [*common, "-o", "table_2", "--scheduler", workers.address]) == 0
    said = capsys.readouterr().err.splitlines()
    assert (here / "table_1").read_bytes() == (here / "table_2").read_bytes()
    assert (workers.place("alone") / "received").exists()
    assert any(f"{PHOTOS} of {PHOTOS} samples, " in line and ", 2 workers, " in line for line in said)
    refused = "\n".join(line for line in said if "refused worker" in line)
    assert "has no stepdown, or another one (ModuleNotFoundError: " in refused
    assert "stepdown 0.0.7 there, " in refused
    assert "BLAS kernels Nehalem there, " in refused and "CPU features there without X86_V3" in refused
    expected = ("refused worker", " samples", "waiting up to")
    assert not [line for line in said if not any(text in line for text in expected)]
    wait_for(lambda: not workers.runs_left())


def test_evaluation_gives_the_bytes_of_one_process(workers: LocalCluster, here: Path) -> None:
    names = [path.name for path in sorted((here / "photos").iterdir())]
    (here / "photos" / "broken.jpg").write_bytes(b"no photo")
    Path("val.txt").write_text("".join(f"{name} {place % 10}\n" for place, name in enumerate([*names, "broken.jpg"])))
    common = [
        "--model", "digits.mlir", "--reference", str(REGRESSION / "model" / "mnist_cnn.onnx"), "--dataset", "photos",
        "--val_list", "val.txt", "--skip_unreadable",
    ]  # fmt: skip
    records = []
    try:
        for place in (["--workers", "1"], ["--scheduler", workers.address]):
            assert tool.run("model_eval_imagenet", [*common, *place, "--wrong", "w.csv", "--json", "found.json"]) == 0
            records.append([Path(name).read_bytes() for name in ("w.csv", "found.json")])
    finally:
        Path("photos/broken.jpg").unlink()
    assert records[0] == records[1]
    assert b"photos/broken.jpg: not an image" in records[0][1]


def test_samples_of_an_npz_cross_too(workers: LocalCluster, here: Path) -> None:
    common = [
        "--model", str(REGRESSION / "model" / "mnist_cnn.onnx"), "--mean", "33.3285", "--scale", "0.012728",
        "--dataset", str(REGRESSION / "dataset" / "digits_200.npz"), "--count", "50", "--json",
    ]  # fmt: skip
    assert tool.run("model_eval_imagenet", [*common, "one.json", "--workers", "1"]) == 0
    assert tool.run("model_eval_imagenet", [*common, "two.json", "--scheduler", workers.address]) == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


def test_an_error_tells_the_name_that_the_user_gave(workers: LocalCluster, here: Path) -> None:
    broken = Path("photos/broken.jpg")
    broken.write_bytes(b"no photo")
    try:
        with pytest.raises(InputError, match=r"^photos/broken.jpg: not an image; give one of "):
            run_shards(job(), PHOTOS + 1, cluster=Cluster(workers.address))
    finally:
        broken.unlink()


def after(done: int, action: Callable[[], None]) -> Callable[[Progress], None]:
    """Return a listener that acts once, when some samples are done."""
    left = [action]

    def listen(progress: Progress) -> None:
        if progress.done >= done and left:
            left.pop()()

    return listen


def interrupt() -> None:
    raise KeyboardInterrupt


def test_interrupted_and_resumed(workers: LocalCluster, here: Path) -> None:
    there = Cluster(workers.address)
    with pytest.raises(KeyboardInterrupt):
        run_shards(job(), PHOTOS, cluster=there, folder=here / "kept", on_progress=after(4, interrupt))
    wait_for(lambda: not workers.runs_left())
    resumed: list[int] = []
    got = run_shards(
        job(), PHOTOS, cluster=there, folder=here / "kept", resume=True,
        on_progress=lambda progress: resumed.append(progress.resumed),
    )  # fmt: skip
    assert 3 <= resumed[0] < PHOTOS
    assert as_bytes(got) == as_bytes(run_shards(job(), PHOTOS, workers=1))


def test_every_worker_refused_is_an_error(workers: LocalCluster, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "report", lambda: machine.report() | {"numpy": "0.1"})
    with pytest.raises(InputError, match=r"every worker is refused: .*; worker tcp://.*numpy 2\S+ there, 0.1 here"):
        run_shards(job(), PHOTOS, cluster=Cluster(workers.address))


def test_a_killed_worker_costs_its_shard_and_one_that_joins_helps(workers: LocalCluster, here: Path) -> None:
    told: list[str] = []

    def kill() -> None:
        workers.workers["sees"].kill()
        workers.workers["alone"].kill()
        workers.start_worker("late")

    got = run_shards(
        job(), PHOTOS, shard_size=2, cluster=Cluster(workers.address, tell=told.append), on_progress=after(4, kill)
    )
    assert as_bytes(got) == as_bytes(run_shards(job(), PHOTOS, workers=1))
    assert any(text.startswith("worker tcp://") and "is lost" in text for text in told)


def test_a_shard_that_kills_every_worker_is_an_error(here: Path) -> None:
    progress, told = Progress(PHOTOS), list[str]()
    pool = Dispatch(job(), ShardStore(None, ""), Cluster("tcp://127.0.0.1:1", tell=told.append), progress)
    pool._waiting = []
    for number in range(2):
        pool._lost(Member((f"tcp://there:{number}", ""), number, admitted=True, shard=range(4, 8)))
    assert pool._waiting == [range(4, 8)] * 2
    assert told[0] == "worker tcp://there:0 is lost; samples 5 to 8 are done again"
    with pytest.raises(ResourceError, match="workers were lost 3 times over samples 5 to 8") as raised:
        pool._lost(Member(("tcp://there:3", ""), 3, admitted=True, shard=range(4, 8)))
    assert raised.value.exit_code == 4


def test_no_scheduler_is_an_error_in_bounded_time() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(InputError, match=r"no scheduler answers there within 0.2 s; start one with `dask scheduler`"):
        Cluster(address, 0.2).connect()
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(InputError, match="no scheduler answers"):
        Cluster(f"tcp://127.0.0.1:{mute.getsockname()[1]}", 0.2).connect()


@pytest.mark.parametrize("address", ["localhost:8786", "tcp://localhost", "tcp://:8786", "tcp://h:x", "http://h:1"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(InputError, match="is no address of a scheduler; give one like tcp://host:8786"):
        Cluster(address).connect()


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"--scheduler: needs Dask, .*; pip install 'stepdown\[cluster\]'"):
        Cluster("tcp://127.0.0.1:8786").connect()


def test_flags_without_meaning(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    common = ["digits.mlir", "--dataset", "photos", "-o", "table"]
    for flags, complaint in (
        (["--scheduler", "tcp://h:1", "--workers", "2"], "--workers: has no meaning with --scheduler"),
        (["--scheduler_wait", "3"], "--scheduler_wait: has no meaning without --scheduler"),
        (["--scheduler", "tcp://h:1", "--scheduler_wait", "0"], "--scheduler_wait: 0 is no time to wait"),
    ):
        assert tool.run("run_calibration", [*common, *flags]) == 2
        assert complaint in capsys.readouterr().err


def test_reports_of_one_machine_agree_and_differences_are_named() -> None:
    ours = machine.report()
    assert ours["numpy"] == np.__version__
    assert machine.differences(dict(ours), ours) == ""
    theirs = ours | {"numpy": "1.0", "BLAS kernels": "", "CPU features": "AVX9"}
    found = machine.differences(theirs, ours)
    assert found.startswith(f"numpy 1.0 there, {np.__version__} here; BLAS kernels none there, ")
    assert found.endswith(" and also AVX9")
