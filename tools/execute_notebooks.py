"""Run notebooks top to bottom in a fresh kernel and store them with their outputs.

    python tools/execute_notebooks.py                       # remake notebooks/*.ipynb in place, small profile
    python tools/execute_notebooks.py --out runs/today      # write copies there and leave notebooks/ as it is

The kernel is the interpreter that runs this tool, whatever kernelspecs Jupyter finds on this machine. Two runs in place
write identical files: no timings, no widget state, fixed cell ids. Seconds and peak memory are printed instead.
"""

import argparse
import os
import re
import resource
import sys
import time
from pathlib import Path

try:
    import nbformat
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
except ImportError as error:
    sys.exit(f"{sys.executable} cannot run notebooks ({error}): run pip install 'parlib[notebooks]' in its environment")

HERE = Path(__file__).resolve().parents[1] / "notebooks"
NO_LIMIT = None  # seconds per cell: the paper profile trains for hours inside one


class OwnKernel(AsyncKernelManager):
    """Starts ipykernel with the interpreter that runs this tool; a kernelspec called `python3` may be another one."""

    @property
    def kernel_spec(self):
        """The specification that ipykernel gives for `sys.executable`."""
        return KernelSpec(**get_kernel_dict())


def execute(source, target, timeout=NO_LIMIT):
    """Run one notebook and write it to `target` with clean outputs."""
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",  # written to the notebook; the kernel is OwnKernel's
        kernel_manager_class=OwnKernel,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(source.parent)}},
    )
    try:
        client.execute()
    finally:
        clean(notebook)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        nbformat.write(notebook, partial)
        partial.replace(target)


def clean(notebook):
    """Remove what differs between two runs or is of no use to a reader."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            for output in cell.outputs:
                if "data" in output:
                    output.data.pop("application/vnd.jupyter.widget-view+json", None)
                    if "image/png" in output.data:
                        output.data.pop("image/jpeg", None)  # Pillow gives both formats
            kept = [o for o in cell.outputs if o.get("name") != "stderr" and not _is_progress(o)]
            cell.outputs = kept[:1]
            for output in kept[1:]:
                # How consecutive prints are divided into messages depends on timing.
                if output.output_type == cell.outputs[-1].output_type == "stream":
                    cell.outputs[-1].text += output.text
                else:
                    cell.outputs.append(output)


def _is_progress(output):
    """Whether an output is what is left of a progress bar: a line of text on stderr or from a widget."""
    data = output.get("data", True)
    return not data or (data is not True and re.search(r"^[^\n]*\d%\|", data.get("text/plain", "")) is not None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all; with --out all but the solutions")
    parser.add_argument("--out", type=Path, help="folder for the executed copies; default: in place")
    arguments = parser.parse_args()
    if arguments.out is None and os.environ.get("PARLIB_PROFILE", "small") != "small":
        parser.error("the committed notebooks are made in the small profile; give --out for another one")
    # Kernels run in notebooks/; paths are relative to the folder that the user is in.
    for name in ("PARLIB_DATA", "PARLIB_CACHE", "PARLIB_RUNS", "PARLIB_ENCODER"):
        # An encoder may be a hub id, which is not a path.
        if os.environ.get(name) and (name != "PARLIB_ENCODER" or os.path.isdir(os.environ[name])):
            os.environ[name] = os.path.abspath(os.environ[name])
    numbered = "[0-9][0-9]_*.ipynb"
    sources = arguments.notebooks or sorted(HERE.glob(numbered if arguments.out else "*.ipynb"))
    for source in sources:
        target = (arguments.out / source.name) if arguments.out else source
        started = time.perf_counter()
        try:
            execute(source, target)
        except CellExecutionError as error:
            # The last line of a traceback is the message; the written notebook holds all of it.
            last = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()[-1]
            print(f"{source.name}: stopped. {last}\nwritten as far as it came: {target}", file=sys.stderr)
            return 1
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{source.name}: {time.perf_counter() - started:.0f} s, peak memory so far {peak:.0f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
