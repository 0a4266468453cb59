"""What the tests of tasks and chapters share."""

import pytest
import torch
from tiny_project import make_project


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the runs that the tests of a file share."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def project(tmp_path):
    """A project with one chapter, nothing run."""
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def one_thread():
    """Tiny networks run faster on one thread, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
