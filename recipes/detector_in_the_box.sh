#!/usr/bin/env bash
# Repeats the detector in the box: train, export, measure. Usage: detector_in_the_box.sh COCO_FOLDER WEIGHTS.tflite OUTPUT.onnx
set -euo pipefail
data=${1:?the folder of a COCO data set} weights=${2:?the .tflite file to start from} output=${3:?the .onnx file to write}
recipe=$(dirname "$0")/detector_in_the_box.yaml
run=$(mktemp -d)
multibox train --config "$recipe" --data "$data" --weights "$weights" --teacher "$weights" --project "$run"
trained=$run/detector_in_the_box/weights/last.safetensors
multibox evaluate "$trained" --data "$data" --split val --save-dir "$run/val"
multibox export "$trained" --weights fp16 --metrics "$run/val/metrics.json" --output "$output"
multibox evaluate "$output" --data "$data" --split val
