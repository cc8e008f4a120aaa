ckpt distilbert/feature-extraction ck
status $CLI export onnx -q --no-validation --model ck --dump-ir ir.txt out
grep -c . ir.txt
grep Linear_output_0: ir.txt | head -n 2
