# Both executors on one file.
ckpt bert/feature-extraction ck
$CLI export onnx -q --model ck out
status $CLI run out/model.onnx --inputs missing.safetensors --output got.safetensors
status $CLI run missing.onnx --inputs ck/model.safetensors --output got.safetensors
status $CLI run out/model.onnx --inputs ck/model.safetensors --output got.safetensors
status $CLI run out/model.onnx --executor reference --inputs ck/model.safetensors --output got.safetensors
status $CLI run ck/config.json --executor reference --inputs ck/model.safetensors --output got.safetensors
ls
