#!/bin/sh
# Replays docs/mutations.md: each patch here breaks one thing, and the test that its first line names must fail.
#     run.sh             all of them          run.sh blas accumulate     those with one of these words in their names
# It works on a copy of the tree, below target/. A patch that does not apply or build is a fault of the list, not a kill.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${CARGO_TARGET_DIR:-$root/target}/mutants/tree"
work=$(cd "${CARGO_TARGET_DIR:-$root/target}/mutants" && pwd -P)
tree=$work/tree
# Ours is built quickly, as it is built for each patch, and without fatbins; the ceiling keeps `git apply` to the copy.
export CARGO_TARGET_DIR="$work/target" CARGO_INCREMENTAL=1 OMEGA_FATBIN=0 GIT_CEILING_DIRECTORIES="$work"

# Only what differs is copied, with the time of now: what an interrupted run has left is built again, and nothing else.
(cd "$root" && git ls-files) >"$work/files"
while read -r file; do
    cmp -s "$root/$file" "$tree/$file" && continue
    mkdir -p "$tree/$(dirname "$file")" && cp "$root/$file" "$tree/$file"
done <"$work/files"
[ ! -e "$root/.cuda" ] || ln -sfn "$(cd "$root/.cuda" && pwd -P)" "$tree/.cuda"
cd "$tree"

# For so many seconds at most: what never ends has failed too, and no test here takes a minute once it is built.
tests() {
    limit=$1 && shift
    timeout "$limit" cargo test --release --config profile.release.package.omega.opt-level=1 "$@" >"$work/log" 2>&1
}
wanted() {
    [ $# -gt 1 ] || return 0
    name=$1 && shift
    for word in "$@"; do case $name in *"$word"*) return 0 ;; esac; done
    return 1
}

killed=0 wrong=0 passing="|"
for patch in "$root"/tests/mutants/*.patch; do
    name=$(basename "$patch" .patch) test=$(sed -n '1s/^must fail: //p' "$patch")
    wanted "$name" "$@" || continue
    case $passing in *"|$test|"*) ;; *)
        # shellcheck disable=SC2086 # the arguments of cargo
        tests 1800 $test || { tail -n 30 "$work/log" && echo "$test fails on the tree as it is" && exit 1; }
        grep -q '^test .* ok$' "$work/log" || { echo "$test runs no test" && exit 1; }
        passing="$passing$test|" ;;
    esac
    # shellcheck disable=SC2086
    if ! git apply "$patch" || ! tests 1800 $test --no-run; then
        echo "$name: does not apply or build" && wrong=$((wrong + 1))
    elif tests 300 $test; then
        echo "$name: SURVIVES $test" && wrong=$((wrong + 1))
    else
        echo "$name: killed" && killed=$((killed + 1))
    fi
    git apply -R "$patch" || cp "$root/$(sed -n 's/^--- a.//p' "$patch")" "$(sed -n 's/^--- a.//p' "$patch")"
done
echo "$killed killed, $wrong not"
[ "$wrong" = 0 ]
