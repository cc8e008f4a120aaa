# The dtype of the computation: ports, weights and config.json follow it.
ckpt llama/text-generation-with-past ck --dtype BF16
export() { status $CLI export onnx -q --no-validation -m ck --task text-generation-with-past "$@" out; }
look()
{
    $CLI inspect --json out/model.onnx | grep -o '"name": "\(past_key_values.0.key\|logits\|model.norm.weight\)", "dtype": "[a-z0-9]*"'
    grep dtype out/config.json
}
for dtype in fp32 fp16 bf16; do
    echo "--- $dtype"
    export --dtype $dtype
    look
done
for weights in keep fp32 fp16; do
    echo "--- fp16, weights $weights"
    export --dtype fp16 --weights-dtype $weights
    look
done
echo "--- fp16, safetensors"
export --dtype fp16 --weights safetensors
look
ls out
echo "--- an old spelling of the key"
sed -i 's/"dtype"/"torch_dtype"/' ck/config.json
export --dtype fp16
grep dtype out/config.json
echo "--- none"
sed -i '/torch_dtype/d' ck/config.json
export
grep dtype out/config.json
export --dtype fp16
grep dtype out/config.json
