// RUN: tpuc-opt %s --shape-infer | filecheck %s
// A module that is right stays as it is, the calibrated and quantised element types too.
// CHECK: "top.Relu"{{.*}} -> tensor<2x4x!quant.calibrated<f32<0.0:1.25>>> loc("r")
// CHECK: "top.Reshape"{{.*}} -> tensor<8x!quant.calibrated<f32<0.0:1.25>>> loc("y")
module @m {
  func.func @main(%x: tensor<2x4xf32> loc("x")) -> tensor<8x!quant.calibrated<f32<0.0:1.25>>> {
    %0 = "top.Input"(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("x")
    %1 = "top.Relu"(%0) : (tensor<2x4xf32>) -> tensor<2x4x!quant.calibrated<f32<0.0:1.25>>> loc("r")
    %2 = "top.Reshape"(%1) {shape = array<i64: 8>} : (tensor<2x4x!quant.calibrated<f32<0.0:1.25>>>) -> tensor<8x!quant.calibrated<f32<0.0:1.25>>> loc("y")
    func.return %2 : tensor<8x!quant.calibrated<f32<0.0:1.25>>>
  }
}
