"""torch_form.py MODEL OUT: the safetensors checkpoint MODEL as torch.save would write it, without torch.

An archive of stored members: data.pkl, which calls torch._utils._rebuild_tensor_v2 for every tensor, and one member of bytes each
(pytorch/torch/serialization.py). Tensors are streamed.
"""

import collections
import io
import json
import pathlib
import pickle
import shutil
import struct
import sys
import types
import zipfile

STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "I64": "LongStorage"}
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


def fake(module, name):
    """A global that pickles as module.name."""
    parent = sys.modules.setdefault(module, types.ModuleType(module))
    if not hasattr(parent, name):
        setattr(parent, name, type(name, (), {"__module__": module}))
    return getattr(parent, name)


class Storage:
    def __init__(self, key, dtype, elements):
        self.identity = ("storage", fake("torch", STORAGES[dtype]), key, "cpu", elements)


class Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, tuple(shape)

    def __reduce__(self):
        strides, step = [], 1
        for n in reversed(self.shape):
            strides.insert(0, step)
            step *= n
        hooks = collections.OrderedDict()
        return fake("torch._utils", "_rebuild_tensor_v2"), (self.storage, 0, self.shape, tuple(strides), False, hooks)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.identity if isinstance(value, Storage) else None


def convert(model, out):
    source = model / "model.safetensors"
    out.mkdir(parents=True)
    for file in model.glob("*.json"):
        shutil.copy(file, out)
    with open(source, "rb") as data, zipfile.ZipFile(out / "pytorch_model.bin", "w", allowZip64=True) as archive:
        length = struct.unpack("<Q", data.read(8))[0]
        header = json.loads(data.read(length))
        header.pop("__metadata__", None)
        state = collections.OrderedDict()
        for key, (name, t) in enumerate(header.items()):
            begin, end = t["data_offsets"]
            state[name] = Tensor(Storage(str(key), t["dtype"], (end - begin) // BYTES[t["dtype"]]), t["shape"])
        text = io.BytesIO()
        Pickler(text, protocol=2).dump(state)
        archive.writestr("archive/data.pkl", text.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, t in enumerate(header.values()):
            begin, end = t["data_offsets"]
            data.seek(8 + length + begin)
            with archive.open(f"archive/data/{key}", "w", force_zip64=True) as member:
                for at in range(begin, end, 1 << 24):
                    member.write(data.read(min(1 << 24, end - at)))
        archive.writestr("archive/version", "3\n")


if __name__ == "__main__":
    convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
