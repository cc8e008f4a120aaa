/* tests/unit/t_pickle.c: the pickle machine: what it builds, and that it executes nothing. */
#include "ckpt/pickle.h"

#include "base/buf.h"
#include "test.h"
#include "unit/archive.h"

#include <stdlib.h>

/* ---- values as text ---- */

static void put_value(struct om_buf *b, const struct pk_value *v, int depth);

static void put_items(struct om_buf *b, const struct pk_seq *s, const char *brackets, int depth)
{
    om_buf_addc(b, brackets[0]);
    for (size_t i = 0; i < s->len; i++) {
        om_buf_adds(b, i == 0 ? "" : brackets[0] == '{' && i % 2 ? ": " : ", ");
        put_value(b, &s->items[i], depth - 1);
    }
    om_buf_addc(b, brackets[1]);
}

static void put_tensor(struct om_buf *b, const struct pk_tensor *t)
{
    om_buf_printf(b, "<%s%s of %.*s+%" PRIu64 " at %" PRId64,
                  t->dtype ? om_dtype_text(t->dtype) : "", t->dtype_text, OM_SV(t->storage->key),
                  t->storage->first, t->offset);
    for (uint32_t i = 0; i < t->rank; i++)
        om_buf_printf(b, " %" PRId64 "*%" PRId64, t->dims[i], t->strides[i]);
    om_buf_addc(b, '>');
}

static void put_value(struct om_buf *b, const struct pk_value *v, int depth)
{
    if (depth == 0) {
        om_buf_adds(b, "...");
        return;
    }
    switch (v->kind) {
    case PK_BOOL:
        om_buf_adds(b, v->i ? "True" : "False");
        break;
    case PK_INT:
        om_buf_printf(b, "%" PRId64, v->i);
        break;
    case PK_LONG:
        om_buf_printf(b, "long of %zu", v->text.len);
        break;
    case PK_REAL:
        om_buf_real(b, v->f);
        break;
    case PK_TEXT:
        om_buf_printf(b, "'%.*s'", OM_SV(v->text));
        break;
    case PK_TUPLE:
        put_items(b, v->seq, "()", depth);
        break;
    case PK_LIST:
        put_items(b, v->seq, "[]", depth);
        break;
    case PK_DICT:
        put_items(b, v->seq, "{}", depth);
        break;
    case PK_STORAGE:
        om_buf_printf(b, "<storage %.*s of %" PRIu64 " x %zu>", OM_SV(v->storage->key),
                      v->storage->numel, om_pk_storage_elem(v->storage));
        break;
    case PK_TENSOR:
        put_tensor(b, v->tensor);
        break;
    case PK_MARK:
    case PK_NONE:
    case PK_GLOBAL:
    case PK_OPAQUE:
        om_buf_adds(b, om_pk_kind_text(v->kind));
        break;
    }
}

/* Load exactly these bytes. want: the value as text, or a part of the message. */
static void load(struct test *t, const void *bytes, size_t len, bool ok, const char *want)
{
    struct om_arena a = OM_ARENA_INIT(8u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_buf text = OM_BUF_INIT(1u << 20);
    struct om_file f = file_of(bytes, len);
    struct pk_doc doc = { .used = 0 };
    const int rc = om_pk_load(&a, (om_sv){ (const char *)f.data, len }, &doc, &err);

    CHECK_INT(t, rc == 0, ok);
    if (rc == 0) {
        CHECK_INT(t, doc.used, len);
        put_value(&text, &doc.root, 5);
        CHECK_STR(t, text.ptr ? text.ptr : "", want);
    } else {
        CHECK_HAS(t, om_error_text(&err), want);
        CHECK(t, strchr(om_error_text(&err), '\n') == NULL);
    }
    om_buf_release(&text);
    om_error_release(&err);
    file_free(&f);
    om_arena_release(&a);
}

struct pickle {
    const char *bytes;
    size_t len;
    const char *want;
};
#define P(body, want)                                  \
    {                                                  \
        "\200\2" body, sizeof("\200\2" body) - 1, want \
    }
#define P4(body, want)                                 \
    {                                                  \
        "\200\4" body, sizeof("\200\4" body) - 1, want \
    }

/* ('storage', torch.FloatStorage, '0', 'cpu', 6) and what follows */
#define STORAGE "((U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\6tQ"

static const struct pickle values[] = {
    P("N.", "None"),
    P("\210.", "True"),
    P("\211.", "False"),
    P("K\377.", "255"),
    P("M\377\377.", "65535"),
    P("J\376\377\377\377.", "-2"),
    P("\212\0.", "0"),
    P("\212\1\377.", "-1"),
    P("\212\2\377\0.", "255"),
    P("\212\10\0\0\0\0\0\0\0\200.", "-9223372036854775808"),
    P("\212\11\0\0\0\0\0\0\0\200\0.", "long of 9"),
    P("\213\1\0\0\0\7.", "7"),
    P("G\77\360\0\0\0\0\0\0.", "1.0"),
    P("X\2\0\0\0hi.", "'hi'"),
    P("U\2hi.", "'hi'"),
    P("T\2\0\0\0hi.", "'hi'"),
    P("B\2\0\0\0hi.", "an object"),
    P("C\2hi.", "an object"),
    P(").", "()"),
    P("K\1\205.", "(1)"),
    P("K\1K\2\206.", "(1, 2)"),
    P("K\1K\2K\3\207.", "(1, 2, 3)"),
    P("(K\1K\2K\3K\4t.", "(1, 2, 3, 4)"),
    P("].", "[]"),
    P("]K\1a.", "[1]"),
    P("](K\1K\2e.", "[1, 2]"),
    P("}.", "{}"),
    P("}U\1aK\1s.", "{'a': 1}"),
    P("}(U\1aK\1U\1bNu.", "{'a': 1, 'b': None}"),
    P("K\1K\0020.", "1"),
    P("K\1(K\2K\0031.", "1"),
    P("K\7q\0000K\1h\0\206.", "(1, 7)"),
    P("K\7q\0000K\1r\1\0\0\0000h\0j\1\0\0\0\206.", "(7, 1)"),
    P("K\7q\1h\1\206.", "(7, 7)"),                                /* Python 2 counts from 1 */
    P("}q\0U\1xh\0s.", "{'x': {'x': {'x': {'x': {...: ...}}}}}"), /* contains itself */
    P("ccollections\nOrderedDict\n)R.", "{}"),
    P("ccollections\nOrderedDict\n)\201.", "{}"),
    P("ccollections\nOrderedDict\n](](U\1aK\1ee\205R.", "{'a': 1}"), /* Python 2 */
    P("ccollections\nOrderedDict\n)R}U\11_metadata}sb.", "{}"),
    P("ctorch\nSize\n(K\2K\3t\205R.", "(2, 3)"),
    P("ctorch\ndevice\nU\3cpu\205R.", "an object"),
    P("c_codecs\nencode\nU\1aU\6latin1\206R.", "an object"),
    P("cbuiltins\nset\n]K\1a\205R.", "[1]"),
    P("ctorch\nfloat32\n.", "a class or function"),
    P4("\225\5\0\0\0\0\0\0\0\214\2hi\224.", "'hi'"),
    P4("\215\2\0\0\0\0\0\0\0hi.", "'hi'"),
    P4("\217(K\1\220.", "[1]"),
    P4("(K\1\221.", "[1]"),
    P4("\214\13collections\214\13OrderedDict\223)R.", "{}"),
    P4("\226\2\0\0\0\0\0\0\0hi.", "an object"),
    P("(U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\6tQ.", "<storage 0 of 6 x 4>"),
    P("(U\7storagectorch.storage\nUntypedStorage\nU\0010U\3cpuK\6tQ.", "<storage 0 of 6 x 1>"),
    P("(U\7storagectorch.cuda\nHalfStorage\nU\0010U\6cuda:0K\6NtQ.", "<storage 0 of 6 x 2>"),
    P("ctorch._utils\n_rebuild_tensor\n" STORAGE "K\1K\2K\2\206K\2K\1\206tR.",
      "<float32 of 0+0 at 1 2*2 2*1>"),
    P("ctorch._utils\n_rebuild_tensor_v2\n" STORAGE "K\0))\211ccollections\nOrderedDict\n)RtR.",
      "<float32 of 0+0 at 0>"),
    P("ctorch._utils\n_rebuild_tensor_v3\n((U\7storagectorch."
      "storage\nUntypedStorage\nU\0010U\3cpuK\6tQK\0K\3\205K\1\205"
      "\211Nctorch\nuint16\ntR.",
      "<uint16 of 0+0 at 0 3*1>"),
    P("ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor\n" STORAGE
      "K\0))tR\210NtR.",
      "<float32 of 0+0 at 0>"),
    P("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_"
      "tensor\nctorch\nTensor\n" STORAGE "K\0))t}tR.",
      "<float32 of 0+0 at 0>"),
    P("ctorch._utils\n_rebuild_tensor\n(("
      "U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\6U\1vK\2K\3\207tQK\0K\3\205K\1\205tR.",
      "<float32 of 0+2 at 0 3*1>"), /* a view of a storage */
    P("ctorch._utils\n_rebuild_tensor\n(("
      "U\7storagectorch\nComplexFloatStorage\nU\0010U\3cpuK\6tQK\0))tR.",
      "<complex64 of 0+0 at 0>"),
};

static const struct pickle refused[] = {
    { "", 0, "not a pickle" },
    { "\200", 1, "not a pickle" },
    { "K\1.", 3, "not a pickle of protocol 2 to 5" },
    { "\200\1K\1.", 5, "pickle of protocol 1" },
    { "\200\6K\1.", 5, "pickle of protocol 6" },
    P("", "ends without STOP"),
    P("K\1", "ends without STOP"),
    P(".", "STOP on a stack of 0"),
    P("(.", "STOP takes a mark for a value"),
    P("K\1K\2.", "STOP leaves 1 items"),
    P("K", "cut off within BININT1"),
    P("J\1\2", "cut off within BININT"),
    P("X\4\0\0\0abc", "cut off within BINUNICODE"),
    P("X\377\377\377\377a", "cut off within BINUNICODE"),
    P4("\215\377\377\377\377\377\377\377\377a", "cut off within BINUNICODE8"),
    P4("\225\377\377\377\377\377\377\377\377.", "cut off within FRAME"),
    P("\213\377\377\377\177.", "cut off within LONG4"),
    P("cposix", "cut off within GLOBAL"),
    P("cposix\nsystem", "cut off within GLOBAL"),
    P("\377.", "0xff is no opcode"),
    /* opcodes of other protocols, and those that make instances */
    P("I1\n.", "opcode INT, which is not allowed"),
    P("P1\n.", "opcode PERSID, which is not allowed"),
    P("K\0012.", "opcode DUP"),
    P("(iposix\nsystem\n.", "opcode INST"),
    P("(cposix\nsystem\no.", "pickle calls posix.system"),
    P("(ctorch\nTensor\no.", "opcode OBJ"),
    P("\202\1.", "opcode EXT1"),
    P4("ctorch\nTensor\n)}\222.", "opcode NEWOBJ_EX"),
    P4("\227.", "opcode NEXT_BUFFER"),
    /* the stack */
    P("\206.", "TUPLE2 on a stack of 0"),
    P("K\1\206.", "TUPLE2 on a stack of 1"),
    P("K\1(\206.", "TUPLE2 takes a mark"),
    P("t.", "TUPLE without a mark"),
    P("K\1t.", "TUPLE without a mark"),
    P("K\1a.", "APPEND on an empty stack"),
    P("NK\1a.", "APPEND on None"),
    P("}K\1a.", "APPEND on a dict"),
    P("](K\1K\2u.", "SETITEMS on a list"),
    P("}(K\1u.", "SETITEMS with a key that has no value"),
    P("(K\1e.", "APPENDS on an empty stack"),
    P("0.", "POP on an empty stack"),
    P("1.", "POP_MARK without a mark"),
    /* the memo */
    P("q\0.", "BINPUT on an empty stack"),
    P("h\0.", "BINGET 0 has no value"),
    P("K\1q\5h\4.", "BINGET 4 has no value"),
    P("K\1r\377\377\377\377.", "LONG_BINPUT 4294967295 after 0 entries"),
    P("K\1r\1\1\0\0.", "LONG_BINPUT 257 after 0 entries"),
    /* calls: of names that are not on the list */
    P("cposix\nsystem\nU\4true\205R.", "pickle calls posix.system, which is not allowed"),
    P("cos\nsystem\nU\4true\205R.", "pickle calls os.system, which is not allowed"),
    P("cnt\nsystem\n.", "pickle calls nt.system, which is not allowed"),
    P("c__builtin__\neval\nU\0011\205R.", "pickle calls __builtin__.eval"),
    P("cbuiltins\nexec\n.", "pickle calls builtins.exec"),
    P("cbuiltins\ngetattr\n.", "pickle calls builtins.getattr"),
    P("csubprocess\nPopen\n)\201.", "pickle calls subprocess.Popen"),
    P4("\214\5posix\214\6system\223\214\4true\205R.", "pickle calls posix.system"),
    P4("\214\5torch\214\14os.system.foo\223.", ""),
    P4("\214\5torch\214\11os.system\223.", "pickle calls torch.os.system"),
    P("ctorch\nload\n.", "pickle calls torch.load"),
    P("ctorch.hub\nload\n.", "pickle calls torch.hub.load"),
    P("ctorch._utils\n_rebuild_qtensor\n.", "pickle calls torch._utils._rebuild_qtensor"),
    P("ctransformers.models.bert.modeling_bert\nBertModel\n)\201.",
      "pickle calls transformers.models.bert.modeling_bert.BertModel, which is not allowed: only "
      "tensors in a state_dict"),
    P("c\33[31m\n\7\377\n.", "pickle calls ?[31m.??, which"), /* nothing that a terminal obeys */
    P4("\214\1a\214\3x\ny\223.", "pickle calls a.x?y, which"),
    P4("K\1\214\1a\223.", "STACK_GLOBAL of an int and a str"),
    /* calls: of what is no function, and with other arguments */
    P("U\1a)R.", "pickle calls a str"),
    P("K\1)R.", "pickle calls an int"),
    P("ctorch\nfloat32\n)R.", "pickle calls torch.float32, which is not allowed"),
    P("ctorch\nFloatStorage\n)R.", "pickle calls torch.FloatStorage, which is not allowed"),
    P("ctorch\nTensor\n)\201.", "pickle calls torch.Tensor, which is not allowed"),
    P("ccollections\nOrderedDict\nNR.", "collections.OrderedDict is called with other arguments"),
    P("ccollections\nOrderedDict\n]]U\1aaa\205R.", "with other arguments"),
    P("ccollections\nOrderedDict\nK\1\205R.",
      "collections.OrderedDict is called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor\n)R.", "called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor\n(NK\0))tR.", "called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor\n" STORAGE "J\377\377\377\377))tR.",
      "called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor\n" STORAGE "K\0K\1\205)tR.", "called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor\n" STORAGE "K\0J\377\377\377\377\205K\1\205tR.",
      "called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor\n" STORAGE "K\0N)tR.", "called with other arguments"),
    P("ctorch._utils\n_rebuild_tensor_v3\n" STORAGE "K\0))\211NNtR.",
      "called with other arguments"),
    P("ctorch._utils\n_rebuild_parameter\nN\205R.", "called with other arguments"),
    P("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_"
      "v2\nctorch\nTensor\n)}tR.",
      "called with other arguments"),
    P("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nfloat32\nctorch\nTensor\n)}tR.",
      "called with other arguments"),
    P("N}b.", "BUILD on None"),
    /* persistent ids */
    P("NQ.", "a persistent id other than"),
    P(")Q.", "a persistent id other than"),
    P("(U\7storagectorch\nFloatStorage\nU\0010U\3cpuJ\377\377\377\377tQ.",
      "a persistent id other than"),
    P("(U\7storagectorch\nTensor\nU\0010U\3cpuK\6tQ.", "a persistent id other than"),
    P("(U\7storagectorch\nFloatStorage\nK\0U\3cpuK\6tQ.", "a persistent id other than"),
    P("(U\6modulectorch\nTensor\nU\0010U\3cpuK\6tQ.", "holds a whole module with its source code"),
    P("(" STORAGE "1(U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\7tQ.",
      "storage \"0\" is described in two ways"),
    P("(" STORAGE "1(U\7storagectorch\nHalfStorage\nU\0010U\3cpuK\6tQ.",
      "storage \"0\" is described in two ways"),
    P("(U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\6U\1vK\5K\3\207tQ.",
      "elements 5 + 3 of a storage of 6"),
};

static void loads(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(values); i++) {
        test_case(t, "value %zu, %s", i, values[i].want);
        load(t, values[i].bytes, values[i].len, true, values[i].want);
    }
}

static void refuses(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(refused); i++) {
        test_case(t, "refused %zu, %s", i, refused[i].want);
        load(t, refused[i].bytes, refused[i].len, false, refused[i].want);
    }
}

/* Every prefix of every pickle is refused and read within its bounds. */
static void truncated(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(values); i++)
        for (size_t len = 0; len < values[i].len; len++) {
            test_case(t, "value %zu, %zu bytes", i, len);
            load(t, values[i].bytes, len, false, "pickle");
        }
}

/* What a pickle that runs would leave behind is not there. */
static void executes_nothing(struct test *t)
{
    const char *const dir = test_tmpdir(t);
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *const mark = om_path_join(&a, dir, "executed");
    const char *const command = om_arena_printf(&a, "touch %s", mark);
    struct om_buf b = OM_BUF_INIT(1u << 20);

    pk_begin(&b);
    pk_global(&b, "posix", "system");
    pk_text(&b, command);
    om_buf_adds(&b, "\205R.");
    load(t, b.ptr, b.len, false, "pickle calls posix.system, which is not allowed");
    CHECK(t, !om_file_exists(mark));
    om_buf_release(&b);
    om_arena_release(&a);
}

/* ---- bombs: bounded memory, no recursion ---- */

static void repeat(struct om_buf *b, const char *s, size_t len, size_t n)
{
    for (size_t i = 0; i < n; i++)
        om_buf_add(b, s, len);
}

static void bomb(struct test *t, struct om_buf *b, const char *want)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct pk_doc doc;
    const int rc = om_pk_load(&a, om_buf_sv(b), &doc, &err);

    CHECK_INT(t, rc < 0, want != NULL);
    CHECK_HAS(t, om_error_text(&err), want ? want : "");
    om_error_release(&err);
    om_arena_release(&a);
    om_buf_release(b);
}

static struct om_buf begun(void)
{
    struct om_buf b = OM_BUF_INIT(64u << 20);

    pk_begin(&b);
    return b;
}

static void bombs(struct test *t)
{
    struct om_buf b = begun();

    test_case(t, "marks");
    repeat(&b, "(", 1, 3u << 20);
    bomb(t, &b, "");
    test_case(t, "stack");
    b = begun();
    repeat(&b, "N", 1, (1u << 20) + 1);
    bomb(t, &b, "");
    test_case(t, "nested lists");
    b = begun();
    repeat(&b, "]", 1, 200000);
    repeat(&b, "a", 1, 199999);
    om_buf_addc(&b, '.');
    bomb(t, &b, NULL);
    test_case(t, "nested tuples");
    b = begun();
    om_buf_addc(&b, 'N');
    repeat(&b, "\205", 1, 500000);
    om_buf_addc(&b, '.');
    bomb(t, &b, NULL);
    test_case(t, "more nested tuples than memory");
    b = begun();
    om_buf_addc(&b, 'N');
    repeat(&b, "\205", 1, 2000000);
    bomb(t, &b, "pickle needs more than 67108864 bytes of memory");
    test_case(t, "a tree of 2^200 leaves");
    b = begun();
    om_buf_adds(&b, "N");
    for (int i = 0; i < 200; i++) {
        om_buf_addc(&b, 'q');
        om_buf_addc(&b, (char)i);
        om_buf_addc(&b, 'h');
        om_buf_addc(&b, (char)i);
        om_buf_addc(&b, (char)0206);
    }
    om_buf_addc(&b, '.');
    bomb(t, &b, NULL);
    test_case(t, "memo");
    b = begun();
    om_buf_addc(&b, 'N');
    for (uint32_t at = 255; at < UINT32_MAX / 4; at = at * 2 + 200) {
        om_buf_addc(&b, 'r');
        put_le(&b, at, 4);
    }
    bomb(t, &b, "pickle needs more than");
    test_case(t, "a list copied many times");
    b = begun();
    pk_global(&b, "collections", "OrderedDict");
    om_buf_add(&b, "q\0](", 4);
    repeat(&b, "NN\206", 3, 10000);
    om_buf_add(&b, "e\205q\1", 4);
    repeat(&b, "Rh\0h\1", 5, 10000);
    bomb(t, &b, "pickle needs more than");
}

static void lookup(struct test *t)
{
    static const char bytes[] = "\200\2}(U\1aK\1U\1aK\2K\3K\4u.";
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    struct pk_doc doc;
    char shown[PK_SHOWN];

    CHECK_INT(t, om_pk_load(&a, (om_sv){ bytes, sizeof(bytes) - 1 }, &doc, NULL), 0);
    const struct pk_value *v = om_pk_get(&doc.root, "a");
    CHECK(t, v && v->i == 2); /* the last one counts */
    CHECK(t, om_pk_get(&doc.root, "b") == NULL);
    CHECK(t, v && om_pk_get(v, "a") == NULL);
    const char *const text = om_arena_printf(&a, "%0200d", 7);
    CHECK_INT(t, strlen(om_pk_show(shown, om_sv_str(text))), 83);
    CHECK_HAS(t, shown, "000...");
    om_arena_release(&a);
}

const struct test_entry t_pickle[] = { { "loads", loads },
                                       { "refuses", refuses },
                                       { "truncated", truncated },
                                       { "executes nothing", executes_nothing },
                                       { "bombs", bombs },
                                       { "lookup", lookup },
                                       TEST_END };
