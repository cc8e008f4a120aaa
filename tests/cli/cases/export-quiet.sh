ckpt bert/question-answering ck
status $CLI export onnx -q --model ck out
TRANSFORMERS_VERBOSITY=warning status $CLI export onnx --model ck out
