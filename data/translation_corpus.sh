#!/bin/sh
# translation_corpus.sh NAME SOURCE TARGET [FLAG…]: what iwslt14_de_en.sh, wmt14_en_de.sh and wmt14_en_fr.sh run.
# Text by translation_corpora.py, which takes the flags, then the data-bin folder that recipes name.
set -eu
name=$1 source=$2 target=$3
shift 3
cd "$(dirname "$0")/.."
export PYTHONUTF8=1
for tool in python3 cargo; do
    command -v $tool >/dev/null || { echo "error: this needs $tool" >&2; exit 1; }
done
text=data/$name bin=data-bin/$name
python3 data/translation_corpora.py "$name" "$@"
# Last into data-bin, so that there and equal means complete.
if cmp -s $text/manifest.json $bin/manifest.json; then
    echo "corpus: $bin is complete" >&2
    exit 0
fi
sh data/toolchain.sh
cargo build --release
# The pairs are clean already: only what no position is known for is dropped.
target/release/omega prepare --segmented --source $source --target $target --train $text/train --valid $text/valid \
    --test $text/test --max-len 1023 --max-ratio 1023 --out $bin
cp $text/manifest.json $bin/manifest.json.tmp
mv $bin/manifest.json.tmp $bin/manifest.json
