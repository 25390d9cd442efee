"""Kernels as people write them with numba-cuda. Each function checks its own result; the names to run are arguments."""

import sys
import warnings

import numpy as np
from numba import cuda, float32

warnings.filterwarnings("ignore")  # grids of a few blocks are too small for a GPU, and linking without nvJitLink is old
TILE = 16


@cuda.jit
def add_kernel(a, b, c):
    i = cuda.grid(1)
    if i < c.size:
        c[i] = a[i] + b[i]


def vector_add():
    a = np.arange(1000, dtype=np.float32)
    b = np.full(1000, 2, dtype=np.float32)
    c = np.zeros(1000, dtype=np.float32)
    add_kernel[8, 128](a, b, c)
    assert (c == a + b).all()


@cuda.jit
def matmul_kernel(a, b, c):
    tile_a = cuda.shared.array((TILE, TILE), float32)
    tile_b = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, a.shape[1], TILE):
        tile_a[ty, tx] = a[y, start + tx] if y < a.shape[0] and start + tx < a.shape[1] else 0
        tile_b[ty, tx] = b[start + ty, x] if x < b.shape[1] and start + ty < b.shape[0] else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += tile_a[ty, k] * tile_b[k, tx]
        cuda.syncthreads()
    if y < c.shape[0] and x < c.shape[1]:
        c[y, x] = total


def shared_matmul():
    random = np.random.default_rng(1)
    a = random.random((33, 50), dtype=np.float32)
    b = random.random((50, 21), dtype=np.float32)
    c = np.zeros((33, 21), dtype=np.float32)
    matmul_kernel[(2, 3), (TILE, TILE)](a, b, c)
    assert np.allclose(c, a @ b, rtol=1e-5)


@cuda.reduce
def total(a, b):
    return a + b


def reduction():
    values = np.arange(1, 1235, dtype=np.float64)
    assert total(values) == values.sum()


def streams_and_events():
    stream, start, end = cuda.stream(), cuda.event(), cuda.event()
    host = cuda.pinned_array(1000, dtype=np.float32)
    host[:] = 3
    start.record(stream)
    a = cuda.to_device(host, stream=stream)
    c = cuda.device_array(1000, np.float32, stream=stream)
    add_kernel[8, 128, stream](a, a, c)
    end.record(stream)
    result = c.copy_to_host(stream=stream)
    stream.synchronize()
    assert (result == 6).all() and start.elapsed_time(end) >= 0


@cuda.jit
def histogram_kernel(values, counts):
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.add(counts, values[i], 1)


@cuda.jit
def extremes_kernel(values, largest, total):
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.max(largest, 0, values[i])
        cuda.atomic.add(total, 0, values[i])


def atomics():
    values = np.random.default_rng(2).integers(0, 8, 1000).astype(np.int32)
    counts = np.zeros(8, dtype=np.int32)
    histogram_kernel[8, 128](values, counts)
    assert (counts == np.bincount(values, minlength=8)).all()
    values = np.arange(1000, dtype=np.float32)
    largest, sum_ = np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.float32)
    extremes_kernel[8, 128](values, largest, sum_)
    assert largest[0] == 999 and sum_[0] == values.sum()


@cuda.jit
def warp_sum_kernel(values, sums):
    i = cuda.grid(1)
    value = values[i]
    for distance in (16, 8, 4, 2, 1):
        value += cuda.shfl_down_sync(0xFFFFFFFF, value, distance)
    if i % 32 == 0:
        sums[i // 32] = value


def warp_shuffle():
    values = np.arange(128, dtype=np.int32)
    sums = np.zeros(4, dtype=np.int32)
    warp_sum_kernel[1, 128](values, sums)
    assert (sums == values.reshape(4, 32).sum(1)).all()


for name in sys.argv[1:]:
    globals()[name]()
    print(f"{name}: right, on {cuda.get_current_device().name}")
