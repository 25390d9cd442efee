#!/bin/sh
# Puts nvcc 13.0 into .cuda/ from five PyPI wheels, unless an nvcc is already there
# (looked for where build.rs looks: $NVCC, $CUDA_HOME, $CUDA_PATH, PATH, /usr/local/cuda, .cuda).
# All five are pinned together: nvcc alone pulls newer headers in which cuda_fp16.h does not compile.
set -eu
cd "$(dirname "$0")/.."
for nvcc in "${NVCC:-}" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" "${CUDA_PATH:+$CUDA_PATH/bin/nvcc}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc .cuda/bin/nvcc; do
    if [ -n "$nvcc" ] && [ -x "$nvcc" ]; then exit 0; fi
done
command -v g++ >/dev/null || { echo "toolchain: nvcc needs a host compiler: install g++" >&2; exit 1; }
command -v python3 >/dev/null || { echo "toolchain: python3 with pip is needed to fetch nvcc from PyPI; or set NVCC to an existing nvcc" >&2; exit 1; }
echo "toolchain: fetching nvcc 13.0 from PyPI into .cuda/ (about 105 MB)" >&2
rm -rf .cuda.part
trap 'rm -rf .cuda.part' EXIT
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest .cuda.part/wheels \
    'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*' 'nvidia-nvvm==13.0.*'
# Unpacked by hand: `pip install` may be forbidden on a system Python (PEP 668), a wheel is a zip file.
python3 - <<'PY'
import os, pathlib, zipfile
part = pathlib.Path(".cuda.part")
for wheel in sorted((part / "wheels").glob("*.whl")):
    zipfile.ZipFile(wheel).extractall(part / "site")
root = part / "site" / "nvidia" / "cu13"
for tool in [*(root / "bin").iterdir(), *(root / "nvvm" / "bin").iterdir()]:
    if tool.is_file():
        os.chmod(tool, 0o755)
root.rename(part / "cuda")
PY
rm -rf .cuda
mv .cuda.part/cuda .cuda
.cuda/bin/nvcc --version | tail -n 2 | head -n 1 >&2
