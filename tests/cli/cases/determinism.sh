# The same checkpoint gives the same bytes, wherever it lies.
ckpt llama/text-generation-with-past ck
cp -r ck copy
for w in embedded external safetensors; do
    $CLI export onnx -q --no-validation --weights $w --model ck one-$w
    $CLI export onnx -q --no-validation --weights $w --model $PWD/copy two-$w
    diff -r one-$w two-$w && echo same
done
