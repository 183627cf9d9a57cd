#!/bin/sh
# The vectors of English that come with Carryline, made again from their texts:
#
#     recipes/english_vectors.sh FOLDER english.safetensors
#
# FOLDER holds english.parquet (text, source: see docs/english.md) and imdb-unsup.parquet (text). Some
# six minutes on two cores; the same bits on any number of them.
set -eu
[ $# -eq 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
exec "${CARRYLINE:-carryline}" vectors "$1/english.parquet" "$1/imdb-unsup.parquet" --out "$2" \
  --words 49000 --width 200 --window 8 --negatives 8 --epochs 8 --seed 0 --bits 4
