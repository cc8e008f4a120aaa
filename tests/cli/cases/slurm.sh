# examples/slurm/array.sh, as an array of three tasks: parts that make up the whole, and nothing done twice.
$MKCKPT $GOLDENS/../pipelines/ner-bert checkpoint >/dev/null
cp $GOLDENS/../tokenizers/minilm/*.json checkpoint/
$CLI export onnx -q --no-validation -m checkpoint --task token-classification model
for i in $(seq 20); do echo "{\"inputs\": \"$i people met in New York\"}"; done >texts.jsonl
array=$GOLDENS/../../../examples/slurm/array.sh
task() { OPTIMUM_CLI=$CLI SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_COUNT=3 $array ner model texts.jsonl out; echo "exit $?"; }
for i in 0 1 2; do task $i; done
wc -l out/*
paste -d '\n' out/part-*.jsonl | sed '/^$/d' >joined
$CLI pipeline ner -m model -i texts.jsonl --batch-size 1 >whole
python3 - <<'END'
import json
def rough(x):
    return round(x, 4) if isinstance(x, float) else [rough(v) for v in x] if isinstance(x, list) else {k: rough(v) for k, v in x.items()} if isinstance(x, dict) else x
a, b = ([rough(json.loads(l)) for l in open(f)] for f in ("joined", "whole"))
print(len(a), [[e["word"] for e in x] for x in a] == [[e["word"] for e in x] for x in b])
END
rm out/part-00001.jsonl
touch -d 2000-01-01 out/part-00000.jsonl
task 0; task 1
find out -newermt 2001-01-01 | sort
mkdir bad
OPTIMUM_CLI=false SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_COUNT=1 $array ner model texts.jsonl bad
echo "exit $?"
ls bad
