# Underscores and hyphens are the same, values follow "=" or a space, unambiguous prefixes do, options of other inputs are accepted.
ckpt bert/question-answering ck
status $CLI export onnx -q --no-val --model=ck --task question-answering --batch-size 3 --sequence_length=5 --width 64 --framework pt --device cpu --no_dynamic_axes -- out
ls out
status $CLI export onnx -qmck --task=question-answering --no-validation out
