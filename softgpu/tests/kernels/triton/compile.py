"""Compiles kernels.py for sm_80 and writes one .ptx per variant beside this file: `python compile.py` (Triton 3.9).

No GPU is needed. Paths are cut from `.file`, and most debug sections are dropped; the instructions are the compiler's.
"""

import os
import pathlib
import re

os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "0")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import kernels as k

P, H, B, I, F = "*fp32", "*fp16", "*bf16", "i32", "fp32"


def matmul(kind, out, bm, bn, bk, stages, warps, precision="tf32", relu=False, unit=True):
    types = dict(a=kind, b=kind, c=out, **{name: I for name in "M N K sam sak sbk sbn scm scn".split()})
    tiles = dict(BM=bm, BN=bn, BK=bk, GROUP=4, PRECISION=precision, RELU=relu)
    if unit:  # what the launcher specialises: inner strides of one, sizes and pointers that 16 divides
        tiles |= dict(sak=1, sbn=1, scn=1)
        divisible = ["a", "b", "c", "K", "sam", "sbk", "scm"]
    else:
        divisible = ["a", "b", "c"]
    return k.matmul, types, tiles, divisible, dict(num_stages=stages, num_warps=warps)


def attention(causal, d, stages=2, warps=4):
    types = dict(q=H, k=H, v=H, out=H, lse=P, T=I, scale=F)
    return (
        k.flash_attention,
        types,
        dict(CAUSAL=causal, BM=64, BN=32, D=d),
        list("qkv") + ["out"],
        dict(num_stages=stages, num_warps=warps),
    )


VARIANTS = {
    "vector_add": (k.vector_add, dict(x=P, y=P, out=P, n=I), dict(BLOCK=1024), ["x", "y", "out"], {}),
    "fused_softmax": (
        k.fused_softmax,
        dict(out=P, x=P, stride=I, rows=I, cols=I),
        dict(BLOCK=1024),
        ["out", "x"],
        dict(num_stages=4, num_warps=8),
    ),
    "matmul_f16": matmul(H, H, 64, 64, 32, 3, 4),
    "matmul_f16_f32_wide": matmul(H, P, 128, 64, 64, 4, 8, relu=True),
    "matmul_bf16": matmul(B, B, 64, 32, 32, 2, 2),
    "matmul_tf32": matmul(P, P, 32, 32, 32, 2, 4),
    "matmul_f32_ieee": matmul(P, P, 32, 32, 16, 1, 4, "ieee"),
    "matmul_int8": matmul("*i8", "*i32", 64, 64, 64, 3, 4),
    "matmul_strided": matmul(H, P, 32, 32, 32, 2, 4, unit=False),
    "layer_norm_forward": (
        k.layer_norm_forward,
        dict(x=H, y=H, w=H, b=H, mean=P, rstd=P, stride=I, cols=I, eps=F),
        dict(BLOCK=512),
        ["x", "y", "w", "b"],
        {},
    ),
    "layer_norm_backward": (
        k.layer_norm_backward,
        dict(dx=H, dy=H, dw=P, db=P, x=H, w=H, mean=P, rstd=P, lock="*i32", stride=I, cols=I),
        dict(GROUPS=4, BLOCK=512),
        [],
        {},
    ),
    "column_sums": (k.column_sums, dict(partial=P, out=P, rows=I, cols=I), dict(BM=32, BN=64), ["partial", "out"], {}),
    "dropout": (k.dropout, dict(x=P, out=P, words="*i32", n=I, p=F, seed=I), dict(BLOCK=256), ["x", "out"], {}),
    "flash_attention": attention(False, 64),
    "flash_attention_causal": attention(True, 32, 3, 2),
    "atomics": (
        k.atomics,
        dict(bins="*i32", floats=P, halves=H, wide="*i64", keys="*i32", values=P, n=I),
        dict(BLOCK=256),
        ["keys", "values"],
        {},
    ),
    "scans": (k.scans, dict(x=P, sums=P, products=P, gate=P, states=P, rows=I), dict(BLOCK=256), ["x"], {}),
    "reductions": (
        k.reductions,
        dict(x=P, sums=P, tops=P, args="*i32", counts="*i32", rows=I, cols=I),
        dict(BM=4, BN=64),
        ["x"],
        {},
    ),
    "histogram_sort": (
        k.histogram_sort,
        dict(x="*i32", bins="*i32", ordered="*i32", tops="*i32"),
        dict(BLOCK=256),
        ["x"],
        {},
    ),
    "shapes": (k.shapes, dict(x=P, out=P, halves=B), dict(R=16, C=64), ["x", "out", "halves"], {}),
    "elementwise_math": (k.elementwise_math, dict(x=P, out=P, ints="*i32", n=I), dict(BLOCK=256), ["x"], {}),
    "cross_entropy": (
        k.cross_entropy,
        dict(logits=B, losses=P, targets="*i64", stride=I, V=I),
        dict(SMOOTH=0.1, BLOCK=512),
        ["logits", "stride"],
        {},
    ),
    "assert_print": (k.assert_print, dict(x="*i32", out="*i32", n=I), dict(BLOCK=128), ["x"], dict(debug=True)),
    "inline_assembly": (
        k.inline_assembly,
        dict(x="*i32", y="*i32", out="*i32"),
        dict(BLOCK=256),
        ["x", "y", "out"],
        {},
    ),
}


def ptx(fn, types, constants, divisible, options, whole=False):
    signature = {name: "constexpr" if name in constants else types[name] for name in fn.arg_names}
    at = {name: i for i, name in enumerate(fn.arg_names)}
    attrs = {(at[name],): [["tt.divisibility", 16]] for name in divisible}
    source = ASTSource(fn=fn, signature=signature, constexprs={(at[n],): v for n, v in constants.items()}, attrs=attrs)
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    meta = made.metadata
    return f"// threads: {32 * meta.num_warps}, shared: {meta.shared}\n" + tidy(made.asm["ptx"], whole)


def without_folder(match):
    """A string in an initialiser, as numbers: this folder's name is cut, and zeros fill the end."""
    numbers = [int(n) for n in match[0][1:-1].split(",")]
    cut = bytes(numbers).replace(bytes(pathlib.Path(__file__).parent.resolve()) + b"/", b"")
    return "{" + ", ".join(str(n) for n in cut + bytes(len(numbers) - len(cut))) + "}"


def tidy(text, whole):
    """Without paths and comments; of the debug sections only the strings that `.loc` names, unless `whole`."""
    text = re.sub(r"\{[\d, ]{60,}\}", without_folder, text)
    text = re.sub(r'(\.file\s+\d+\s+)"[^"]*/([^"/]*)"', r'\1"\2"', text)
    if whole:  # the compilation's folder becomes dots
        text = re.sub(
            r"(?s)(\.b8 \d+\s+// DW_AT_comp_dir\n(?:\.b8 [1-9]\d*\n)*)",
            lambda m: re.sub(r"\.b8 \d+", ".b8 46", m[0]),
            text,
        )
    else:
        text = re.sub(r"^\s*\.section\s+\.debug_(?!str)\S+\s*\{.*?^\s*\}\n?", "", text, flags=re.S | re.M)
    return re.sub(r"[ \t]*//[^\n]*", "", text)


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    for name, variant in VARIANTS.items():
        try:
            (here / f"{name}.ptx").write_text(ptx(*variant, whole=name == "column_sums"))
            print("ok", name, (here / f"{name}.ptx").stat().st_size)
        except Exception as error:
            print("FAIL", name, repr(error)[:1500])
