#!/bin/sh
# The word vectors of English that come with Carryline, made again from their texts.
set -eu

usage() {
    cat <<'USAGE'
usage: recipes/english_vectors.sh DATA OUT [OPTION...]

Learns the vectors that stand in src/carryline/text/english.safetensors: the same bits on any number
of threads of a machine with the same instruction set. Some fifty minutes on two cores, forty of them
for the layer that reads the vectors.

DATA    a folder with english.parquet (columns text and source, see docs/english.md) and
        imdb-unsup.parquet (column text)
OUT     the file for the vectors; it must not exist
OPTION  for `carryline vectors`, such as --threads 1

$PYTHON names the Python that has Carryline (default: .venv/bin/python of this checkout, else
python3).
USAGE
}

case "${1-}" in -h | --help) usage; exit 0 ;; esac
if [ $# -lt 2 ]; then usage >&2; exit 2; fi
data=$1 out=$2
shift 2
. "$(dirname -- "$0")/common.sh"

"$PYTHON" -m carryline vectors "$data/english.parquet" "$data/imdb-unsup.parquet" --out "$out" \
    --words 46000 --width 200 --window 8 --negatives 8 --epochs 8 --hidden 128 --passes 2 --seed 0 \
    --bits 4 "$@"
