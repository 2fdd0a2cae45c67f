"""Networks with a calibration table and a sample, made once by the tools."""

from pathlib import Path

import pytest
from broken import Network, made_by_the_tools
from checkout import REGRESSION


@pytest.fixture(scope="session")
def resnet8(tmp_path_factory: pytest.TempPathFactory) -> Network:
    model = REGRESSION / "model" / "mlperf_tiny_resnet8_cifar10_fp32.tflite"
    flags = ["--mean", "128,128,128", "--scale", "0.0078125,0.0078125,0.0078125", "--pixel_format", "rgb"]
    return made_by_the_tools(tmp_path_factory.mktemp("resnet8"), model, flags)


@pytest.fixture(scope="session")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Network:
    flags = ["--input_shapes", "[[1,3,224,224]]", "--resize_dims", "256,256", "--pixel_format", "rgb"]
    flags += ["--mean", "123.675,116.28,103.53", "--scale", "0.0171,0.0175,0.0174"]
    return made_by_the_tools(tmp_path_factory.mktemp("mobilenet"), Path(REGRESSION / "mobilenet_v2.onnx"), flags)
