# Static quantization: made-up inputs, texts, tensors; what is refused.
ckpt bert/text-classification ckpt
$CLI export onnx -q --model ckpt --task text-classification --no-validation onnx
$CLI onnxruntime quantize --onnx_model onnx --tensorrt --per_channel -o out | grep -v "(int8)"
ls -A out
sed -e 's/"QInt8"/"QUInt8"/;s/"qdq_dedicated_pair": true/"qdq_dedicated_pair": false/;s/"qdq_add_pair_to_weight": true/"qdq_add_pair_to_weight": false/' \
    -e 's/"activations_symmetric": true/"activations_symmetric": false/' out/ort_config.json >static.json
for method in minmax entropy percentile; do
    $CLI onnxruntime quantize -q --onnx_model onnx -c static.json --calibration_method $method -o $method
done
$CLI inspect minmax/model_quantized.onnx | sed -n '/operators/,/^$/p'
echo "--- in the format QOperator"
sed -e 's/"QDQ"/"QOperator"/' -e '/operators_to_quantize/,/\]/d' static.json >qoperator.json
$CLI onnxruntime quantize -q --onnx_model onnx -c qoperator.json -o qoperator
grep -c '"QOperator"' qoperator/ort_config.json
$CLI inspect qoperator/model_quantized.onnx | sed -n '/operators/,/^$/p'
echo "--- refused"
status $CLI onnxruntime quantize -q --onnx_model onnx --tensorrt --calibration_texts nothing.jsonl -o no
echo '["a"]' >bad.jsonl
status $CLI onnxruntime quantize -q --onnx_model onnx --tensorrt --calibration_texts bad.jsonl --calibration_tensors x -o no
status $CLI onnxruntime quantize -q --onnx_model onnx --tensorrt --calibration_tensors ckpt/model.safetensors -o no
ls -A no
