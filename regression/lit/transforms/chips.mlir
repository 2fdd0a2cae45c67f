// What a chip cannot do is refused in one line, with what to choose instead.
// RUN: %S/../inputs/fails.sh 3 tpuc-opt %s --convert-top-to-tpu="mode=INT8 chip=gemmini asymmetric=true" | filecheck %s --check-prefix=ZERO
// ZERO: tpuc-opt: error: chip gemmini has no zero points
// ZERO-SAME: choose asymmetric=false
// RUN: %S/../inputs/fails.sh 3 tpuc-opt %s --convert-top-to-tpu="mode=F16 chip=gemmini" | filecheck %s --check-prefix=MODE
// MODE: tpuc-opt: error: chip gemmini has no mode F16
// MODE-SAME: choose INT8
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --convert-top-to-tpu="mode=INT8 chip=gemini" | filecheck %s --check-prefix=NAME
// NAME: tpuc-opt: error: no chip 'gemini'
// NAME-SAME: did you mean 'gemmini'?
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --convert-top-to-tpu="mode=INT8 chip=mine.toml" | filecheck %s --check-prefix=PATH
// PATH: tpuc-opt: error: no chip 'mine.toml'
module @m attributes {module.state = "TOP_F32"} {
  func.func @main(%x: tensor<1x4xf32> loc("x")) -> tensor<1x4xf32> {
    %0 = "top.Input"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("x")
    %1 = "top.Sigmoid"(%0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("y")
    func.return %1 : tensor<1x4xf32>
  }
}
