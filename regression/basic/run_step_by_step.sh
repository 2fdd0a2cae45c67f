#!/usr/bin/env bash
# Ports MobileNetV2 step by step, as tutorials 1 to 5 do (docs/step_by_step.md): import, calibrate; lower in five modes,
# and in INT8 for a second machine, run, compare tensor by tensor, look at the top five; make a model file of each, run it
# on the simulator, compare again; predict how long it takes. Sets everything up itself. Work is done in WORK_DIR
# (default: work_dir/step_by_step in the checkout), which is made anew.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bash "$root/build.sh"
# shellcheck disable=SC1091
source "$root/envsetup.sh"

work=${WORK_DIR:-$root/work_dir/step_by_step}
chip=bm1684x
short=1684x
started=$SECONDS
rm -rf "$work"
mkdir -p "$work"
cd "$work"

say() { printf '\n=== %s\n' "$*"; }
do_it() { printf '+ %s\n' "$*"; "$@"; }

say "Prepare: the network, the cat, the calibration photos"
cp "$REGRESSION_PATH/mobilenet_v2.onnx" ./
cp "$REGRESSION_PATH/image/cat.jpg" ./
mkdir dataset_cali
cp "$REGRESSION_PATH"/image/*.jpg dataset_cali/
do_it prepare_dataset.py --dataset dataset_cali --input_num 12 -o dataset_cali/image_list.txt

say "Import: ONNX to TOP, checked tensor by tensor against onnxruntime"
do_it model_transform.py \
    --model_name mobilenet_v2 \
    --model_def ./mobilenet_v2.onnx \
    --input_shapes '[[1,3,224,224]]' \
    --resize_dims 256,256 \
    --mean 123.675,116.28,103.53 \
    --scale 0.0171,0.0175,0.0174 \
    --pixel_format rgb \
    --test_input ./cat.jpg \
    --test_result mobilenet_v2_all_tensors_mlir_f32.npz \
    --tolerance 0.999,0.999 \
    --mlir mobilenet_v2.mlir
do_it npz_tool.py dump mobilenet_v2_all_tensors_mlir_f32.npz output_Gemm 5

say "Calibrate on $(grep -vc "^#" dataset_cali/image_list.txt) photos"
do_it run_calibration.py mobilenet_v2.mlir \
    --data_list dataset_cali/image_list.txt \
    -o mobilenet_v2_cali_table

failed=()
# try NAME TOLERANCE PASS...: lower with the passes, run, compare every tensor with the F32 chain, show the top five.
try() {
    local name=$1 tolerance=$2 all=mobilenet_v2_all_tensors_$1_$short.npz
    shift 2
    say "Mode $name on $chip: every tensor at $tolerance of the F32 chain"
    do_it tpuc-opt mobilenet_v2.mlir "$@" --save-weight -o "mobilenet_v2_${name}_$short.mlir"
    do_it model_runner.py --model "mobilenet_v2_${name}_$short.mlir" --input mobilenet_v2_in_f32.npz \
        --dump_all_tensors --output "$all"
    do_it npz_tool.py compare "$all" mobilenet_v2_all_tensors_mlir_f32.npz --tolerance "$tolerance" |
        grep -v ' \[PASSED\]$' || failed+=("$name on $chip")
    do_it npz_tool.py dump "$all" output_Gemm 5
}
# also NAME TOLERANCE: the network's output alone, at a tighter tolerance.
also() {
    do_it npz_tool.py compare "mobilenet_v2_all_tensors_$1_$short.npz" mobilenet_v2_all_tensors_mlir_f32.npz \
        --only output_Gemm_f32 --tolerance "$2" || failed+=("$1 on $chip: output")
}
# simulate NAME OUTPUT: make a model file of the lowered module, run it, show the top five of a tensor.
simulate() {
    local stem=mobilenet_v2_$1_$short all=mobilenet_v2_all_tensors_$1_${short}_bmodel.npz
    say "Model file of mode $1 for $chip, on the simulator"
    do_it tpuc-opt "$stem.mlir" \
        --weight-reorder \
        --subnet-divide \
        --layer-group \
        --address-assign \
        --save-weight \
        --codegen="model_file=$stem.bmodel" \
        -o "${stem}_final.mlir"
    do_it model_runner.py --model "$stem.bmodel" --input mobilenet_v2_in_f32.npz --dump_all_tensors --output "$all"
    do_it npz_tool.py dump "$all" "$2" 5
}
# equal NAME: every tensor of the simulator has the bytes of the lowered module's.
equal() {
    local dump=mobilenet_v2_all_tensors_$1_$short
    do_it npz_tool.py compare "${dump}_bmodel.npz" "$dump.npz" --tolerance 1.0,1.0 |
        tee "compare_$1_$short.txt" | grep -v ' \[PASSED\]$' || failed+=("model file of $1 for $chip")
    grep -q ' equal, 0 close, 0 similar$' "compare_$1_$short.txt" || failed+=("model file of $1 for $chip: bytes")
}
# profile NAME: predict how long the chip takes, and for what.
profile() {
    do_it model_runner.py --model "mobilenet_v2_$1_$short.bmodel" --trace "$short.json" --perf "perf_$short" \
        >"perf_$short.txt"
    sed -n '1,2p; /^[0-9]* types of ops/,$p' "perf_$short.txt"
}

lower() { printf -- '--convert-top-to-tpu=%s chip=%s' "$1" "$chip"; }
table() { printf -- '--import-calibration-table=file=mobilenet_v2_cali_table asymmetric=%s' "$1"; }

try f32 0.999,0.999 "$(lower mode=F32)"
simulate f32 output_Gemm
do_it npz_tool.py compare mobilenet_v2_all_tensors_f32_1684x_bmodel.npz mobilenet_v2_all_tensors_mlir_f32.npz \
    --tolerance 0.999,0.999 | grep -v ' \[PASSED\]$' || failed+=("model file of f32 for $chip")

try int8_sym 0.90,0.55 "$(table false)" "$(lower 'mode=INT8 asymmetric=false')"
also int8_sym 0.95,0.70
simulate int8_sym output_Gemm_f32
equal int8_sym
profile int8_sym

try int8_asym 0.90,0.55 "$(table true)" "$(lower 'mode=INT8 asymmetric=true')"
also int8_asym 0.97,0.75
simulate int8_asym output_Gemm_f32
equal int8_asym

try f16 0.99,0.93 "$(lower mode=F16)"
simulate f16 output_Gemm_f32
equal f16

try bf16 0.99,0.87 "$(lower mode=BF16)"
simulate bf16 output_Gemm_f32
equal bf16

# Another machine: a systolic array with signed integers, symmetric, and a float32 factor behind each sum.
chip=gemmini
short=gemmini
try int8_sym 0.90,0.55 "$(table false)" "$(lower 'mode=INT8 asymmetric=false')"
also int8_sym 0.97,0.75
simulate int8_sym output_Gemm_f32
equal int8_sym
profile int8_sym

say "The two machines side by side, and the commands of the first convolution on each"
do_it perf_report.py 1684x.json --compare gemmini.json --by type
for short in 1684x gemmini; do
    do_it bmodel_dis.py "mobilenet_v2_int8_sym_$short.bmodel" --layer features.0.1.relu6_out_Clip \
        >"first_layer_$short.txt"
    head -n 12 "first_layer_$short.txt"
done

say "The same in one command, down to the model file, which has the same commands"
do_it model_deploy.py --mlir mobilenet_v2.mlir --quantize INT8 --chip bm1684x \
    --calibration_table mobilenet_v2_cali_table --model mobilenet_v2_deployed.bmodel -o mobilenet_v2_deployed.mlir
do_it bmodel_dis.py mobilenet_v2_deployed.bmodel --diff mobilenet_v2_int8_sym_1684x.bmodel ||
    failed+=("model_deploy.py: commands")

say "Done in $((SECONDS - started)) s; the files are in $work"
if ((${#failed[@]})); then
    printf 'below tolerance, or not the same bytes: %s\n' "${failed[@]}"
    exit 1
fi
echo "All five modes, and INT8 on the second machine, are within their tolerances, and every tensor of the model files"
echo "has the bytes of the lowered module's (F32: 0.999 similar)."
