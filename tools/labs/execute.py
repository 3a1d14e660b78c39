"""Execute one lab in a kernel of its own, under a limit on its wall-clock time."""

import atexit
import inspect
import json
import os
import re
import textwrap
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tools.core.lab import STYLE, Lab
from tools.labs import records
from tools.labs.figures import clean

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
GUARD = Path(__file__).with_name("guard.py")
PRINTED = 100_000  # characters of one cell
LONGEST = 300  # of what an exception says
# Runs after the last cell, in the kernel: JSON would make a list of a tuple.
EPILOGUE = f"""\
import json, math, time

{inspect.getsource(records.check_results)}
check_results(results)
with open("results.json", "w") as file:
    json.dump({{"seconds": time.process_time(), "results": results}}, file)
"""


class LabError(Exception):
    """What went wrong in a lab, and where: `line: message`."""


def environment(device: str, folder: Path) -> dict[str, str]:
    """One thread, the book's figure style, and no accelerator unless asked for."""
    env = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "LAB_DEVICE": device}
    env |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": str(STYLE), "TMPDIR": str(folder)}
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    return {**os.environ, **env}


class Client(NotebookClient):
    """Stops a lab that prints too much, or when it is told to."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.stopped, self.printed = "", Counter()

    def output(self, outs, msg, display_id, cell_index):
        self.printed[cell_index] += len(msg["content"].get("text", ""))
        if self.printed[cell_index] > PRINTED and not self.stopped:
            self.stop(f"this cell prints more than {PRINTED // 1000} KB, print less")
        return super().output(outs, msg, display_id, cell_index)

    def stop(self, why: str) -> None:
        """Kill the kernel and all its children."""
        self.stopped = why
        while not (self.km and self.km.has_kernel):
            time.sleep(0.1)  # it is still starting
        with suppress(psutil.NoSuchProcess):
            kernel = psutil.Process(self.km.provisioner.pid)
            for process in [*kernel.children(recursive=True), kernel]:
                process.kill()


@contextmanager
def deadline(client: Client, limit: float):
    """Stop the lab when the time is over."""
    why = f"stopped after {limit:g} s; LAB_TIMEOUT sets the limit"
    timer = threading.Timer(limit, client.stop, [why])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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

    def collect(cell, cell_index, execute_reply, **_):
        """Attach the figures that a cell saved to its outputs."""
        if cell_index == len(code) or execute_reply["content"]["status"] == "error":
            return
        print(f"  {lab.stem}: {cell_index + 1}/{len(code)}", flush=True)
        line = code[cell_index].line
        if client.stopped:
            raise LabError(f"{line}: {client.stopped}")
        kinds = {kind for out in cell.outputs for kind in out.get("data", ())}
        if rich := ", ".join(sorted(kinds - {"text/plain"})):
            raise LabError(f"{line}: this cell shows {rich}: print text instead")
        for path in sorted(folder.glob("*.svg")):
            if path.name in figures:
                continue
            try:
                figures[path.name] = clean(path, f"{lab.stem}-{path.stem}")
            except (ValueError, SyntaxError) as error:  # SyntaxError: this is not XML
                raise LabError(f"{line}: {path.name}: {error}") from None
            data = {"image/svg+xml": figures[path.name]}
            output = nbformat.v4.new_output("display_data", data)
            output.metadata = {"name": path.stem}
            cell.outputs.append(output)

    client = Client(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=[
            "--IPKernelApp.log_level=ERROR",
            f"--IPKernelApp.exec_files={GUARD}",
        ],
        on_cell_executed=collect,
    )
    with deadline(client, limit):
        try:
            client.execute(env=environment(device, folder))
        except (CellExecutionError, DeadKernelError) as error:
            # the last cell that was sent; the epilogue stands for the last one
            sent = sum(cell.execution_count is not None for cell in notebook.cells)
            line = code[min(sent, len(code)) - 1].line
            what = client.stopped or explain(error, sent > len(code))
            raise LabError(f"{line}: {what}") from None
        finally:  # killed while it starts, it is cleaned up already
            atexit.unregister(client._cleanup_kernel)
    del notebook.cells[-1]
    for cell in notebook.cells:  # warnings carry paths of this machine
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    made = json.loads((folder / "results.json").read_text("utf-8"))
    return notebook, made, figures


def explain(error: Exception, in_epilogue: bool) -> str:
    if isinstance(error, DeadKernelError):
        return "the kernel died in this cell"
    if not in_epilogue:
        return f"{error.ename}: {one_line(error.evalue)}"
    if error.ename == "NameError":
        return "the lab ends without `results`"
    return one_line(error.evalue)


def one_line(text: str) -> str:
    """Keep what an exception says to one line, without colours of a terminal."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    return textwrap.shorten(plain, LONGEST, placeholder=" …")
