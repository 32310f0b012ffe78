"""Named arrays as bytes: an uncompressed `.npz` that only ever holds plain numbers and text, and is read with suspicion.

Nothing is compressed inside, so nothing can be larger than the file it came in; no array can hold an object, so
nothing read here ever becomes code.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from tocsin.errors import PermanentError

_CODEC = pa.Codec("zstd", compression_level=1)
_LARGEST = 1 << 30
_KINDS = "biufUS"
_LONGEST_HEADER = 10_000
_STAMP = (1980, 1, 1, 0, 0, 0)


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], header: bytes = b"{}") -> None:
    """The arrays and a header as one archive; the same input gives the same bytes. `np.load` can read it too."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("header.json", _STAMP), header)
        for name, array in arrays.items():
            if array.dtype.kind not in _KINDS:
                raise ValueError(f"array {name!r} of type {array.dtype} cannot be kept: only numbers, truth values and text")
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _STAMP), "w", force_zip64=True) as member:
                npy.write_array(member, np.ascontiguousarray(array), version=(2, 0), allow_pickle=False)


def read(file: BinaryIO, size: int) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """What `write` wrote into `size` bytes. Raises PermanentError for anything else, never another exception."""
    try:
        return _read(file, size)
    except PermanentError:
        raise
    except Exception as error:
        raise PermanentError(f"not an archive of arrays: {type(error).__name__}: {error}") from error


def _read(file: BinaryIO, size: int) -> tuple[bytes, dict[str, NDArray[Any]]]:
    header, arrays = b"", {}
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > size:
            raise PermanentError("not an archive of arrays: it promises more than it holds")
        if len({member.filename for member in members}) < len(members):
            raise PermanentError("not an archive of arrays: a name is there twice")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise PermanentError(f"not an archive of arrays: {member.filename!r} is compressed")
            with archive.open(member) as stream:
                if member.filename == "header.json":
                    header = stream.read()
                else:
                    arrays[member.filename.removesuffix(".npy")] = _array(stream, member)
    return header, arrays


def _array(stream: Any, member: zipfile.ZipInfo) -> NDArray[Any]:
    if npy.read_magic(stream) != (2, 0):
        raise PermanentError(f"not an archive of arrays: {member.filename!r} has another format version")
    shape, fortran, dtype = npy.read_array_header_2_0(stream, max_header_size=_LONGEST_HEADER)
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.names or fortran or any(length < 0 for length in shape):
        raise PermanentError(f"not an archive of arrays: {member.filename!r} holds {dtype}")
    if math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
        raise PermanentError(f"not an archive of arrays: {member.filename!r} has a shape {shape} that does not fit its size")
    array = np.empty(shape, dtype)
    target, filled = array.reshape(-1).view(np.uint8).data, 0
    while filled < len(target):
        count = stream.readinto(target[filled : filled + (1 << 20)])
        if not count:
            raise PermanentError(f"not an archive of arrays: {member.filename!r} ends early")
        filled += count
    stream.read(1)  # reaching the end makes zipfile compare the checksum
    return array


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays as bytes."""
    file = io.BytesIO()
    write(file, arrays)
    return file.getvalue()


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `pack` was given. Raises PermanentError for bytes it did not make."""
    return read(io.BytesIO(data), len(data))[1]


def squeeze(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays as few bytes: for what is written in every tick, ten times as quick as zlib and no larger."""
    packed = pack(arrays)
    return len(packed).to_bytes(8, "big") + bytes(_CODEC.compress(packed, asbytes=True))


def unsqueeze(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `squeeze` was given, by this program or an older one. Raises PermanentError for other bytes."""
    try:
        if data[:1] == b"\x78":  # zlib, of an older program: our length begins with a zero
            return unpack(zlib.decompress(data))
        length = int.from_bytes(data[:8], "big")
        if length > _LARGEST:
            raise PermanentError(f"not an archive of arrays: it promises {length} bytes")
        return unpack(bytes(_CODEC.decompress(data[8:], length, asbytes=True)))
    except (zlib.error, pa.ArrowException, OSError) as error:
        raise PermanentError(f"not an archive of arrays: {error}") from error
