status $CLI
status $CLI --help
status $CLI --version
status $CLI export onnx --help
status $CLI run --help
status $CLI env --help
