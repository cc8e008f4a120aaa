# Levels on a small BERT, what is said about it, and which files there are.
ckpt bert/text-classification ckpt
$CLI export onnx -q --model ckpt --task text-classification --no-validation onnx
$CLI onnxruntime optimize --onnx_model onnx -O2 -o out
ls out
cat out/ort_config.json
echo "--- approximated, from a configuration, in a file of its own"
sed -e 's/"enable_gelu_approximation": false/"enable_gelu_approximation": true/' out/ort_config.json >config.json
$CLI onnxruntime optimize --onnx_model onnx/model.onnx -c config.json --use_external_data_format -o out2 | grep Gelu
ls out2
$CLI onnxruntime optimize -q --onnx_model onnx -O3 -o out3
grep -c approximation.*true out2/ort_config.json out3/ort_config.json
echo "--- every key is written back as it was read"
sed -e 's/: false/: tmp/; s/: true/: false/; s/: tmp/: true/; s/"fp16": true/"fp16": false/; s/"one_external_file": false/"one_external_file": true/' out/ort_config.json >turned.json
$CLI onnxruntime optimize --onnx_model onnx -c turned.json -o turned 2>&1 | grep kept
cmp turned.json turned/ort_config.json && echo equal
echo "--- nothing to fuse"
$CLI onnxruntime optimize --onnx_model onnx -O1 -o out1 | grep nodes
echo "--- float16"
$CLI onnxruntime optimize -q --onnx_model onnx -O4 -o out4
grep -c '"fp16": true' out4/ort_config.json
echo "--- refused"
status $CLI onnxruntime optimize --onnx_model onnx -o out5
status $CLI onnxruntime optimize --onnx_model onnx -O2 -c config.json -o out5
status $CLI onnxruntime optimize --onnx_model onnx -O5 -o out5
status $CLI onnxruntime optimize --onnx_model onnx -O2 --device tpu -o out5
status $CLI onnxruntime optimize --onnx_model onnx -c config.json --device cpu -o out5
status $CLI onnxruntime optimize --onnx_model onnx -O2 -o onnx
status $CLI onnxruntime optimize --onnx_model nowhere -O2 -o out5
echo '{"optimization": {"fp16": 1}}' >bad.json
status $CLI onnxruntime optimize --onnx_model onnx -c bad.json -o out5
sed 's/"disable_nhwc_conv"/"disable_nhwc"/' out/ort_config.json >bad.json
status $CLI onnxruntime optimize --onnx_model onnx -c bad.json -o out5
sed -e 's/"use_external_data_format": false/"use_external_data_format": true/' -e 's/"one_external_file": true/"one_external_file": false/' out/ort_config.json >bad.json
status $CLI onnxruntime optimize --onnx_model onnx -c bad.json -o out5
head -c 3000 onnx/model.onnx >cut.onnx
status $CLI onnxruntime optimize --onnx_model cut.onnx -O2 -o out5
echo "--- at export, in one pass"
$CLI export onnx -q --model ckpt --task text-classification --no-validation --optimize O2 one
ls one
$CLI onnxruntime optimize -q --onnx_model onnx -O2 --device cpu -o out6
cmp one/ort_config.json out6/ort_config.json && echo equal
grep skip_layer_norm_fusion out/ort_config.json out6/ort_config.json
$CLI inspect one/model.onnx | grep -c com.microsoft
status $CLI export onnx -q --model ckpt --optimize O4 two
status $CLI export onnx -q --model ckpt --optimize O9 two
status $CLI export onnx -q --model ckpt --optimize O2 --weights safetensors two
$CLI export onnx -q --model ckpt --task text-classification --optimize O2 --quantize avx2 both && ls both
echo "--- the report as a page, and how outputs differ"
$CLI onnxruntime optimize --onnx_model onnx -O4 --compare --report page.html -o out6 2>&1 | grep -c "outputs on made-up inputs\|largest difference\|float16"
grep -o "<h1>[^<]*\|<h3>[A-Z][a-z]*" page.html
echo "--- ONNX Runtime's own optimizer afterwards: the same bytes each time, nothing beside them"
for n in 1 2; do $CLI onnxruntime optimize -q --onnx_model onnx -O2 --onnxruntime-level extended -o ort$n; done
ls -A ort1
cmp ort1/model_optimized.onnx ort2/model_optimized.onnx && echo equal
cmp -s ort1/model_optimized.onnx out/model_optimized.onnx || echo other than without
$CLI inspect ort1/model_optimized.onnx | grep -q FusedGemm && echo fused
$CLI onnxruntime optimize --onnx_model onnx -O4 --onnxruntime-level basic --use_external_data_format --compare -o ort3 2>&1 | grep -c "largest difference 0.00"
ls -A ort3
$CLI export onnx -q --model ckpt --task text-classification --optimize O2 --onnxruntime-level extended --quantize avx2 ort4 && ls -A ort4
status $CLI export onnx -q --model ckpt --onnxruntime-level basic two
status $CLI onnxruntime optimize -q --onnx_model onnx -O1 --onnxruntime-level layout -o ort5
OPTIMUM_ORT_LIBRARY=nowhere.so status $CLI onnxruntime optimize -q --onnx_model onnx -O1 --onnxruntime-level basic -o ort6
ls -A ort6
