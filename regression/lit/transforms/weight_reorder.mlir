// Constants as the engine reads them are arrays of their own where no weight of the op has their bytes.
// RUN: python %S/../inputs/with_weights.py %s %t
// RUN: tpuc-opt %t/in.mlir --convert-top-to-tpu="mode=F16 chip=bm1684x" --weight-reorder -o %t/out.mlir
// RUN: filecheck %s < %t/out.mlir
// RUN: python -c "import numpy as n; a, b = n.load(r'%t/out_weight.npz'), 'product_weights'; print(a[b].shape, a[b].dtype, (a[b].reshape(4, 4) == a['w_f16'].T).all())" | filecheck %s --check-prefix=ARRAY
// ARRAY: (1, 4, 4, 1) float16 True

// What is printed is read again, and nothing changes.
// RUN: tpuc-opt %t/out.mlir --weight-reorder -o %t/again.mlir
// RUN: sed 's/again_weight.npz/out_weight.npz/' %t/again.mlir | diff %t/out.mlir -

// The model file has the same bytes.
// RUN: tpuc-opt %t/in.mlir --convert-top-to-tpu="mode=F16 chip=bm1684x" --codegen="model_file=%t/plain.bmodel"
// RUN: tpuc-opt %t/in.mlir --convert-top-to-tpu="mode=F16 chip=bm1684x" --weight-reorder --codegen="model_file=%t/reordered.bmodel"
// RUN: cmp %t/plain.bmodel %t/reordered.bmodel

// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t/in.mlir --weight-reorder | filecheck %s --check-prefix=STATE
// STATE: tpuc-opt: error: {{.*}}in.mlir: is in state TOP_F32, want TPU_LOWERED
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t/in.mlir --convert-top-to-tpu="mode=F16 chip=bm1684x" --weight-reorder="chip=gemmini" | filecheck %s --check-prefix=CHIP
// CHIP: tpuc-opt: error: {{.*}}in.mlir: is lowered for chip bm1684x, not gemmini

// CHECK: "tpu.Sigmoid"{{.*}} {images = {table = "s_table"}}
// CHECK: "tpu.MatMul"{{.*}} {images = {weights = "product_weights"}
// CHECK: "tpu.Sigmoid"{{.*}} {images = {table = "s_table"}}
module @m attributes {module.state = "TOP_F32", module.weight_file = "w.npz"} {
  func.func @main(%x: tensor<2x4xf32> loc("x")) -> tensor<2x4xf32> {
    %0 = "top.Input"(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("x")
    %none = "top.None"() : () -> none
    %w = "top.Weight"() {key = "w"} : () -> tensor<4x4xf32> loc("w")
    %s = "top.Sigmoid"(%0) : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("s")
    %p = "top.MatMul"(%s, %w, %none) : (tensor<2x4xf32>, tensor<4x4xf32>, none) -> tensor<2x4xf32> loc("product")
    %t = "top.Sigmoid"(%p) : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("t")
    func.return %t : tensor<2x4xf32>
  }
}
