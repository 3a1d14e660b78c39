"""What every test shares: the device to run on, a fixed seed, one thread.

Tests of a snippet take the fixture `device` and run on the CPU and, where there is
one, on the accelerator. Tests that train a model for seconds are marked `slow`:
`nox -s tests` runs them, `nox -s mutants` leaves them out.
"""

import sys

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: trains for seconds, not run by mutants")


def set_up_torch():
    import torch  # takes three seconds, which tests without torch do not need

    torch.set_num_threads(1)  # small models are slower on two
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        accelerator = set_up_torch().accelerator.current_accelerator(True)
        devices = ["cpu", accelerator.type] if accelerator else ["cpu"]
        metafunc.parametrize("device", devices, indirect=True)


@pytest.fixture
def device(request):
    return request.param


@pytest.fixture(autouse=True)
def seed():
    if "torch" in sys.modules:
        set_up_torch().manual_seed(0)
