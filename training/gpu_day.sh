#!/bin/sh
# Trains a prior on the GPU that is at hand, in a stated number of minutes, from a packed dataset alone:
#
#   sh training/gpu_day.sh DATASET OUT MINUTES [DEVICE_BATCH]
#
# Before it, on a machine with the clips: vdub train prepare CLIPS -o people --validation ...; then
# python -m training.data.thin people -o DATASET, which makes a copy of under 60 MB.
#
# OUT gets first.safetensors (all people at once), prior.safetensors (after the last stage, which trains
# adaptation itself), margin-*.json (what each is worth on validation people, and a start from nothing) and the
# logs; every file has less than 16 MB. PRIOR, META and MARGIN may hold further options of the three steps, such
# as PRIOR="--prior training/weights/prior-small.safetensors" to go on from the shipped prior. SHARES holds the
# share of the minutes that each step gets; a second share of 0 leaves the last stage out. The same command goes
# on where it was stopped, as long as RUNS (by default OUT/runs) still holds the checkpoints.
set -eu
dataset=$1 out=$2 minutes=$3 batch=${4:-32}
python=${PYTHON:-python3}
runs=${RUNS:-$out/runs}
workers=${WORKERS:-$(nproc)}
read -r first_share last_share margin_share <<SHARES
${SHARES:-0.5 0.25 0.2}
SHARES
cd "$(dirname "$0")/.."
mkdir -p "$out" "$runs"
export PYTHONPATH=. PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

$python - <<'PYTHON'
import sys
import torch

device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, the CPU"
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {device}")
if tuple(int(x) for x in torch.__version__.split(".")[:2]) < (2, 5):
    sys.exit(f"torch {torch.__version__} is too old; expected 2.5 or newer")
PYTHON

share() { $python -c "print(round($minutes * $1, 3))"; }
log() { tee -a "$out/$1"; }

if [ ! -f "$out/first.safetensors" ]; then
    $python -m training prior "$dataset" -o "$runs/first.safetensors" --minutes "$(share "$first_share")" \
        --batch "$batch" --workers "$workers" --rate 0.002 ${PRIOR:-} 2>&1 | log first.log
    cp "$runs/first.safetensors" "$out/first.safetensors"
    cp "$runs/first.run/sheet.png" "$out/sheet.png"
fi
if [ ! -f "$out/prior.safetensors" ] && [ "$last_share" != 0 ]; then
    $python -m training.meta "$dataset" --prior "$out/first.safetensors" -o "$out/prior.safetensors" \
        --minutes "$(share "$last_share")" --workers "$workers" ${META:-} 2>&1 | log meta.log
fi
for prior in none "$out/first.safetensors" "$out/prior.safetensors"; do  # at once: a step waits on the CPU
    [ "$prior" = none ] || [ -f "$prior" ] || continue
    name=$(basename "$prior" .safetensors)
    $python -m training.experiments.margin "$dataset" --minutes "$(share "$margin_share")" \
        -o "$out/margin-$name.json" \
        --priors "$prior" ${MARGIN:-} > "$out/margin-$name.log" 2>&1 &
done
wait
cat "$out"/margin-*.log
