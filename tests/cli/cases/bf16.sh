# ONNX Runtime cannot load bfloat16: that is said, and is an error only for who insists on the validation.
ckpt bert/question-answering ck
status $CLI export onnx -q -m ck --task question-answering --dtype bf16 out
status $CLI export onnx -q -m ck --task question-answering --dtype bf16 --validate out
ls out
