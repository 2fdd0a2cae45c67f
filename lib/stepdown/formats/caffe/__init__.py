"""Caffe: prototxt and caffemodel → TOP programs."""
