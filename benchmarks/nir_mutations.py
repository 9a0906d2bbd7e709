"""Damage to NIR files: seed graphs that hold every primitive, and what is done to them."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

# Seeds: small graphs that between them hold every primitive


def _full(shape: tuple[int, ...], *values: float) -> list[Any]:
    return [np.full(shape, value, dtype=np.float32) for value in values]


def _chain(nodes: dict[str, Any], shape: tuple[int, ...], out: tuple[int, ...]) -> nir.NIRGraph:
    ends = {"input": nir.Input(np.array(shape)), **nodes, "output": nir.Output(np.array(out))}
    edges = list(zip(list(ends), list(ends)[1:], strict=False))
    return nir.NIRGraph(ends, edges, metadata={"dt": 1e-4, "note": "seed"}, type_check=False)


def seeds() -> list[nir.NIRGraph]:
    """Dense, convolutional, one-dimensional, recurrent, nested: every primitive of NIR 1.0."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 8)).astype(np.float32)
    lif = nir.LIF(*_full((6,), 1e-3, 10.0, 0.0, 1.0, 0.0))
    dense = {"fc": nir.Affine(weights, rng.normal(size=6)), "lif": lif}
    conv = {
        "conv": nir.Conv2d((8, 8), rng.normal(size=(3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        "if": nir.IF(*_full((3, 8, 8), 1e4, 1.0, 0.0)),
        "sum": nir.SumPool2d(*(np.array([n, n]) for n in (2, 2, 0))),
        "avg": nir.AvgPool2d(*(np.array([n, n]) for n in (2, 2, 0))),
        "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "li": nir.LI(*_full((12,), 1e-3, 1.0, 0.0)),
    }
    line = {
        "conv": nir.Conv1d(9, rng.normal(size=(3, 2, 3)), 1, 0, 1, 1, np.zeros(3)),
        "flat": nir.Flatten({"input": np.array([3, 7])}, 0, -1),
        "scale": nir.Scale(rng.normal(size=21)),
        "delay": nir.Delay(np.full(21, 2e-4)),
        "threshold": nir.Threshold(np.ones(21)),
        "i": nir.I(np.ones(21)),
        "cuba": nir.CubaLI(*_full((21,), 1e-3, 2e-3, 1.0, 0.0)),
    }
    loop = _chain({"cuba": nir.CubaLIF(*_full((6,), 1e-3, 1e-3, 1.0, 0.0, 1.0))}, (6,), (6,))
    loop.nodes["back"] = nir.Linear(rng.normal(size=(6, 6)))
    loop.edges += [("cuba", "back"), ("back", "cuba")]
    nested = _chain({"block": _chain(dense, (8,), (6,))}, (8,), (6,))
    wide = {"fc": nir.Linear(rng.normal(size=(64, 8))), "if": nir.IF(*_full((64,), 1e4, 1.0, 0.0))}
    return [
        _chain(dense, (8,), (6,)),
        _chain(conv, (2, 8, 8), (12,)),
        _chain(line, (2, 9), (21,)),
        loop,
        nested,
        _chain(wide, (8,), (64,)),
    ]


# Damage to bytes

Bytes = Callable[[bytearray, random.Random, list[bytes]], None]


def _flips(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _random_bytes(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    for _ in range(rng.choice((1, 4, 8, 32))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _run(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    length, start = rng.choice((8, 64, 512, 4096)), rng.randrange(len(data))
    length = min(length, len(data) - start)
    filler = rng.choice((b"\0", b"\xff", b"\x7f", None))
    data[start : start + length] = rng.randbytes(length) if filler is None else filler * length


def _truncate(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _extend(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.choice((1, 8, 100)))


def _splice(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    other = rng.choice(others)
    length = rng.choice((16, 256, 2048))
    source, target = rng.randrange(len(other)), rng.randrange(len(data))
    part = other[source : source + length][: len(data) - target]
    data[target : target + len(part)] = part


def _sizes(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """Numbers that lengths, counts and addresses of HDF5 do not survive."""
    for _ in range(rng.choice((1, 1, 2))):
        width = rng.choice((2, 4, 8))
        value = rng.choice((0, 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1))
        start = rng.randrange(len(data) - 8) & ~1
        data[start : start + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")


BYTES: dict[str, Bytes] = {
    "bit flips": _flips,
    "random bytes": _random_bytes,
    "byte runs": _run,
    "truncated": _truncate,
    "inserted": _extend,
    "spliced": _splice,
    "sizes": _sizes,
}


# Damage to structure, through h5py

Structure = Callable[[h5py.File, random.Random], None]


def _places(stream: h5py.File, kind: type) -> list[str]:
    found: list[str] = []
    stream["node"].visititems(
        lambda name, item: found.append(f"node/{name}") if isinstance(item, kind) else None
    )
    return sorted(found)


def _dataset(stream: h5py.File, rng: random.Random) -> str:
    return rng.choice(_places(stream, h5py.Dataset))


def _put(stream: h5py.File, place: str, **options: Any) -> None:
    del stream[place]
    stream.create_dataset(place, **options)


def _values(stream: h5py.File, rng: random.Random) -> None:
    place = rng.choice([p for p in _places(stream, h5py.Dataset) if stream[p].dtype.kind in "iuf"])
    array = np.array(stream[place][()], dtype=np.float64)
    odd = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-300, 1e300, 5e-5, -(2.0**62), 2.5)
    array[rng.choice((..., tuple(0 for _ in array.shape)))] = rng.choice(odd)
    kind = stream[place].dtype.kind
    whole = kind in "iu" and bool(np.all(np.abs(array) < 2**62))
    _put(stream, place, data=array.astype(np.int64) if whole else array)


def _dtypes(stream: h5py.File, rng: random.Random) -> None:
    place = _dataset(stream, rng)
    dtype = rng.choice(
        (
            "i1", "u8", "f2", "c16", "?", "S4", "V3",
            h5py.string_dtype(), h5py.ref_dtype, h5py.regionref_dtype, h5py.vlen_dtype("i4"),
            np.dtype([("a", "f4"), ("b", "i2")]), h5py.enum_dtype({"a": 1}), np.dtype(("f4", (2,))),
        )
    )  # fmt: skip
    _put(stream, place, shape=stream[place].shape, dtype=dtype)


def _shapes(stream: h5py.File, rng: random.Random) -> None:
    place = _dataset(stream, rng)
    if stream[place].dtype.kind == "O":
        _put(stream, place, data=np.array([b"a", b"b", b"c"], dtype="S1"))
        return
    shape = rng.choice(((), (0,), (1,), (3,), (2, 2), (1, 1, 1, 1), (5, 0), (1,) * 20, None))
    if shape is None:
        _put(stream, place, data=h5py.Empty("f8"))
    else:
        _put(stream, place, data=np.ones(shape, rng.choice(("f4", "f8", "i8"))))


def _giant(stream: h5py.File, rng: random.Random) -> None:
    place = _dataset(stream, rng)
    side = rng.choice((9_000, 30_000, 1 << 20, 1 << 29))
    chunks = rng.choice((None, (64, 64), (1024, 1024)))
    _put(stream, place, shape=(side, side), dtype="f8", chunks=chunks)


def _bomb(stream: h5py.File, rng: random.Random) -> None:
    """Zeros, packed a thousandfold; in honest chunks, or in one that unpacks to more."""
    place = _dataset(stream, rng)
    rows, claimed = rng.choice(((1, 1 << 20), (8, 1 << 20), (200, 1 << 20), (4, 1 << 10)))
    options: dict[str, Any] = {"chunks": (1, claimed), "dtype": "f8", "compression": "gzip"}
    _put(stream, place, shape=(rows, claimed), **options)
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    stored = b"".join(packer.compress(block) for _ in range(rng.choice((8, 200)))) + packer.flush()
    for row in range(rows):
        stream[place].id.write_direct_chunk((row, 0), stored)


def _text_bomb(stream: h5py.File, rng: random.Random) -> None:
    _put(stream, "node/edges", data=[["x" * 60_000] * 2], dtype=h5py.string_dtype())
    count = rng.choice((10, 1000, 100_000))
    dtype = np.dtype(f"S{rng.choice((10, 60_000))}")
    _put(
        stream, _dataset(stream, rng), shape=(count, 2), dtype=dtype, chunks=(10, 2),
        compression="gzip",
    )  # fmt: skip


def _links(stream: h5py.File, rng: random.Random) -> None:
    place = rng.choice(_places(stream, h5py.Dataset) + _places(stream, h5py.Group))
    target = rng.choice(
        (
            h5py.SoftLink("/node"),
            h5py.SoftLink("/nowhere"),
            h5py.ExternalLink("/etc/passwd", "/x"),
            h5py.ExternalLink("other.nir", "/node"),
            stream["node"],
            stream["/"],
            stream["node/nodes/input"],
        )
    )
    if rng.random() < 0.5 and isinstance(stream[place], h5py.Group):
        place = f"{place}/more"
    else:
        del stream[place]
    stream[place] = target


def _attributes(stream: h5py.File, rng: random.Random) -> None:
    item = stream[rng.choice(_places(stream, h5py.Dataset) + _places(stream, h5py.Group))]
    for i in range(rng.choice((1, 50))):
        item.attrs[f"a{i}"] = rng.choice((np.zeros(5_000), "x" * 30_000, 1, h5py.Empty("f4")))


def _metadata(stream: h5py.File, rng: random.Random) -> None:
    group = stream.require_group(rng.choice(("node/metadata", "node/nodes/input/metadata")))
    choice = rng.randrange(5)
    if choice == 0:
        for _ in range(rng.choice((5, 15, 400))):
            group = group.create_group("m")
    elif choice == 1:
        for i in range(rng.choice((100, 3_000, 25_000))):
            group.create_group(f"m{i}")
    elif choice == 2:
        group["big"] = np.zeros(1 << 20)
    elif choice == 3:
        group.pop("dt", None)
        group["dt"] = rng.choice((0.0, -1.0, np.nan, "soon", np.zeros(3), 1e9))
    else:
        group["text"] = rng.choice(("\n\x1b[31m", "ü" * 1000, ""))


def _names(stream: h5py.File, rng: random.Random) -> None:
    place = rng.choice(_places(stream, h5py.Group) + _places(stream, h5py.Dataset))
    name: Any = rng.choice(("a/b", "..", " ", "\n", "ü", "n" * 3_000, b"\xff\xfe", "type", "edges"))
    parent = stream[place].parent.id
    key = name if isinstance(name, bytes) else name.encode()
    old = place.rsplit("/", 1)[1].encode()
    if b"/" in key:
        stream.move(place, f"{place.rsplit('/', 1)[0]}/{name}")
    elif not parent.links.exists(key):
        parent.links.move(old, parent, key)


def _types(stream: h5py.File, rng: random.Random) -> None:
    node = rng.choice([p for p in _places(stream, h5py.Dataset) if p.endswith("/type")])
    kinds = ("LIF", "IF", "I", "Affine", "Conv2d", "NIRGraph", "Input", "Output", "Delay", "Spam")
    _put(stream, node, data=rng.choice((*kinds, "", "NIRNode", "dict2NIRNode", "x" * 5_000)))


def _edges(stream: h5py.File, rng: random.Random) -> None:
    pairs = [[end.decode() for end in pair] for pair in stream["node/edges"][()]]
    names = [*stream["node/nodes"], "nobody", ""]
    for _ in range(rng.choice((1, 1, 3))):
        action = rng.randrange(4)
        if action == 0 and pairs:
            pairs.pop(rng.randrange(len(pairs)))
        elif action == 1:
            pairs.append([rng.choice(names), rng.choice(names)])
        elif action == 2 and pairs:
            pairs.append(list(reversed(rng.choice(pairs))))
        elif pairs:
            pairs.append(rng.choice(pairs))
    if rng.random() < 0.02:
        pairs = [["input", "output"]] * rng.choice((1_000, 99_000, 150_000))
    data = np.array(pairs, dtype=object).reshape(-1, 2)
    _put(stream, "node/edges", data=data, dtype=h5py.string_dtype())


def _missing(stream: h5py.File, rng: random.Random) -> None:
    del stream[rng.choice(_places(stream, h5py.Dataset) + _places(stream, h5py.Group))]


def _added(stream: h5py.File, rng: random.Random) -> None:
    group = stream[rng.choice(["node", *_places(stream, h5py.Group)])]
    if "extra" not in group:
        group["extra"] = rng.choice((1, "x", np.zeros(3)))


def _copied(stream: h5py.File, rng: random.Random) -> None:
    """A node, or a whole graph, as a node."""
    source = rng.choice(["node", *(f"node/nodes/{name}" for name in stream["node/nodes"])])
    stream.copy(source, "node/nodes/copy")


STRUCTURE: dict[str, Structure] = {
    "values": _values,
    "dtypes": _dtypes,
    "shapes": _shapes,
    "giant shapes": _giant,
    "packed zeros": _bomb,
    "texts": _text_bomb,
    "links": _links,
    "attributes": _attributes,
    "metadata": _metadata,
    "names": _names,
    "types": _types,
    "edges": _edges,
    "missing": _missing,
    "added": _added,
    "copied": _copied,
}
KINDS = (*BYTES, *STRUCTURE)


def mutate(path: Path, index: int, originals: list[bytes]) -> str:
    """Write the damaged file of an index; the name of the damage."""
    rng = random.Random(index)
    # half of the files are damaged in their bytes, half in their structure
    kind = rng.choice(list(BYTES if index % 2 else STRUCTURE))
    data = bytearray(rng.choice(originals))
    if kind in BYTES:
        BYTES[kind](data, rng, originals)
        path.write_bytes(data)
        return kind
    path.write_bytes(data)
    with h5py.File(path, "r+") as stream:
        STRUCTURE[kind](stream, rng)
    return kind
