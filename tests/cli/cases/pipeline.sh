# Pipelines on texts of the command line, and as filters.
model()
{
    $MKCKPT $GOLDENS/../pipelines/$1 $1-checkpoint >/dev/null
    cp $GOLDENS/../tokenizers/minilm/*.json $1-checkpoint/
    $CLI export onnx -q --no-validation -m $1-checkpoint --task $2 $1
}
model qa-bert question-answering
model ner-bert token-classification
model fillmask-bert fill-mask
model textcls-bert-multi text-classification
model zeroshot-bert text-classification
run() { $CLI pipeline "$@" | sed 's/[0-9]\.[0-9]\{3\}\([0-9]*\)/N/g'; }
run --list
run question-answering -m qa-bert --question "Where is it?" "It is in Paris." "We saw it in London." --top-k 2
run question-answering -m qa-bert --question "Where is it?" --context "It is in Paris." --json
run question-answering -m qa-bert --context "It is in Paris." "Where?" "What?" --max-answer-len 1 --handle-impossible-answer
run ner -m ner-bert "Hugging Face is in New York" --aggregation-strategy simple
run fill-mask -m fillmask-bert "Paris is the [MASK] of France." --targets "capital, heart"
run sentiment-analysis -m textcls-bert-multi "I like it" "no" --json
run text-classification -m textcls-bert-multi "I like it" --text-pair "no" --top-k 2 --function-to-apply none
run zero-shot-classification -m zeroshot-bert "I like it" --candidate-labels "sport, travel" --init '{"multi_label": true}'
printf '%s\n' '{"inputs": "a b", "kwargs": {"candidate_labels": ["x", "y"]}}' '{"inputs": 3}' '' '{"inputs": "z", "kwargs": {"bad": 1}}' nope \
    '{"inputs": ["a"], "kwargs": {"candidate_labels": "x"}}' >lines
run zero-shot-classification -m zeroshot-bert -i lines --threads 2 --batch-size 1
status $CLI pipeline zero-shot-classification -m zeroshot-bert -i nowhere
status $CLI pipeline nothing -m qa-bert x
status $CLI pipeline ner -m ner-bert
status $CLI pipeline ner -m ner-bert --question x y
status $CLI pipeline sentence-similarity -m ner-bert x
status $CLI pipeline ner -m ner-bert -i lines x
status $CLI pipeline ner -m ner-bert x --init '[1]'
status $CLI pipeline ner -m ner-bert x --top-k 3
status $CLI pipeline zero-shot-classification -m zeroshot-bert x
