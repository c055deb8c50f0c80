"""PostgreSQL's binary COPY format for rows of (hash, vector) and (id, code), built with NumPy.

Every field has a fixed width, so a batch is one structured array and one ``tobytes()``: no Python
code runs per row or per component.
Format: https://www.postgresql.org/docs/18/sql-copy.html (Binary Format); vectors: pgvector's
``vector_send`` and ``halfvec_send`` (int16 dimensions, int16 zero, components, big-endian);
codes: ``bit_send`` (int32 bits, bytes).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag_assets.settings.model import Precision

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_COMPONENT = {"vector": ">f4", "halfvec": ">f2"}


def hashed_vectors(
    hashes: Sequence[bytes], vectors: NDArray[np.float32], precision: Precision
) -> bytes:
    """A complete COPY stream with the columns ``text_hash bytea`` and ``embedding``.

    :param hashes: n SHA-256 digests, 32 bytes each.
    :param vectors: float32, shape (n, dimensions).
    """
    rows, dimensions = vectors.shape
    component = np.dtype(_COMPONENT[precision])
    row = np.zeros(
        rows,
        dtype=[
            ("fields", ">i2"),
            ("hash_length", ">i4"),
            ("hash", "V32"),
            ("embedding_length", ">i4"),
            ("dimensions", ">i2"),
            ("unused", ">i2"),
            ("components", component, (dimensions,)),
        ],
    )
    row["fields"] = 2
    row["hash_length"] = 32
    row["hash"] = np.frombuffer(b"".join(hashes), dtype="V32")
    row["embedding_length"] = 4 + component.itemsize * dimensions
    row["dimensions"] = dimensions
    row["components"] = vectors
    return _HEADER + row.tobytes() + _TRAILER


def ids_and_codes(ids: NDArray[np.int64], codes: NDArray[np.uint8], bits: int) -> bytes:
    """A complete COPY stream with two columns, ``bigint`` and ``bit varying``.

    :param ids: int64, shape (n,).
    :param codes: uint8, shape (n, bits / 8 rounded up).
    """
    rows, width = codes.shape
    row = np.zeros(
        rows,
        dtype=[
            ("fields", ">i2"),
            ("id_length", ">i4"),
            ("id", ">i8"),
            ("code_length", ">i4"),
            ("bits", ">i4"),
            ("code", "u1", (width,)),
        ],
    )
    row["fields"] = 2
    row["id_length"] = 8
    row["id"] = ids
    row["code_length"] = 4 + width
    row["bits"] = bits
    row["code"] = codes
    return _HEADER + row.tobytes() + _TRAILER
