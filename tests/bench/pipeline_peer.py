"""pipeline_peer.py MODEL TOKENIZER CASES.jsonl: the batch that tests/bench/pipeline.c measures, with the original's pipeline."""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
from optimum.onnxruntime import ORTModelForQuestionAnswering
from transformers import AutoTokenizer, pipeline

QUESTIONS = 200
model, tokenizer, cases = sys.argv[1:4]
lines = [json.loads(line)["inputs"] for line in open(cases, encoding="utf-8", newline="\n")]
lines = [line for line in lines if isinstance(line["question"], str) and isinstance(line["context"], str)]
lines = [lines[i % len(lines)] for i in range(QUESTIONS)]
names = ["input_ids", "attention_mask"]  # of DistilBERT, whatever class the tokenizer names
answer = pipeline(
    "question-answering",
    model=ORTModelForQuestionAnswering.from_pretrained(model),
    tokenizer=AutoTokenizer.from_pretrained(tokenizer, model_input_names=names),
)
columns = {key: [line[key] for line in lines] for key in ("question", "context")}
best, answers = 0.0, 0
for batch_size in (1, 8):
    start = time.perf_counter()
    results = answer(**columns, batch_size=batch_size)
    best = max(best, QUESTIONS / (time.perf_counter() - start))
answers = sum(result["start"] + 3 * result["end"] for result in results)
print(json.dumps({"batch": best, "answers": answers}))
