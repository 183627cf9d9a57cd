#!/bin/sh
# From IMDB's reviews to the accuracy on reviews that were not trained on.
set -eu

usage() {
    cat <<'USAGE'
usage: recipes/imdb.sh DATA OUT [OPTION...]

Trains a model on IMDB's movie reviews, measures it once, and prints its accuracy as the one line of
standard output; what happens meanwhile goes to standard error.

DATA    the official folder aclImdb (train/{pos,neg}/*.txt, test/{pos,neg}/*.txt): trained on train,
        measured on test. Or a folder with imdb-train.parquet (columns text and label): a fifth of
        it, split off by seed 1, is measured on, and the rest trained on; where imdb-test.parquet
        lies beside it, trained on all of the one and measured on the other.
OUT     the folder for the model; it must not exist. Nothing else is left behind.
OPTION  for `carryline train`: none for the defaults, or such as --preset small --epochs 1

$PYTHON names the Python that has Carryline (default: .venv/bin/python of this checkout, else
python3). Parquet needs its extra: pip install 'carryline[parquet]'.
USAGE
}

case "${1-}" in -h | --help) usage; exit 0 ;; esac
if [ $# -lt 2 ]; then usage >&2; exit 2; fi
data=$1 out=$2
shift 2
. "$(dirname -- "$0")/common.sh"

if [ -d "$data/train/pos" ]; then
    train=$data/train test=$data/test
elif [ -f "$data/imdb-test.parquet" ]; then
    train=$data/imdb-train.parquet test=$data/imdb-test.parquet
else
    train=$scratch/train.jsonl test=$scratch/test.jsonl
    split_off "$data/imdb-train.parquet" fraction "$train" "$test"
fi
figure=$(accuracy "$train" "$test" "$out" "$@")
echo "imdb: accuracy $figure"
