"""Execute one lab in a kernel of its own, under a limit on its wall-clock time."""

import json
import os
import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tools.core.lab import STYLE, Lab
from tools.labs.figures import clean

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
# Runs after the last cell; JSON refuses tensors and the like by itself.
EPILOGUE = """\
import json as _json, time as _time
with open("results.json", "w") as _file:
    _json.dump({"seconds": _time.process_time(), "results": results}, _file)
"""


class LabError(Exception):
    """What went wrong in a lab, and where: `line: message`."""


def environment(device: str) -> dict[str, str]:
    """One thread, the book's figure style, and no accelerator unless asked for."""
    env = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "LAB_DEVICE": device}
    env |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": str(STYLE)}
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    return {**os.environ, **env}


class Deadline:
    """Kill the kernel and all its children when the time is over."""

    def __init__(self, client: NotebookClient, limit: float):
        self.client, self.passed = client, False
        self.timer = threading.Timer(limit, self.kill)
        self.timer.daemon = True

    def __enter__(self):
        self.timer.start()
        return self

    def __exit__(self, *_):
        self.timer.cancel()

    def kill(self):
        self.passed = True
        while not (self.client.km and self.client.km.has_kernel):
            time.sleep(0.1)  # it is still starting
        kernel = psutil.Process(self.client.km.provisioner.pid)
        for process in [*kernel.children(recursive=True), kernel]:
            process.kill()


def execute(lab: Lab, folder: Path, device: str, limit: float):
    """Run every cell in `folder`; returns the notebook, results.json, figures."""
    code = lab.code
    texts = [*(part.text for part in code), EPILOGUE]
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}},
        cells=[
            nbformat.v4.new_code_cell(text, id=f"code-{n}")
            for n, text in enumerate(texts)
        ],
    )
    figures: dict[str, str] = {}

    def collect(cell, cell_index, **_):
        """Attach the figures that a cell saved to its outputs."""
        if cell_index == len(code):
            return
        print(f"  {lab.stem}: {cell_index + 1}/{len(code)}", flush=True)
        for path in sorted(folder.glob("*.svg")):
            if path.name in figures:
                continue
            try:
                figures[path.name] = clean(path, f"{lab.stem}-{path.stem}")
            except ValueError as error:
                line = code[cell_index].line
                raise LabError(f"{line}: {path.name}: {error}") from None
            data = {"image/svg+xml": figures[path.name]}
            output = nbformat.v4.new_output("display_data", data)
            output.metadata = {"name": path.stem}
            cell.outputs.append(output)

    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        on_cell_executed=collect,
    )
    with Deadline(client, limit) as deadline:
        try:
            client.execute(env=environment(device))
        except (CellExecutionError, DeadKernelError) as error:
            # the last cell that was sent; the epilogue stands for the last one
            sent = sum(cell.execution_count is not None for cell in notebook.cells)
            line = code[min(sent, len(code)) - 1].line
            what = explain(error, sent > len(code), deadline.passed, limit)
            raise LabError(f"{line}: {what}") from None
    del notebook.cells[-1]
    for cell in notebook.cells:  # warnings carry paths of this machine
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    made = json.loads((folder / "results.json").read_text("utf-8"))
    return notebook, made, figures


def explain(error: Exception, in_epilogue: bool, late: bool, limit: float) -> str:
    if late:
        return f"stopped after {limit:g} s; LAB_TIMEOUT sets the limit"
    if isinstance(error, DeadKernelError):
        return "the kernel died in this cell"
    if not in_epilogue:
        return f"{error.ename}: {error.evalue}"
    if error.ename == "NameError":
        return "the lab ends without `results`"
    return f"`results` must hold plain values only: {error.evalue}"
