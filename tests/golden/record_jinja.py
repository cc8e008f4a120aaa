#!/usr/bin/env python3
"""Record what Jinja, set up as Transformers sets it up, makes of small templates.

    python3 tests/golden/record_jinja.py tests/data/jinja/cases.jsonl

Needs jinja2 3.1.6 and transformers 4.57.6. One case a line: template, and out, or error where it fails.
The variables are those of VARS below, which are the first line."""
import json
import sys

from transformers.utils import chat_template_utils

VARS = {
    "s": "Hello, World!", "empty": "", "u": "Grüße, ΣΊΣΥΦΟΣ ﬁn 你好 e\u0301", "ws": " \t a  b\u00a0c \n", "i": 7, "neg": -7,
    "zero": 0, "f": 2.5, "big": 1e16, "tiny": 1e-7, "yes": True, "no": False, "nil": None,
    "l": [3, 1, 2], "names": ["bob", "Alice", "carol", "alice"], "nested": [[1, [2, 3]], []],
    "d": {"b": 1, "a": [1, 2], "items": "shadow", "C": None}, "q": "it's \"x\" \\ \n\u0007\u007f",
    "rows": [{"n": "x", "v": 2, "in": {"k": 1}}, {"n": "y", "v": 1}, {"n": "x", "v": 3, "in": {"k": 0}}],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi <b>\"there\"</b> & you"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "id": "abc123def", "function": {"name": "f", "arguments": {"x": 1, "y": [True, None, 1.5, "é"]}}}]},
        {"role": "tool", "content": "{\"r\": 1}", "name": "f"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "Does «f».\nTwice.", "parameters": {
        "type": "object", "properties": {"x": {"type": "integer", "enum": [1, 2]}, "y": {"type": "array", "items": {"type": "string"}},
        "z": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": 1.0}}, "required": ["x"]}}}],
    "tree": [{"n": 1, "c": [{"n": 2, "c": []}, {"n": 3, "c": [{"n": 4, "c": []}]}]}, {"n": 5, "c": []}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
}

# Expressions, each printed on its own.
EXPRESSIONS = r"""
1 + 2 * 3 - 4 // 3 ~ 'x'
7 / 2
7 // 2
-7 // 2
-7 % 3
7 % -3
-7.5 // 2
-7.5 % 2
7.5 % -2
0.0 % -3
2 ** 3 ** 2
-2 ** 2
2 ** -1
2 ** 0.5
0 ** 0
10 ** 18
1e3
1_000 + 0x1F + 0o17 + 0b11
1.5e-3
1e16
123456789.123456789
.5
1.0
1e22
3.0e-5
100000000000000000.0
0.1 + 0.2
true + true
True and None
none or 'x'
not 1
not not 1
1 and 0 or 2
1 < 2 < 3
1 < 2 > 3
1 == 1.0 == true
'a' < 'b'
'Z' < 'a'
[1, 2] < [1, 3]
(1, 2) == (1, 2)
[1] == (1,)
{'a': 1} == {'a': 1.0}
'a' in 'abc'
'' in ''
'b' not in ['a']
1 in [1.0]
'a' in {'a': 1}
1 in 'abc'
1 in 5
x in 'abc'
x == y
x is defined
x is undefined
x.y
x.y is defined
x
x ~ 'a'
x + 1
x|length
x|list
x|upper
x|default('d')
x|default
x or 'fallback'
d.nope|default('n')
nil|default('d')
nil|default('d', true)
empty|default('d', boolean=True)
nil
yes ~ no
[x, 1]
-x
x()
nil()
nil.foo
nil.foo.bar
nil['a']
s.foo
s.foo()
5 .foo
s.__class__
s.__class__.__mro__
s['__class__']
l.append(1)
l.append
l.append is defined
d.update({'z': 1})
d.pop('a')
d.items is defined
d['items']
d.items
d.items()
d.items()|list
d.keys()
d.values()
d.keys()|list
d['keys']
d.get('b')
d.get('zz')
d.get('zz', 5)
d.get([1])
d['b']
d['zz']
d[1]
{1: 'a', 1.5: 'b', true: 'c', none: 'd'}
{1: 'a'}[1]
{1: 'a'}[true]
{[1]: 2}
{'a': 1, 'a': 2}
{}
[]
()
(1,)
(1)
1, 2
(1, 2)[0]
[1, 2,]
{'a': 1,}
l[0]
l[-1]
l[5]
l[5] is defined
l['a']
l[1.0]
l.0
nested.0.1.0
nested[0][1][0]
l[0:2]
l[:1]
l[1:]
l[::-1]
l[::2]
l[-2:]
l[5:1]
l[5:1:-1]
l[10:-10:-2]
l[::0]
l['a':]
s[0]
s[-1]
s[99]
s[7:]
s[::-1]
s[:-1]
s[1:9:3]
u[::-1]
u[1]
u[-1]
u[2:6]
u|length
x[1]
x[1:]
nil[1:]
d[1:]
'a' 'b' "c"
'a' ~ 1 ~ none ~ 2.0 ~ [1, 'x']
'a' + 'b'
'a' + 1
1 + 'a'
nil + 'a'
[1] + [2]
(1,) + (2,)
[1] + (2,)
'ab' * 3
3 * 'ab'
'ab' * -1
[1, 'x'] * 2
'a' * 1.5
'a' - 'b'
'\n\t\\\'\"\x41\u00e9\U0001F600\101\q'
"it's"
'say "x"'
[q]
q
[u]
['\u200b\u00a0\ue000\x00\x1f']
[1, -0.0, 1e100, 1.0e-10]
f
big
tiny
[big, tiny, f]
1 if yes else 2
1 if no
(1 if no) is defined
'a' if no else 'b' if no else 'c'
('x' if yes) ~ 'y'
'%s and %s' % ('a', 1)
'%s' % 'a'
'%s' % [1]
'%d' % 3.7
'%05d|%-5d|%+d|% d' % (42, 42, 42, 42)
'%.2f|%8.3f|%-8.1f|%08.2f' % (1.005, 3.14159, 2.5, -2.5)
'%e %g %G' % (12345.678, 0.00001, 1e20)
'%x %X %o %#x' % (255, 255, 8, 255)
'%r' % 'a'
'%%'  % ()
'%5s|%-5s|%.2s' % ('ab', 'ab', 'abc')
'%(a)s-%(b)d' % {'a': 1, 'b': 2}
'%s' % ()
'%s' % (1, 2)
'%d' % 'x'
'%q' % 1
'abc' % 1
'abc' % {}
'%s' % nil
'%s %s'|format('a', 2)
'%(x)s'|format(x=3)
'{} {}'.format(1, 'a')
'{0} {1} {0}'.format('a', 'b')
'{x}-{y[0]}-{z.b}'.format(x=1, y=[5], z=d)
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:x} {:#x} {:,} {:b}'.format(42, 42, 255, 255, 1234567, 5)
'{:.2f} {:8.1f} {:.1%} {:e} {:g}'.format(3.14159, 2.55, 0.256, 12345.0, 0.0001)
'{:,.2f}'.format(1234567.891)
'{{}} {!r}'.format('a')
'{:{w}}|'.format('a', w=4)
'{}'.format(none)
'{:.3}'.format('abcdef')
'{'.format(1)
'}'.format(1)
'{}'.format()
'{:d}'.format('a')
'{:s}'.format(1)
'{}'.format(1.0)
'{:5}|'.format(1)
'{:5}|'.format(true)
s.upper()
s.lower()
s.title()
s.capitalize()
s.swapcase()
u.upper()
u.lower()
u.title()
u.capitalize()
u.swapcase()
u.casefold()
u|title
"they're bill's (friends) [from] the-UK"|title
"they're bill's".title()
s.split(',')
s.split()
s.split('o', 1)
s.split(sep='o')
s.split('')
s.split(none)
ws.split()
ws.split(none, 1)
ws.rsplit(none, 1)
s.rsplit('o', 1)
'a,b,,c'.split(',')
'a,b,,c'.rsplit(',', 2)
''.split()
''.split(',')
'a\nb\r\nc\rd\x0be\u2028f'.splitlines()
'a\nb\n'.splitlines()
'a\nb\n'.splitlines(true)
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
'abc'.rpartition('-')
ws.strip()
[ws.strip(), ws.lstrip(), ws.rstrip()]
'xxaxx'.strip('x')
'xyaxy'.lstrip('yx')
'xyaxy'.rstrip('yx')
'<s>a</s>'.removeprefix('<s>').removesuffix('</s>')
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith('World', 7)
s.endswith('!')
s.endswith(['!'])
s.startswith(1)
s.startswith(x)
s.find('o')
s.find('o', 5)
s.find('zz')
s.rfind('o')
u.find('你')
s.index('zz')
s.count('l')
s.count('')
'aaa'.count('aa')
s.replace('l', 'L')
s.replace('l', 'L', 1)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
s|replace('o', 0)
'-'.join(['a', 'b'])
'-'.join('abc')
'-'.join([1])
'-'.join(x)
'a'.center(4, '*') ~ 'ab'.center(5, '*') ~ 'a'.center(5)
'7'.zfill(3) ~ '-7'.zfill(4)
'a'.ljust(3, '.') ~ 'a'.rjust(3, '.')
'a\tb'.expandtabs(4)
'abc'.isalpha() ~ 'a1'.isalnum() ~ '12'.isdigit() ~ '²'.isdigit() ~ '½'.isnumeric() ~ ' '.isspace() ~ 'Ab'.istitle()
'ab'.islower() ~ 'AB'.isupper() ~ ''.isalpha() ~ 'é'.isascii() ~ '\n'.isprintable()
l.index(1)
l.index(9)
l.count(1)
l|first
l|last
l|length
l|count
5|length
nil|length
[]|first
[]|first is defined
[]|last
l|sort
l|sort(reverse=true)
names|sort
names|sort(case_sensitive=true)
names|sort(true)
[1, 'a']|sort
rows|sort(attribute='v')|map(attribute='n')|list
rows|sort(attribute='n,v')|map(attribute='v')|list
rows|sort(attribute='n', reverse=true)|map(attribute='v')|list
rows|map(attribute='in.k', default='-')|list
rows|map(attribute='in.k')|list
rows|map(attribute='n')|join(',')
rows|map(attribute='n')
rows|map(attribute='n')|length
names|map('upper')|list
names|map('replace', 'a', 'A')|list
names|map('nope')|list
names|map
l|map('string')|join('+')
nil|map('upper')|list
zero|map(attribute='n')|list
nil|selectattr('n')|list
nil|reject('odd')|list
l|truncate(4)
x|truncate
rows|unique|list
range(3).count(1)
'abc' % x
'abc' % l
'abc' % d.keys()
-0.4|round(0, 'ceil')
l|select('odd')|list
l|select('divisibleby', 3)|list
l|reject('odd')|list
l|select|list
[0, 1, '', 'a']|select|list
[0, 1, '', 'a']|reject|list
l|select('>', 1)|list
rows|selectattr('n', 'equalto', 'x')|list|length
rows|selectattr('v', 'gt', 1)|map(attribute='v')|list
rows|selectattr('in')|map(attribute='v')|list
rows|selectattr('in.k')|map(attribute='v')|list
rows|rejectattr('in', 'defined')|map(attribute='v')|list
rows|selectattr('zz', 'defined')|list
rows|selectattr
rows|selectattr('n', 'nope')|list
rows|groupby('n')|map(attribute='grouper')|list
rows|groupby('n')|map('first')|list
(rows|groupby('n'))[0].list|length
rows|groupby('n')
['a','B','b','A']|groupby(0)|map('list')|list
rows|sum(attribute='v')
l|sum
l|sum(start=10)
l|max
l|min
[]|max
names|max
names|min(case_sensitive=true)
rows|max(attribute='v')
l|unique|list
names|unique|list
names|unique(true)|list
l|reverse|list
s|reverse
l|join(', ')
l|join
rows|join(',', attribute='n')
[1, none, true, 2.0, 'x', x]|join('|')
d|list
s|list
5|list
d|length
d|dictsort
d|dictsort(by='key', reverse=true)
{'b': 2, 'a': 3}|dictsort(false, 'value')
d|items|list
x|items|list
l|items
d|first
l|batch(2)|list
l|batch(2, 'x')|list
l|slice(2)|list
l|slice(2, 'x')|list
s|upper
s|lower
s|capitalize
s|title
i|string
i|upper
ws|trim
'xxaxx'|trim('x')
s|trim('!')
5|trim
s|center(20)
s|truncate(5)
s|truncate(8, true, '..', 0)
s|truncate(8, leeway=0)
'foo bar baz qux'|truncate(9)
s|wordcount
u|wordcount
s|urlencode
u|urlencode
{'a b': 'c/d', 'x': 1}|urlencode
'a\nb\n\nc'|indent
'a\nb\n\nc'|indent(2, true)
'a\nb\n\nc'|indent(2, blank=true)
'a\nb'|indent('> ')
'a\nb\n'|indent
''|indent(first=true)
5|indent
'5'|int + 1
'x'|int
'x'|int(-1)
'5.7'|int
5.7|int
' 12 '|int
'1_000'|int
'ff'|int(base=16)
'0xff'|int(0, 16)
'1e3'|int
none|int
[]|int(3)
x|int
true|int
'5.5'|float
'x'|float
'x'|float(1.5)
'inf'|float
5|float
nil|float
-5|abs
-5.5|abs
'x'|abs
2.5|round
3.5|round
2.675|round(2)
2.1|round(0, 'ceil')
-2.1|round(method='floor')
42|round
1234.5|round(-2)
2.5|round(method='x')
'<a href="x">\'&'|e
'<a>'|escape|escape
'<a>'|e|forceescape
('<a>'|e) + '<'
'<' + ('<a>'|safe)
('<a>'|safe) ~ '<'
'<a>'|safe is escaped
['<a>'|safe]
s is string
i is number
f is number
f is float
i is integer
yes is integer
yes is boolean
yes is number
yes is true
1 is true
no is false
nil is none
x is none
l is sequence
s is sequence
d is sequence
d is mapping
l is mapping
l is iterable
s is iterable
5 is iterable
x is iterable
i is odd
i is even
i is divisibleby 7
i is divisibleby(2)
neg is odd
'a' is odd
i is not odd
not i is odd
i is sameas 7
l is sameas l
[1] is sameas [1]
none is sameas none
1 is eq 1
1 is equalto 2
1 is ne 2
1 is lt 2
1 is ge(2)
'a' is in ['a']
'a' is in 'abc'
'ab' is lower
'AB' is upper
'ab1' is lower
s is callable
range is callable
x is callable
'upper' is filter
'nope' is filter
'odd' is test
i is nope
i is odd is even
range(3)
range(3)|list
range(1, 10, 3)|list
range(5, 0, -2)|list
range(0)|list
range(100001)|length
range(1, 2, 0)
range('a')
range()
range(10)[2:4]|list
range(10)[3]
3 in range(5)
dict(a=1, b=2)
dict([('a', 1)], b=2)
dict(d, b=5)
dict(1)
namespace(a=1).a
namespace(a=1)['a']
namespace(a=1).zz
namespace({'q': 5}).q
namespace(a=1)
raise_exception('Boom: ' ~ i)
raise_exception()
strftime_now is defined
tools|tojson
tools|tojson(indent=2)
tools|tojson(indent=4)|length
tools[0].function.parameters|tojson(sort_keys=true)
messages[2].tool_calls[0].function.arguments|tojson
q|tojson
u|tojson
u|tojson(true)
'😀'|tojson(ensure_ascii=true)
'<>&\''|tojson
[1.0, 1e22, none, true, {}, []]|tojson
[1.0, none, {}, [], [1]]|tojson(indent=1)
{'a': {'b': []}}|tojson(indent=2)
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
d|tojson(separators=(',', ':'))
d|tojson(indent='\t')
(1, 2)|tojson
x|tojson
[x]|tojson
range(2)|tojson
d.items()|tojson
d.keys()|list|tojson
l|tojson(indent=0)
s|attr('upper')
d|attr('b')
d|attr('keys') is defined
x|nope
i|nope if no else 'ok'
1 if i is nope else 2
foo(
1 +
[1, 2
{'a' 1}
1 2
a.b.
'unclosed
s|
i is
* 3
@
l[1
1 if
'a'|replace('a')
s|upper(1)
s|join(d='-', d='+')
s.upper(1)
s.split(bad=1)
s.split(*['o', 1])
s.replace(**{'a': 1})
'%s'|format(*[1])
dict(**{'k': 1})
(messages|selectattr('role', 'equalto', 'system')|list)[0].content
messages|map(attribute='role')|join(' ')
messages[1:]|map(attribute='role')|list
messages[-1]['content'][0]['text']
messages[2].content is none
messages[0].content is string and messages[4].content is not string
messages[4].content|selectattr('type', 'equalto', 'text')|map(attribute='text')|join('\n')
messages|length % 2 == 1
(messages|length - 1) - 2
loop is defined
loop
caller is defined
true.foo
'a'.b.c
1.foo
(1).foo
'é' > 'z'
1 < 'a'
none < 1
[] < {}
{} < {}
x < 1
1 != 1.0
'a' != 1
not (1 in [2])
1 not in [2]
not 1 in [2]
-1|abs
-(1)|string
+'a'
-'a'
- - 1
2 - -1
'a' if 'b' is in ['b'] else 'c'
[1,2]|first|string + 'x'
(1, (2, 3))|list
'a'.join
s.upper
range
true|string
none|string ~ '!'
none|upper
'abc'|first
'abc'|last
{'a': 1}.a
{'get': 1}.get
{'get': 1}['get']
[[1, 2], [3]]|map('sum')|list
[[1, 2], [3]]|sum(start=[])
['a']|sum
'a,b'.split(',')|map('trim')|list
1|default(2)|string|length
s|default('x')|upper|lower|title
('a' ~ 'b')|upper
'a' ~ 'b'|upper
1 + 2|string|int
'x' * 2 ~ 'y'
7 % 3 * 2
10 - 2 - 3
100 // 7 // 2
2 * 3 % 4
9223372036854775807
-9223372036854775807 - 1
1e308 * 10
-1e308 * 10
1 / 0
1 // 0
1 % 0
1.0 // 0
'yes' if messages[0]['role'] == 'system' else 'no'
messages[9] is defined
messages[9].role
messages[0].role == 'system' and messages[0].content
"a" in messages[1].content
""|trim == ''
"x".__len__()
"x"|length|string|length
'\u00e9'|upper
'a\
b'
""" + "\n".join([
    "'ß'.upper() ~ 'ŉ'.title() ~ 'İ'.lower() ~ 'ǆ'.title() ~ 'ΑΣ'.lower() ~ 'Σ'.lower()",
]) + "\n"

# Whole templates.
TEMPLATES = [
    "", "\n", "\n\n", "a\n", "a\r\nb\rc\n", "{{ 1 }}\n", "{{ 1 }}\n\n", "x {# c #} y", "x\n  {# c #}\ny", "x {#- c -#} y", "{# {{ x }} #}a", "a {#",
    "{% raw %}{{ x }}{% if %}{% endraw %}", " {%- raw -%} {{ a }} {%- endraw -%} z", "{% raw %}", "a\n  {% raw %}\n b \n  {% endraw %}\nc",
    "{% if yes %}\na\n{% endif %}\nb", "  {% if yes %}\n  a\n  {% endif %}\nb", "x {% if yes %} a {% endif %} b", "{%- if yes -%}  a  {%- endif -%}  b",
    "a\n\n  {%- if yes %}\n  b\n  {%- endif %}\n c", "a {%+ if yes %}\n b {%+ endif +%}\n c", "\t{% set x = 1 %}\n\t{{ x }}\n", "a  {{- 1 -}}  b", "a\n{{- 1 }}\n{{ 2 -}}\nb",
    "{{ 1 }}\n{% if yes %}\n{{ 2 }}\n{% endif %}\n{{ 3 }}", "a\n    {{ 1 }}\n", "{% if yes %}{% endif %}\n\nx", "{{+ 1 }}", "a {{'{{'}} {{ '}}' }} {{ \"%}\" }} b", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ {'a': {'b': 1}}}}",
    "{% if no %}a{% elif yes %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if x %}a{% endif %}", "{% if l and d and s %}a{% endif %}", "{% if messages|selectattr('role', 'equalto', 'zz') %}gen{% endif %}",
    "{% if yes: %}a{% endif %}", "{% if %}a{% endif %}", "{% if yes %}a", "{% endif %}", "{% if yes %}{% endfor %}", "{% nope %}", "{% %}", "{% if yes }}", "{{ 1 %}", "{{ 1 }", "{{", "{%", "{{ }}",
    "{% for a in l %}{{ a }},{% endfor %}", "{% for a in l %}{{ loop.index }}/{{ loop.length }} {{ loop.index0 }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.first }} {{ loop.last }};{% endfor %}",
    "{% for a in l %}{{ loop.previtem }}<{{ a }}>{{ loop.nextitem }} {% endfor %}", "{% for a in [1,1,2] %}{{ loop.changed(a) }} {% endfor %}", "{% for a in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for a in l %}{{ loop.cycle() }}{% endfor %}", "{% for a in l %}{{ loop }}{% endfor %}", "{% for a in l %}{{ loop.zz }}{% endfor %}", "{% for a in l %}{{ loop|length }}{% endfor %}",
    "{% for a in [] %}x{% else %}none{% endfor %}", "{% for a in x %}x{% else %}none{% endfor %}", "{% for a in nil %}x{% endfor %}", "{% for a in 5 %}x{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}", "{% for c in u %}{{ c }}.{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }};{% endfor %}", "{% for k, v in d|dictsort %}{{ k }};{% endfor %}",
    "{% for a, b in l %}x{% endfor %}", "{% for a, b in [[1, 2, 3]] %}x{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for (a, b) in [[1, 2]] %}{{ a }}{{ b }}{% endfor %}", "{% for a in 1, 2 %}{{ a }}{% endfor %}", "{% for a in (1, 2) %}{{ a }}{% endfor %}", 
    "{% for a in l if a > 1 %}{{ a }}{{ loop.index }}/{{ loop.length }};{% endfor %}", "{% for a in l if a > 9 %}x{% else %}none{% endfor %}", "{% for m in messages if m.role == 'user' %}{{ loop.first }}{% endfor %}",
    "{% for a in l %}{% if a == 1 %}{% break %}{% endif %}{{ a }}{% endfor %}", "{% for a in l %}{% if a == 1 %}{% continue %}{% endif %}{{ a }}{% endfor %}", "{% for a in l %}{% break %}{% else %}e{% endfor %}", "{% break %}", "{% for a in l %}{% for b in l %}{% if b == a %}{% break %}{% endif %}{{ b }}{% endfor %}|{% endfor %}",
    "{% for a in l %}{% for b in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", "{% for t in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}:{{ t.n }}[{{ loop(t.c) }}]{% endfor %}", "{% for t in tree recursive %}{{ t.n }}{% if t.c %}({{ loop(t.c) }}){% endif %}{% else %}none{% endfor %}", "{% for t in l %}{{ loop(l) }}{% endfor %}", "{% for x in l recursive %}{{ loop(l) }}{% endfor %}",
    "{% set x = 1 %}{{ x }}", "{% set x = 1, 2 %}{{ x }}", "{% set x, y = 1, 2 %}{{ x }}{{ y }}", "{% set x, y = 1 %}", "{% set (a, b) = l %}", "{% set x = y = 1 %}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]", "{% set x | upper %}a{{ 1 }}b{% endset %}[{{ x }}]", "{% set x | trim | replace('a', 'b') %} aa {% endset %}[{{ x }}]", "{% set x %}{% set y = 2 %}{{ y }}{% endset %}{{ x }}{{ y }}", "{% set x = 5 if yes else 6 %}{{ x }}", "{% set s = s ~ '?' %}{{ s }}",
    "{% set x = 1 %}{% for a in l %}{{ x }}{% set x = a %}{{ x }}{% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "{% if no %}{% set x = 2 %}{% endif %}{{ x is defined }}", "{% for a in l %}{% if loop.first %}{% set z = 1 %}{% endif %}{{ z is defined }} {% endfor %}", "{% for a in l %}{% endfor %}{{ a is defined }}", "{% set a = 'o' %}{% for a in l %}{{ a }}{% endfor %}{{ a }}", "{% for l in l %}{{ l }}{% endfor %}{{ l }}",
    "{% set ns = namespace(n=0, out='') %}{% for a in l %}{% set ns.n = ns.n + a %}{% set ns.out = ns.out ~ a %}{% endfor %}{{ ns.n }} {{ ns.out }}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}", "{% set d.x = 1 %}", "{% set zz.x = 1 %}", "{% set ns = namespace() %}{% set ns.x %}block{% endset %}{{ ns.x }}", "{% set ns = namespace(a=[]) %}{% set ns.a = ns.a + [1] %}{% set ns.a = ns.a + [{'k': 'v'}] %}{{ ns.a }}", "{% set ns = namespace() %}{% set ns.me = 1 %}{{ ns }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}", "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with a, b = 1, 2 %}{% endwith %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c=4) }} {{ m(b=1, a=2) }}", "{% macro m(a) %}[{{ a }}]{{ a is defined }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=1) }}", "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }} {{ m() }}", "{% macro m(a) %}{{ a + 1 }}{% endmacro %}{{ m() }}", "{% macro m() %}x{% endmacro %}{{ m }}{{ m.name }}", "{% macro m() %}x{% endmacro %}{{ m()|upper }}{{ m() ~ 'y' }}{% set z = m() %}{{ z }}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}", "{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{{ x }}", "{{ m() }}{% macro m() %}x{% endmacro %}", "{% macro m(a, b=1, c) %}{% endmacro %}", "{% for a in l %}{% macro m() %}{{ a }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m(x, x2=x ~ '!') -%}\n  {{ x2 }}\n{%- endmacro %}{{ m('a') }}", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m(a) %}<{{ caller() }}{{ a }}>{% endmacro %}{% call m(1) %}body{{ i }}{% endcall %}", "{% macro m() %}{% for a in l %}{{ caller(a) }}{% endfor %}{% endmacro %}{% call(v) m() %}[{{ v }}]{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% macro m() %}x{% endmacro %}{% call m() %}b{% endcall %}", "{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}b{% endcall %}", "{% call 5 %}{% endcall %}", "{% macro m() %}{{ caller }}{% endmacro %}{% call m() %}x{% endcall %}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter trim|upper|replace('A', 'b') %} a {% endfilter %}", "{% filter nope %}a{% endfilter %}", "{% filter indent(2) %}a\nb{% endfilter %}", "{% if no %}{% filter nope %}a{% endfilter %}{% endif %}", "{% if no %}{{ x|nope }}{% endif %}ok", "{% for a in [] %}{{ x|nope }}{% endfor %}ok", "{% if no %}{% for a in [] %}{{ x|nope }}{% endfor %}{% endif %}ok", "{% if yes %}{{ x|nope }}{% endif %}", "{{ 1 if yes else x|nope }}", "{{ (1 if yes else x|nope)|string }}", "{{ [1, x|nope] }}", "{% if x is nope %}{% endif %}", "{% if no and x is nope %}a{% endif %}ok",
    "{% generation %}a{{ i }}{% endgeneration %}b", "{% generation %}{% set z = 1 %}{{ z }}{% endgeneration %}{{ z is defined }}", "{% for a in l %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}", "{%- for m in messages %}\n{%- if m.role == 'assistant' %}\n{% generation %}\nA\n{% endgeneration %}\n{%- endif %}\n{%- endfor %}",
    "{% include 'x' %}", "{% do l.append(1) %}", "{% import 'a' as b %}", "{% set x = l|map('string')|list %}{{ x }}{{ x }}", "{% set g = l|map('string') %}{{ g|list }}{{ g|list }}", "{% set g = l|select %}{% for a in g %}{{ a }}{% endfor %}{% for a in g %}{{ a }}{% endfor %}",
    "{{ messages[0].content }}{% set messages = messages[1:] %}{{ messages[0].role }}", "{{ '' if yes }}{{ x if no }}", "{{ bos_token + 'a' }}{{ pad_token + 'a' }}", "{{ bos_token ~ pad_token }}",
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}", "a\nb\n{{ raise_exception('two\nlines') }}",
    "line1\n{{ s }}\n{{ x.y }}", "{% set a = {'x': 1} %}{{ a.x }}{{ a['x'] }}{{ a.y is defined }}", "{{ 'a'\n~\n'b' }}", "{{ [1,\n2] }}", "{% set x = [\n 'a',\n 'b'\n] %}{{ x|join }}",
    # In the manner of published chat templates.
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + (message['content'] or '') if message['content'] is string else '' }}{{ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'].strip() + '\n\n' %}{% else %}{% set loop_messages = messages %}{% set system_message = '' %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{{ message['role'] }}{% endfor %}",
    "{%- if tools %}\n    {%- for tool in tools %}\n        {{- '\\n' }}\n        {{- tool | tojson }}\n    {%- endfor %}\n{%- endif %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n    {{- index ~ message.role }}\n{%- endfor %}",
    "{%- macro json_to_type(p) -%}\n  {%- if p.type is defined and p.type == 'array' -%}\n    list[{{ json_to_type(p['items']) }}]\n  {%- elif p.anyOf is defined -%}\n    {%- set ts = [] -%}\n    {%- for t in p.anyOf -%}{{ json_to_type(t) }}{{ ' | ' if not loop.last }}{%- endfor -%}\n  {%- elif p.enum -%}\n    {{ p.enum|join('|') }}\n  {%- else -%}\n    {{ {'integer': 'int', 'string': 'str', 'number': 'float', 'null': 'None'}.get(p.type, p.type) }}\n  {%- endif -%}\n{%- endmacro -%}\n{%- for tool in tools %}\n{%- set f = tool.function %}\ndef {{ f.name }}({% for name, p in f.parameters.properties.items() %}{{ name }}: {{ json_to_type(p) }}{% if 'default' in p %} = {{ p.default|tojson }}{% endif %}{{ ', ' if not loop.last }}{% endfor %}): # {{ f.description|replace('\n', ' ') }}\n{%- endfor %}",
    "{%- set ns = namespace(last=-1, found=false) %}{%- for m in messages %}{%- if m.role == 'user' and not ns.found %}{%- set ns.last = loop.index0 %}{%- set ns.found = true %}{%- endif %}{%- endfor %}{{ ns.last }}",
    "{%- for message in messages %}{%- if message.content is string %}{{ message.content|trim }}{%- elif message.content is iterable and message.content is not mapping %}{%- for part in message.content %}{%- if part['type'] == 'image' %}<image>{%- elif part.type == 'text' %}{{ part['text'] | trim }}{%- endif %}{%- endfor %}{%- endif %}|{%- endfor %}",
    "{%- for m in messages if m.tool_calls is defined and m.tool_calls %}{%- for tc in m.tool_calls %}{%- if tc.function is defined %}{%- set tc = tc.function %}{%- endif %}{\"name\": \"{{ tc.name }}\", \"arguments\": {{ tc.arguments if tc.arguments is string else tc.arguments|tojson }}}{%- for k, v in tc.arguments.items() %}<{{ k }}>{{ v | string if v is not string else v }}</{{ k }}>{%- endfor %}{%- endfor %}{%- endfor %}",
    "{%- set system = messages[0].content if messages[0].role == 'system' else 'default' %}{{ system }}{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %} {{ date_string }}{%- set tools_in_user_message = tools_in_user_message if tools_in_user_message is defined else true %} {{ tools_in_user_message }}",
    "{%- for message in messages -%}\n{%- if message.role not in ['user', 'assistant', 'system', 'tool'] -%}{{ raise_exception('Unknown role: ' + message.role) }}{%- endif -%}\n{{ loop.index }}{{ '\\n' if not loop.last else '' }}\n{%- endfor -%}",
    "{% for message in messages %}{% if message.id is defined and message.id|length != 9 %}{{ raise_exception('bad id') }}{% endif %}{% for t in message.tool_calls %}{% if t.id is not defined or t.id|length != 9 %}{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}{{ t.id }}{% endfor %}{% endfor %}",
    "{% set content = messages[1].content %}{{ content.split('<b>')[-1].split('</b>')[0] }}{{ content.split('zz')|length }}{% if '<b>' in content %}{% set content = content.replace('<b>', '') %}{% endif %}{{ content }}",
    "{{- messages | map(attribute='role') | unique | list | join(',') }}{{- (messages | selectattr('role', 'in', ['user', 'tool']) | list)[-1].role }}{{- messages | rejectattr('content', 'none') | list | length }}",
]


def main():
    env = chat_template_utils._compile_jinja_template
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(json.dumps({"vars": VARS}, ensure_ascii=False) + "\n")
        expressions = EXPRESSIONS.replace("\\\nb'", "\\\x00b'").strip("\n").split("\n")
        for template in [f"{{{{ {e.replace(chr(0), chr(10))} }}}}" for e in expressions] + TEMPLATES:
            case = {"template": template}
            try:
                case["out"] = env(template).render(**json.loads(json.dumps(VARS)))
                if " at 0x" in case["out"]:
                    continue  # an address
            except RecursionError:
                case["error"] = "RecursionError"
            except Exception as e:
                case["error"] = f"{type(e).__name__}: {e}"
            out.write(json.dumps(case, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
