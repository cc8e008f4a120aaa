# Conversations as the text and the tokens that a chat template makes of them.
cp -r $GOLDENS/../tokenizers/starcoder-style tok
cat >tok/chat_template.jinja <<'EOF'
{%- for m in messages %}
{{- '<' + m.role + '>' + m.content + '\n' }}
{%- endfor %}
{%- if tools %}{{ tools | tojson }}{% endif %}
{%- if mood is defined %}{{ mood }}{% endif %}
{%- if messages[0].role == 'system' %}{{ raise_exception('No system message.') }}{% endif %}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif %}
EOF
status $CLI tokenize -t tok --chat "a b" "c" "d"
printf '%s\n' '{"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": true, "mood": "calm"}' \
    '{"messages": [{"role": "user", "content": "a"}], "tools": [{"name": "f", "x": "é"}], "truncation": {"max_length": 2}}' \
    '{"messages": [{"role": "system", "content": "a"}]}' '{"messages": 1}' '{"messages": [{"role": "user", "content": "a"}], "chat_template": "rag"}' \
    '{"messages": [{"role": "assistant", "content": "It is "}], "continue_final_message": true}' \
    '{"messages": [{"role": "user", "content": "a"}], "chat_template": "{{ messages | nope }}"}' >lines
status $CLI tokenize -t tok --input - <lines
