#!/bin/sh
# `make demo`: corpus, prepare, train, translate, score. Not there yet: training is not.
echo "error: the demo needs \`omega train\`, which does not exist yet" >&2
echo "hint: \`make test\` runs what does" >&2
exit 1
