# What the recipes share; they read this file, it does nothing by itself.

checkout=$(dirname -- "$0")/..
if [ -z "${PYTHON-}" ]; then
    PYTHON=python3
    if [ -x "$checkout/.venv/bin/python" ]; then PYTHON=$checkout/.venv/bin/python; fi
fi
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
trap 'exit 130' INT TERM

# split_off FILE HOW TRAIN TEST: the texts of FILE as two files of JSON lines. HOW: how many of its
# last rows are the test part, or `fraction` for a fifth, drawn by seed 1 as `carryline train
# --valid-fraction 0.2 --seed 1` draws it.
split_off() {
    "$PYTHON" - "$@" <<'PROGRAM'
import json, sys
from carryline.errors import CarrylineError
from carryline.text.data import read, split

file, how, *parts = sys.argv[1:]
try:
    data = read(file)
except CarrylineError as error:
    sys.exit(str(error))
rows = range(len(data.texts))
halves = split(data.labels, 0.2, 1) if how == "fraction" else (rows[: -int(how)], rows[-int(how) :])
for part, chosen in zip(parts, halves):
    with open(part, "w", encoding="utf-8") as to:
        for row in chosen:
            print(json.dumps({"text": data.texts[row], "label": data.labels[row]}), file=to)
PROGRAM
}

# accuracy TRAIN TEST OUT [OPTION...]: train, measure, and print the accuracy alone.
accuracy() {
    train=$1 test=$2 out=$3
    shift 3
    "$PYTHON" -m carryline train "$train" --out "$out" "$@" >&2
    "$PYTHON" -m carryline evaluate "$out" "$test" --json >"$scratch/figures"
    "$PYTHON" -c 'import json, sys
print("{accuracy:.4f} on {texts:,} texts".format(**json.loads(open(sys.argv[1]).readlines()[-1])))' \
        "$scratch/figures"
}
