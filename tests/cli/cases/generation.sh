# Text that is generated: on the command line, as a filter, in a conversation.
DATA=$GOLDENS/..
model()
{
    $MKCKPT $DATA/pipelines/$1 $1-checkpoint >/dev/null
    cp $DATA/tokenizers/$2/tokenizer*.json $1-checkpoint/
    $CLI export onnx -q --no-validation -m $1-checkpoint --task $3 $1
}
model textgen-small starcoder-style text-generation-with-past
model text2text-settings t5-toy text2text-generation-with-past
G="$CLI pipeline text-generation -m textgen-small --greedy --max-new-tokens 6"
status $G "The quick brown fox"
status $G "The quick brown fox" --stream
status $G "The quick brown fox" --stream --new-text
status $G "The quick brown fox" "In a quiet village" --new-text
status $G "The quick brown fox" --json --num-beams 2 --num-return-sequences 2
status $G "The quick brown fox" --json --init '{"return_tensors": true}'
$CLI pipeline text-generation -m textgen-small --max-new-tokens 6 --sample --temperature 2 "The quick" >seed0
$CLI pipeline text-generation -m textgen-small --max-new-tokens 6 --sample --temperature 2 "The quick" --seed 0 | cmp - seed0
$CLI pipeline text-generation -m textgen-small --max-new-tokens 6 --sample --temperature 2 "The quick" --seed 7 | cmp -s - seed0 && echo "the seed changes nothing"
printf '%s\n' '{"inputs": "The quick"}' '{"inputs": ["The quick", "In a"], "kwargs": {"max_new_tokens": 2}}' '{"inputs": "a", "kwargs": {"nothing": 1}}' \
    '{"inputs": [{"role": "user", "content": "Hi"}], "kwargs": {"tokenizer_encode_kwargs": {"chat_template": "{{ messages[0].content }}"}}}' >lines
$G -i lines --threads 2 | sed 's/expected one of: .*/.../'
for task in text2text-generation summarization translation_en_to_fr; do
    status $CLI pipeline $task -m text2text-settings --max-new-tokens 6 "I love this little camera."
done
status $CLI pipeline translation_en_to_fr -m text2text-settings --num-beams 1 --max-new-tokens 6 --stream "I love this little camera."
status $CLI pipeline text-classification -m textgen-small --greedy x
status $G x --temperature 0 --sample
status $CLI pipeline translation_en -m text2text-settings x
TEMPLATE="{% for m in messages %}<{{ m.role }}>{{ m.content }}
{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
C="$CLI chat -m textgen-small --greedy --max-new-tokens 4"
printf '%s\n' Hello '' Again /reset Hello '/system Be brief.' Hello /system Hello /nonsense /help /exit Never >talk
status $C --chat-template "$TEMPLATE" <talk
echo Hello | status $C --chat-template "$TEMPLATE" --system "Be brief."
printf '%s\n' Hello Again | status $C
printf 'The end has no newline' | status $C --chat-template "$TEMPLATE" --stop x
