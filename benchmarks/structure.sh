#!/bin/sh
# Measures every figure, plot and table of docs/structure.md and fills them in:
#
#     benchmarks/structure.sh CHECKPOINT KODAK HELD_OUT OUT [TABLE]
#
# The learned table (default: the shipped one) is not searched anew; the two controls are, on HELD_OUT. Every step goes on
# where it was stopped. PYTHON names the interpreter, THREADS a number of threads for the searches, HEAVY and TIMED
# commands to run the long steps and the timings with, and LIMIT a number of images.
set -eu
checkpoint=$1 kodak=$2 held_out=$3 out=$4
here=$(cd "$(dirname "$0")/.." && pwd)
table=${5:-$here/training/structure/learned.json}
python=${PYTHON:-python}
mkdir -p "$out"

$python - "$table" "$out/plans.json" <<'PLANS'
import json, sys
table = json.load(open(sys.argv[1]))
head = {"format": "basic-group-plans", "format_version": 1, "architecture": table["architecture"], "notes": {}}
json.dump(head | {"plans": table["notes"]["plans"]}, open(sys.argv[2], "w"))
PLANS
for control in backbone:8 ar:5; do # the entropy part alone spans a tenth of the multiplications: five levels are enough
    made="$out/${control%:*}.json"
    test -e "$made" || ${HEAVY:-} $python -m basic.training.structure.entry levels "$checkpoint" \
        --data "$held_out" --plans "$out/plans.json" --control "${control%:*}" --levels "${control#*:}" \
        --threads "${THREADS:-1}" -o "$made"
done
test -e "$out/latency.json" || ${TIMED:-} $python -m basic.benchmarks.latency_table -o "$out/latency.json"
test -e "$out/check.json" || ${TIMED:-} $python -m basic.benchmarks.latency_check \
    --latency-table "$out/latency.json" --random 12 > "$out/check.part"
test -e "$out/check.json" || mv "$out/check.part" "$out/check.json"
test -e "$out/budgets.json" || ${TIMED:-} $python -m basic.benchmarks.entry --images "$kodak" --repeats 4 \
    --save-profile "$out/profile.json" > "$out/budgets.part"
test -e "$out/budgets.json" || mv "$out/budgets.part" "$out/budgets.json"
${HEAVY:-} $python -m basic.benchmarks.structure "$checkpoint" --images "$kodak" --table "$table" \
    --backbone-table "$out/backbone.json" --ar-table "$out/ar.json" ${LIMIT:+--limit $LIMIT} -o "$out"
$python -m basic.benchmarks.structure_page "$out" "$here/docs/structure.md" --table "$table" \
    --latency "$out/check.json" --budgets "$out/budgets.json"
