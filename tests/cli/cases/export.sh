# The report has the words of the original's guide.
ckpt bert/question-answering ck
status $CLI export onnx --model ck --task question-answering out/
ls out
cmp ck/config.json out/config.json
