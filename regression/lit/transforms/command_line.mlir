// Wrong passes, options, values and files: one line, exit code 2.
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --canonicalise | filecheck %s --check-prefix=PASS
// PASS: tpuc-opt: error: there is no pass '--canonicalise'; did you mean '--canonicalize'?
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --convert-top-to-tpu="mode=INT7 chip=bm1684x" | filecheck %s --check-prefix=MODE
// MODE: tpuc-opt: error: --convert-top-to-tpu: mode is 'INT7', want one of F32, F16, BF16, INT8
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --convert-top-to-tpu="moode=INT8" | filecheck %s --check-prefix=OPTION
// OPTION: tpuc-opt: error: --convert-top-to-tpu has no option 'moode'; did you mean 'mode'?
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --convert-top-to-tpu | filecheck %s --check-prefix=NEEDS
// NEEDS: tpuc-opt: error: --convert-top-to-tpu needs mode=…, chip=…
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --dce=deep=true | filecheck %s --check-prefix=NONE
// NONE: tpuc-opt: error: --dce has no option 'deep'; it has none
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t.missing.mlir | filecheck %s --check-prefix=FILE
// FILE: no such file
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s -o %t.txt | filecheck %s --check-prefix=SUFFIX
// SUFFIX: is no name of a module; end it in .mlir

// The input and its weight file are never overwritten.
// RUN: tpuc-opt %s -o %t.mlir | filecheck %s --check-prefix=WROTE
// WROTE: 1 ops, TOP_F32: wrote {{.*}}.mlir and {{.*}}_weight.npz; next: run_calibration.py
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t.mlir -o %t.mlir | filecheck %s --check-prefix=SAME
// SAME: would overwrite {{.*}}.mlir, which is being read; give another name
// RUN: cp %t.mlir %t.copy.mlir
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t.copy.mlir -o %t.mlir | filecheck %s --check-prefix=WEIGHTS
// WEIGHTS: would overwrite {{.*}}_weight.npz, which is being read; give another name

// Passes run in the order given, also after the file name.
// RUN: tpuc-opt --dce %s --cse --save-weight --dce --mlir-timing --print-ir-after-all 2>&1 >/dev/null | filecheck %s --check-prefix=ORDER
// ORDER: read and verify
// ORDER: --dce
// ORDER: // after --dce
// ORDER: --cse
// ORDER: // after --cse
// ORDER: --save-weight
// ORDER: // after --dce
// ORDER: write
// RUN: tpuc-opt --help | filecheck %s --check-prefix=HELP
// HELP: --canonicalize
// HELP: --cse
// HELP: --shape-infer
module @m attributes {module.state = "TOP_F32"} {
  func.func @main(%x: tensor<1x4xf32> loc("x")) -> tensor<1x4xf32> {
    %0 = "top.Input"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("x")
    %1 = "top.Sigmoid"(%0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("y")
    func.return %1 : tensor<1x4xf32>
  }
}
