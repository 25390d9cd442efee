"""Triton kernels of the kinds that its users write; `compile.py` turns them into the PTX fixtures of this folder.

Each `@triton.jit` function says its shapes; sizes that a launch may choose are arguments, tile sizes constexpr.
"""

import triton
import triton.language as tl


@triton.jit
def vector_add(x, y, out, n, BLOCK: tl.constexpr):
    """out[n] = x[n] + y[n], f32."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out + at, tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask), mask=mask)


@triton.jit
def fused_softmax(out, x, stride, rows, cols, BLOCK: tl.constexpr):
    """Rows of x [rows, cols], persistent over rows."""
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0)):
        c = tl.arange(0, BLOCK)
        v = tl.load(x + row * stride + c, mask=c < cols, other=-float("inf"))
        e = tl.exp(v - tl.max(v, axis=0))
        tl.store(out + row * stride + c, e / tl.sum(e, axis=0), mask=c < cols)


@triton.jit
def matmul(
    a,
    b,
    c,
    M,
    N,
    K,
    sam,
    sak,
    sbk,
    sbn,
    scm,
    scn,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
    PRECISION: tl.constexpr,
    RELU: tl.constexpr,
):
    """c [M, N] = a [M, K] · b [K, N] in c's type; sums in f32 (i32 for int8), grouped program order, masked tails."""
    pid = tl.program_id(0)
    pm, pn = tl.cdiv(M, BM), tl.cdiv(N, BN)
    group = pid // (GROUP * pn)
    first = group * GROUP
    size = min(pm - first, GROUP)
    im = first + pid % (GROUP * pn) % size
    i_n = pid % (GROUP * pn) // size
    rm, rn, rk = im * BM + tl.arange(0, BM), i_n * BN + tl.arange(0, BN), tl.arange(0, BK)
    pa = a + (rm % M)[:, None] * sam + rk[None, :] * sak
    pb = b + rk[:, None] * sbk + (rn % N)[None, :] * sbn
    acc = tl.zeros((BM, BN), dtype=tl.int32 if a.dtype.element_ty == tl.int8 else tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        ta = tl.load(pa, mask=rk[None, :] < K - k * BK, other=0)
        tb = tl.load(pb, mask=rk[:, None] < K - k * BK, other=0)
        if a.dtype.element_ty == tl.int8:
            acc = tl.dot(ta, tb, acc, out_dtype=tl.int32)
        else:
            acc = tl.dot(ta, tb, acc, input_precision=PRECISION)
        pa += BK * sak
        pb += BK * sbk
    if RELU:
        acc = tl.where(acc >= 0, acc, 0.01 * acc)
    out = acc.to(c.dtype.element_ty)
    tl.store(c + rm[:, None] * scm + rn[None, :] * scn, out, mask=(rm[:, None] < M) & (rn[None, :] < N))


@triton.jit
def layer_norm_forward(x, y, w, b, mean, rstd, stride, cols, eps, BLOCK: tl.constexpr):
    """Rows of x f16 [rows, cols] to y; statistics in f32."""
    row = tl.program_id(0)
    x += row * stride
    y += row * stride
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for off in range(0, cols, BLOCK):
        c = off + tl.arange(0, BLOCK)
        total += tl.load(x + c, mask=c < cols, other=0.0).to(tl.float32)
    m = tl.sum(total, axis=0) / cols
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for off in range(0, cols, BLOCK):
        c = off + tl.arange(0, BLOCK)
        v = tl.load(x + c, mask=c < cols, other=0.0).to(tl.float32)
        v = tl.where(c < cols, v - m, 0.0)
        total += v * v
    r = 1 / tl.sqrt(tl.sum(total, axis=0) / cols + eps)
    tl.store(mean + row, m)
    tl.store(rstd + row, r)
    for off in range(0, cols, BLOCK):
        c = off + tl.arange(0, BLOCK)
        mask = c < cols
        v = tl.load(x + c, mask=mask, other=0.0).to(tl.float32)
        tl.store(y + c, (v - m) * r * tl.load(w + c, mask=mask) + tl.load(b + c, mask=mask), mask=mask)


@triton.jit
def layer_norm_backward(
    dx, dy, dw, db, x, w, mean, rstd, lock, stride, cols, GROUPS: tl.constexpr, BLOCK: tl.constexpr
):
    """dx, and partial dw, db [GROUPS, cols] f32 behind one spin lock and one first-writer flag per group."""
    row = tl.program_id(0)
    c = tl.arange(0, BLOCK)
    mask = c < cols
    at = row * stride + c
    vx = tl.load(x + at, mask=mask, other=0).to(tl.float32)
    g = tl.load(dy + at, mask=mask, other=0).to(tl.float32)
    vw = tl.load(w + c, mask=mask).to(tl.float32)
    m, r = tl.load(mean + row), tl.load(rstd + row)
    n = tl.where(mask, (vx - m) * r, 0.0)
    a = tl.where(mask, vw * g, 0.0)
    c1, c2 = tl.sum(n * a, axis=0) / cols, tl.sum(a, axis=0) / cols
    tl.store(dx + at, (a - (n * c1 + c2)) * r, mask=mask)
    group = row % GROUPS
    lock += group
    count = lock + GROUPS
    pw, pb = g * n, g
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    if tl.load(count) == 0:
        tl.atomic_xchg(count, 1)
    else:
        pw += tl.load(dw + group * cols + c, mask=mask)
        pb += tl.load(db + group * cols + c, mask=mask)
    tl.store(dw + group * cols + c, pw, mask=mask)
    tl.store(db + group * cols + c, pb, mask=mask)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


@triton.jit
def column_sums(partial, out, rows, cols, BM: tl.constexpr, BN: tl.constexpr):
    """out[cols] = sum over rows of partial [rows, cols], f32."""
    c = tl.program_id(0) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for i in range(0, rows, BM):
        r = i + tl.arange(0, BM)
        acc += tl.load(
            partial + r[:, None] * cols + c[None, :], mask=(r[:, None] < rows) & (c[None, :] < cols), other=0.0
        )
    tl.store(out + c, tl.sum(acc, axis=0), mask=c < cols)


@triton.jit
def dropout(x, out, words, n, p, seed, BLOCK: tl.constexpr):
    """out = x / (1 − p) where Philox's uniform is over p; the raw words of stream 2 go to `words`."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    keep = tl.rand(seed, at) > p
    v = tl.load(x + at, mask=mask)
    tl.store(out + at, tl.where(keep, v / (1 - p), 0.0), mask=mask)
    tl.store(words + at, tl.randint(seed + 1, at), mask=mask)


@triton.jit
def flash_attention(
    q, k, v, out, lse, T, scale, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr
):
    """out [H, T, D] f16 of q, k, v; lse [H, T] f32; one program per BM queries of a head."""
    start, head = tl.program_id(0) * BM, tl.program_id(1)
    rm, rn, rd = start + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, D)
    base = head * T * D
    tq = tl.load(q + base + rm[:, None] * D + rd[None, :], mask=rm[:, None] < T, other=0.0)
    top = tl.full((BM,), -float("inf"), dtype=tl.float32)
    total = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    limit = tl.minimum(T, start + BM) if CAUSAL else T
    for n0 in range(0, limit, BN):
        cols = n0 + rn
        tk = tl.load(k + base + cols[None, :] * D + rd[:, None], mask=cols[None, :] < T, other=0.0)
        s = tl.dot(tq, tk) * (scale * 1.44269504)
        s = tl.where((cols[None, :] < T) & ((rm[:, None] >= cols[None, :]) if CAUSAL else True), s, -float("inf"))
        new = tl.maximum(top, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        keep = tl.exp2(top - new)
        total = total * keep + tl.sum(p, 1)
        tv = tl.load(v + base + cols[:, None] * D + rd[None, :], mask=cols[:, None] < T, other=0.0)
        acc = tl.dot(p.to(tv.dtype), tv, acc * keep[:, None])
        top = new
    tl.store(
        out + base + rm[:, None] * D + rd[None, :],
        (acc / total[:, None]).to(out.dtype.element_ty),
        mask=rm[:, None] < T,
    )
    tl.store(lse + head * T + rm, top / 1.44269504 + tl.log(total), mask=rm < T)


@triton.jit
def atomics(bins, floats, halves, wide, keys, values, n, BLOCK: tl.constexpr):
    """bins[k] += 1, max and min beside; floats[k] += v; halves[k] += 1 (f16); wide: or, xor, and, umax of 64 bits."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    key = tl.load(keys + at, mask=mask, other=0)
    v = tl.load(values + at, mask=mask, other=0.0)
    tl.atomic_add(bins + key, 1, mask=mask, sem="relaxed")
    tl.atomic_max(bins + 64 + key, at, mask=mask)
    tl.atomic_min(bins + 128 + key, at, mask=mask, sem="acquire", scope="sys")
    tl.atomic_add(floats + key, v, mask=mask)
    tl.atomic_max(floats + 64 + key, v, mask=mask)
    tl.atomic_add(halves + key, (v * 0 + 1).to(tl.float16), mask=mask)
    tl.atomic_or(wide + key, (at + 1).to(tl.int64) << 20, mask=mask)
    tl.atomic_xor(wide + 64 + key, at.to(tl.int64) * 3, mask=mask, sem="release", scope="cta")


@triton.jit
def _affine(a0, b0, a1, b1):
    return a1 * a0, a1 * b0 + b1


@triton.jit
def scans(x, sums, products, gate, states, rows, BLOCK: tl.constexpr):
    """Per row of BLOCK: inclusive sum, reversed sum of |x|, and the recurrence h = gate·h + x by a scan of pairs."""
    row = tl.program_id(0)
    at = row * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at)
    tl.store(sums + at, tl.cumsum(v, 0))
    tl.store(products + at, tl.cumsum(tl.abs(v), 0, reverse=True))
    _, h = tl.associative_scan((tl.load(gate + at), v), 0, _affine)
    tl.store(states + at, h)


@triton.jit
def reductions(x, sums, tops, args, counts, rows, cols, BM: tl.constexpr, BN: tl.constexpr):
    """x [rows, cols] f32: row sums, column maxima of the tile, argmax and argmin of each row, xor of the bits."""
    r = tl.program_id(0) * BM + tl.arange(0, BM)
    c = tl.arange(0, BN)
    mask = (r[:, None] < rows) & (c[None, :] < cols)
    v = tl.load(x + r[:, None] * cols + c[None, :], mask=mask, other=0.0)
    tl.store(sums + r, tl.sum(v, 1), mask=r < rows)
    tl.store(tops + tl.program_id(0) * BN + c, tl.max(tl.where(mask, v, -float("inf")), 0))
    tl.store(args + r, tl.argmax(tl.where(mask, v, -float("inf")), 1), mask=r < rows)
    tl.store(args + rows + r, tl.argmin(tl.where(mask, v, float("inf")), 1), mask=r < rows)
    tl.store(counts + r, tl.xor_sum(tl.where(mask, v.to(tl.int32, bitcast=True), 0), 1), mask=r < rows)


@triton.jit
def histogram_sort(x, bins, ordered, tops, BLOCK: tl.constexpr):
    """Of BLOCK int32: counts of 64 values added to bins, the sorted row, its 8 largest."""
    at = tl.arange(0, BLOCK)
    v = tl.load(x + tl.program_id(0) * BLOCK + at)
    tl.atomic_add(bins + tl.arange(0, 64), tl.histogram(v & 63, 64))
    tl.store(ordered + tl.program_id(0) * BLOCK + at, tl.sort(v))
    tl.store(tops + tl.program_id(0) * 8 + tl.arange(0, 8), tl.topk(v, 8))


@triton.jit
def shapes(x, out, halves, R: tl.constexpr, C: tl.constexpr):
    """x [R, C] f32: transpose, interleaved halves (join, split), gather along the rows, bf16 and f16 round trips."""
    r, c = tl.arange(0, R), tl.arange(0, C)
    v = tl.load(x + r[:, None] * C + c[None, :])
    tl.store(out + c[:, None] * R + r[None, :], tl.trans(v))
    a, b = tl.split(tl.reshape(v, (R, C // 2, 2)))
    h = tl.arange(0, C // 2)
    tl.store(out + R * C + r[:, None] * C + c[None, :], tl.reshape(tl.join(b, a), (R, C)))
    tl.store(halves + r[:, None] * (C // 2) + h[None, :], a.to(tl.bfloat16))
    tl.store(out + 2 * R * C + r[:, None] * C + c[None, :], tl.gather(v, (c[None, :] * 5 + r[:, None]) % C, 1))
    tl.store(out + 3 * R * C + r[:, None] * (C // 2) + h[None, :], b.to(tl.float16).to(tl.float32))


@triton.jit
def elementwise_math(x, out, ints, n, BLOCK: tl.constexpr):
    """Nine functions of x f32 [n]; integer quotients and casts."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    v = tl.load(x + at, mask=mask, other=1.0)
    tl.store(out + at, tl.exp(v), mask=mask)
    tl.store(out + n + at, tl.log(tl.abs(v)), mask=mask)
    tl.store(out + 2 * n + at, tl.sin(v), mask=mask)
    tl.store(out + 3 * n + at, tl.cos(v), mask=mask)
    tl.store(out + 4 * n + at, tl.sqrt_rn(tl.abs(v)), mask=mask)
    tl.store(out + 5 * n + at, tl.rsqrt(tl.abs(v)), mask=mask)
    tl.store(out + 6 * n + at, tl.sigmoid(v), mask=mask)
    tl.store(out + 7 * n + at, tl.erf(v), mask=mask)
    tl.store(out + 8 * n + at, tl.floor(v) + tl.ceil(v), mask=mask)
    tl.store(out + 9 * n + at, tl.div_rn(v, v + 3.0), mask=mask)
    tl.store(out + 10 * n + at, tl.clamp(tl.fma(v, v, -1.0), -0.5, 2.0), mask=mask)
    i = v.to(tl.int32)
    tl.store(ints + at, i // 3, mask=mask)
    tl.store(ints + n + at, i % 7, mask=mask)
    tl.store(
        ints + 2 * n + at, tl.umulhi(i.to(tl.uint32, bitcast=True), 0x9E3779B9).to(tl.int32, bitcast=True), mask=mask
    )
    tl.store(ints + 3 * n + at, i.to(tl.int8).to(tl.int32) + i.to(tl.uint16).to(tl.int32), mask=mask)


@triton.jit
def cross_entropy(logits, losses, targets, stride, V, SMOOTH: tl.constexpr, BLOCK: tl.constexpr):
    """Loss and dlogits in place, bf16 logits [rows, stride], V used."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    y = tl.load(targets + row)
    m, d, s = -float("inf"), 0.0, 0.0
    for i in range(0, V, BLOCK):
        c = i + tl.arange(0, BLOCK)
        x = tl.load(logits + c, mask=c < V, other=-float("inf")).to(tl.float32)
        new = tl.maximum(m, tl.max(x))
        d = d * tl.exp(m - new) + tl.sum(tl.exp(x - new))
        s += tl.sum(tl.where(c < V, x, 0.0))
        m = new
    lse = m + tl.log(d)
    target = tl.load(logits + y).to(tl.float32)
    tl.store(losses + row, (1 - SMOOTH) * (lse - target) + SMOOTH * (lse - s / V))
    tl.debug_barrier()
    for i in range(0, V, BLOCK):
        c = i + tl.arange(0, BLOCK)
        x = tl.load(logits + c, mask=c < V, other=-float("inf")).to(tl.float32)
        g = tl.exp(x - m) / d - tl.where(c == y, 1 - SMOOTH, 0.0) - SMOOTH / V
        tl.store(logits + c, g.to(tl.bfloat16), mask=c < V)


@triton.jit
def assert_print(x, out, n, BLOCK: tl.constexpr):
    """Copies, asserting x ≥ 0 and printing the first value."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n, other=0)
    tl.device_assert(v >= 0, "negative input")
    tl.device_print("first", tl.sum(tl.where(at == 0, v, 0), 0))
    tl.store(out + at, v, mask=at < n)


@triton.jit
def inline_assembly(x, y, out, BLOCK: tl.constexpr):
    """Bytes of four int8 lanes multiplied and added at once by inline PTX (dp4a), one word per lane."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a, b = tl.load(x + at), tl.load(y + at)
    r = tl.inline_asm_elementwise("dp4a.s32.s32 $0, $1, $2, 7;", "=r,r,r", [a, b], dtype=tl.int32, is_pure=True, pack=1)
    tl.store(out + at, r)
