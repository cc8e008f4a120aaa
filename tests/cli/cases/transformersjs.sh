# The layout of transformers.js: models in a folder, each in its dtypes; what does not go with it is refused.
ckpt bert/text-classification ck
status $CLI export onnx -q --no-validation -m ck --transformersjs out
find out -type f | LC_ALL=C sort
status $CLI export onnx -q --no-validation -m ck --transformersjs --quantize int4 out
ckpt t5/text2text-generation-with-past t5
status $CLI export onnx -q --no-validation -m t5 --task text2text-generation-with-past --transformersjs t5-js
find t5-js -type f | LC_ALL=C sort
echo "--- some dtypes, tensors in files of their own"
sed 's/^{/{ "transformers.js_config": { "dtype": "q8", "use_external_data_format": true },/' ck/config.json >config.json && mv config.json ck/
$CLI export onnx -q --no-validation -m ck --transformersjs-dtypes q4f16,bnb4 --weights external ext
find ext -type f | LC_ALL=C sort
grep -o '"transformers.js_config".*' ext/config.json
$CLI inspect ext/onnx/model_bnb4.onnx | grep -c Bnb4
$CLI export onnx -q --no-validation -m ck --transformersjs-dtypes fp32 plain && find plain -type f | LC_ALL=C sort
grep -o '"transformers.js_config".*' plain/config.json
status $CLI export onnx -q --no-validation -m ck --transformersjs-dtypes q4,q4f6 out
