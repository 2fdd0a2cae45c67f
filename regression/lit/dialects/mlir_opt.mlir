// MLIR's own tool reads what we print, and we read what it prints: with locations in place and as aliases at the end.
// REQUIRES: mlir-opt
// RUN: tpuc-opt %s > %t.ours.mlir
// RUN: %mlir-opt --allow-unregistered-dialect --mlir-print-debuginfo --mlir-print-local-scope %t.ours.mlir > %t.scope.mlir
// RUN: tpuc-opt %t.scope.mlir | diff %t.ours.mlir -
// RUN: %mlir-opt --allow-unregistered-dialect --mlir-print-debuginfo %t.ours.mlir > %t.alias.mlir
// RUN: grep -q '^#loc' %t.alias.mlir
// RUN: tpuc-opt %t.alias.mlir | diff %t.ours.mlir -
// RUN: %mlir-opt --allow-unregistered-dialect --mlir-print-debuginfo --mlir-print-op-generic %t.ours.mlir > %t.generic.mlir
// RUN: tpuc-opt %t.generic.mlir | filecheck %s

// CHECK: "top.Relu"{{.*}} -> tensor<2x4x!quant.calibrated<f32<0.0:1.25>>> loc(fused["a", "r"])
// CHECK-NEXT: "top.LeakyRelu"{{.*}} {alpha = 1.000000e-01 : f64}
// CHECK-SAME: loc("l"("internal"))
module @m attributes {module.state = "TOP_CALIBRATED"} {
  func.func @main(%arg0: tensor<2x4x!quant.calibrated<f32<-0.5:1.25>>> loc("x")) -> tensor<2x4x!quant.calibrated<f32<-0.125:1.25>>> {
    %0 = "top.Input"(%arg0) : (tensor<2x4x!quant.calibrated<f32<-0.5:1.25>>>) -> tensor<2x4x!quant.calibrated<f32<-0.5:1.25>>> loc("x")
    %1 = "top.Relu"(%0) : (tensor<2x4x!quant.calibrated<f32<-0.5:1.25>>>) -> tensor<2x4x!quant.calibrated<f32<0.0:1.25>>> loc(fused["a", "r"])
    %2 = "top.LeakyRelu"(%1) {alpha = 0.1 : f64} : (tensor<2x4x!quant.calibrated<f32<0.0:1.25>>>) -> tensor<2x4x!quant.calibrated<f32<-0.125:1.25>>> loc("l"("internal"))
    func.return %2 : tensor<2x4x!quant.calibrated<f32<-0.125:1.25>>>
  }
}
