# A difference is a warning; with --strict an error.
ckpt bert/question-answering ck
status $CLI export onnx --atol 0 --model ck out
status $CLI export onnx -qq --atol 0 --strict --model ck out
status $CLI export onnx -q --strict --model ck out
