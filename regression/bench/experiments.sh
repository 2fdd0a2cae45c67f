#!/usr/bin/env bash
# The table of docs/experiments.md:
#
#     bash regression/bench/experiments.sh MODELS PHOTOS CALIBRATION WORK
#
# MODELS has efficientnet_lite0_fp32.tflite and efficientnet_lite0_int8.tflite, PHOTOS labelled photos with a val.txt,
# CALIBRATION photos to calibrate on; WORK is where everything is written. What is there already is not made again.
set -euo pipefail
[ $# -eq 4 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
models=$(realpath "$1") photos=$(realpath "$2") calibration=$(realpath "$3")
source "$here/../../envsetup.sh"
mkdir -p "$4"
cd "$4"
cp "$here/experiments.toml" .
ln -sfn "$photos" photos
ln -sf "$models/efficientnet_lite0_fp32.tflite" lite0.tflite
ln -sf "$models/efficientnet_lite0_int8.tflite" lite0_int8.tflite
[ -f lite0.mlir ] || model_transform.py --model_name lite0 --model_def lite0.tflite --mlir lite0.mlir \
    --resize_dims 256,256 --resize_method bicubic --pixel_format rgb --mean 127,127,127 \
    --scale 0.0078125,0.0078125,0.0078125 --output_names 'model/dense/MatMul;model/dense/BiasAdd'
[ -f lite0_cali_table ] || run_calibration.py lite0.mlir --dataset "$calibration" -o lite0_cali_table
[ -f lite0.onnx ] || mlir2onnx.py lite0.mlir -o lite0.onnx
[ -f lite0_u8s8.onnx ] || python "$here/experiments_u8s8.py" lite0.mlir lite0.onnx "$calibration" lite0_u8s8.onnx
run_experiments.py experiments.toml -o report
