# Every misuse is one line on stderr and exit 2.
e="$CLI export onnx"
status $CLI exprt onnx
status $CLI export
status $e
status $e -m
status $e -m ck
status $e -m ck out more
status $e --modl ck out
status $e --no ck out
status $e -m ck --opset 13 out
status $e -m ck --opset eighteen out
status $e -m ck --opset 0 out
status $e -m ck --weights inside out
status $e -m ck --atol -1 out
status $e -m ck --strict=1 out
status $e -m ck --validate --no-validation out
status $e -m ck --framework tf out
status $e -m ck --dtype fp8 out
status $e -m ck --device cuda out
status $e -m ck --variant split out
status $e -m ck -z out
for o in --trust-remote-code --model-kwargs={} --slim --dynamo; do status $e -m ck $o out; done
status $CLI run model.onnx
ls
