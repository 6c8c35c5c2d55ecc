import pytest
from support.squares_workspace import make_squares_workspace

from retinanet import distributed
from retinanet.config.params import load_params
from retinanet.distributed import World
from retinanet.errors import ParamsError, TrainingError
from retinanet.training.job import TrainingJob, read_sets, training_job
from stages import paths


@pytest.fixture
def job(tmp_path, monkeypatch) -> TrainingJob:
    make_squares_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return training_job(load_params(), read_sets(paths), "none", paths)


def test_a_job_knows_what_its_data_decide(job):
    assert job.params.train.augment.orientation == "upright"
    assert job.tiling == (0, 0.25)
    assert job.input_size == (96, 128)
    assert len(job.fingerprint()) == 16


def test_a_batch_that_the_processes_of_all_hosts_cannot_share_equally_is_an_error(job, monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: World(0, 3))
    with pytest.raises(ParamsError, match=r"train.batch_size is 4; it must be a multiple of all processes \(3\)"):
        job.fingerprint()


def test_hosts_with_other_data_or_settings_are_an_error(job, monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: World(0, 2))
    monkeypatch.setattr(distributed, "all_gather", lambda rows: [*rows, "0123456789abcdef on cpu in 1 micro-batches"])
    with pytest.raises(TrainingError, match=r"rank 1: 0123456789abcdef on cpu.*every host needs the same code"):
        job.fingerprint()
