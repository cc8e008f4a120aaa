"""What the checks share: tiny checkpoints, exports of them, and counting what passed."""

import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

import numpy as np

BUILD = pathlib.Path(os.environ["OM_BUILD"])
DATA = pathlib.Path(os.environ["OM_DATA"])
CLI = BUILD / "optimum-cli"


class Report:
    """Runs checks one by one; a check fails by raising and may return a detail to print."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, function, *args, **kwargs):
        try:
            detail = function(*args, **kwargs)
        except Exception as error:
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {' '.join(str(error).split())[:400]}", flush=True)
            if not isinstance(error, (AssertionError, subprocess.CalledProcessError)):
                traceback.print_exc(limit=-4, file=sys.stdout)
        else:
            self.passed += 1
            print(f"ok   {name}{f' ({detail})' if detail else ''}", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed, 0 skipped")
        sys.exit(self.failed != 0)


def scratch():
    """A temporary directory in the build tree: safetensors files are reflinked or copied within one file system."""
    return tempfile.TemporaryDirectory(dir=BUILD / "interop")


def golden(case):
    return DATA / "goldens" / case


def checkpoint(case, directory):
    """Write the checkpoint of the golden "type/task" and return its path."""
    out = pathlib.Path(directory) / ("ck-" + case.replace("/", "-"))
    if not out.exists():
        subprocess.run([BUILD / "tools/mkckpt", golden(case), out], check=True, stdout=subprocess.DEVNULL)
    return out


def export(model, out, *args):
    """Export with our program, strictly validated; a failure carries its last message."""
    command = [CLI, "export", "onnx", "-q", "--strict", "--model", model, *map(str, args), out]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"optimum-cli exited {result.returncode}: {result.stderr.strip()[-300:]}"


def onnx_files(directory):
    return sorted(pathlib.Path(directory).glob("*.onnx"))


def close(self):
        print(f"{self.passed} passed, {self.failed} failed, 0 skipped")
        sys.exit(self.failed != 0)


def scratch():
    """A temporary directory in the build tree: safetensors files are reflinked or copied within one file system."""
    return tempfile.TemporaryDirectory(dir=BUILD / "interop")


def golden(case):
    return DATA / "goldens" / case


def checkpoint(case, directory):
    """Write the checkpoint of the golden "type/task" and return its path."""
    out = pathlib.Path(directory) / ("ck-" + case.replace("/", "-"))
    if not out.exists():
        subprocess.run([BUILD / "tools/mkckpt", golden(case), out], check=True, stdout=subprocess.DEVNULL)
    return out


def export(model, out, *args):
    """Export with our program, strictly validated; a failure carries its last message."""
    command = [CLI, "export", "onnx", "-q", "--strict", "--model", model, *map(str, args), out]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"optimum-cli exited {result.returncode}: {result.stderr.strip()[-300:]}"


def onnx_files(directory):
    return sorted(pathlib.Path(directory).glob("*.onnx"))


def model_type(directory):
    return json.loads((pathlib.Path(directory) / "config.json").read_text())["model_type"]


def close(got, want, tolerance=1e-4):
    """Assert that two arrays agree, relative to the largest value beyond 1; return the largest difference."""
    got, want = (np.asarray(x, dtype=np.float64) for x in (got, want))
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    difference = float(np.abs(got - want).max()) if want.size else 0.0
    limit = tolerance * max(1.0, float(np.abs(want).max()) if want.size else 0.0)
    assert difference <= limit, f"largest difference {difference:.3g}, limit {limit:.3g}"
    return difference


def equal(got, want):
    assert got == want, f"{got}, expected {want}"
