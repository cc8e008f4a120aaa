# The three places of weights; the checkpoint's own directory is left as it was.
ckpt bert/question-answering ck
sha256sum ck/* >before
for w in embedded external safetensors; do
    status $CLI export onnx -q --weights $w --model ck out-$w
    ls out-$w
done
FORCE_ONNX_EXTERNAL_DATA=1 status $CLI export onnx -q --model ck out-force
ls out-force
cmp out-force/model.onnx out-external/model.onnx
cmp ck/model.safetensors out-safetensors/model.safetensors
status $CLI export onnx -q --weights safetensors --model ck ck
ls ck
cmp ck/model.onnx out-safetensors/model.onnx
sha256sum --quiet -c before && echo unchanged
# A second export replaces the first; a model that points into replaced weights does not stay.
touch out-external/decoder_model.onnx
status $CLI export onnx -q --weights external --model ck out-external
ls out-external
