# A pipeline over a checkpoint exports it once, whoever else asks for it at the same time.
$MKCKPT $GOLDENS/../pipelines/ner-bert model >/dev/null
cp $GOLDENS/../tokenizers/minilm/*.json model/
ask() { $CLI pipeline ner -m model "New York" --json; }
for i in 1 2 3 4; do ask >out-$i 2>err-$i & done
wait
cat err-? | grep -c "exported now"
for i in 2 3 4; do cmp out-1 out-$i; done
ask | cmp - out-1
ls exports/*/
# a broken entry
echo '{}' >exports/*/config.json
ask 2>&1 >/dev/null | sed 's|exports/[0-9a-f]*|exports/KEY|; s|is not as it was.*|is not as it was|'
ask | cmp - out-1
# another checkpoint in the same place
touch model/config.json
ask | cmp - out-1
sed 's/"hidden_act": "gelu"/"hidden_act": "relu"/' model/config.json >changed && mv changed model/config.json
ask 2>/dev/null | cmp -s - out-1 || echo differs
ls -d exports/*/ | wc -l
OPTIMUM_EXPORT_CACHE_SIZE=1M $CLI pipeline feature-extraction -m model x >/dev/null 2>&1
ls -d exports/*/ | wc -l
# nothing is kept
$CLI pipeline ner -m model "New York" --no-export-cache 2>&1 >/dev/null | sed 's|saved at: .*optimum-.*|saved at: TEMPORARY|'
OPTIMUM_EXPORT_CACHE=/dev/null/x $CLI pipeline ner -m model "New York" 2>&1 >/dev/null | sed 's|saved at: .*optimum-.*|saved at: TEMPORARY|'
$CLI pipeline ner -m model "New York" --export-cache here -t model 2>&1 >/dev/null | sed 's|here/.*|here/KEY|'
