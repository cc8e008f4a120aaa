status $CLI export onnx --list
