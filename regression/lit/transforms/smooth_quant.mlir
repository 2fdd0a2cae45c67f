// RUN: python %S/../inputs/with_weights.py %s %t
// RUN: python -c "import numpy as n; n.savez(r'%t/1.npz', x=n.tile(n.array([1, -1, 30, -30], 'f4'), (1, 2, 1)))"
// RUN: echo 1.npz > %t/list
// RUN: tpuc-opt %t/in.mlir --smooth-quant="data_list=%t/list" --dce -o %t/out.mlir 2>&1 | filecheck %s --check-prefix=SAID
// RUN: filecheck %s < %t/out.mlir
// RUN: python %S/../inputs/same_outputs.py %t/in.mlir %t/out.mlir | filecheck %s --check-prefix=SAME
// SAID: norm_twin: 4 channels by
// SAME: same outputs: sum

// The residual reads the norm as it was; the weights read its twin, and have taken its factors in.
// CHECK: "top.LayerNorm"{{.*}} loc("norm")
// CHECK: "top.Weight"() {key = "s_smoothed"}
// CHECK: "top.LayerNorm"{{.*}} loc(fused["norm_twin"("internal"), "norm_twin_smoothed"("internal")])
// CHECK: "top.Weight"() {key = "w_smoothed"}
// CHECK: "top.MatMul"{{.*}} loc("product")
// CHECK: "top.Add"{{.*}} loc("sum")

// Wrong options: one line, exit code 2.
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t/in.mlir --smooth-quant="alpha=0.5" | filecheck %s --check-prefix=SAMPLES
// SAMPLES: tpuc-opt: error: give either dataset=FOLDER or data_list=FILE
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t/in.mlir --smooth-quant="dataset=d alpha=2" | filecheck %s --check-prefix=ALPHA
// ALPHA: tpuc-opt: error: --smooth-quant: alpha is '2', want auto, or a number from 0 to 1
// RUN: tpuc-opt --help | filecheck %s --check-prefix=HELP
// HELP: --smooth-quant ["dataset=… data_list=… input_num=… seed=… alpha=…"]
module @m attributes {module.state = "TOP_F32", module.weight_file = "w.npz"} {
  func.func @main(%x: tensor<1x2x4xf32> loc("x")) -> tensor<1x2x4xf32> {
    %0 = "top.Input"(%x) : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("x")
    %none = "top.None"() : () -> none
    %s = "top.Weight"() {key = "s"} : () -> tensor<4xf32> loc("s")
    %w = "top.Weight"() {key = "w"} : () -> tensor<4x4xf32> loc("w")
    %n = "top.LayerNorm"(%0, %s, %none) {axis = -1 : i64, epsilon = 1.0e-05 : f64} : (tensor<1x2x4xf32>, tensor<4xf32>, none) -> tensor<1x2x4xf32> loc("norm")
    %p = "top.MatMul"(%n, %w, %none) : (tensor<1x2x4xf32>, tensor<4x4xf32>, none) -> tensor<1x2x4xf32> loc("product")
    %a = "top.Add"(%n, %p) : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("sum")
    func.return %a : tensor<1x2x4xf32>
  }
}
