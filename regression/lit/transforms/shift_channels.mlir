// RUN: python %S/../inputs/with_weights.py %s %t
// RUN: python -c "import numpy as n; n.savez(r'%t/1.npz', x=n.array([[1, 2, 3, 4], [4, 3, 2, 1]], 'f4'))"
// RUN: echo 1.npz > %t/list
// RUN: tpuc-opt %t/in.mlir --shift-channels="data_list=%t/list" --dce -o %t/out.mlir 2>&1 | filecheck %s --check-prefix=SAID
// RUN: filecheck %s < %t/out.mlir
// RUN: python %S/../inputs/same_outputs.py %t/in.mlir %t/out.mlir | filecheck %s --check-prefix=SAME
// SAID: left: up to {{[0-9.]+}} →
// SAID: sum: up to {{[0-9.]+}} →
// SAME: same outputs: classes

// The makers' biases move their results and the sum, the reader's moves them back; the last product is the output.
// CHECK: "top.Weight"() {key = "lb_shifted"}
// CHECK: "top.MatMul"{{.*}} loc(fused["left"("internal"), "left_shifted"("internal")])
// CHECK: "top.Weight"() {key = "right_bias"}
// CHECK: "top.MatMul"{{.*}} loc(fused["right"("internal"), "right_shifted"("internal")])
// CHECK: "top.Add"{{.*}} loc(fused["sum"("internal"), "sum_shifted"("internal")])
// CHECK: "top.Weight"() {key = "classes_bias"}
// CHECK: "top.MatMul"{{.*}} loc("classes")

// Wrong options: one line, exit code 2.
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t/in.mlir --shift-channels | filecheck %s --check-prefix=SAMPLES
// SAMPLES: tpuc-opt: error: give either dataset=FOLDER or data_list=FILE
// RUN: tpuc-opt --help | filecheck %s --check-prefix=HELP
// HELP: --shift-channels ["dataset=… data_list=… input_num=… seed=…"]
module @m attributes {module.state = "TOP_F32", module.weight_file = "w.npz"} {
  func.func @main(%x: tensor<2x4xf32> loc("x")) -> tensor<2x3xf32> {
    %0 = "top.Input"(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("x")
    %none = "top.None"() : () -> none
    %l = "top.Weight"() {key = "l"} : () -> tensor<4x4xf32> loc("l")
    %lb = "top.Weight"() {key = "lb"} : () -> tensor<4xf32> loc("lb")
    %r = "top.Weight"() {key = "r"} : () -> tensor<4x4xf32> loc("r")
    %c = "top.Weight"() {key = "c"} : () -> tensor<4x3xf32> loc("c")
    %1 = "top.MatMul"(%0, %l, %lb) : (tensor<2x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<2x4xf32> loc("left")
    %2 = "top.MatMul"(%0, %r, %none) : (tensor<2x4xf32>, tensor<4x4xf32>, none) -> tensor<2x4xf32> loc("right")
    %3 = "top.Add"(%1, %2) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("sum")
    %4 = "top.MatMul"(%3, %c, %none) : (tensor<2x4xf32>, tensor<4x3xf32>, none) -> tensor<2x3xf32> loc("classes")
    func.return %4 : tensor<2x3xf32>
  }
}
