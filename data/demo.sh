#!/bin/sh
# `make demo`: German-English from nothing: corpus, build, prepare, train, translate and score.
# A run that was interrupted goes on where it was. OMEGA_DEMO=multi30k takes that text instead.
set -eu
cd "$(dirname "$0")/.."
export PYTHONUTF8=1

vocab=4000
train_flags="--arch demo --residual admin --max-tokens 2048 --max-update 1100 --lr 0.003 --warmup-updates 300
    --validate-interval-updates 400 --bleu-sentences 100 --samples 2"
# An untrained model does not stop by itself: outputs are kept near the length of the source.
translate_flags="--beam 5 --max-len-a 1.5 --max-len-b 10"
shown=10
omega=target/release/omega

case "${OMEGA_DEMO:-}" in
    "") corpus=libreoffice-help name=demo ;;
    multi30k) corpus=multi30k name=multi30k ;;
    *) echo "error: OMEGA_DEMO=$OMEGA_DEMO: only multi30k is known" >&2; exit 1 ;;
esac
text=data/$name bin=data-bin/$name run=runs/$name
for tool in python3 cargo; do
    command -v $tool >/dev/null || { echo "error: the demo needs $tool" >&2; exit 1; }
done

began=$(date +%s)
step() { echo "demo: $1 ($(($(date +%s) - began)) s)" >&2; }

step "1/5 corpus: $text"
python3 data/demo_corpus.py --corpus $corpus

step "2/5 build"
cargo build --release

# What a folder was made from is written into it: last into data-bin, so that there and equal means complete.
made_from() { cat "$text/manifest.json"; echo "vocab $vocab"; }
if [ -e $run/made-from ] && ! made_from | cmp -s - $run/made-from; then
    echo "error: $run was trained on another text than $text is now" >&2
    echo "hint: move it away or remove it: rm -r $run" >&2
    exit 1
fi
if made_from | cmp -s - $bin/made-from; then
    step "3/5 prepare: $bin is complete"
else
    step "3/5 prepare: $text -> $bin"
    rm -f $bin/made-from
    $omega prepare --source de --target en --train $text/train --valid $text/valid --test $text/test \
        --vocab-size $vocab --out $bin
    made_from >$bin/made-from.tmp
    mv $bin/made-from.tmp $bin/made-from
fi

step "4/5 train: $bin -> $run"
mkdir -p $run
cp $bin/made-from $run/made-from
$omega train $bin --save-dir $run $train_flags

step "5/5 translate: $shown of the test lines"
# The first ones of 6 to 18 words: neither headings nor whole paragraphs.
paste $text/test.de $text/test.en |
    awk -F '\t' -v left=$shown '{ n = split($1, w, " ") } n >= 6 && n <= 18 && left-- > 0' >$run/shown.tsv
cut -f 1 $run/shown.tsv | $omega translate $run $translate_flags >$run/shown.hyp
paste $run/shown.tsv $run/shown.hyp | python3 -c '
import sys, textwrap
for line in sys.stdin.read().split("\n")[:-1]:
    for label, text in zip(("source", "reference", "omega"), line.split("\t")):
        print(textwrap.fill(text or "(empty)", 79, initial_indent=f"{label:<11}", subsequent_indent=" " * 11))
    print()'

step "5/5 translate: all test lines, then score"
$omega translate $run $translate_flags <$text/test.de >$run/test.hyp.tmp
mv $run/test.hyp.tmp $run/test.hyp
$omega score --reference $text/test.en <$run/test.hyp
step "done; translate more: $omega translate $run"
