ckpt bert/text-classification ck
status $CLI inspect ck | sed -n '1,/tensors:/p'
$CLI inspect ck --json | head -n 12
$CLI export onnx -q --no-validation --weights external --model ck out
$CLI inspect out/model.onnx | sed '/^weights:/q'
$CLI inspect out/model.onnx --json >out.json
python3 -c "import json; d = json.load(open('out.json')); print(d['kind'], d['inputs'][0], d['weights'][0])"
status $CLI inspect nowhere
status $CLI inspect ck/config.json
cp ck/config.json broken.onnx
status $CLI inspect broken.onnx
: >empty.onnx
status $CLI inspect empty.onnx
