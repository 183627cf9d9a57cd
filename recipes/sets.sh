#!/bin/sh
# From each of the smaller sets' training files to the accuracy on its test file.
set -eu

usage() {
    cat <<'USAGE'
usage: recipes/sets.sh DATA OUT [OPTION...]

Trains a model on each set's training file, measures it once on its test file, and prints a line a
set on standard output; what happens meanwhile goes to standard error.

DATA    a folder with NAME-train.csv and NAME-test.csv for trec, banking77, bbc and tweet-irony
        (columns text and label), and mr.csv, whose last 1,066 rows are its test part
OUT     the folder for the models, one each; it must not exist. Nothing else is left behind.
OPTION  for `carryline train`: none for the defaults, or such as --preset small --epochs 1

$SETS names the sets, with spaces between (default: all five). $PYTHON names the Python that has
Carryline (default: .venv/bin/python of this checkout, else python3).
USAGE
}

case "${1-}" in -h | --help) usage; exit 0 ;; esac
if [ $# -lt 2 ]; then usage >&2; exit 2; fi
data=$1 out=$2
shift 2
. "$(dirname -- "$0")/common.sh"

mkdir -- "$out"
for set in ${SETS:-mr trec banking77 bbc tweet-irony}; do
    train=$data/$set-train.csv test=$data/$set-test.csv
    if [ "$set" = mr ]; then
        train=$scratch/train.jsonl test=$scratch/test.jsonl
        split_off "$data/mr.csv" 1066 "$train" "$test"
    fi
    figure=$(accuracy "$train" "$test" "$out/$set" "$@")
    echo "$set: accuracy $figure"
done
