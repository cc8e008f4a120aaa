# A decoder for onnxruntime-genai; models and options that this is not for.
ckpt llama/text-generation-with-past ck
status $CLI export onnx -m ck --task text-generation-with-past --genai --strict out
ls out
cat out/genai_config.json
status $CLI export onnx -q -m ck --task text-generation-with-past --genai --quantize int4 int4
ls int4
$CLI inspect int4/model.onnx | grep com.microsoft
status $CLI export onnx -q -m ck --task text-generation --genai no
status $CLI export onnx -q -m ck --task text-generation-with-past --genai --triton no
status $CLI export onnx -q -m ck --task text-generation-with-past --genai --no-dynamic-axes no
status $CLI export onnx -q -m ck --task text-generation-with-past --genai --dtype bf16 no
ckpt stablelm/text-generation-with-past other
status $CLI export onnx -q -m other --task text-generation-with-past --genai no
ls no 2>&1
# the next export into the directory is another model's
status $CLI export onnx -q --no-validation -m ck --task text-generation-with-past out
ls out
# layers that are quantized already; query, key and value are one product
status $CLI export onnx -q --no-validation -m "$GOLDENS/../checkpoints/packed-gptq" --task text-generation-with-past --genai gptq
$CLI inspect gptq/model.onnx | grep com.microsoft
