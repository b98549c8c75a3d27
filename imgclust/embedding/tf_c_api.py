"""InceptionV3 by TensorFlow's C library: a saved graph, run without TensorFlow's Python.

Importing TensorFlow's Python takes several times as long as loading the library below it, which
is all that a saved graph needs. The library's C interface is the documented one that bindings of
other languages use (tensorflow.org/install/lang_c); it is called through ctypes, which also
lets other threads of Python run meanwhile.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.devices import require
from imgclust.embedding.recipe import CPU_SHAPES, Recipe, check_embeddings, check_pixels, in_batches
from imgclust.errors import EmbeddingError

_GREETINGS = (b"I0000 ", b"WARNING: All log messages before absl::")


@contextmanager
def without_greetings() -> Iterator[None]:
    """Hold back what libraries write to standard error, and then leave out the greetings.

    TensorFlow greets before its log level counts, and only the file descriptor sees that.
    Python's own `sys.stderr` still goes where it went, for a progress bar in another thread.
    """
    before = sys.stderr
    before.flush()
    kept = os.dup(2)
    with TemporaryFile() as held, open(os.dup(2), "w", buffering=1) as direct:
        if before is sys.__stderr__:
            sys.stderr = direct
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            before.flush()
            os.dup2(kept, 2)
            os.close(kept)
            sys.stderr = before
            held.seek(0)
            for line in held:
                if not line.startswith(_GREETINGS):
                    os.write(2, line)


# Names of the operations that a saved graph begins and ends with.
INPUT, OUTPUT = "pixels", "Identity"

_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
_FLOAT, _UINT8 = 1, 4  # TF_DataType
_HANDLE = ctypes.c_void_p

# Fields of tensorflow.ConfigProto (protobuf/config.proto), as bytes of the wire format.
_INTRA_OP_THREADS = b"\x10"
_INTER_OP_THREADS = b"\x28"
_OWN_THREADS = b"\x48\x01"
# graph_options.rewrite_options: in float32 the graph optimiser costs 1.5 s of start-up and was
# measured to gain nothing on this graph, whose batch normalisations are folded already.
_OPTIMIZER = {
    "float32": b"\x52\x05\x52\x03\x98\x01\x01",  # disable_meta_optimizer
    "bfloat16": b"\x52\x05\x52\x03\xf8\x01\x01",  # auto_mixed_precision_onednn_bfloat16 = ON
}


class _Buffer(ctypes.Structure):
    _fields_ = (("data", _HANDLE), ("length", ctypes.c_size_t), ("deallocator", _HANDLE))


class _Output(ctypes.Structure):
    _fields_ = (("operation", _HANDLE), ("index", ctypes.c_int))


_TENSORS = ctypes.POINTER(_HANDLE)
_OUTPUTS = ctypes.POINTER(_Output)
# Result and arguments of each function that is called, from tensorflow/c/c_api.h.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "TF_NewStatus": (_HANDLE,),
    "TF_DeleteStatus": (None, _HANDLE),
    "TF_GetCode": (ctypes.c_int, _HANDLE),
    "TF_Message": (ctypes.c_char_p, _HANDLE),
    "TF_NewGraph": (_HANDLE,),
    "TF_DeleteGraph": (None, _HANDLE),
    "TF_NewImportGraphDefOptions": (_HANDLE,),
    "TF_DeleteImportGraphDefOptions": (None, _HANDLE),
    "TF_GraphImportGraphDef": (None, _HANDLE, ctypes.POINTER(_Buffer), _HANDLE, _HANDLE),
    "TF_GraphOperationByName": (_HANDLE, _HANDLE, ctypes.c_char_p),
    "TF_NewSessionOptions": (_HANDLE,),
    "TF_DeleteSessionOptions": (None, _HANDLE),
    "TF_SetConfig": (None, _HANDLE, ctypes.c_char_p, ctypes.c_size_t, _HANDLE),
    "TF_NewSession": (_HANDLE, _HANDLE, _HANDLE, _HANDLE),
    "TF_CloseSession": (None, _HANDLE, _HANDLE),
    "TF_DeleteSession": (None, _HANDLE, _HANDLE),
    "TF_AllocateTensor": (
        *(_HANDLE, ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, ctypes.c_size_t),
    ),
    "TF_TensorData": (_HANDLE, _HANDLE),
    "TF_TensorByteSize": (ctypes.c_size_t, _HANDLE),
    "TF_DeleteTensor": (None, _HANDLE),
    "TF_SessionRun": (
        *(None, _HANDLE, _HANDLE, _OUTPUTS, _TENSORS, ctypes.c_int, _OUTPUTS, _TENSORS),
        *(ctypes.c_int, _HANDLE, ctypes.c_int, _HANDLE, _HANDLE),
    ),
}


class LibraryEmbedder:
    """Embeds by TensorFlow's C library on the CPU; an `Embedder`.

    Parameters
    ----------
    graph
        A serialised GraphDef, as `imgclust.embedding.inception_graph.frozen_graph` gives it.
    precision
        "float32" or "bfloat16".
    threads
        How many threads one operation is divided among.

    Raises
    ------
    MissingPackageError
        When TensorFlow is not installed.
    EmbeddingError
        When the library is not there, or does not take the graph.
    """

    def __init__(self, graph: bytes, recipe: Recipe, *, precision: str, threads: int) -> None:
        self.recipe = recipe
        self.provenance = f"tensorflow {tensorflow_version()} cpu {precision}"
        self._library = library = _library()
        self._graph = library.TF_NewGraph()
        weakref.finalize(self, library.TF_DeleteGraph, self._graph)
        buffer = _Buffer(ctypes.cast(ctypes.c_char_p(graph), _HANDLE), len(graph), None)
        options = library.TF_NewImportGraphDefOptions()
        try:
            _checked(library, "TF_GraphImportGraphDef", self._graph, ctypes.byref(buffer), options)
        finally:
            library.TF_DeleteImportGraphDefOptions(options)
        self._input, self._output = self._end(INPUT), self._end(OUTPUT)
        options = library.TF_NewSessionOptions()
        try:
            settings = session_config(precision=precision, threads=threads)
            _checked(library, "TF_SetConfig", options, settings, len(settings))
            self._session = _checked(library, "TF_NewSession", self._graph, options)
        finally:
            library.TF_DeleteSessionOptions(options)
        weakref.finalize(self, _end_session, library, self._session)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pixels; see `Embedder.embed`."""
        check_pixels(pixels, self.recipe)
        found = in_batches(self._run, pixels, CPU_SHAPES, self.recipe.dimensions)
        return check_embeddings(found, self.recipe)

    def _end(self, name: str) -> _Output:
        operation = self._library.TF_GraphOperationByName(self._graph, name.encode())
        if not operation:
            raise EmbeddingError(f"the saved graph has no operation {name!r}")
        return _Output(operation, 0)

    def _run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        library = self._library
        batch = np.ascontiguousarray(batch)
        shape = (ctypes.c_int64 * batch.ndim)(*batch.shape)
        given = library.TF_AllocateTensor(_UINT8, shape, batch.ndim, batch.nbytes)
        found = (_HANDLE * 1)()
        try:
            ctypes.memmove(library.TF_TensorData(given), batch.ctypes.data, batch.nbytes)
            _checked(
                library,
                "TF_SessionRun",
                *(self._session, None, ctypes.byref(self._input), (_HANDLE * 1)(given), 1),
                *(ctypes.byref(self._output), found, 1, None, 0, None),
            )
            length = library.TF_TensorByteSize(found[0])
            text = ctypes.string_at(library.TF_TensorData(found[0]), length)
        finally:
            library.TF_DeleteTensor(given)
            if found[0]:
                library.TF_DeleteTensor(found[0])
        return np.frombuffer(text, np.float32).reshape(len(batch), -1)


def tensorflow_version() -> str:
    """Version of the TensorFlow that is installed, without importing it.

    Raises
    ------
    MissingPackageError
        When none is.
    """
    import importlib.metadata  # slow to load

    require("tensorflow")
    for name in ("tensorflow", "tensorflow-cpu", "tensorflow_cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def session_config(*, precision: str, threads: int) -> bytes:
    """Serialised ConfigProto of a session."""
    number = _varint(threads)
    return (_INTRA_OP_THREADS + number + _INTER_OP_THREADS + number + _OWN_THREADS) + _OPTIMIZER[
        precision
    ]


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


@cache
def _library() -> Any:
    """TensorFlow's library with the signatures of what is called."""
    require("tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    found = importlib.util.find_spec("tensorflow")
    folders = [] if found is None else found.submodule_search_locations or []
    paths = [Path(folder) / name for folder in folders for name in _LIBRARIES]
    try:
        path = next(path for path in paths if path.is_file())
        with without_greetings():
            library = ctypes.CDLL(str(path))
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (StopIteration, OSError, AttributeError) as error:
        raise EmbeddingError(f"TensorFlow's library cannot be used: {error}") from error
    return library


def _checked(library: Any, name: str, *arguments: Any) -> Any:
    """Call a function whose last argument is a status; raise what that says."""
    status = library.TF_NewStatus()
    try:
        result = getattr(library, name)(*arguments, status)
        if library.TF_GetCode(status):
            text = library.TF_Message(status).decode("utf-8", "replace").partition("\n")[0]
            raise EmbeddingError(f"TensorFlow ({name}): {text[:200]}")
    finally:
        library.TF_DeleteStatus(status)
    return result


def _end_session(library: Any, session: int) -> None:
    _checked(library, "TF_CloseSession", session)
    _checked(library, "TF_DeleteSession", session)
