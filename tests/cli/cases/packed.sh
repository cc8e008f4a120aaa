# Checkpoints whose layers are quantized: methods that are not read are refused by name, as are options that do not go with them.
data=$GOLDENS/../checkpoints
quantization() {
    mkdir -p ck
    sed '/"quantization_config": {/,/}/d' "$data/packed-gptq/config.json" | sed "1a \"quantization_config\": $1," >ck/config.json
    cp "$data/packed-gptq/model.safetensors" ck
    status $CLI export onnx -q --no-validation -m ck out
}
quantization '{"quant_method": "bitsandbytes", "load_in_4bit": true}'
quantization '{"load_in_8bit": true}'
quantization '{"quant_method": "fp8", "weight_block_size": [128, 128]}'
quantization '{"quant_method": "mxfp4"}'
quantization '{"quant_method": "gptq", "bits": 3, "group_size": 32}'
quantization '{"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "marlin"}'
quantization '{"quant_method": "gptq", "bits": 4, "group_size": 32, "dynamic": {"lm_head": {"bits": 8}}}'
quantization '{"quant_method": "gptq", "bits": 4, "group_size": 16}'
quantization '{"quant_method": "gptq", "bits": 4, "group_size": "32"}'
quantization '{"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv"}'
quantization '{"quant_method": "awq", "bits": 4, "group_size": 32}'
quantization null
echo '{"bits": 4, "group_size": 32, "desc_act": false}' >ck/quantize_config.json
quantization null
status $CLI export onnx -q -m ck out --quantize int4
status $CLI export onnx -q -m ck out --weights safetensors
status $CLI export onnx -q -m ck out --dtype bf16
ls out
