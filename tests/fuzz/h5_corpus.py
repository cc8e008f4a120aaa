#!/usr/bin/env python3
"""Write the seeds of fuzz_h5, which tests/unit/t_h5.c reads as well: python3 h5_corpus.py DIR (needs h5py).

Every file is a Keras checkpoint of a few numbers; its name says what is special about it."""
import os
import sys

import h5py
import numpy as np

OUT = sys.argv[1]


def fixed(names):
    return np.array([n.encode() for n in names], dtype="S")


def strings(names):
    """As h5py 3 stores a list: references to a heap."""
    return [n.encode() for n in names]


def numbers(shape, dtype="<f4"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def checkpoint(name, weights, layers=("layer",), encode=strings, fill=None, **options):
    """One layer with the variables of weights: name -> array, or a function of (group, name)."""
    with h5py.File(os.path.join(OUT, name + ".h5"), "w", **options) as f:
        f.attrs["layer_names"] = encode(layers)
        group = f.create_group("layer")
        group.attrs["weight_names"] = encode(list(weights))
        for key, value in weights.items():
            if callable(value):
                value(group, key)
            else:
                group.create_dataset(key, data=value)
        if fill:
            fill(f, group)


def create(shape=(4,), dtype="<f4", **options):
    return lambda group, name: group.create_dataset(name, shape, dtype, **options).__setitem__(..., 1)


def compact(group, name):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple((3,))
    data = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plist, links)
    data.write(h5py.h5s.ALL, h5py.h5s.ALL, numbers((3,)))


def virtual(group, name):
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    group.create_virtual_dataset(name, layout)


def committed(group, name):
    group.file["type"] = np.dtype("<f4")
    group.create_dataset(name, (4,), group.file["type"])[...] = 1


MODEL = {
    "m/dense/kernel:0": numbers((2, 3)),
    "m/dense/bias:0": numbers((1, 3)),
    "m/mlm___cls/norm/gamma:0": numbers((3,)),
    "m/h_._0/norm/beta:0": numbers((3,)),
    "m/conv/kernel:0": numbers((2, 3, 4, 5)),
    "m/wide/kernel:0": numbers((2, 3, 4)),
    "m/embed/embeddings:0": numbers((3, 2)),
    "m/half/weight:0": numbers((2,), "<f2"),
    "m/double/weight:0": numbers((2,), "<f8"),
    "m/position_ids:0": numbers((1, 2), "<i8"),
    "m/bytes:0": numbers((2,), "u1"),
    "m/scalar:0": np.float32(7),
    "m/empty/kernel:0": numbers((0, 3)),
    "m/compact:0": compact,
}


def again(f, group):
    """A second layer that shares one variable of the first."""
    other = f.create_group("other")
    other.attrs["weight_names"] = strings(["m/dense/kernel:0"])
    other.create_dataset("m/dense/kernel:0", data=numbers((2, 3)))


def twice(f, group):
    other = f.create_group("other")
    other.attrs["weight_names"] = strings(["m/x:0"])
    other.create_dataset("m/x:0", data=numbers((5,)))


def circle(f, group):
    """Every layer name leads to the group that contains itself, and so does every component."""
    f["layer/m"] = group
    del group.attrs["weight_names"]
    group.attrs["weight_names"] = fixed(["m/" * 4000 + "w"])
    group.create_dataset("w", data=numbers((2,)))


def numbered(f, group):
    del group.attrs["weight_names"]
    group.attrs["weight_names0"] = fixed(["m/a:0"])
    group.attrs["weight_names1"] = fixed(["m/b:0"])


def no_layers(f, group):
    del f.attrs["layer_names"]


def no_weights(f, group):
    group.attrs["weight_names"] = np.asarray([])


def many(f, group):
    """More names than a leaf of the group's tree takes, and than its root does."""
    group.create_dataset("m/0:0", data=np.float32(7))
    for i in range(1, 300):
        group["m/%d:0" % i] = group["m/0:0"]
    del group.attrs["weight_names"]
    group.attrs["weight_names"] = fixed(["m/%d:0" % i for i in range(300)])


def shard(name):
    with h5py.File(os.path.join(OUT, name + ".h5"), "w") as f:
        names = ["bert/dense/kernel:0", "model.shared/model.shared/embeddings:0", "final_bias:0"]
        for n in names:
            f.create_dataset(n, data=numbers((2, 3)))
        f.attrs["layer_names"] = strings(names)


ONE = {"m/x:0": numbers((4,))}
checkpoint("model", MODEL, ("layer", "other"), fill=again)
checkpoint("model-fixed-strings", MODEL, ("layer", "other"), fixed, again)
checkpoint("many", {}, fill=many)
checkpoint("numbered", {"m/a:0": numbers((2,)), "m/b:0": numbers((3,))}, fill=numbered)
checkpoint("no-weights", {}, fill=no_weights)
shard("shard")

checkpoint("big-endian", {"m/x:0": numbers((4,), ">f4")})
checkpoint("bool", {"m/x:0": np.array([True, False])})
checkpoint("text", {"m/x:0": np.array([b"abc"], dtype="S3")})
checkpoint("compound", {"m/x:0": np.zeros(2, [("a", "<f4"), ("b", "<f4")])})
checkpoint("chunked", {"m/x:0": create(chunks=(2,))})
checkpoint("deflated", {"m/x:0": create(chunks=(2,), compression="gzip")})
checkpoint("external", {"m/x:0": lambda g, n: g.create_dataset(n, (1,), "<f4", external=[("other", 0, 4)])})
checkpoint("virtual", {"m/x:0": virtual})
checkpoint("committed", {"m/x:0": committed})
checkpoint("unwritten", {"m/x:0": lambda g, n: g.create_dataset(n, (4,), "<f4")})
checkpoint("external-link", {"m/x:0": lambda g, n: g.__setitem__(n, h5py.ExternalLink("other.h5", "/x"))})
checkpoint("soft-link", {"m/x:0": lambda g, n: g.__setitem__(n, h5py.SoftLink("/layer/y"))},
           fill=lambda f, g: g.create_dataset("y", data=numbers((4,))))
checkpoint("latest", ONE, libver="latest")
checkpoint("ordered", ONE, track_order=True)
checkpoint("userblock", ONE, userblock_size=512)
checkpoint("no-layers", ONE, fill=no_layers)
checkpoint("missing", {"m/x:0": lambda g, n: None})
checkpoint("group", {"m/x:0": lambda g, n: g.create_group(n)})
checkpoint("twice", ONE, ("layer", "other"), fill=twice)
checkpoint("circle", {}, ["layer"] * 500, fixed, circle)
