# Presets on a small BERT, what is said about it, and which files there are.
ckpt bert/text-classification ckpt
$CLI export onnx -q --model ckpt --task text-classification --no-validation onnx
$CLI onnxruntime quantize --onnx_model onnx --avx2 -o out
ls out
cat out/ort_config.json
echo "--- as Optimum's command line, and from its configuration, in a file of its own"
$CLI onnxruntime quantize -q --onnx_model onnx --avx2 --as_optimum -o optimum
diff out/ort_config.json optimum/ort_config.json
sed -e 's/"per_channel": false/"per_channel": true/' -e 's/"QUInt8",$/&/' optimum/ort_config.json >config.json
$CLI onnxruntime quantize -q --onnx_model onnx/model.onnx -c config.json --use_external_data_format -o out2
ls out2
grep -c per_channel.*true out2/ort_config.json
echo "--- static"
$CLI onnxruntime quantize -q --onnx_model onnx --tensorrt --calibration_samples 2 -o trt 2>&1
cat trt/ort_config.json
$CLI onnxruntime quantize -q --onnx_model onnx --avx2 --static --calibration_method percentile -o static 2>&1
diff trt/ort_config.json static/ort_config.json
status $CLI onnxruntime quantize --onnx_model onnx --tensorrt --as_optimum -o no
status $CLI onnxruntime quantize --onnx_model onnx --int4 --static -o no
echo "--- refused"
status $CLI onnxruntime quantize --onnx_model onnx -o out
status $CLI onnxruntime quantize --onnx_model onnx --avx2 --arm64 -o out
status $CLI onnxruntime quantize --onnx_model onnx --avx2 -o onnx
status $CLI onnxruntime quantize --onnx_model ckpt --avx2 -o out
status $CLI onnxruntime quantize --onnx_model nowhere --avx2 -o out
echo '{"quantization": {"is_static": false, "activations_dtype": "QInt8"}}' >bad.json
status $CLI onnxruntime quantize --onnx_model onnx -c bad.json -o out
echo '{"quantization": {"is_static": false, "per_channels": true}}' >bad.json
status $CLI onnxruntime quantize --onnx_model onnx -c bad.json -o out
echo '{"quantization": {"is_static": true, "qdq_op_type_per_channel_support_to_axis": {"Gemm": 0}}}' >bad.json
status $CLI onnxruntime quantize --onnx_model onnx -c bad.json -o out
echo '{"quantization": {"is_static": "yes"}}' >bad.json
status $CLI onnxruntime quantize --onnx_model onnx -c bad.json -o out
head -c 3000 onnx/model.onnx >cut.onnx
status $CLI onnxruntime quantize --onnx_model cut.onnx --avx2 -o out3
ls -A out3
echo "--- blocks of 4 bits"
$CLI onnxruntime quantize --onnx_model onnx --int4 --hqq --asymmetric --block_size 16 --nodes_to_exclude /classifier/Gemm -o out4
cat out4/ort_config.json
status $CLI onnxruntime quantize --onnx_model onnx --int4 --block_size 24 -o out5
echo "--- numbers of bitsandbytes, the rest in float16, and the same from the configuration that was written"
$CLI onnxruntime quantize --onnx_model onnx --nf4 --float16 --compare -o out11 2>&1 | grep "nodes\|MatMul\|classifier\|weights:"
cat out11/ort_config.json
$CLI onnxruntime quantize -q --onnx_model onnx -c out11/ort_config.json -o out12
cmp out11/model_quantized.onnx out12/model_quantized.onnx && cmp out11/ort_config.json out12/ort_config.json && echo equal
$CLI onnxruntime quantize -q --onnx_model onnx -c out4/ort_config.json -o out13
cmp out4/model_quantized.onnx out13/model_quantized.onnx && echo equal
status $CLI onnxruntime quantize --onnx_model onnx --nf4 --hqq -o out5
status $CLI onnxruntime quantize --onnx_model onnx --avx2 --float16 -o out5
sed 's/"nf4"/"nf5"/' out11/ort_config.json >bad.json
status $CLI onnxruntime quantize --onnx_model onnx -c bad.json -o out5
sed 's/"weight_only"/"dynamic"/' out11/ort_config.json >bad.json
status $CLI onnxruntime quantize --onnx_model onnx -c bad.json -o out5
echo "--- float16"
$CLI onnxruntime quantize --onnx_model onnx --float16 --op_block_list Softmax,Pow -o out6 | head -20
cat out6/ort_config.json
$CLI inspect out6/model_quantized.onnx | head -12
$CLI onnxruntime quantize -q --onnx_model onnx --float16 --convert_io -o out7
$CLI inspect out7/model_quantized.onnx | grep -A3 outputs
echo "--- at export, in one pass: the same bytes"
$CLI export onnx -q --model ckpt --task text-classification --quantize avx2 one
ls one
cmp one/model.onnx out/model_quantized.onnx && cmp one/ort_config.json out/ort_config.json && echo equal
$CLI export onnx -q --model ckpt --task text-classification --quantize int4 --weights external one4
$CLI onnxruntime quantize -q --onnx_model one4 --float16 -o two && ls one4 two
status $CLI export onnx --model ckpt --task text-classification --quantize int3 no
status $CLI export onnx --model ckpt --task text-classification --quantize tensorrt no
status $CLI export onnx --model ckpt --task text-classification --quantize avx2 --weights safetensors no
status $CLI export onnx --model ckpt --task text-classification --quantize avx2 --validate no
echo "--- the report as a page, and how outputs differ"
$CLI onnxruntime quantize --onnx_model onnx --avx2 --compare --report page.html -o out8 2>&1 | grep -c "outputs on made-up inputs\|largest difference"
grep -c "<tr>" page.html
grep -o "https\?:[^\"]*\|<script" page.html
tail -n 1 page.html
grep -o "<h3>[A-Z][a-z]*\|class=dots" page.html
grep -A 2 "name>bert.<wbr>encoder.<wbr>layer.<wbr>1<" page.html | grep -c "data-l=\"before\".*data-l=\"relative\""
$CLI onnxruntime quantize --onnx_model onnx --float16 --convert_io --compare -o out10 2>&1 | grep -c "largest difference"
echo "--- the same at export"
$CLI export onnx --model ckpt --task text-classification --quantize avx2 --optimize O2 --compare --report one.html one5 2>&1 | grep -c "^	  [0-9.]* .*uint8\|outputs on made-up inputs\|largest difference"
grep -c "<h2" one.html
status $CLI export onnx -q --model ckpt --task text-classification --report one.html one6
status $CLI onnxruntime quantize -q --onnx_model onnx --avx2 --report nowhere/page.html -o out9
