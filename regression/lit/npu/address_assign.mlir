// Tensors have places in global memory while they are in use; c takes the place of the input's copy, its reshape too.
// RUN: tpuc-opt %s --convert-top-to-tpu="mode=F16 chip=bm1684x" --subnet-divide --address-assign > %t.mlir 2> %t.txt
// RUN: filecheck %s --check-prefix=SAID < %t.txt
// RUN: filecheck %s < %t.mlir
// RUN: tpuc-opt %t.mlir --address-assign 2> %t.txt | diff - %t.mlir
// SAID: global memory: 98,304 bytes in 6 tensors, live-set lower bound 98,304, gap 0.0 %
// CHECK: module.global_bytes = 98304 : i64
// CHECK-SAME: module.state = "TPU_ADDRESSED"
// CHECK: "tpu.Input"{{.*}}{address = 0 : i64
// CHECK: "tpu.Convert"{{.*}}{address = 65536 : i64
// CHECK: "tpu.Relu"{{.*}}{address = 0 : i64
// CHECK: "tpu.Sigmoid"{{.*}}{address = 32768 : i64
// CHECK: "tpu.Add"{{.*}}{address = 65536 : i64
// CHECK: "tpu.Reshape"{{.*}}{address = 65536 : i64
// CHECK: "tpu.Convert"{{.*}}{address = 0 : i64

// Only a lowered module has places, and only on its own chip.
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %s --address-assign | filecheck %s --check-prefix=STATE
// STATE: tpuc-opt: error: {{.*}}is in state TOP_F32, want TPU_LOWERED or TPU_ADDRESSED
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t.mlir --address-assign="chip=gemmini" | filecheck %s --check-prefix=CHIP
// CHIP: tpuc-opt: error: {{.*}}is lowered for chip bm1684x, not gemmini
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t.mlir --subnet-divide | filecheck %s --check-prefix=LATE
// LATE: tpuc-opt: error: {{.*}}is in state TPU_ADDRESSED, want TPU_LOWERED; put it before --address-assign

// Places that were changed by hand are checked before code is made.
// RUN: sed 's/address = 32768/address = 4096/' %t.mlir > %t_changed.mlir
// RUN: %S/../inputs/fails.sh 2 tpuc-opt %t_changed.mlir --codegen="model_file=%t.bmodel" | filecheck %s --check-prefix=CHANGED
// CHANGED: tpuc-opt: error: {{.*}}a and b overlap while both are in use; run --address-assign on it again
module @m attributes {module.state = "TOP_F32"} {
  func.func @main(%x: tensor<1x8x32x64xf32> loc("x")) -> tensor<1x16384xf32> {
    %0 = "top.Input"(%x) : (tensor<1x8x32x64xf32>) -> tensor<1x8x32x64xf32> loc("x")
    %a = "top.Relu"(%0) : (tensor<1x8x32x64xf32>) -> tensor<1x8x32x64xf32> loc("a")
    %b = "top.Sigmoid"(%a) : (tensor<1x8x32x64xf32>) -> tensor<1x8x32x64xf32> loc("b")
    %c = "top.Add"(%a, %b) : (tensor<1x8x32x64xf32>, tensor<1x8x32x64xf32>) -> tensor<1x8x32x64xf32> loc("c")
    %d = "top.Reshape"(%c) {shape = array<i64: 1, 16384>} : (tensor<1x8x32x64xf32>) -> tensor<1x16384xf32> loc("d")
    func.return %d : tensor<1x16384xf32>
  }
}
