# A failed export leaves nothing; one after a killed one cleans up behind it.
ckpt bert/question-answering ck
mkdir out
echo old >out/.model.onnx.partial
status $CLI export onnx -q --no-validation --model ck out
ls -A out
rm -r out
truncate -s -4 ck/model.safetensors
status $CLI export onnx -q --model ck out
ls
