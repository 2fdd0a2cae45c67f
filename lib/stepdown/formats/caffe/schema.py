"""The fields of Caffe's files that we read, with the numbers of the public caffe.proto; all others are skipped.

The description of a net (prototxt) is read by name. Of the trained weights (caffemodel) only names and blobs are read,
by a schema of their own: extensions of Caffe use the numbers of layer parameters for different things.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

# Message: field number type default; `*` before a type: repeated. Source: BVLC/caffe, and the SSD branch of
# weiliu89/caffe (Permute, PriorBox, DetectionOutput, Normalize). Layers that never reached the public file have
# numbers from 2000 on, which no file holds.
NET = """
BlobShape: dim 1 *int64
NetState: phase 1 Phase TEST; level 2 int32; stage 3 *string
NetStateRule: phase 1 Phase; min_level 2 int32; max_level 3 int32; stage 4 *string; not_stage 5 *string
NetParameter: name 1 string; layers 2 *V1LayerParameter; input 3 *string; input_dim 4 *int64; state 6 NetState;
  input_shape 8 *BlobShape; layer 100 *LayerParameter
LayerParameter: name 1 string; type 2 string; bottom 3 *string; top 4 *string; include 8 *NetStateRule;
  exclude 9 *NetStateRule; PARAMETERS
V1LayerParameter: bottom 2 *string; top 3 *string; name 4 string; type 5 LayerType; include 32 *NetStateRule;
  exclude 33 *NetStateRule; layer 1 V0LayerParameter; V1_PARAMETERS
V0LayerParameter: name 1 string; type 2 string
ArgMaxParameter: out_max_val 1 bool; top_k 2 int64 1; axis 3 int32
BatchNormParameter: use_global_stats 1 bool true; eps 3 float 1e-5
BiasParameter: axis 1 int32 1; num_axes 2 int32 1
ClipParameter: min 1 float; max 2 float
ConcatParameter: axis 2 int32 1; concat_dim 1 int32 1
ConvolutionParameter: num_output 1 int64; bias_term 2 bool true; pad 3 *int64; kernel_size 4 *int64; group 5 int64 1;
  stride 6 *int64; pad_h 9 int64; pad_w 10 int64; kernel_h 11 int64; kernel_w 12 int64; stride_h 13 int64;
  stride_w 14 int64; axis 16 int32 1; dilation 18 *int64
CropParameter: axis 1 int32 2; offset 2 *int64
DetectionOutputParameter: num_classes 1 int64; share_location 2 bool true; background_label_id 3 int32 0;
  nms_param 4 NonMaximumSuppressionParameter; code_type 6 CodeType CORNER; keep_top_k 7 int32 -1;
  variance_encoded_in_target 8 bool; confidence_threshold 9 float
DummyDataParameter: num 2 *int64; channels 3 *int64; height 4 *int64; width 5 *int64; shape 6 *BlobShape
EltwiseParameter: operation 1 EltwiseOp SUM; coeff 2 *float
ELUParameter: alpha 1 float 1
EmbedParameter: num_output 1 int64; input_dim 2 int64; bias_term 3 bool true
ExpParameter: base 1 float -1; scale 2 float 1; shift 3 float 0
FlattenParameter: axis 1 int32 1; end_axis 2 int32 -1
InnerProductParameter: num_output 1 int64; bias_term 2 bool true; axis 5 int32 1; transpose 6 bool
InputParameter: shape 1 *BlobShape
InterpParameter: height 1 int64; width 2 int64; zoom_factor 3 int64 1; shrink_factor 4 int64 1; pad_beg 5 int64;
  pad_end 6 int64
LogParameter: base 1 float -1; scale 2 float 1; shift 3 float 0
LRNParameter: local_size 1 int64 5; alpha 2 float 1; beta 3 float 0.75; norm_region 4 NormRegion ACROSS_CHANNELS;
  k 5 float 1
MemoryDataParameter: batch_size 1 int64; channels 2 int64; height 3 int64; width 4 int64
MVNParameter: normalize_variance 1 bool true; across_channels 2 bool; eps 3 float 1e-9
NonMaximumSuppressionParameter: nms_threshold 1 float 0.3; top_k 2 int32 -1; eta 3 float 1
NormalizeParameter: across_spatial 1 bool true; channel_shared 3 bool true; eps 4 float 1e-10
PermuteParameter: order 1 *int64
PoolingParameter: pool 1 PoolMethod MAX; kernel_size 2 *int64; stride 3 *int64; pad 4 *int64; kernel_h 5 int64;
  kernel_w 6 int64; stride_h 7 int64; stride_w 8 int64; pad_h 9 int64; pad_w 10 int64; global_pooling 12 bool;
  round_mode 13 RoundMode CEIL; ceil_mode 2013 bool true
PowerParameter: power 1 float 1; scale 2 float 1; shift 3 float 0
PReLUParameter: channel_shared 2 bool
PriorBoxParameter: min_size 1 *float; max_size 2 *float; aspect_ratio 3 *float; flip 4 bool true; clip 5 bool;
  variance 6 *float; img_size 7 int64; img_h 8 int64; img_w 9 int64; step 10 float; step_h 11 float; step_w 12 float;
  offset 13 float 0.5
ReductionParameter: operation 1 ReductionOp SUM; axis 2 int32 0; coeff 3 float 1
ReLUParameter: negative_slope 1 float 0
ReshapeParameter: shape 1 BlobShape; axis 2 int32 0; num_axes 3 int32 -1
ScaleParameter: axis 1 int32 1; num_axes 2 int32 1; bias_term 4 bool
ShuffleChannelParameter: group 1 int64 1
SliceParameter: axis 3 int32 1; slice_point 2 *int64; slice_dim 1 int32 1
SoftmaxParameter: axis 2 int32 1
SwishParameter: beta 1 float 1
ThresholdParameter: threshold 1 float 0
TileParameter: axis 1 int32 1; tiles 2 int64
UpsampleParameter: scale 1 int64 1
"""

# Field of LayerParameter: its number, and that in V1LayerParameter where it is there too; its type by its name.
PARAMETERS = """
argmax 103 23; batch_norm 139; bias 141; clip 148; concat 104 9; convolution 106 10; crop 144; detection_output 204;
dummy_data 109 26; eltwise 110 24; elu 140; embed 137; exp 111 41; flatten 135; inner_product 117 17; input 143;
interp 2001; log 134; lrn 118 18; memory_data 119 22; mvn 120 34; norm 206; permute 202; pooling 121 19; power 122 21;
prelu 131; prior_box 203; reduction 136; relu 123 30; reshape 133; scale 142; shuffle_channel 2002; slice 126 31;
softmax 125 39; swish 147; threshold 128 25; tile 138; upsample 2003
"""
TYPES = {"argmax": "ArgMax", "elu": "ELU", "lrn": "LRN", "mvn": "MVN", "norm": "Normalize", "prelu": "PReLU",
         "relu": "ReLU"}  # fmt: skip

ENUMS = """
Phase: TRAIN 0; TEST 1
CodeType: CORNER 1; CENTER_SIZE 2; CORNER_SIZE 3
EltwiseOp: PROD 0; SUM 1; MAX 2
NormRegion: ACROSS_CHANNELS 0; WITHIN_CHANNEL 1
PoolMethod: MAX 0; AVE 1; STOCHASTIC 2
RoundMode: CEIL 0; FLOOR 1
ReductionOp: SUM 1; ASUM 2; SUMSQ 3; MEAN 4
LayerType: NONE 0; ABSVAL 35; ACCURACY 1; ARGMAX 30; BNLL 2; CONCAT 3; CONTRASTIVE_LOSS 37; CONVOLUTION 4; DATA 5;
  DECONVOLUTION 39; DROPOUT 6; DUMMY_DATA 32; EUCLIDEAN_LOSS 7; ELTWISE 25; EXP 38; FLATTEN 8; HDF5_DATA 9;
  HDF5_OUTPUT 10; HINGE_LOSS 28; IM2COL 11; IMAGE_DATA 12; INFOGAIN_LOSS 13; INNER_PRODUCT 14; LRN 15; MEMORY_DATA 29;
  MULTINOMIAL_LOGISTIC_LOSS 16; MVN 34; POOLING 17; POWER 26; RELU 18; SIGMOID 19; SIGMOID_CROSS_ENTROPY_LOSS 27;
  SILENCE 36; SOFTMAX 20; SOFTMAX_LOSS 21; SPLIT 22; SLICE 33; TANH 23; WINDOW_DATA 24; THRESHOLD 31
"""

# A packed array of floats lies in a file as bytes do, and as bytes it is not unpacked one by one.
WEIGHTS = """
BlobShape: dim 1 *int64
BlobProto: num 1 int32; channels 2 int32; height 3 int32; width 4 int32; data 5 *bytes; shape 7 BlobShape;
  double_data 8 *bytes
LayerBlobs: name 1 string; type 2 string; blobs 7 *BlobProto
V1LayerBlobs: name 4 string; blobs 6 *BlobProto; layer 1 V0LayerBlobs
V0LayerBlobs: name 1 string; blobs 50 *BlobProto
NetBlobs: name 1 string; layers 2 *V1LayerBlobs; layer 100 *LayerBlobs
"""

_SCALARS = ("bool", "bytes", "float", "int32", "int64", "string")


@cache
def net_class() -> Any:
    """Return the message class NetParameter: a net as its prototxt describes it."""
    fields = [row.split() for row in PARAMETERS.replace("\n", " ").split(";")]
    named = [(f"{name}_param {{}} {_type_of(name)}", numbers) for name, *numbers in fields]
    modern = "; ".join(text.format(numbers[0]) for text, numbers in named)
    old = "; ".join(text.format(numbers[1]) for text, numbers in named if len(numbers) > 1)
    text = NET.replace("V1_PARAMETERS", old).replace("PARAMETERS", modern)
    return _message_class("NetParameter", text, ENUMS)


@cache
def blobs_class() -> Any:
    """Return the message class NetBlobs: the names and blobs of a caffemodel."""
    return _message_class("NetBlobs", WEIGHTS, "")


def _type_of(parameter: str) -> str:
    return TYPES.get(parameter, parameter.title().replace("_", "")) + "Parameter"


def _rows(text: str) -> dict[str, list[list[str]]]:
    """Return the words of each field of each `Name: field; field` in a text."""
    joined = text.replace("\n  ", " ").strip().splitlines()
    named = (line.partition(": ") for line in joined if line)
    return {name: [field.split() for field in fields.split(";")] for name, _, fields in named}


def _message_class(name: str, messages: str, enums: str) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=f"stepdown.{name.lower()}", syntax="proto2")
    known = _rows(enums)
    for title, values in known.items():
        # Names of enum values must differ within a package: each enum has a message of its own around it.
        enum = file.message_type.add(name=f"{title}Enum").enum_type.add(name=title)
        for label, number in values:
            enum.value.add(name=label, number=int(number))
    for title, fields in _rows(messages).items():
        _add_message(file.message_type.add(name=title), fields, set(known), f".{file.package}")
    pool: DescriptorPool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))


def _add_message(message: "DescriptorProto", fields: list[list[str]], enums: set[str], package: str) -> None:
    for name, number, kind, *default in fields:
        field = message.field.add(name=name, number=int(number))
        field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
        _set_type(field, kind.lstrip("*"), enums, package)
        if default:
            field.default_value = default[0]


def _set_type(field: "FieldDescriptorProto", kind: str, enums: set[str], package: str) -> None:
    if kind in _SCALARS:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    elif kind in enums:
        field.type, field.type_name = field.TYPE_ENUM, f"{package}.{kind}Enum.{kind}"
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f"{package}.{kind}"
