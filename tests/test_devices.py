"""Another device may hold a claim to account, but never rewrites what is published."""

import sys

import pytest
import torch

import tools.press.build
from tests import small_house
from tools.labs import records
from tools.labs.run import run


def test_records_of_another_device_are_kept_apart(tmp_path):
    small_house.build(tmp_path)
    assert run("echo", "cpu", 120, tmp_path).state == "run"
    published = records.seal(tmp_path / "build/labs", "echo")
    assert run("echo", "cuda", 120, tmp_path).state == "run"  # this lab needs none
    assert records.seal(tmp_path / "build/labs", "echo") == published
    made = records.provenance(tmp_path / "build/labs-cuda", "echo")
    assert made["device"] == "cuda"
    assert run("echo", "cpu", 120, tmp_path).state == "reused"


def test_the_book_is_built_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["build", "--device", "cuda"])
    monkeypatch.setattr(
        tools.press.build, "check", lambda *_: pytest.fail("it goes on")
    )
    with pytest.raises(SystemExit, match="CPU"):
        tools.press.build.main()
